"""The MLflow side against real MLflow: a database in tmp_path, a server of our own where one is needed."""

import ast
import json
import os
import pkgutil
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from doctune.errors import DoctuneError
from doctune.files import hash_path, write_json, write_text
from doctune.registry import api as registry
from doctune.registry import packages
from doctune.registry.api import Files, RegisterParams
from doctune.registry.champions import champion_of, move
from doctune.registry.lineage import git_commit, lineage, score_tags
from doctune.registry.runs import find_run, training_run
from doctune.registry.snapshot import snapshot_of
from doctune.registry.store import Store, shown, told, tracking_uri
from doctune.registry.versions import Version, resolve
from flows.server import healthy

PROJECT = Path(__file__).parents[1]
PARAMS = RegisterParams(name="doctune", description="English to Chinese, for documentation")
KEY = "3f2a" * 16
CURVES = (
    "step,epoch,loss,eval_loss,learning_rate,tokens_per_second,seconds\n"
    "10,0.5,2.5,,0.0003,1800.5,4.0\n"
    "20,1.0,2.25,2.4,0.0002,1810.0,8.5\n"
    "30,1.5,,2.3,,,9.0\n"
)
DVC_LOCK = """schema: '2.0'
stages:
  crawl:
    cmd: python -m tasks.crawl
    deps:
    - {path: examples/site, hash: md5, md5: aaaa.dir}
    params:
      source.lock.yaml:
        example: {tree: examples/site}
  split:
    cmd: python -m tasks.split
    outs:
    - {path: SPLITS, hash: md5, md5: bbbb.dir}
  adapt:
    cmd: python -m tasks.adapt
    params:
      params.yaml:
        adapt: {epochs: 0.0}
    outs:
    - {path: BASE, hash: md5, md5: eeee.dir}
  train:
    cmd: python -m tasks.train
    params:
      params.yaml:
        train: {learning_rate: 0.0003, lora: {r: 8}}
    outs:
    - {path: MODEL, hash: md5, md5: cccc.dir}
"""


@pytest.fixture(autouse=True)
def _no_mlflow_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "DOCTUNE_PRESET", "DOCTUNE_FLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def fresh_mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's mlruns as `connect` makes it; making one takes seconds, copying it nothing."""
    root = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        registry.connect(root)
    return root / "mlruns"


@pytest.fixture
def store(fresh_mlruns: Path, tmp_path: Path) -> Store:
    return new_store(fresh_mlruns, tmp_path / "project")


def new_store(fresh_mlruns: Path, root: Path) -> Store:
    shutil.copytree(fresh_mlruns, root / "mlruns")
    return registry.connect(root)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return write_files(tmp_path / "work")


@pytest.fixture(scope="session")
def finished_project(fresh_mlruns: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which everything was registered and exported, to be copied: `connect` follows the move."""
    root = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        store = new_store(fresh_mlruns, root)
        move(store, "doctune", everything(store, write_files(root)).number, None, "passed its gates")
    return root


@pytest.fixture
def finished(finished_project: Path, tmp_path: Path) -> tuple[Store, Files, Version]:
    from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

    _artifact_repos_cache.clear()  # by id of run or model, which are the same in all copies
    root = tmp_path / "project"
    shutil.copytree(finished_project, root)
    store = registry.connect(root)
    return store, write_files(root), resolve(store, "doctune", "1")


def write_files(folder: Path, weights: str = "权重一") -> Files:
    """Everything a finished pipeline leaves, small; `weights` makes the model another one."""
    files = Files(
        base=folder / "models/base",
        model=folder / "models/tuned",
        splits=folder / "data/splits",
        metrics=folder / "reports/metrics.json",
        changes=folder / "reports/changes.md",
        plots=folder / "reports/plots",
        curves=folder / "reports/train/curves.csv",
        train_report=folder / "reports/train/train.json",
        dvc_lock=folder / "dvc.lock",
        register_report=folder / "reports/register.json",
        onnx=folder / "models/onnx",
        export_report=folder / "reports/export.json",
    )
    write_text(files.base / "model.safetensors", "底座")
    write_text(files.model / "model.safetensors", weights)
    write_text(files.splits / "test.jsonl", '{"en": "Wait for the pod.", "zh": "等待该 Pod。"}\n')
    scores = {"base": {"bleu": 29.91, "chrf": 46.8, "bleu_low": 28.0}, "tuned": {"bleu": 35.9, "chrf": 52.84}}
    write_json(files.metrics, {"rows": 12, **scores, "signature": {"bleu": "tok:zh|version:2.6.0"}})
    write_text(files.changes, "| 前 | 后 |\n")
    write_text(files.plots / "scores.png", "png")
    write_text(files.curves, CURVES)
    write_json(files.train_report, {"train_key": KEY, "method": "full", "steps": 30})
    write_text(
        files.dvc_lock,
        DVC_LOCK.replace("SPLITS", str(files.splits))
        .replace("MODEL", str(files.model))
        .replace("BASE", str(files.base)),
    )
    assert files.register_report and files.onnx and files.export_report
    write_json(files.register_report, {"name": "doctune", "model_hash": registry.model_hash(files)})
    write_text(files.onnx / "model.onnx", "图")
    write_json(files.export_report, {"identical": 1.0})
    return files


def everything(store: Store, files: Files) -> Version:
    """What register and export do; returns the version."""
    registry.log_evaluation(store, registry.ensure_run(store, files)[0], files)
    registry.ensure_version(store, PARAMS, files)
    return registry.ensure_shipped(store, PARAMS, files)


def history(store: Store, run_id: str, key: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in store.client.get_metric_history(run_id, key)]


def python(code: str, root: Path, **variables: str) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=root,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment | variables,
    )


# --- where MLflow is


def test_default_store_lies_in_the_project(store: Store) -> None:
    mlruns = store.root / "mlruns"
    assert store.uri == f"sqlite:///{mlruns}/mlflow.db"
    experiment = store.client.get_experiment_by_name("doctune")
    assert experiment.artifact_location == str(mlruns / "artifacts")
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_tracking_uri_is_respected(
    fresh_mlruns: Path, tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere of mine#1"
    shutil.copytree(fresh_mlruns, elsewhere)
    database = elsewhere / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection, connection:  # another's: its paths are as they are
        connection.execute("UPDATE experiments SET artifact_location = ?", (str(elsewhere / "files"),))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    store = registry.connect(tmp_path / "project")
    version = everything(store, files)
    assert not (tmp_path / "project/mlruns").exists()
    assert registry.fetch(store, version.source).is_relative_to(elsewhere / "files")
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{database}"


@pytest.mark.parametrize(
    ("named", "wanted"),
    [
        pytest.param(None, "sqlite:///{root}/mlruns/mlflow.db", id="not set"),
        pytest.param(" ", "sqlite:///{root}/mlruns/mlflow.db", id="empty"),
        pytest.param("sqlite:///mlruns/mlflow.db", "sqlite:///{root}/mlruns/mlflow.db", id="as the README has it"),
        pytest.param("sqlite:///记录/m.db?timeout=9", "sqlite:///{root}/记录/m.db?timeout=9", id="with a query"),
        pytest.param("sqlite:////srv/mlflow.db", "sqlite:////srv/mlflow.db", id="absolute"),
        pytest.param("http://127.0.0.1:5000", "http://127.0.0.1:5000", id="a server"),
        pytest.param("postgresql://db:5432/mlflow", "postgresql://db:5432/mlflow", id="another database"),
    ],
)
def test_the_address_means_the_same_in_any_folder(
    named: str | None, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if named is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", named)
    monkeypatch.chdir("/")
    assert tracking_uri(tmp_path) == wanted.format(root=tmp_path.resolve())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("https://me:密码@mlflow.example.org/x", "https://mlflow.example.org/x", id="user and password"),
        pytest.param("postgresql://me:p@ss@db:5432/mlflow", "postgresql://db:5432/mlflow", id="a password with an @"),
        pytest.param("http://127.0.0.1:5000/a@b", "http://127.0.0.1:5000/a@b", id="no password"),
        pytest.param("sqlite:////home/me@work/m.db", "sqlite:////home/me@work/m.db", id="a file"),
        pytest.param("GET http://me:密码@h/a failed", "GET http://h/a failed", id="in a sentence"),
    ],
)
def test_a_password_is_not_shown(text: str, wanted: str) -> None:
    assert shown(text) == wanted


def test_a_password_is_in_no_error_of_mlflow_s() -> None:
    from mlflow.exceptions import MlflowException

    @told
    def ask() -> None:
        raise MlflowException("API request to http://me:密码@127.0.0.1:9/api failed with exception")

    with pytest.raises(DoctuneError, match="http://127.0.0.1:9/api failed") as error:
        ask()
    assert "密码" not in str(error.value)


@pytest.mark.parametrize(
    ("uri", "wanted"),
    [
        pytest.param(
            "http://127.0.0.1:9",
            "MLflow at http://127.0.0.1:9 does not answer: connection refused",
            id="nobody listens",
        ),
        pytest.param(
            "http://me:secret@127.0.0.1:9/x", "MLflow at http://127.0.0.1:9/x does not answer", id="password not shown"
        ),
        pytest.param("http://mlflow.invalid", "does not answer: no such host", id="unknown host"),
        pytest.param("sqlite://", "wanted a database file", id="no file"),
        pytest.param("sqlite:////proc/none/mlflow.db", "cannot be made", id="no such folder"),
        pytest.param("sqlite:////dev/null/mlflow.db", "cannot be made", id="not a folder"),
        pytest.param("nonsense://x", "MLflow at nonsense://x does not answer", id="unknown scheme"),
        pytest.param("file:///tmp/mlruns-of-old", "does not answer", id="file store"),
    ],
)
def test_mlflow_that_cannot_be_used(uri: str, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    start = time.monotonic()
    with pytest.raises(DoctuneError) as error:
        registry.connect(tmp_path)
    assert wanted in str(error.value)
    assert "\n" not in str(error.value) and "secret" not in str(error.value)
    assert time.monotonic() - start < 20


@pytest.mark.slow
def test_server_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(DoctuneError, match="no answer in time"):
            registry.connect(tmp_path)
    assert time.monotonic() - start < 20


def test_damaged_database(tmp_path: Path) -> None:
    write_text(tmp_path / "mlruns/mlflow.db", "这不是数据库" * 500)
    with pytest.raises(DoctuneError, match="is damaged"):
        registry.connect(tmp_path)


def test_moved_project_keeps_its_models(finished: tuple[Store, Files, Version], tmp_path: Path) -> None:
    store, _, version = finished
    store.root.rename(tmp_path / "moved")
    moved, files = registry.connect(tmp_path / "moved"), write_files(tmp_path / "moved")
    assert registry.reconcile(moved, PARAMS, files) == []
    assert registry.fetch(moved, version.source).is_relative_to(tmp_path / "moved")
    run_id, _ = registry.ensure_run(moved, files)
    assert {entry.path for entry in moved.client.list_artifacts(run_id, "evaluation")} > {"evaluation/metrics.json"}


def test_deleted_experiment_comes_back(finished: tuple[Store, Files, Version]) -> None:
    store, files, _ = finished
    store.client.delete_experiment(store.experiment_id)
    assert registry.reconcile(registry.connect(store.root), PARAMS, files) == []


@pytest.mark.slow
def test_old_schema_is_migrated(tmp_path: Path) -> None:
    made = """
import logging, os
import mlflow.store.db.utils as u
from alembic import command
from alembic.script import ScriptDirectory
from mlflow.store.tracking.dbmodels.initial_models import Base
os.makedirs("mlruns")
uri = "sqlite:///mlruns/mlflow.db"
engine = u.create_sqlalchemy_engine(uri)
Base.metadata.create_all(engine)
config = u._get_alembic_config(uri)
before = ScriptDirectory.from_config(config).get_revision("head").down_revision
with engine.begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, before)
"""
    child = python(made, tmp_path)
    assert child.wait(60) == 0, child.stderr and child.stderr.read()
    store = registry.connect(tmp_path)
    assert store.client.get_experiment(store.experiment_id).name == "doctune"
    assert (tmp_path / "mlruns/mlflow.db.before").exists()


# --- runs


def test_training_run_is_logged_and_found(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCTUNE_FLOW_RUN_ID", "flow-7")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    assert find_run(store, KEY) is None
    with training_run(store, KEY, {"learning_rate": 3e-4, "lora": {"r": 8}}) as run:
        run.log({"loss": 2.5, "eval_loss": None}, step=10)
        run.log({"loss": 2.25, "eval_loss": 2.4}, step=20)
        assert find_run(store, KEY) is None  # not finished yet
        time.sleep(0.5)
    found = find_run(store, KEY)
    assert found is not None and found.info.run_id == run.run_id and found.info.status == "FINISHED"
    assert history(store, run.run_id, "loss") == [(10, 2.5), (20, 2.25)]
    assert history(store, run.run_id, "eval_loss") == [(20, 2.4)]
    assert found.data.params == {"learning_rate": "0.0003", "lora.r": "8"}
    assert found.data.tags["doctune.flow_run_id"] == "flow-7"
    assert found.data.tags["git_commit"] == "unknown"  # tmp_path is no repository
    assert any(key.startswith("system/") for key in found.data.metrics)


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        pytest.param(ValueError("坏了"), "FAILED", id="error"),
        pytest.param(KeyboardInterrupt(), "KILLED", id="interrupt"),
    ],
)
def test_unfinished_run_is_resumed_without_zigzag(store: Store, failure: BaseException, status: str) -> None:
    with pytest.raises(type(failure)), training_run(store, KEY, {"seed": 1}) as run:
        run.log({"loss": 3.0}, step=10)
        run.log({"loss": 2.0}, step=20)
        raise failure
    assert store.client.get_run(run.run_id).info.status == status
    with training_run(store, KEY, {"seed": 1}) as again:  # from the checkpoint at step 10
        again.log({"loss": 2.1}, step=20)
        again.log({"loss": 1.5}, step=30)
    assert again.run_id == run.run_id
    assert history(store, run.run_id, "loss") == [(10, 3.0), (20, 2.0), (30, 1.5)]
    with training_run(store, KEY, {"seed": 1}) as forced:
        pass
    assert forced.run_id != run.run_id  # a finished run is not written to again


def test_lost_run_is_replayed(store: Store, files: Files) -> None:
    run_id, replayed = registry.ensure_run(store, files)
    assert replayed
    assert registry.ensure_run(store, files) == (run_id, False)
    run = store.client.get_run(run_id)
    assert history(store, run_id, "loss") == [(10, 2.5), (20, 2.25)]
    assert history(store, run_id, "eval_loss") == [(20, 2.4), (30, 2.3)]
    assert set(run.data.metrics) == {"epoch", "loss", "eval_loss", "learning_rate", "tokens_per_second"}
    assert run.data.params == {"learning_rate": "0.0003", "lora.r": "8"}
    assert run.data.tags["doctune.replayed"] == "true"
    points = store.client.get_metric_history(run_id, "loss")
    assert points[1].timestamp - points[0].timestamp == 4500  # as far apart as they were
    assert run.info.end_time - run.info.start_time >= 9000


def test_run_cut_short_is_completed_from_the_curves(store: Store, files: Files) -> None:
    with pytest.raises(ValueError), training_run(store, KEY, {}) as run:
        run.log({"loss": 2.5}, step=10)
        raise ValueError
    assert registry.ensure_run(store, files) == (run.run_id, True)
    assert history(store, run.run_id, "loss") == [(10, 2.5), (20, 2.25)]
    assert "doctune.replayed" not in store.client.get_run(run.run_id).data.tags


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("loss\n2.5\n", "wanted curves with a column step", id="no step"),
        pytest.param("step,loss\n1,高\n", "could not convert", id="not a number"),
        pytest.param(None, "No such file", id="no file"),
    ],
)
def test_unusable_curves(store: Store, files: Files, text: str | None, wanted: str) -> None:
    files.curves.unlink()
    if text is not None:
        write_text(files.curves, text)
    with pytest.raises(DoctuneError, match=wanted):
        registry.ensure_run(store, files)
    assert find_run(store, KEY) is None


def test_evaluation_is_logged_once(store: Store, files: Files) -> None:
    run_id, _ = registry.ensure_run(store, files)
    assert registry.log_evaluation(store, run_id, files)
    assert not registry.log_evaluation(store, run_id, files)
    run = store.client.get_run(run_id)
    assert run.data.metrics["tuned/bleu"] == 35.9 and run.data.metrics["train/steps"] == 30
    assert run.data.tags["signature.bleu"] == "tok:zh|version:2.6.0"
    assert run.data.tags["dvc_model"] == "cccc.dir" and run.data.tags["dvc_data"] == "bbbb.dir"
    there = {
        entry.path
        for folder in ("evaluation", "evaluation/plots")
        for entry in store.client.list_artifacts(run_id, folder)
    }
    assert there == {
        "evaluation/metrics.json",
        "evaluation/changes.md",
        "evaluation/plots",
        "evaluation/plots/scores.png",
    }
    for bleu in (36.5, 34.5):
        write_json(files.metrics, {"tuned": {"bleu": bleu}})
        assert registry.log_evaluation(store, run_id, files)
        assert store.client.get_run(run_id).data.metrics["tuned/bleu"] == bleu, "the newest, higher or lower"


# --- versions


def test_same_model_is_registered_once(store: Store, files: Files) -> None:
    registry.ensure_run(store, files)
    first = registry.ensure_version(store, PARAMS, files)
    assert (first.number, first.aliases, first.shipped) == ("1", ("challenger",), None), "promotion makes champions"
    assert registry.ensure_version(store, PARAMS, files) == first
    assert len(store.client.search_logged_models([store.experiment_id])) == 1
    wanted = {
        "model_hash": registry.model_hash(files),
        "data_revision": "examples/site@aaaa.dir",
        "dvc_base": "eeee.dir",
        "dvc_model": "cccc.dir",
        "dvc_data": "bbbb.dir",
        "git_commit": "unknown",
        "tuned_bleu": "35.90",
        "base_chrf": "46.80",
    }
    assert wanted.items() <= first.tags.items()
    run = find_run(store, KEY)
    assert run is not None and first.run_id == run.info.run_id
    assert [output.model_id for output in run.outputs.model_outputs] == [first.source.removeprefix("models:/")]


def test_scores_measured_anew_update_the_tags(finished: tuple[Store, Files, Version]) -> None:
    store, files, _ = finished
    write_json(files.metrics, {"tuned": {"bleu": 36.5}})
    assert registry.ensure_version(store, PARAMS, files).tags["tuned_bleu"] == "36.50"


def test_new_model_is_challenger_and_champion_stays(finished: tuple[Store, Files, Version], tmp_path: Path) -> None:
    store, files, _ = finished
    better = write_files(tmp_path / "better", "权重二")
    second = everything(store, better)
    assert (second.number, second.aliases) == ("2", ("challenger",))
    assert resolve(store, "doctune", "champion").number == "1"
    back = registry.ensure_version(
        store, PARAMS, files
    )  # parameters changed back: the old version is the candidate again
    assert (back.number, set(back.aliases)) == ("1", {"challenger", "champion"})
    assert [version.number for version in registry.list_versions(store, "doctune")] == ["2", "1"]
    assert move(store, "doctune", "2", "1", "better").aliases == ("champion",)
    assert resolve(store, "doctune", "1").aliases == ("challenger",)


def test_what_ships_is_written_once(finished: tuple[Store, Files, Version]) -> None:
    store, files, first = finished
    assert files.onnx
    assert registry.ensure_shipped(store, PARAMS, files) == first
    assert registry.shipped_uri(store, "doctune", "champion") == first.shipped
    assert first.shipped
    folder = registry.fetch(store, first.shipped)
    assert (folder / "data/weights/onnx/model.onnx").read_text(encoding="utf-8") == "图"

    write_text(
        files.onnx / "model.onnx", "另一张图"
    )  # exported with other parameters: the champion ships what it shipped
    second = registry.ensure_shipped(store, PARAMS, files)
    assert (second.number, second.aliases, second.source) == ("2", ("challenger",), first.source)
    assert second.shipped != first.shipped
    assert registry.shipped_uri(store, "doctune", "champion") == first.shipped
    write_text(files.onnx / "model.onnx", "图")
    assert registry.ensure_shipped(store, PARAMS, files).number == "1"


def test_promotion_needs_what_ships(store: Store, files: Files) -> None:
    registry.ensure_run(store, files)
    registry.ensure_version(store, PARAMS, files)
    for refused in (
        lambda: move(store, "doctune", "1", None, "passed"),
        lambda: registry.shipped_uri(store, "doctune", "challenger"),
    ):
        with pytest.raises(DoctuneError, match="version 1 of doctune has no exported model"):
            refused()
    with pytest.raises(DoctuneError, match="no version '9' of doctune; it has 1 challenger"):
        resolve(store, "doctune", "9")
    with pytest.raises(DoctuneError, match="no version was promoted yet: `doctune promote` judges the challenger"):
        registry.shipped_uri(store, "doctune")
    with pytest.raises(DoctuneError, match="it has nothing; run the pipeline first"):
        registry.shipped_uri(store, "other")
    assert registry.list_versions(store, "other") == []


def test_adapter_is_registered_with_its_base(store: Store, files: Files) -> None:
    full = registry.model_hash(files)
    write_text(files.model / "adapter_config.json", "{}")
    assert registry.model_hash(files) != full
    registry.ensure_run(store, files)
    folder = registry.fetch(store, registry.ensure_version(store, PARAMS, files).source)
    assert (folder / "data/weights/base/model.safetensors").read_text(encoding="utf-8") == "底座"
    needs = (folder / "requirements.txt").read_text(encoding="utf-8").split()
    assert any(line.startswith("peft==") for line in needs)
    assert not any("+" in line for line in needs)
    assert (folder / "code/doctune/pyfunc.py").is_file()
    before = registry.model_hash(files)
    write_text(files.base / "model.safetensors", "另一个底座")
    assert registry.model_hash(files) != before


@pytest.mark.parametrize(
    ("start", "needs", "others"),
    [
        pytest.param("doctune.translation", packages.ADAPTER, {"huggingface_hub"}, id="PyTorch"),
        pytest.param("doctune.onnx.runtime", packages.ONNX, {"huggingface_hub", "peft", "psutil"}, id="ONNX"),
    ],
)
def test_requirements_name_what_the_code_imports(start: str, needs: tuple[str, ...], others: set[str]) -> None:
    """`others` come with transformers, or serve what a registered model never does."""
    seen, todo, imported = set(), [start], set()
    while todo:
        name = todo.pop()
        place = PROJECT / name.replace(".", "/")
        path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if name in seen or not path.is_file():
            continue
        seen.add(name)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                continue
            todo += [name for name in names if name.startswith("doctune.")]
            imported |= {name.partition(".")[0] for name in names} - {"doctune"}
    assert "doctune.prompts" in seen and "transformers" in imported
    roots = {name.partition(".")[0].replace("-", "_") for name in needs}
    assert imported - sys.stdlib_module_names - roots - others == set()


# --- repairs


def _model_folder(store: Store, uri: str | None) -> Path:
    assert uri
    return registry.fetch(store, uri)


SABOTAGE: dict[str, tuple[Callable[[Store, Version], Any], list[str]]] = {
    "nothing": (lambda store, version: None, []),
    "run deleted": (
        lambda store, version: store.client.delete_run(version.run_id),
        ["training run replayed from its curves", "scores and reports logged to the run"],
    ),
    "challenger gone": (
        lambda store, version: store.client.delete_registered_model_alias("doctune", "challenger"),
        ["alias challenger set to version 1"],
    ),
    "version deleted": (
        lambda store, version: store.client.delete_model_version("doctune", version.number),
        [
            "version 2 of doctune registered",
            "alias challenger set to version 2",
            "shipped model of version 2 logged",
        ],
    ),
    "registered model deleted": (
        lambda store, version: store.client.delete_registered_model("doctune"),
        [
            "version 1 of doctune registered",
            "alias challenger set to version 1",
            "shipped model of version 1 logged",
        ],
    ),
    "tag deleted": (
        lambda store, version: store.client.delete_model_version_tag("doctune", "1", "shipped_model"),
        ["shipped model of version 1 logged"],
    ),
    "shipped model deleted": (
        lambda store, version: store.client.delete_logged_model(version.shipped.removeprefix("models:/")),
        ["shipped model of version 1 logged"],
    ),
    "model deleted": (
        lambda store, version: store.client.delete_logged_model(version.source.removeprefix("models:/")),
        [
            "version 2 of doctune registered",
            "alias challenger set to version 2",
            "shipped model of version 2 logged",
        ],
    ),
    "files of the model gone": (
        lambda store, version: shutil.rmtree(_model_folder(store, version.source)),
        ["files of version 1 restored"],
    ),
    "files of the shipped model gone": (
        lambda store, version: shutil.rmtree(_model_folder(store, version.shipped) / "data"),
        ["files of what version 1 ships restored"],
    ),
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_reconcile_repairs(finished: tuple[Store, Files, Version], name: str) -> None:
    store, files, first = finished
    sabotage, wanted = SABOTAGE[name]
    sabotage(store, first)
    assert registry.reconcile(store, PARAMS, files) == wanted
    start = time.process_time()  # other processes of the machine do not count
    assert registry.reconcile(store, PARAMS, files) == []
    assert time.process_time() - start < 1
    for alias in resolve(store, "doctune", "challenger").aliases:
        version = resolve(store, "doctune", alias)
        assert _model_folder(store, version.source).is_dir() and _model_folder(store, version.shipped).is_dir()
        assert version.tags["model_hash"] == registry.model_hash(files)


def test_a_champion_without_its_model_is_not_followed_by_what_was_not_judged(
    finished: tuple[Store, Files, Version],
) -> None:
    store, files, first = finished
    assert files.onnx and files.export_report
    store.client.delete_logged_model(first.source.removeprefix("models:/"))
    (files.onnx / "shipped.json").write_text("exported in another way", encoding="utf-8")
    write_json(files.export_report, {"onnx_hash": hash_path(files.onnx)})
    registry.reconcile(store, PARAMS, files)
    champion = champion_of(store, "doctune")
    assert champion and champion.number == "1" and _model_folder(store, champion.shipped).is_dir()
    assert resolve(store, "doctune", "challenger").number == "2"


def test_versions_of_one_model_are_told_apart_by_what_they_ship(
    finished: tuple[Store, Files, Version],
) -> None:
    store, files, _ = finished
    assert files.onnx and files.export_report
    was = {path.name: path.read_bytes() for path in files.onnx.iterdir()}
    for extra, number in ((b"trimmed", "2"), (None, "1"), (b"trimmed", "2")):
        shutil.rmtree(files.onnx)
        files.onnx.mkdir()
        for name, data in (was | ({"extra": extra} if extra else {})).items():
            (files.onnx / name).write_bytes(data)
        write_json(files.export_report, {"onnx_hash": hash_path(files.onnx)})
        registry.reconcile(store, PARAMS, files)
        assert resolve(store, "doctune", "challenger").number == number
        assert registry.ensure_version(store, PARAMS, files).number == number, "also before what ships is looked at"
        assert registry.reconcile(store, PARAMS, files) == []


def test_reconcile_after_the_database_was_lost(files: Files, fresh_mlruns: Path, tmp_path: Path) -> None:
    empty = new_store(fresh_mlruns, tmp_path / "new")
    assert len(registry.reconcile(empty, PARAMS, files)) == 5
    assert registry.reconcile(empty, PARAMS, files) == []
    assert resolve(empty, "doctune", "challenger").number == "1"
    assert champion_of(empty, "doctune") is None, "who it was is lost; the next promotion judges anew"


def test_reconcile_before_register_and_export(store: Store, files: Files) -> None:
    assert files.register_report and files.export_report
    files.register_report.unlink()
    assert registry.reconcile(store, PARAMS, files) == [
        "training run replayed from its curves",
        "scores and reports logged to the run",
    ]
    assert registry.list_versions(store, "doctune") == []
    registry.ensure_version(store, PARAMS, files)
    files.export_report.unlink()
    write_json(files.register_report, {"model_hash": registry.model_hash(files)})
    assert registry.reconcile(store, PARAMS, files) == []
    assert resolve(store, "doctune", "1").shipped is None


def test_model_that_mlflow_half_received_is_completed(store: Store, files: Files) -> None:
    """Killed between two steps: the next call goes on with the same logged model."""
    registry.ensure_run(store, files)
    half = store.client.create_logged_model(
        store.experiment_id, "model", None, {"model_hash": registry.model_hash(files)}
    )
    version = registry.ensure_version(store, PARAMS, files)
    assert version.source == f"models:/{half.model_id}"
    found = packages.find_packages(store, "model", {"model_hash": registry.model_hash(files)})
    assert [packages.is_whole(store, model) for model in found] == [True]


def test_a_repair_that_is_cut_short_is_no_whole_model(
    finished: tuple[Store, Files, Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of a ready model were lost; killed while they are copied back, it does not look as if all were there."""
    store, files, version = finished
    assert version.shipped
    folder = registry.fetch(store, version.shipped)
    shutil.rmtree(folder)

    def cut_short(model_id: str, local_dir: str) -> None:
        shutil.copytree(local_dir, folder)
        (registry.weights_in(folder) / "onnx/model.onnx").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.client, "log_model_artifacts", cut_short)
        with pytest.raises(KeyboardInterrupt):
            registry.ensure_shipped(store, PARAMS, files)
    with pytest.raises(DoctuneError, match="no longer has the model"):
        registry.fetch(store, version.shipped)
    assert registry.ensure_shipped(store, PARAMS, files).shipped == version.shipped
    assert (registry.weights_in(registry.fetch(store, version.shipped)) / "onnx/model.onnx").is_file()


# --- what a server has


def on_a_server(model_id: str) -> Any:
    return SimpleNamespace(model_id=model_id, artifact_location=f"mlflow-artifacts:/1/models/{model_id}/artifacts")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that a server was asked for."""
    uris: list[str] = []

    def download(artifact_uri: str, dst_path: str) -> str:
        uris.append(artifact_uri)
        time.sleep(0.1)
        write_text(Path(dst_path) / "MLmodel", f"模型 {artifact_uri}")
        return dst_path

    monkeypatch.setattr("mlflow.artifacts.download_artifacts", download)
    return uris


def test_a_model_is_downloaded_once(store: Store, asked: list[str]) -> None:
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda _: packages.download(store, on_a_server("m-1")), range(2)))
    assert folders == [store.root / ".doctune/models/m-1"] * 2 and asked == ["models:/m-1"]
    assert (folders[0] / "MLmodel").read_text(encoding="utf-8") == "模型 models:/m-1"


@pytest.mark.parametrize("refusal", ["mlflow.exceptions.MlflowException", "requests.exceptions.ConnectionError"])
def test_a_download_that_fails_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch, refusal: str) -> None:
    def refuse(artifact_uri: str, dst_path: str) -> str:
        write_text(Path(dst_path) / "MLmodel", "一半")
        raise pkgutil.resolve_name(refusal)("服务器没有回答")

    monkeypatch.setattr("mlflow.artifacts.download_artifacts", refuse)
    with pytest.raises(DoctuneError, match=r"MLflow failed in .*服务器没有回答"):
        packages.download(store, on_a_server("m-1"))
    assert [path.name for path in (store.root / ".doctune/models").iterdir()] == ["lock"]


def test_only_the_models_asked_for_last_are_kept(store: Store, asked: list[str]) -> None:
    models = store.root / ".doctune/models"
    for number in range(1, 6):
        packages.download(store, on_a_server(f"m-{number}"))
    assert len(list(models.glob("m-*"))) == 5, "a promotion may be reading any of them still"
    for number in range(1, 6):
        long_ago = time.time() - 10 * packages.IN_USE_SECONDS + number
        os.utime(models / f"m-{number}", (long_ago, long_ago))
    (models / ".m-9.4711.tmp").mkdir()  # of a download that was killed
    packages.download(store, on_a_server("m-2"))
    assert sorted(path.name for path in models.iterdir()) == ["lock", "m-2", "m-4", "m-5"]
    assert asked.count("models:/m-2") == 1


@pytest.mark.parametrize("location", ["{folder}", "file://{folder}"], ids=["path", "address"])
def test_a_model_on_this_disk_is_used_where_it_lies(store: Store, asked: list[str], location: str) -> None:
    model = SimpleNamespace(model_id="m-1", artifact_location=location.format(folder="/srv/models/m-1"))
    assert packages.download(store, model) == Path("/srv/models/m-1") and asked == []


# --- lineage, texts


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        pytest.param("{tree: examples/site}", "examples/site@aaaa.dir", id="local folder"),
        pytest.param(f"{{url: https://example.org/docs, ref: main, commit: {'5c' * 20}}}", "5c" * 20, id="git"),
        pytest.param(f"{{web: https://example.org, revision: {'5c' * 32}}}", "5c" * 32, id="web"),
        pytest.param("{tree: other}", "unknown", id="folder that dvc.lock does not know"),
    ],
)
def test_data_revision(files: Files, tmp_path: Path, entry: str, wanted: str) -> None:
    text = files.dvc_lock.read_text(encoding="utf-8").replace("{tree: examples/site}", entry)
    write_text(files.dvc_lock, text)
    assert lineage(files, tmp_path)["data_revision"] == wanted


def test_lineage_without_dvc_and_git(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.dvc_lock.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    unknown = dict.fromkeys(("data_revision", "dvc_base", "dvc_model", "dvc_data", "git_commit"), "unknown")
    assert lineage(files, tmp_path) == unknown
    monkeypatch.setenv("DOCTUNE_PRESET", "k8s-small")
    assert lineage(files, tmp_path) == unknown | {"preset": "k8s-small"}


def test_an_adapted_base_is_named_by_its_content(files: Files, tmp_path: Path) -> None:
    fetched = lineage(files, tmp_path)
    assert fetched["dvc_base"] == "eeee.dir" and "adapt_epochs" not in fetched
    text = files.dvc_lock.read_text(encoding="utf-8")
    write_text(files.dvc_lock, text.replace("eeee.dir", "ffff.dir").replace("epochs: 0.0", "epochs: 2.0"))
    adapted = lineage(files, tmp_path)
    assert adapted == fetched | {"dvc_base": "ffff.dir", "adapt_epochs": "2.0"}


def test_git_commit(tmp_path: Path) -> None:
    assert git_commit(tmp_path) == "unknown"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    assert git_commit(tmp_path) == "unknown"  # no commit yet
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    assert len(git_commit(tmp_path)) == 40


def test_score_tags_take_what_is_there() -> None:
    assert score_tags({"tuned": {"bleu": 35.904, "chrf": "n/a"}, "base": 3, "memory": {"bleu": 1.0}}) == {
        "tuned_bleu": "35.90"
    }


def _frame(**columns: list[Any]) -> Any:
    import pandas as pd

    return pd.DataFrame(columns)


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        pytest.param(lambda: "Clean up", ["Clean up"], id="one text"),
        pytest.param(lambda: ["Clean up", "Next"], ["Clean up", "Next"], id="list"),
        pytest.param(lambda: [], [], id="empty list"),
        pytest.param(lambda: {"text": ["Clean up", "Next"]}, ["Clean up", "Next"], id="dict"),
        pytest.param(lambda: _frame(text=["Clean up", "Next"]), ["Clean up", "Next"], id="DataFrame"),
        pytest.param(lambda: _frame(text=["Clean up", "Next"])["text"], ["Clean up", "Next"], id="column"),
        pytest.param(
            lambda: _frame(text=[["Clean up", "Next"]]), ["Clean up", "Next"], id="dict as MLflow hands it over"
        ),
    ],
)
def test_texts_of(make: Callable[[], Any], wanted: list[str]) -> None:
    from doctune.pyfunc import texts_of

    assert texts_of(make()) == wanted


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        pytest.param(lambda: [1, "x"], "wanted texts, got 1", id="number"),
        pytest.param(lambda: {"en": ["x"], "zh": ["y"]}, "wanted one key", id="two keys"),
        pytest.param(
            lambda: _frame(en=["x"], zh=["y"]), r"wanted one column of texts, got \['en', 'zh'\]", id="two columns"
        ),
    ],
)
def test_texts_of_refuses(make: Callable[[], Any], wanted: str) -> None:
    from doctune.pyfunc import texts_of

    with pytest.raises(DoctuneError, match=wanted):
        texts_of(make())


# --- whole processes


@pytest.mark.slow
def test_two_processes_at_once_register_once(tmp_path: Path, files: Files) -> None:
    """From nothing: the database too is made by one of them."""
    root = tmp_path / "project"
    root.mkdir()
    code = f"""
import sys
sys.path.insert(0, {str(PROJECT)!r})
from pathlib import Path
from doctune.registry import api as registry
from doctune.registry.api import Files
from tests.test_registry import everything
files = Files(*map(Path, {[str(getattr(files, name)) for name in files.__dataclass_fields__]!r}))
print(everything(registry.connect(), files).number)
"""
    children = [python(code, root) for _ in range(2)]
    results = [child.communicate(timeout=1500) for child in children]
    assert [child.returncode for child in children] == [0, 0], results
    assert [out.strip() for out, _ in results] == ["1", "1"]
    assert [err for _, err in results] == ["", ""]  # MLflow's chatter is not for users
    store = registry.connect(root)
    assert len(registry.list_versions(store, "doctune")) == 1
    assert len(store.client.search_logged_models([store.experiment_id])) == 2
    assert len(store.client.search_runs([store.experiment_id])) == 1


@pytest.mark.slow
def test_stage_registers_and_its_model_loads_where_doctune_is_not_installed(fresh_mlruns: Path, tmp_path: Path) -> None:
    from tests.tiny import tiny_marian

    root = tmp_path / "project"
    shutil.copytree(fresh_mlruns, root / "mlruns")
    work = root / "work"
    files = write_files(work)
    shutil.rmtree(files.model)
    tiny_marian(files.model)
    write_text(root / "params.yaml", "register: {name: doctune, description: 测试}\n")
    options = [
        f"--{name.replace('_', '-')}={getattr(files, name).relative_to(root)}"
        for name in ("base", "model", "splits", "metrics", "changes", "plots", "curves", "train_report")
    ] + ["--split-report=reports/split.json", "--page=reports/report.html"]
    command = [sys.executable, "-m", "tasks.register", *options, "--out=reports/register.json"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    for _ in range(2):
        done = subprocess.run(
            command,
            cwd=root,
            env=environment | {"PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert "version 1 of doctune (challenger)" in done.stdout
    report = json.loads((root / "reports/register.json").read_text(encoding="utf-8"))
    assert set(report) == {"name", "model_hash", "data_hash"} and report["model_hash"] == registry.model_hash(files)
    code = """
import importlib.util, os, sys
sys.meta_path = [finder for finder in sys.meta_path if "doctune" not in repr(finder)]  # that of an editable install
assert importlib.util.find_spec("doctune") is None
import mlflow, pandas
model = mlflow.pyfunc.load_model("models:/doctune@challenger")
texts = ["Pods are running.", "Clean up `a.yaml`."]
shapes = (texts, pandas.DataFrame({"text": texts}), {"text": texts}, pandas.Series(texts))
answers = [model.predict(given) for given in shapes]
assert all(type(answer) is list and all(type(text) is str for text in answer) for answer in answers), answers
assert all(answer == answers[0] for answer in answers) and len(answers[0]) == 2, answers
assert model.predict(texts, {"task": "term"}) == answers[0], "Marian has no instruction"
try:
    model.predict(texts, {"task": "summary"})
except Exception as error:
    assert "one of translate, term, got 'summary'" in str(error), error
else:
    raise AssertionError("an unknown task was done")
print(sys.modules["doctune"].__file__)
"""
    child = python(code, root, MLFLOW_TRACKING_URI="sqlite:///mlruns/mlflow.db", PYTHONSAFEPATH="1")
    out, err = child.communicate(timeout=1500)
    assert child.returncode == 0, err
    assert out.strip().endswith("code/doctune/__init__.py")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path / "server.log").open("wb")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host=127.0.0.1",
            f"--port={port}",
            "--workers=1",
            f"--backend-store-uri=sqlite:///{tmp_path}/server.db",
            f"--artifacts-destination={tmp_path}/served",
        ],
        stdout=log,
        stderr=log,
        start_new_session=True,
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    try:
        deadline = time.monotonic() + 240  # on a busy machine its imports alone take a minute
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "server.log").read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}", process
    finally:
        _kill(process)
        log.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    import signal

    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_server(
    server: tuple[str, subprocess.Popen[bytes]],
    files: Files,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All of it through a server, which in the end goes away under a training: that costs a warning only."""
    uri, process = server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    store = registry.connect(tmp_path / "project")
    version = everything(store, files)
    assert registry.reconcile(store, PARAMS, files) == []
    assert version.shipped
    assert healthy(uri, b"OK"), "what `doctune ui` waits for"
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    shipped = registry.fetch(store, version.shipped)
    assert (shipped / "data/weights/onnx/model.onnx").read_text(encoding="utf-8") == "图"
    assert shipped == tmp_path / "project/.doctune/models" / version.shipped.removeprefix("models:/")
    assert not list((tmp_path / "scratch").iterdir())
    assert not (tmp_path / "project/mlruns").exists()
    kept = snapshot_of(store, version)
    assert kept is not None and kept["pairs"] == {"test": 1}
    move(store, "doctune", "1", None, "passed its gates")
    assert champion_of(store, "doctune") == resolve(store, "doctune", "champion")
    with training_run(store, "77" * 32, {"seed": 1}) as run:
        run.log({"loss": 2.0}, step=1)
        _kill(process)
        run.log({"loss": 1.9}, step=2)
        run.log({"loss": 1.8}, step=3)
    warnings = capsys.readouterr().err.strip().splitlines()
    assert len(warnings) == 1 and "training goes on" in warnings[0]

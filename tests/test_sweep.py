"""A sweep, for real: Prefect, DVC, MLflow and Optuna over trainings of a tiny model; killed in the middle, and started again.

What train needs is two toy stages, so that what is seen here is the search.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from doctune.files import write_jsonl
from doctune.params import Params, load_preset
from doctune.section import validate
from flows.server import running_server
from tests.tiny import ROWS, tiny_marian
from tests.toy import PROJECT, dvc, git, processes, wait_for

pytestmark = pytest.mark.slow

DVC_YAML = """
stages:
  base:
    cmd: mkdir -p models && cp -r tiny models/base
    deps: [tiny]
    outs: [models/base]
  split:
    cmd: mkdir -p data && cp -r rows data/splits
    deps: [rows]
    outs: [data/splits]
  train:
    cmd: exec python -m tasks.train --base models/base --splits data/splits --out models/tuned
    deps: [models/base, data/splits]
    params: [train]
    outs: [models/tuned]
"""
TRAIN = {"batch_tokens": 256, "max_length": 128, "learning_rate": 2e-3, "precision": "fp32"}
SWEEP = {
    "trials": 4, "sampler": "random", "startup_trials": 1, "warmup": 0, "max_steps": 60, "evaluations": 6,
    "space": {"train.learning_rate": {"choices": [2e-3, 1.0]}},
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch) -> Iterator[Path]:
    root = tmp_path / "project"
    (root / "presets").mkdir(parents=True)
    for file in (PROJECT / "presets").glob("*.yaml"):
        (root / "presets" / file.name).write_bytes(file.read_bytes())
    tiny_marian(root / "tiny")
    for name, rows in (("train", ROWS), ("valid", ROWS[:8]), ("test", ROWS[8:12])):
        write_jsonl(root / "rows" / f"{name}.jsonl", rows)
    values = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    values["train"] |= TRAIN
    values["sweep"] |= SWEEP
    (root / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    (root / "dvc.yaml").write_text(DVC_YAML, encoding="utf-8")
    (root / ".gitignore").write_text(".doctune/\n/mlruns/\n/models/\n/data/\n", encoding="utf-8")
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "dvc"))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    git(root, "init", "--quiet", "--initial-branch", "main")
    dvc(root, "init", "--quiet")
    with running_server(tmp_path) as url:
        monkeypatch.setenv("PREFECT_API_URL", url)
        yield root


def start(root: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "doctune.cli", "sweep", "--name", "better"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def runs(root: Path) -> list[dict]:
    code = """
import json
from doctune.registry.store import connect
store = connect()
found = store.client.search_runs([store.experiment_id])
print(json.dumps([{"id": r.info.run_id, "name": r.info.run_name, "status": r.info.status, "tags": r.data.tags,
    "params": r.data.params, "metrics": r.data.metrics,
    "steps": [m.step for m in store.client.get_metric_history(r.info.run_id, "eval_loss")],
    "files": [f.path for f in store.client.list_artifacts(r.info.run_id)]} for r in found]))
"""
    environ = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environ, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def forget(root: Path, run: str) -> None:
    """Leave a trial's run as a kill leaves it that comes between the study's word of the trial's end and MLflow's."""
    code = f"""
from doctune.registry.store import connect
client = connect().client
client.delete_tag("{run}", "doctune.trial_state")
client.set_terminated("{run}", "KILLED")
"""
    subprocess.run([sys.executable, "-c", code], cwd=root, env={**os.environ, "PYTHONPATH": str(PROJECT)}, check=True)


def test_a_killed_sweep_goes_on_prunes_and_ends_in_a_preset(project, monkeypatch):
    first = start(project)
    wait_for(lambda: list(project.glob(".doctune/checkpoints/*/checkpoint-*/trainer_state.json")), seconds=900)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate(timeout=60)
    wait_for(lambda: processes(project) == [], seconds=60)  # no training survives its flow
    assert list(project.glob(".doctune/checkpoints/*/checkpoint-*")) and not (project / "presets/better.yaml").exists()

    second = start(project)
    log, _ = second.communicate(timeout=1500)
    assert second.returncode == 0, log[-6000:]
    assert "trial 0 was cut short and is taken up" in log and "resumed at step" in log, log[-6000:]
    assert "best of 4 trials" in log and "written: presets/better.yaml" in log
    assert not (project / "models/tuned").exists(), "only what train needs was made"
    assert not list(project.glob(".doctune/checkpoints/*")), "the disk is given back"

    found = runs(project)
    [parent] = [run for run in found if "mlflow.parentRunId" not in run["tags"]]
    trials = {run["name"]: run for run in found if run is not parent}
    assert sorted(trials) == ["trial-0", *sorted(set(trials) - {"trial-0"})] and len(trials) == 4
    assert all(run["tags"]["mlflow.parentRunId"] == parent["id"] for run in trials.values())
    assert parent["status"] == "FINISHED" and parent["name"] == "better"
    assert {"history.png", "trials.json", "better.yaml"} <= set(parent["files"]), parent["files"]
    tables = {table["path"] for table in json.loads(parent["tags"]["mlflow.loggedArtifacts"])}
    assert "trials.json" in tables, "else the UI shows it as JSON"
    unbroken = trials["trial-0"]
    assert unbroken["status"] == "FINISHED" and unbroken["tags"]["doctune.trial_state"] == "complete"
    assert unbroken["steps"] == [10, 20, 30, 40, 50, 60], "the resumed curve has no gap and no zigzag"
    assert unbroken["metrics"]["value"] == pytest.approx(parent["metrics"]["best_valid_loss"])
    absurd = [run for run in trials.values() if run["params"]["learning_rate"] == "1.0"]
    assert absurd and {run["tags"]["doctune.trial_state"] for run in absurd} == {"pruned"}
    assert all(run["status"] == "KILLED" and len(run["steps"]) < 6 for run in absurd)

    monkeypatch.chdir(project)
    preset = validate(Params, load_preset("better"), "better")
    assert preset.train.learning_rate == 2e-3 and preset.train.max_steps == -1, (
        "the length of a trial is not the model's"
    )

    forget(project, unbroken["id"])
    third = start(project)
    log, _ = third.communicate(timeout=1500)
    assert third.returncode == 0 and "4 of 4 trials ended" in log and "training for" not in log, log[-4000:]
    again = {run["id"]: run for run in runs(project)}
    assert len(again) == len(found), "nothing is done twice"
    mended = again[unbroken["id"]]
    assert (mended["status"], mended["tags"]["doctune.trial_state"]) == ("FINISHED", "complete")
    assert mended["metrics"]["value"] == unbroken["metrics"]["value"] and mended["steps"] == unbroken["steps"]

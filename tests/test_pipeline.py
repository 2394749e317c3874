"""Both front ends on a copy of this project, for real: `doctune run` (Prefect) and `dvc repro`, with DVC's cache and MLflow between.

The tests share one copy and run in order: each begins where the one before ended, as people's days do.
"""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from doctune.section import read_yaml
from tests.project import ROOT, Project

pytestmark = pytest.mark.slow
STAGES = (
    "crawl",
    "align",
    "split",
    "base",
    "train",
    "translate_base",
    "translate_tuned",
    "evaluate",
    "register",
    "export",
)
AFTER_TRAIN = {"train", "translate_tuned", "evaluate", "register", "export"}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    if not (ROOT / "base" / "model.safetensors").exists():
        pytest.fail("base/ has no weights: this checkout is not whole")
    return Project.copy(tmp_path_factory.mktemp("site") / "project")


def states(done: subprocess.CompletedProcess) -> dict[str, str]:
    assert done.returncode == 0, done.stdout[-4000:]
    return dict(re.findall(rf"^({'|'.join(STAGES)}) +(Cached|Restored|Completed)\b", done.stdout, re.M))


def versions(project: Project) -> list[dict]:
    code = (
        "import json; from doctune.registry.store import connect; from doctune.registry.versions import list_versions\n"
        "print(json.dumps([dict(number=v.number, aliases=v.aliases, tags=v.tags) for v in list_versions(connect(), 'doctune')]))"
    )
    done = project.run("python", "-c", code)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout.splitlines()[-1])


def runs(project: Project) -> int:
    code = (
        "from doctune.registry.store import connect; s = connect(); print(len(s.client.search_runs([s.experiment_id])))"
    )
    done = project.run("python", "-c", code)
    assert done.returncode == 0, done.stdout
    return int(done.stdout.splitlines()[-1])


def processes_of(project: Project) -> dict[int, str]:
    """Stages and DVC processes that work in this copy: process id to command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and Path(os.readlink(entry / "cwd")) == project.root:
                words = (entry / "cmdline").read_bytes().decode().split("\0")
                if any(word.startswith("tasks.") or word == "dvc" for word in words):
                    found[int(entry.name)] = " ".join(words)
        except OSError:  # it ended meanwhile
            continue
    return found


def wait_for(what, seconds: float = 120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.2)
    pytest.fail(f"did not happen within {seconds} s: {what}")


def training_process(project: Project) -> int | None:
    """The train stage's process id, once it has written a checkpoint."""
    if not list(project.root.glob(".doctune/checkpoints/*/checkpoint-*/trainer_state.json")):
        return None
    return next(
        (pid for pid, words in processes_of(project).items() if "-m tasks.train" in words and " -c " not in words), None
    )


def test_a_run_makes_everything(project):
    done = project.run("doctune", "run")
    assert states(done) == dict.fromkeys(STAGES, "Completed")
    for said in ("pairs", "translation memory", "base", "tuned", "version 1 (challenger, champion)", "ONNX", "make ui"):
        assert said in done.stdout, said
    metrics = json.loads((project.root / "reports/metrics.json").read_text(encoding="utf-8"))
    assert metrics["base"]["bleu_low"] <= metrics["base"]["bleu"] <= metrics["base"]["bleu_high"]
    assert json.loads((project.root / "reports/export.json").read_text(encoding="utf-8"))["identical_fp32"] >= 0.99
    [version] = versions(project)
    assert version["tags"]["shipped_model"].startswith("models:/")
    lock = read_yaml(project.root / "dvc.lock")["stages"]
    assert version["tags"]["dvc_model"] in json.dumps(lock["train"]["outs"])


def test_dvc_has_nothing_to_do_after_it(project):
    assert "Data and pipelines are up to date" in project.run("dvc", "repro").stdout
    assert "Data and pipelines are up to date" in project.run("dvc", "status").stdout


def test_the_next_run_is_all_cached(project):
    assert states(project.run("doctune", "run")) == dict.fromkeys(STAGES, "Cached")
    assert len(versions(project)) == 1 and runs(project) == 1


def test_the_registered_model_translates_in_a_fresh_process(project):
    code = 'import mlflow; print(mlflow.pyfunc.load_model("models:/doctune@challenger").predict(["Run `kubectl get pods` now."]))'
    done = project.run("python", "-c", code, MLFLOW_TRACKING_URI=f"sqlite:///{project.root}/mlruns/mlflow.db")
    assert done.returncode == 0 and "`kubectl get pods`" in done.stdout.splitlines()[-1], done.stdout[-2000:]
    shipped = project.run("doctune", "translate", "Run `kubectl get pods` now.")
    assert shipped.returncode == 0 and "`kubectl get pods`" in shipped.stdout.splitlines()[-1], shipped.stdout[-2000:]


def test_removed_outputs_come_back_from_the_cache(project):
    (project.root / "data/pairs.jsonl").unlink()
    (project.root / "reports/metrics.json").unlink()
    after = states(project.run("doctune", "run"))
    assert after == dict.fromkeys(STAGES, "Cached") | {"align": "Restored", "evaluate": "Restored"}
    assert (project.root / "data/pairs.jsonl").exists()


def test_a_knob_of_train_reruns_train_and_what_follows(project):
    project.commit("a first model")
    after = states(project.run("doctune", "run", "--set", "train.learning_rate=0.0001"))
    assert {stage for stage, state in after.items() if state == "Completed"} == AFTER_TRAIN
    assert [v["number"] for v in versions(project)] == ["2", "1"] and runs(project) == 2
    assert versions(project)[0]["aliases"] == ["challenger"], "a second model does not become champion by itself"
    diff = json.loads(project.run("dvc", "metrics", "diff", "--json").stdout)
    assert "reports/metrics.json" in diff


def test_the_old_knob_restores_without_training(project):
    project.git("checkout", "--quiet", "params.yaml")
    began = time.monotonic()
    after = states(project.run("doctune", "run"))
    assert {stage for stage, state in after.items() if state == "Restored"} == AFTER_TRAIN, after
    assert len(versions(project)) == 2 and runs(project) == 2
    assert versions(project)[1]["aliases"] == ["challenger", "champion"], (
        f"the challenger is what the files hold ({time.monotonic() - began:.0f} s)"
    )


def test_alignment_code_reruns_align_only_where_its_result_is_the_same(project):
    module = project.root / "doctune/cleaning.py"
    module.write_text(module.read_text(encoding="utf-8") + "\n# edited\n", encoding="utf-8")
    done = project.run("dvc", "repro")
    assert "Running stage 'align'" in done.stdout and "Running stage 'train'" not in done.stdout, done.stdout[-2000:]
    project.git("checkout", "--quiet", "doctune/cleaning.py")


def test_mlflow_s_losses_are_repaired(project):
    for file in (project.root / "mlruns").glob("mlflow.db*"):
        file.unlink()
    assert states(project.run("doctune", "run"))["register"] in ("Cached", "Restored")
    [version] = versions(project)
    assert version["aliases"] == ["challenger", "champion"] and version["tags"]["shipped_model"] and runs(project) == 1


@pytest.mark.parametrize("victim", ["stage", "flow"])
def test_a_killed_run_leaves_nothing_running_and_resumes(project, victim):
    project.set({"train": {"seed": 100 if victim == "stage" else 101, "epochs": 1.0}})
    before = len(versions(project))
    for old in project.root.glob(".doctune/checkpoints/*"):
        subprocess.run(["rm", "-rf", str(old)], check=True)
    running = project.start("doctune", "run")
    stage = wait_for(lambda: training_process(project))
    os.kill(stage if victim == "stage" else running.pid, signal.SIGKILL)
    output, _ = running.communicate(timeout=120)
    assert running.returncode != 0
    if victim == "stage":
        assert "SIGKILL" in output and "train" in output.splitlines()[-1], output[-1500:]
    wait_for(lambda: not processes_of(project), 20)
    after = project.run("doctune", "run")
    assert states(after)["train"] == "Completed" and "resumed at step" in after.stdout, after.stdout[-3000:]
    assert len(versions(project)) == before + 1
    assert "Data and pipelines are up to date" in project.run("dvc", "status").stdout


def test_two_runs_at_once_do_not_meet(project):
    project.set({"evaluate": {"seed": 7}})
    first = project.start("doctune", "run")
    wait_for(lambda: processes_of(project))
    second = project.run("doctune", "run")
    assert (
        second.returncode != 0
        and "wanted to start a flow run on this checkout, but process" in second.stdout.splitlines()[-1]
    )
    output, _ = first.communicate(timeout=300)
    assert first.returncode == 0, output[-3000:]
    assert "Data and pipelines are up to date" in project.run("dvc", "status").stdout


def test_others_pull_what_was_pushed_and_old_revisions_come_back(project, tmp_path):
    project.run("dvc", "remote", "add", "--default", "--local", "store", str(tmp_path / "store"))
    project.commit("a second model")
    new = (project.root / "models/tuned/model.safetensors").read_bytes()
    assert project.run("dvc", "push", "--all-commits").returncode == 0
    project.git("clone", "--quiet", str(project.root), str(tmp_path / "elsewhere"))
    elsewhere = Project(tmp_path / "elsewhere")
    elsewhere.run("dvc", "remote", "add", "--default", "--local", "store", str(tmp_path / "store"))
    pulled = elsewhere.run("dvc", "pull")
    assert pulled.returncode == 0, pulled.stdout
    assert "Data and pipelines are up to date" in elsewhere.run("dvc", "repro").stdout
    assert (elsewhere.root / "models/tuned/model.safetensors").read_bytes() == new
    elsewhere.git("checkout", "--quiet", "HEAD~1")
    assert elsewhere.run("dvc", "pull").returncode == 0
    assert elsewhere.run("dvc", "checkout").returncode == 0
    assert (elsewhere.root / "models/tuned/model.safetensors").read_bytes() != new
    assert "Data and pipelines are up to date" in elsewhere.run("dvc", "status").stdout


def test_plots_and_graph_are_there_to_look_at(project):
    assert project.run("dvc", "dag").returncode == 0
    shown = project.run("dvc", "plots", "show", "--out", "plots-out")
    assert shown.returncode == 0 and "Quality against novelty" in (project.root / "plots-out/index.html").read_text(
        encoding="utf-8"
    )
    assert "tuned.bleu" in project.run("dvc", "metrics", "show").stdout

"""Both front ends on a copy of this project, for real: `doctune run` (Prefect) and `dvc repro`, with DVC's cache and MLflow between.

The tests share one copy and run in order: each begins where the one before ended, as people's days do.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from doctune.section import read_yaml
from tests.project import ROOT, Project

pytestmark = pytest.mark.slow
STAGES = (
    "crawl",
    "align",
    "extra",
    "split",
    "card",
    "base",
    "adapt",
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


@pytest.fixture(scope="module")
def served(project: Project) -> Iterator[Project]:
    """The same copy with its Prefect server running, as under a schedule: a flow starts in two seconds instead of ten."""
    code = "import time; from flows.server import running_server\nwith running_server(): print('up', flush=True); time.sleep(3600)"
    server = project.start("python", "-c", code)
    assert any(line == "up\n" for line in server.stdout), "the Prefect server did not come up"
    yield project
    server.terminate()
    server.communicate(timeout=60)


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


def said_in_prefect(project: Project) -> str:
    """The newest artifact of a promotion."""
    code = (
        "import json, urllib.request; from pathlib import Path; from flows.server import own_server\n"
        "print(urllib.request.urlopen(f'{own_server(Path.cwd())}/artifacts/promotion/latest').read().decode())"
    )
    done = project.run("python", "-c", code)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout.splitlines()[-1])["data"]


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


def wait_for(what, seconds: float = 600):
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
    version = "version 1 (challenger, champion)"
    promoted = ("## Promotion", "| structure |", "| parity |", "is champion, the first")
    for said in ("pairs", "translation memory", "base", "tuned", version, "ONNX", *promoted, "make ui"):
        assert said in done.stdout, said
    metrics = json.loads((project.root / "reports/metrics.json").read_text(encoding="utf-8"))
    assert metrics["base"]["bleu_low"] <= metrics["base"]["bleu"] <= metrics["base"]["bleu_high"]
    assert json.loads((project.root / "reports/export.json").read_text(encoding="utf-8"))["identical_fp32"] >= 0.99
    [version] = versions(project)
    assert version["tags"]["shipped_model"].startswith("models:/")
    lock = read_yaml(project.root / "dvc.lock")["stages"]
    assert version["tags"]["dvc_model"] in json.dumps(lock["train"]["outs"])


def test_dvc_has_nothing_to_do_after_it(served):
    assert "Data and pipelines are up to date" in served.run("dvc", "repro").stdout
    assert "Data and pipelines are up to date" in served.run("dvc", "status").stdout


def test_the_next_run_is_all_cached(served):
    assert states(served.run("doctune", "run")) == dict.fromkeys(STAGES, "Cached")
    assert len(versions(served)) == 1 and runs(served) == 1


def test_the_registered_model_translates_in_a_fresh_process(served):
    code = 'import mlflow; print(mlflow.pyfunc.load_model("models:/doctune@challenger").predict(["Run `kubectl get pods` now."]))'
    done = served.run("python", "-c", code, MLFLOW_TRACKING_URI=f"sqlite:///{served.root}/mlruns/mlflow.db")
    assert done.returncode == 0 and "`kubectl get pods`" in done.stdout.splitlines()[-1], done.stdout[-2000:]
    shipped = served.run("doctune", "translate", "Run `kubectl get pods` now.")
    assert shipped.returncode == 0 and "`kubectl get pods`" in shipped.stdout.splitlines()[-1], shipped.stdout[-2000:]


def test_removed_outputs_come_back_from_the_cache(served):
    (served.root / "data/pairs.jsonl").unlink()
    (served.root / "reports/metrics.json").unlink()
    after = states(served.run("doctune", "run"))
    assert after == dict.fromkeys(STAGES, "Cached") | {"align": "Restored", "evaluate": "Restored"}
    assert (served.root / "data/pairs.jsonl").exists()


def test_a_knob_of_train_reruns_train_and_what_follows(served):
    served.commit("a first model")
    done = served.run("doctune", "run", "--set", "train.learning_rate=0.0001", "--set", "train.method=lora")
    after = states(done)
    assert (served.root / "models/tuned/adapter_model.safetensors").is_file(), "an adapter goes through every stage"
    assert "version 2 of doctune was refused: " in done.stdout and "version 1 stays champion" in done.stdout
    assert {stage for stage, state in after.items() if state == "Completed"} == AFTER_TRAIN
    assert [v["number"] for v in versions(served)] == ["2", "1"] and runs(served) == 2
    assert versions(served)[0]["aliases"] == ["challenger"], "a second model does not become champion by itself"
    diff = json.loads(served.run("dvc", "metrics", "diff", "--json").stdout)
    assert "reports/metrics.json" in diff


def test_promotion_refuses_is_forced_and_is_rolled_back(served):
    refused = served.run("doctune", "promote")
    assert refused.returncode == 3 and "FAIL  significance" in refused.stdout, refused.stdout[-3000:]
    assert "**failed**" in said_in_prefect(served) and "version 1 stays champion" in said_in_prefect(served)
    assert served.run("doctune", "promote", "--force", " ").returncode == 1
    forced = served.run("doctune", "promote", "--force", "试用第二版")
    assert forced.returncode == 0 and "is champion by force (试用第二版)" in forced.stdout, forced.stdout[-3000:]
    assert versions(served)[0]["aliases"] == ["challenger", "champion"] and "by force" in said_in_prefect(served)
    shown = served.run("doctune", "models", "show", "2").stdout
    changed = ("train.learning_rate: 0.0005 -> 0.0001", "train.method: full -> lora")
    for said in ("what changed since version 1", *changed, "train ran: ", "试用第二版"):
        assert said in shown, shown
    back = served.run("doctune", "rollback", "--reason", "漏译")
    assert back.returncode == 0 and "version 1 again" in back.stdout, back.stdout
    assert "rolled back" in served.run("doctune", "models", COLUMNS="200").stdout
    assert "Data and pipelines are up to date" in served.run("dvc", "status").stdout, "a promotion makes nothing stale"


def test_the_old_knob_restores_without_training(served):
    served.git("checkout", "--quiet", "params.yaml")
    began = time.monotonic()
    after = states(served.run("doctune", "run"))
    assert {stage for stage, state in after.items() if state == "Restored"} == AFTER_TRAIN, after
    assert len(versions(served)) == 2 and runs(served) == 2
    assert versions(served)[1]["aliases"] == ["challenger", "champion"], (
        f"the challenger is what the files hold ({time.monotonic() - began:.0f} s)"
    )


def test_a_scheduled_run_ends_with_promotion(served):
    code = "from flows.run import flow_module\nwith flow_module('flows.scheduled') as module: print(module.nightly())"
    done = served.run("python", "-c", code)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "version 1 of doctune is champion already" in done.stdout, "it asked about what is in the project's MLflow"
    clone = served.root / ".doctune/scheduled/checkout"
    assert read_yaml(clone / "dvc.lock")["stages"].keys() == set(STAGES) and not (clone / "mlruns/mlflow.db").exists()
    assert [version["number"] for version in versions(served)] == ["2", "1"], "the same model is no new version"


def test_alignment_code_reruns_align_only_where_its_result_is_the_same(served):
    module = served.root / "doctune/cleaning/__init__.py"
    module.write_text(module.read_text(encoding="utf-8") + "\n# edited\n", encoding="utf-8")
    done = served.run("dvc", "repro")
    assert "Running stage 'align'" in done.stdout and "Running stage 'train'" not in done.stdout, done.stdout[-2000:]
    served.git("checkout", "--quiet", "doctune/cleaning/__init__.py")


def test_mlflow_s_losses_are_repaired(served):
    for file in (served.root / "mlruns").glob("mlflow.db*"):
        file.unlink()
    assert states(served.run("doctune", "run"))["register"] in ("Cached", "Restored")
    [version] = versions(served)
    assert version["aliases"] == ["challenger", "champion"] and version["tags"]["shipped_model"] and runs(served) == 1


def test_killed_runs_leave_nothing_running_and_resume(served):
    served.set({"train": {"seed": 100, "epochs": 1.0}})
    before = len(versions(served))
    for old in served.root.glob(".doctune/checkpoints/*"):
        shutil.rmtree(old)

    running = served.start("doctune", "run")
    os.kill(wait_for(lambda: training_process(served)), signal.SIGKILL)
    output, _ = running.communicate(timeout=600)
    assert running.returncode != 0
    assert "SIGKILL" in output.splitlines()[-1] and "train" in output.splitlines()[-1], output[-1500:]
    wait_for(lambda: not processes_of(served), 60)

    running = served.start("doctune", "run")
    wait_for(lambda: training_process(served))
    os.kill(running.pid, signal.SIGKILL)
    running.communicate(timeout=600)
    wait_for(lambda: not processes_of(served), 60)

    after = served.run("doctune", "run")
    assert states(after)["train"] == "Completed" and "resumed at step" in after.stdout, after.stdout[-3000:]
    assert len(versions(served)) == before + 1
    assert "Data and pipelines are up to date" in served.run("dvc", "status").stdout


def test_two_runs_at_once_do_not_meet(served):
    served.set({"evaluate": {"seed": 7}})
    first = served.start("doctune", "run")
    wait_for(lambda: processes_of(served))
    second = served.run("doctune", "run")
    assert (
        second.returncode != 0
        and "wanted to start a flow run on this checkout, but process" in second.stdout.splitlines()[-1]
    )
    output, _ = first.communicate(timeout=1500)
    assert first.returncode == 0, output[-3000:]
    assert "Data and pipelines are up to date" in served.run("dvc", "status").stdout


def test_others_pull_what_was_pushed_and_old_revisions_come_back(served, tmp_path):
    served.run("dvc", "remote", "add", "--default", "--local", "store", str(tmp_path / "store"))
    served.commit("a second model")
    new = (served.root / "models/tuned/model.safetensors").read_bytes()
    assert served.run("dvc", "push", "--all-commits").returncode == 0
    served.git("clone", "--quiet", str(served.root), str(tmp_path / "elsewhere"))
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


def test_plots_and_graph_are_there_to_look_at(served):
    assert served.run("dvc", "dag").returncode == 0
    shown = served.run("dvc", "plots", "show", "--out", "plots-out")
    assert shown.returncode == 0 and "Quality against novelty" in (served.root / "plots-out/index.html").read_text(
        encoding="utf-8"
    )
    assert "tuned.bleu" in served.run("dvc", "metrics", "show").stdout

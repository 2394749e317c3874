"""Whole flow runs of a toy pipeline against one real Prefect server, each run a process of its own."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.server import running_server
from tests.toy import PROJECT, dvc, made, processes, toy, wait_for

__all__ = ["made", "toy"]  # fixtures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        patch.setenv("PREFECT_HOME", str(root))
        with running_server(root) as url:
            patch.setenv("PREFECT_API_URL", url)
            yield url


def start(root: Path, *words: str, before: str = "") -> "subprocess.Popen[str]":
    heed_interrupts = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # CI may ignore them
    code = f"{before}\n{heed_interrupts}; import runpy; runpy.run_module('flows.run', run_name='__main__')"
    environ = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], cwd=root, env=environ, stderr=subprocess.PIPE, text=True
    )


def finish(process: "subprocess.Popen[str]") -> tuple[int, list[str]]:
    _, log = process.communicate(timeout=600)
    return process.returncode, log.splitlines()


def run(root: Path) -> dict[str, int]:
    """The number of stages in each state."""
    code, log = finish(start(root))
    assert code == 0, log
    return dict(json.loads(log[-1]))


def until_it_runs(process: "subprocess.Popen[str]", said: str = "stage first.out starts") -> None:
    assert process.stderr is not None
    while said not in (line := process.stderr.readline()):
        assert line, f"the run ended before it said {said!r}"


def cancel(server: str) -> None:
    body = json.dumps({"state": {"type": "CANCELLING"}}).encode()
    url = f"{server}/flow_runs/{last_run(server)['id']}/set_state"
    urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"})).close()


def last_run(server: str) -> dict[str, Any]:
    body = json.dumps({"sort": "START_TIME_DESC", "limit": 1}).encode()
    request = urllib.request.Request(f"{server}/flow_runs/filter", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return dict(json.load(answer)[0])


def test_both_front_ends_agree(server: str, toy: Path) -> None:
    assert run(toy) == {"Cached": 4}
    (toy / "params.yaml").write_text("left: {rate: 2}\n")
    assert run(toy) == {"Cached": 3, "Completed": 1}  # left's new result is the old one: last stays fresh
    assert "up to date" in dvc(toy, "repro")
    (toy / "source.txt").write_text("A Deployment owns ReplicaSets.\n")
    dvc(toy, "repro", "--quiet")
    assert run(toy) == {"Cached": 4}
    (toy / "last.out").unlink()
    (toy / "params.yaml").write_text("left: {rate: 1}\n")
    assert run(toy)["Restored"] == 1
    assert dvc(toy, "status") == "Data and pipelines are up to date."


def test_a_failure_shows_its_own_error(server: str, toy: Path) -> None:
    (toy / "source.txt").write_text("wrong")
    code, log = finish(start(toy))
    wanted = "stage first failed: 第 3 页不是 UTF-8; save it as UTF-8"
    assert code == 1
    assert log[-1] == f"doctune: error: {wanted}"
    assert "Traceback" not in "\n".join(log)
    assert last_run(server)["state"] | {"type": "FAILED", "message": wanted} == last_run(server)["state"]
    (toy / "source.txt").write_text("well")
    assert run(toy) == {"Completed": 4}


BROKEN = (
    "import flows.pipeline as p\ndef full(*a, **k): raise OSError(28, 'No space left on device')\np.run_stage = full"
)


def test_what_no_stage_expects_fails_the_run(server: str, toy: Path) -> None:
    """A full disk in the flow itself: not a run that went well because nothing is up to date."""
    (toy / "source.txt").write_text("more")
    code, log = finish(start(toy, before=BROKEN))
    assert code != 0 and "No space left on device" in log[-1], log[-5:]
    assert last_run(server)["state"]["type"] == "FAILED"
    assert run(toy) == {"Completed": 4}


def test_a_second_run_is_refused(server: str, toy: Path) -> None:
    (toy / "source.txt").write_text("slow")
    first = start(toy)
    until_it_runs(first)
    code, log = finish(start(toy))
    assert code == 1
    assert f"wanted to start a flow run on this checkout, but process {first.pid} has held" in log[-1]
    first.send_signal(signal.SIGINT)
    assert finish(first)[0] == 130
    assert last_run(server)["state"]["type"] == "CANCELLED"
    assert processes(toy) == []


def test_cancelling_in_prefect_ends_the_stage(server: str, toy: Path) -> None:
    (toy / "source.txt").write_text("slow")
    flow = start(toy)
    until_it_runs(flow)
    cancel(server)
    code, log = finish(flow)
    assert code == 130, log
    assert last_run(server)["state"]["type"] == "CANCELLED"
    assert processes(toy) == []


def test_cancelling_in_prefect_reaches_a_promotion(server: str, toy: Path) -> None:
    judge = (
        "import sys; from flows import promote\n"
        "def judging(root, commands, stop):\n"
        "    print('judging', file=sys.stderr, flush=True); assert stop.wait(600)\n"
        "    return promote.Outcome('', error='not decided on')\n"
        "promote.promote_in_pipeline = judging"
    )
    flow = start(toy, before=judge)
    until_it_runs(flow, "judging")
    cancel(server)
    code, log = finish(flow)
    assert code == 130, log
    assert last_run(server)["state"]["type"] == "CANCELLED"


def test_kill_9_of_the_flow_leaves_nothing_and_blocks_nothing(server: str, toy: Path) -> None:
    (toy / "source.txt").write_text("slow")
    flow = start(toy)
    until_it_runs(flow)
    flow.kill()
    finish(flow)
    wait_for(lambda: processes(toy) == [], seconds=120)
    (toy / "source.txt").write_text("well")
    assert run(toy) == {"Completed": 4}

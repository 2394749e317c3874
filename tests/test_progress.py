"""A stage's progress in Prefect: an artifact of a real server while the stage runs, and no harm where there is none."""

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from doctune.files import write_json
from doctune.progress import progress_file, report_progress
from flows.progress import Artifact, shown_progress
from flows.summary import _made
from tests.test_flow_runs import finish, last_run, server, start
from tests.toy import made, toy, wait_for

__all__ = ["made", "server", "toy"]  # fixtures


def artifacts(server: str, run_id: str) -> list[dict[str, Any]]:
    """Those of a flow run that show progress, newest first."""
    wanted = {"flow_runs": {"id": {"any_": [run_id]}}, "artifacts": {"type": {"any_": ["progress"]}}}
    body = json.dumps({**wanted, "sort": "CREATED_DESC"}).encode()
    request = urllib.request.Request(f"{server}/artifacts/filter", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return list(json.load(answer))


@pytest.mark.slow
def test_prefect_shows_how_far_a_stage_is_while_it_runs(server: str, toy: Path) -> None:
    (toy / "source.txt").write_text("told")
    flow = start(toy)
    shown: list[dict[str, Any]] = []

    def first_stage_is_shown() -> bool:
        assert flow.poll() is None, finish(flow)
        if progress_file("first", toy).exists():
            shown[:] = artifacts(server, last_run(server)["id"])
        return bool(shown)

    try:
        wait_for(first_stage_is_shown, seconds=600)
        (toy / "seen").touch()
        code, log = finish(flow)
    finally:
        flow.kill()
    assert code == 0, log
    assert (shown[0]["key"], shown[0]["data"]) == ("first-progress", 25.0)
    assert shown[0]["description"].startswith("**first: 1 of 4, 0:09 left**\n\n一步 of four")
    ended = {artifact["key"]: artifact for artifact in artifacts(server, last_run(server)["id"])}
    assert sorted(ended) == ["first-progress", "last-progress", "left-progress", "right-progress"]
    assert ended["first-progress"]["id"] == shown[0]["id"], "one artifact, brought up to date"
    assert {artifact["data"] for artifact in ended.values()} == {100.0}
    assert ended["first-progress"]["description"].endswith("| 1 | 2.5 |\n| 4 | 1.5 |")
    assert all(artifact["task_run_id"] for artifact in ended.values())


def test_what_an_earlier_run_said_is_not_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report_progress("train", 5, 5, "of yesterday")
    with shown_progress(tmp_path, "train"):
        assert not progress_file("train", tmp_path).exists()


def test_a_server_that_is_gone_harms_no_stage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tried: list[object] = []

    def show(self: Artifact, progress: object) -> None:
        tried.append(progress)
        raise ConnectionError("no server")

    monkeypatch.setattr(Artifact, "show", show)
    monkeypatch.setattr("flows.progress.LOOK_SECONDS", 0.01)
    with shown_progress(tmp_path, "train"):
        wait_for(lambda: len(tried) > 3)
    assert len(tried) > 4, "it tries to the end, and once more after it"


def test_a_server_that_never_answers_holds_nothing_up(tmp_path, monkeypatch):
    monkeypatch.setattr(Artifact, "show", lambda self, progress: time.sleep(30))
    monkeypatch.setattr("flows.progress.LAST_LOOK_SECONDS", 0.1)
    began = time.monotonic()
    with shown_progress(tmp_path, "train"):
        pass
    assert time.monotonic() - began < 20


MEASURED = {"tokens_per_second": 5210.4, "peak_memory_mb": 1840.2, "minutes": 2.51}


@pytest.mark.parametrize(
    ("measured", "wanted"),
    [
        pytest.param(MEASURED, "288 updates in 2.5 minutes, 5,210 tokens/s, 1,840 MiB", id="all of it"),
        pytest.param({"minutes": 2.51}, "288 updates in 2.5 minutes", id="resumed after its last step"),
    ],
)
def test_a_run_s_table_says_what_training_took(tmp_path, measured, wanted):
    facts = {"parameters": 7_576_064, "trainable_parameters": 7_313_920, "steps": 288, "measured": measured}
    write_json(tmp_path / "reports/报告.json", facts)  # wherever dvc.yaml has it
    commands = {"train": "exec python -m tasks.train --base models/base --report reports/报告.json"}
    assert _made(tmp_path, commands, version=None) == [f"- trained 7.31 of 7.58 M parameters for {wanted}"]

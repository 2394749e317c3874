"""The flow front end piece by piece, on a toy pipeline: real DVC, real processes, real signals, real Prefect."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from doctune.errors import DoctuneError
from doctune.files import write_json
from doctune.locks import hold
from doctune.section import read_yaml
from flows import schedule, server, ui
from flows.checkout import prepare
from flows.child import Lines, Stop, run_child
from flows.dead_locks import drop_dead_locks
from flows.graph import Dag, Stage
from flows.stage_run import StageFailed, StageStopped, explain, run_stage
from flows.summary import Row, summarise
from tests.toy import PROJECT, dvc, git, made, processes, toy, wait_for

__all__ = ["made", "toy"]  # fixtures


def run(
    root: Path, name: str, checkout: bool = False, stop: Stop | None = None, log: Callable[[str], None] = print
) -> str:
    return run_stage(root, name, checkout=checkout, log=log, stop=stop or Stop(), flow_run_id="test").state


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        pytest.param([b"one\ntwo\n"], ["one", "two"], id="whole lines"),
        pytest.param([b"o", b"ne\ntw", b"o"], ["one", "two"], id="pieces, the last without its newline"),
        pytest.param(["容器".encode()[:4], "容器".encode()[4:] + b"\n"], ["容器"], id="a character cut in two"),
        pytest.param([b"\xff\n"], ["\ufffd"], id="not UTF-8"),
        pytest.param([b"\x1b[31mred\x1b[0m\r\n"], ["red"], id="colours and a DOS newline"),
        pytest.param([b" 1%\r 2%\r 3%\n"], [" 3%"], id="a progress bar in one piece"),
        pytest.param([b"\r 1%", b"\r 2%", b"\r 3%", b"\r 4%\ndone\n"], [" 1%", " 4%", "done"], id="a bar says little"),
        pytest.param([b"\n\n  \n"], [], id="empty lines"),
    ],
)
def test_output_becomes_lines(chunks: list[bytes], lines: list[str]) -> None:
    reader = Lines()
    got = [line for chunk in chunks for line in reader.feed(chunk)] + reader.feed(b"", final=True)
    assert got == lines


FAILED = "ERROR: failed to reproduce 'train': failed to run: python -m tasks.train, exited with"
TRACEBACK = [
    "Traceback (most recent call last):",
    f'  File "{Path.cwd()}/tasks/align.py", line 12, in main',
    "    boom()",
]


@pytest.mark.parametrize(
    ("lines", "code", "wanted"),
    [
        pytest.param(
            ["loss 2.1", "doctune: error: 没有 zh-cn 页面", f"{FAILED} 1"],
            1,
            "没有 zh-cn 页面",
            id="the stage's own line",
        ),
        pytest.param(
            [*TRACEBACK, "ValueError: bad", f"{FAILED} 1"],
            1,
            "ValueError: bad (tasks/align.py, line 12)",
            id="traceback",
        ),
        pytest.param(["x", f"{FAILED} -9"], 1, "its process was killed by SIGKILL", id="stage killed"),
        pytest.param(["x", f"{FAILED} 137"], 1, "its process was killed by SIGKILL", id="stage killed under a shell"),
        pytest.param(["x", f"{FAILED} -11"], 1, "its process was killed by SIGSEGV", id="crash in native code"),
        pytest.param(["half a line"], 137, "dvc itself was killed by SIGKILL", id="dvc killed"),
        pytest.param(["one", "two", f"{FAILED} 3"], 1, "one | two | exit code 3", id="no word of why"),
        pytest.param(
            ["ERROR: failed to reproduce 'a': missing data 'source': b.txt"],
            255,
            "missing data 'source': b.txt",
            id="DVC's own",
        ),
        pytest.param([], 255, "dvc exited with 255", id="nothing said"),
    ],
)
def test_the_real_error_is_told(lines: list[str], code: int, wanted: str) -> None:
    assert explain(lines, code).startswith(wanted)


def test_lock_refuses_and_names_its_holder(tmp_path: Path) -> None:
    lock = tmp_path / "state" / "flow.lock"
    refusal = rf"wanted to start, but process {os.getpid()} has held"
    with hold(lock, "to be first"), pytest.raises(DoctuneError, match=refusal), hold(lock, "to start"):
        pass
    with hold(lock, "to start again"):
        pass


def test_lock_goes_when_its_holder_is_killed(tmp_path: Path) -> None:
    lock = tmp_path / "flow.lock"
    code = f"""
import time
from pathlib import Path
from doctune.locks import hold
with hold(Path({str(lock)!r}), "to sleep"):
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT)
    try:
        wait_for(lambda: lock.exists() and lock.read_text())
        threading.Timer(0.5, holder.kill).start()
        with hold(lock, "to start", wait=20):
            assert json.loads(lock.read_text())["pid"] == os.getpid()
    finally:
        holder.kill()
        holder.wait()


def test_graph_and_freshness_are_dvcs(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert next(stage.name for stage in Dag(toy).stages()) == "first"  # wherever one stands
    monkeypatch.chdir(toy)
    dag = Dag(toy)
    assert [(stage.name, set(stage.needs)) for stage in dag.stages()] in (
        [("first", set()), ("left", {"first"}), ("right", {"first"}), ("last", {"left", "right"})],
        [("first", set()), ("right", {"first"}), ("left", {"first"}), ("last", {"left", "right"})],
    )
    assert isinstance(dag.stages()[0], Stage)
    assert all(not dag.judge(stage.name).stale for stage in dag.stages())
    assert dag.reads(Path("params.yaml"))
    assert not dag.reads(Path("source.lock.yaml"))
    (toy / "params.yaml").write_text("left: {rate: 2}\n")
    (toy / "right.out").unlink()
    assert dag.judge("left").stale == ("params.yaml left modified",)
    assert not dag.judge("left").restorable
    assert dag.judge("right").stale == ("right.out deleted",)
    assert dag.judge("right").restorable
    assert not dag.judge("last").restorable  # an input is gone, not an output


@pytest.mark.parametrize(
    ("spoil", "wanted"),
    [
        pytest.param(
            lambda root: (root / "dvc.yaml").write_text("stages: ["), "DVC cannot read the pipeline", id="broken YAML"
        ),
        pytest.param(
            lambda root: (root / "dvc.yaml").write_text("stages: {a: {outs: [b]}}"), "DVC cannot read", id="no cmd"
        ),
        pytest.param(lambda root: shutil.rmtree(root / ".dvc"), "DVC cannot open", id="no DVC project"),
    ],
)
def test_a_broken_pipeline_is_one_line(toy: Path, spoil: Callable[[Path], object], wanted: str) -> None:
    spoil(toy)
    with pytest.raises(DoctuneError, match=wanted) as caught:
        Dag(toy).stages()
    assert "\n" not in str(caught.value)


def test_a_stage_is_cached_restored_or_run(toy: Path) -> None:
    lines: list[str] = []
    assert run(toy, "left") == "Cached"
    (toy / "params.yaml").write_text("left: {rate: 2}\n")
    assert run(toy, "left", log=lines.append) == "Completed"
    assert "stage left.out starts" in lines
    (toy / "params.yaml").write_text("left: {rate: 1}\n")
    assert run(toy, "left") == "Restored"
    shutil.rmtree(toy / ".dvc" / "cache" / "runs")  # as after `dvc pull`: DVC would run the stage again
    (toy / "right.out").unlink()
    lines.clear()
    assert run(toy, "right", checkout=True, log=lines.append) == "Restored"
    assert "stage right.out starts" not in lines
    assert (toy / "right.out").exists()


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        pytest.param("wrong", "stage first failed: 第 3 页不是 UTF-8; save it as UTF-8", id="a line for the user"),
        pytest.param("bug", "stage first failed: ValueError: a bug (", id="a bug"),
    ],
)
def test_a_failed_stage_tells_its_error(toy: Path, source: str, wanted: str) -> None:
    (toy / "source.txt").write_text(source)
    with pytest.raises(StageFailed) as caught:
        run(toy, "first")
    assert str(caught.value).startswith(wanted)


def test_a_stopped_stage_leaves_nothing_running(toy: Path) -> None:
    (toy / "source.txt").write_text("slow")
    stop, lines = Stop(), list[str]()

    def log(line: str) -> None:
        lines.append(line)
        if "starts" in line:
            stop.request("cancelled in Prefect")

    begin = time.monotonic()
    with pytest.raises(StageStopped, match="cancelled in Prefect"):
        run(toy, "first", stop=stop, log=log)
    assert time.monotonic() - begin < 45
    assert processes(toy) == []


def test_a_killed_stage_is_told_and_the_next_run_goes_on(toy: Path) -> None:
    (toy / "source.txt").write_text("slow")

    def log(line: str) -> None:
        if "starts" in line:
            stage = [p for p in psutil.process_iter(["cwd", "cmdline"]) if p.info["cwd"] == str(toy)]
            next(p for p in stage if p.info["cmdline"][1:2] == ["toy.py"]).kill()

    with pytest.raises(StageFailed, match="its process was killed by SIGKILL"):
        run(toy, "first", log=log)
    assert processes(toy) == []
    (toy / "source.txt").write_text("well")
    assert run(toy, "first") == "Completed"


@pytest.mark.parametrize("shell", [shell for shell in ("/bin/sh", "/bin/bash") if Path(shell).exists()])
def test_nothing_outlives_a_killed_flow(toy: Path, shell: str) -> None:
    (toy / "source.txt").write_text("slow")
    code = f"""
from pathlib import Path
from flows.child import Stop
from flows.stage_run import run_stage
log = lambda line: print(line, flush=True)
run_stage(Path({str(toy)!r}), "first", checkout=False, log=log, stop=Stop(), flow_run_id="x")
"""
    environ = {**os.environ, "SHELL": shell}
    flow = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, env=environ, stdout=subprocess.PIPE, text=True)
    assert flow.stdout is not None
    while "starts" not in (line := flow.stdout.readline()):
        assert line, "the stage did not start"
    assert len(processes(toy)) >= 2
    flow.send_signal(signal.SIGKILL)
    flow.wait()
    flow.stdout.close()
    wait_for(lambda: processes(toy) == [], seconds=120)
    drop_dead_locks(toy)
    (toy / "source.txt").write_text("well")
    assert run(toy, "first") == "Completed"


@pytest.mark.parametrize("shell", [shell for shell in ("/bin/sh", "/bin/bash") if Path(shell).exists()])
def test_nothing_outlives_a_killed_repro_where_commands_replace_their_shell(toy: Path, shell: str) -> None:
    (toy / "source.txt").write_text("slow")
    declared = toy / "dvc.yaml"
    declared.write_text(declared.read_text().replace("cmd: python", "cmd: exec python"))
    repro = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=toy,
        env={**os.environ, "SHELL": shell},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert repro.stdout is not None
    while "starts" not in (line := repro.stdout.readline()):
        assert line, "the stage did not start"
    repro.kill()
    repro.wait()
    repro.stdout.close()
    wait_for(lambda: processes(toy) == [], seconds=120)


def test_what_a_command_leaves_running_is_killed(tmp_path: Path) -> None:
    code = run_child(
        ["/bin/sh", "-c", "sleep 60 & echo started; exit 3"], cwd=tmp_path, env=os.environ, log=print, stop=Stop()
    )
    assert code == 3
    wait_for(lambda: processes(tmp_path) == [], seconds=120)


DEAD = {"pid": 2**22 + 1, "cmd": "dvc repro"}  # above Linux's largest process id
REUSED = {"pid": os.getpid(), "cmd": "/x/dvc/__main__.py repro --single-item train"}


def test_locks_of_the_dead_are_dropped(toy: Path) -> None:
    path = toy / ".dvc" / "tmp" / "rwlock"
    living = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "repro", "train"])
    try:
        while not Path(f"/proc/{living.pid}/cmdline").read_bytes():  # its program is still being put in place
            time.sleep(0.01)
        alive = {"pid": living.pid, "cmd": "dvc repro train"}
        path.write_text(json.dumps({"write": {"/a": DEAD, "/b": alive}, "read": {"/c": [DEAD, REUSED], "/d": [alive]}}))
        assert drop_dead_locks(toy) == 3
        assert json.loads(path.read_text()) == {"write": {"/b": alive}, "read": {"/d": [alive]}}
        assert drop_dead_locks(toy) == 0
    finally:
        living.kill()
        living.wait()


@pytest.mark.parametrize("text", ["", '{"write": {"/a"', "[]"])
def test_a_half_written_lock_does_not_block(toy: Path, text: str) -> None:
    (toy / ".dvc" / "tmp" / "rwlock").write_text(text)
    assert drop_dead_locks(toy) == 1
    assert run(toy, "first") == "Cached"


def test_scheduled_runs_work_in_a_clone_of_their_own(toy: Path) -> None:
    (toy / "source.txt").write_text("uncommitted")
    clone = prepare(toy)
    assert (clone.root / "source.txt").read_text() != "uncommitted"
    assert git(clone.root, "branch", "--show-current") == "scheduled"
    dvc(clone.root, "checkout")  # from the project's cache
    assert (clone.root / "last.out").exists()
    assert clone.commit("nothing") is None

    (clone.root / "source.lock.yaml").write_text("site: {tree: docs}\n")
    commit = clone.commit("Scheduled run")
    assert commit == git(clone.root, "rev-parse", "HEAD")
    (clone.root / "leftover.txt").write_text("of a run that was cut short")
    (clone.root / "dvc.lock").write_text("half written")

    git(toy, "commit", "--all", "--quiet", "--message", "the project goes on")
    clone = prepare(toy)
    assert (clone.root / "source.txt").read_text() == "uncommitted"
    assert (clone.root / "source.lock.yaml").read_text() == "site: {tree: docs}\n"
    assert (clone.root / "dvc.lock").read_text() == (toy / "dvc.lock").read_text()
    assert not (clone.root / "leftover.txt").exists()
    assert git(clone.root, "status", "--porcelain") == ""
    head = git(clone.root, "rev-parse", "HEAD")
    assert prepare(toy).commit("nothing") is None
    assert git(clone.root, "rev-parse", "HEAD") == head


def test_knobs_of_an_earlier_schedule_are_gone(toy: Path) -> None:
    clone = prepare(toy)
    knobs = (clone.root / "params.yaml").read_text()
    (clone.root / "params.yaml").write_text("left: 99\n")  # as --set does
    assert clone.commit("Scheduled run with --set")
    (clone.top / ".git/index.lock").touch()  # of a git that was killed
    clone = prepare(toy)
    assert (clone.root / "params.yaml").read_text() == knobs
    (clone.root / "params.yaml").write_text("left: 99\n")
    assert clone.commit("The same knobs again") is None, "a schedule that keeps its knobs makes no commits of them"


def test_a_scheduled_run_wants_a_repository(tmp_path: Path) -> None:
    with pytest.raises(DoctuneError, match="not a git repository"):
        prepare(tmp_path)


def test_the_server_of_another_project_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its note outlived a kill -9, and somebody else's server answers there now; so it does where ours would start."""
    monkeypatch.setattr(server, "healthy", lambda url: True)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    url = "http://127.0.0.1:4200/api"
    for pid, found in ((os.getpid(), url), (ended.pid, None)):
        write_json(tmp_path / ".doctune/prefect-server.json", {"url": url, "pid": pid})
        assert server.own_server(tmp_path) == found
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert server.free_port(taken.getsockname()[1]) != taken.getsockname()[1]


@pytest.mark.parametrize(
    ("body", "says", "wanted"),
    [
        pytest.param(b"true", b"true", True, id="Prefect"),
        pytest.param(b"OK", b"OK", True, id="MLflow"),
        pytest.param("你好".encode(), b"OK", False, id="somebody else"),
    ],
)
def test_a_server_is_known_by_what_it_says(body: bytes, says: bytes, wanted: bool) -> None:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as answering:
        threading.Thread(target=answering.handle_request, daemon=True).start()
        assert server.healthy(f"http://127.0.0.1:{answering.server_port}", says) == wanted


def test_a_server_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-X", "utf8", "-c", "print('端口被占用')"], stdout=out)
    process.wait()
    with pytest.raises(DoctuneError, match="the MLflow server at http://127.0.0.1:9 ended: 端口被占用"):
        server.wait_until_healthy("MLflow", process, "http://127.0.0.1:9", log, 30, says=b"OK")


WITH_PASSWORD = "https://me:密码@mlflow.example.org/x"


def test_a_run_s_summary_shows_no_password_and_texts_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", WITH_PASSWORD)
    summary = summarise(tmp_path, {}, [Row("translate_base", "Failed", 1.5, "标题|*粗体*\n第二行")])
    assert "https://mlflow.example.org/x" in summary.text
    assert "密码" not in json.dumps(asdict(summary), ensure_ascii=False) + summary.text
    assert "| translate\\_base | Failed | 1.5 | 标题\\|\\*粗体\\*<br>第二行 |" in summary.markdown


def test_what_ui_prints_has_no_password(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ui, "mlflow_server", lambda root, port: nullcontext(WITH_PASSWORD))
    monkeypatch.setattr(ui, "running_server", lambda root, port: nullcontext("http://127.0.0.1:4200/api"))
    monkeypatch.setattr(ui, "time", SimpleNamespace(sleep=interrupted))
    with pytest.raises(KeyboardInterrupt):
        ui.serve(0, 0)
    assert capsys.readouterr().out.splitlines()[0] == "MLflow   https://mlflow.example.org/x"


def test_a_scheduled_run_s_models_land_in_the_project(tmp_path: Path) -> None:
    """Its child works in the clone, where a path relative to the project would mean another file."""
    code = """
import os
from pathlib import Path
from flows.checkout import Clone
from flows.scheduled import _environment
for named in ("sqlite:///mlruns/mlflow.db", ""):
    os.environ["MLFLOW_TRACKING_URI"] = named
    print(_environment(Path.cwd(), Clone(Path("clone"), Path("clone"), "c0ffee"), "run")["MLFLOW_TRACKING_URI"])
"""
    environ = {"PYTHONPATH": str(PROJECT), "PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_API_URL": "http://x/api"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | environ, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [f"sqlite:///{tmp_path.resolve()}/mlruns/mlflow.db"] * 2, done.stderr


@pytest.mark.parametrize(
    ("asked", "parameters", "cron"),
    [
        pytest.param({"cron": "0 3 * * *"}, ("k8s-small", ["train.epochs=2"]), "0 3 * * *", id="time"),
        pytest.param({"preset": "embedded"}, ("embedded", ["train.epochs=2"]), "0 2 * * *", id="preset"),
        pytest.param({"overrides": ["train.seed=7"]}, ("k8s-small", ["train.seed=7"]), "0 2 * * *", id="knobs"),
    ],
)
def test_a_schedule_replaces_what_was_asked_for_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], parameters: tuple[str, list[str]], cron: str
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (PROJECT / "prefect.yaml").read_text(encoding="utf-8")
    text = text.replace("preset: null", "preset: k8s-small").replace("overrides: []", "overrides: [train.epochs=2]")
    assert text.count("k8s-small") == text.count("train.epochs=2") == 1
    schedule.PREFECT_FILE.write_text(text, encoding="utf-8")
    file = schedule._effective(tmp_path, **{"cron": None, "preset": None, "overrides": []} | asked)
    (deployment,) = read_yaml(file)["deployments"]
    assert deployment["parameters"] == dict(zip(("preset", "overrides"), parameters, strict=True))
    assert [planned["cron"] for planned in deployment["schedules"]] == [cron]
    assert deployment["schedules"][0]["timezone"] == "Asia/Shanghai"

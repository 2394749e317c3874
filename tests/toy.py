"""A toy pipeline for tests of the flow front end: four stages of real DVC, two of them independent.

What source.txt says decides how the stages behave: "slow" runs for a minute, "wrong" fails with a line, "bug" raises, "told" tells
how far it is.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

PROJECT = Path(__file__).parents[1]

TOY = f"""
import sys, time
sys.path.insert(0, {str(PROJECT)!r})
from pathlib import Path
from doctune.errors import DoctuneError
from doctune.machine import die_with_parent
from doctune.progress import report_progress
from tasks.stage import fail

die_with_parent()
out, *ins = sys.argv[1:]
text = "".join(Path(name).read_text() for name in ins)
print("stage", out, "starts", flush=True)
if "slow" in text:
    for step in range(600):
        print(f"\\r{{step}}", end="", file=sys.stderr, flush=True)
        time.sleep(0.1)
if "told" in text:  # tells how far it is, and waits to be seen
    report_progress(Path(out).stem, 1, 4, "一步 of four", [{{"step": 1, "loss": 2.5}}], 9.0)
    while not Path("seen").exists():
        time.sleep(0.1)
    report_progress(Path(out).stem, 4, 4, "done", [{{"step": 1, "loss": 2.5}}, {{"step": 4, "loss": 1.5}}], 0.0)
if "wrong" in text:
    fail(DoctuneError("第 3 页不是 UTF-8; save it as UTF-8"))
if "bug" in text:
    raise ValueError("a bug")
Path(out).write_text(out + " of " + text)
"""

DVC_YAML = """
stages:
  first:
    cmd: python toy.py first.out source.txt
    deps: [source.txt, toy.py]
    outs: [first.out]
  left:
    cmd: python toy.py left.out first.out
    deps: [first.out]
    params: [left]
    outs: [left.out]
  right:
    cmd: python toy.py right.out first.out
    deps: [first.out]
    outs: [right.out]
  last:
    cmd: python toy.py last.out left.out right.out
    deps: [left.out, right.out]
    outs: [last.out]
"""


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    return subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def dvc(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "dvc", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A toy project that was run once with `dvc repro`."""
    root = tmp_path_factory.mktemp("toy") / "made"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("dvc")))
        patch.setenv("DVC_NO_ANALYTICS", "1")
        patch.setenv("PATH", os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
        git(root, "init", "--quiet", "--initial-branch", "main")
        (root / "toy.py").write_text(TOY)
        (root / "dvc.yaml").write_text(DVC_YAML)
        (root / "params.yaml").write_text("left: {rate: 1}\n")
        (root / "source.txt").write_text("一个 Pod 可以有多个容器。\n")
        (root / ".gitignore").write_text("*.out\n.doctune/\n")
        dvc(root, "init", "--quiet")
        dvc(root, "repro", "--quiet")
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--message", "toy")
        yield root


@pytest.fixture
def toy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "toy"))


def processes(root: Path) -> list[str]:
    """Command lines of the living processes that work in `root`, other than this one."""
    found = []
    for process in psutil.process_iter(["pid", "cwd", "cmdline", "status"]):
        if (
            process.info["cwd"] == str(root)
            and process.info["status"] != psutil.STATUS_ZOMBIE
            and process.pid != os.getpid()
        ):
            found.append(" ".join(process.info["cmdline"]))
    return found


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)

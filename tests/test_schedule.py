"""The schedule, for real: a Prefect server, a worker, the nightly deployment firing on its cron, a repository that moves.

The pipeline behind it is a toy of two stages, so that what is seen here is the schedule and not a training.
"""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from doctune.section import read_yaml
from tests.project import Project
from tests.toy import PROJECT, git

pytestmark = pytest.mark.slow

CRAWL = """
import sys
from pathlib import Path
from doctune.section import load_section
from doctune.sources import CrawlParams, locked, read_pages

pages, _ = read_pages(load_section(CrawlParams, "crawl"), locked(load_section(CrawlParams, "crawl"), Path("source.lock.yaml")))
Path("pages.out").write_text("".join(page.text for page in pages))
"""
DVC_YAML = """
stages:
  crawl:
    cmd: python toy_crawl.py
    deps: [toy_crawl.py]
    params: [crawl, {source.lock.yaml: [site]}]
    outs: [pages.out]
  count:
    cmd: wc pages.out > count.out
    deps: [pages.out]
    outs: [count.out]
"""
CRAWLED = {"source": "git", "name": "site", "tree": ".", "ref": "main", "source_dir": "en", "target_dir": "zh"}


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    root = tmp_path / "upstream"
    for lang, text in (("en", "A pod runs."), ("zh", "Pod 正在运行。")):
        (root / lang).mkdir(parents=True)
        (root / lang / "pods.md").write_text(text + "\n", encoding="utf-8")
    git(root, "init", "--quiet", "--initial-branch", "main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "one page")
    return root


@pytest.fixture
def scheduled(tmp_path: Path, upstream: Path) -> Project:
    project = Project(tmp_path / "project")
    project.root.mkdir()
    git(project.root, "init", "--quiet", "--initial-branch", "main")
    crawl = read_yaml(PROJECT / "presets/embedded.yaml")["crawl"] | CRAWLED | {"url": str(upstream)}
    (project.root / "params.yaml").write_text(json.dumps({"crawl": crawl}), encoding="utf-8")
    (project.root / "dvc.yaml").write_text(DVC_YAML, encoding="utf-8")
    (project.root / "toy_crawl.py").write_text(CRAWL, encoding="utf-8")
    for package in ("doctune", "flows", "tasks"):  # a scheduled run works with the code of its clone
        shutil.copytree(PROJECT / package, project.root / package, ignore=shutil.ignore_patterns("__pycache__"))
    (project.root / "prefect.yaml").write_text((PROJECT / "prefect.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (project.root / ".gitignore").write_text("*.out\n.doctune/\n__pycache__/\n", encoding="utf-8")
    assert project.run("dvc", "init", "--quiet").returncode == 0
    project.commit("toy")
    return project


class Schedule:
    """A running `doctune schedule` whose lines are read as they come."""

    def __init__(self, project: Project, cron: str) -> None:
        environ = project.environment(PYTHONUNBUFFERED="1")
        heed_interrupts = (
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # CI may ignore them
        )
        code = f"{heed_interrupts}; from flows.schedule import schedule; schedule(cron={cron!r})"
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=project.root,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)

    def wait_for(self, what: str, times: int, seconds: float = 900) -> None:
        deadline = time.monotonic() + seconds
        while sum(what in line for line in self.lines) < times:
            if time.monotonic() > deadline or self.process.poll() is not None:
                pytest.fail(f"wanted {times} times {what!r}, got:\n{''.join(self.lines)[-6000:]}")
            time.sleep(0.2)


def test_the_schedule_fires_does_the_work_once_and_follows_the_source(scheduled: Project, upstream: Path) -> None:
    running = Schedule(scheduled, "* * * * * */20")  # the sixth field is seconds
    try:
        running.wait_for("Committed as `", 1)
        first = git(scheduled.root / ".doctune/scheduled/checkout", "rev-parse", "HEAD")
        running.wait_for("Nothing changed: no commit.", 1)
        (upstream / "zh/pods.md").write_text("Pod 正在节点上运行。\n", encoding="utf-8")
        git(upstream, "commit", "--quiet", "--all", "--message", "a page moved on")
        running.wait_for("Committed as `", 2)
    finally:
        running.end()
    log = "".join(running.lines)
    clone = scheduled.root / ".doctune/scheduled/checkout"
    commits = git(clone, "log", "--format=%H %s", "scheduled").splitlines()
    moved = git(upstream, "rev-parse", "HEAD")
    assert moved[:12] in commits[0] and commits[1].startswith(first), commits
    assert "节点" in (clone / "pages.out").read_text(encoding="utf-8")
    assert all(f"'{stage}' - Finished in state Cached" in log for stage in ("crawl", "count")), (
        "a run with nothing to do was all Cached"
    )
    assert not (scheduled.root / "pages.out").exists(), "what a person has open was not touched"
    git(clone, "checkout", "--quiet", first)
    assert scheduled.run("python", "-m", "dvc", "--cd", str(clone), "checkout").returncode == 0
    assert "节点" not in (clone / "pages.out").read_text(encoding="utf-8"), "an earlier run comes back"

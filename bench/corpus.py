"""The corpus stages on a whole site: structural alignment, time and memory of crawl, align and split, ten times the site, an update.

    python -m bench.corpus --repository ../shared/k8s-website.git --snapshot snapshot-2025-10-19   # ends with one JSON line

Each stage is its own process, as DVC runs it, in a project folder made for the purpose. Memory is the largest sum of proportional
set sizes over a stage's process and its workers. Runs:
full     from a warm clone (git's memo is there), nothing aligned before
again    nothing changed, every memo warm: what a no-op costs without DVC, which would not even start the stages
update   a commit that changes 1 % of the Chinese pages
tenfold  ten copies of the site as a folder; in each, three words of ten and three characters of ten are others, so that the
         copies are no duplicates of each other; beside it the same folder once, for the ratio
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from bench.align import CURRENT, read_texts, structure
from doctune.params import configure
from doctune.section import read_yaml
from doctune.sources.lock import update
from doctune.sources.params import CrawlParams

ROOT = Path(__file__).parents[1]
STAGES = ("crawl", "align", "extra", "split")  # extra has nothing to read, but split wants its file
COPIES, CHANGED = 10, 0.01
_WORD = re.compile(r"(?<![<\w/{#`\"'=.:-])[a-z]{3,}(?![\w>=:/`\"'-])|[\u4e00-\u9fff]")


def measure(folder: Path, stage: str) -> tuple[float, float]:
    """Seconds and peak MB of one stage's program."""
    declared = read_yaml(ROOT / "dvc.yaml")["stages"][stage]["cmd"]
    command = [sys.executable, *shlex.split(declared.removeprefix("exec python "))]
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    peak = [0.0]
    watcher = threading.Thread(target=_watch, args=(process.pid, peak), daemon=True)
    watcher.start()
    output = process.communicate()[0].decode()
    seconds = time.perf_counter() - began
    watcher.join()
    if process.returncode:
        sys.exit(f"{stage} failed:\n{output[-3000:]}")
    return seconds, peak[0]


def _watch(pid: int, peak: list[float]) -> None:
    while True:
        try:
            parent = psutil.Process(pid)
            family = [parent, *parent.children(recursive=True)]
            if parent.status() == psutil.STATUS_ZOMBIE:
                return
            total = 0.0
            for process in family:
                try:
                    total += process.memory_full_info().pss / 1e6
                except (psutil.NoSuchProcess, psutil.ZombieProcess):
                    continue
            peak[0] = max(peak[0], total)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            return
        time.sleep(0.2)


def run(folder: Path) -> dict[str, Any]:
    stages = {stage: measure(folder, stage) for stage in STAGES}
    return {
        "seconds": round(sum(seconds for seconds, _ in stages.values()), 1),
        "peak_mb": round(max(peak for _, peak in stages.values())),
        **{stage: f"{seconds:.1f} s, {peak:.0f} MB" for stage, (seconds, peak) in stages.items()},
        "pairs": json.loads((folder / "reports/align.json").read_text(encoding="utf-8"))["pairs"]["total"],
    }


def project(folder: Path, overrides: list[str]) -> None:
    """A project folder: params.yaml of the preset with overrides, and the source's lock."""
    (folder / "extra").mkdir(parents=True, exist_ok=True)
    here = Path.cwd()
    try:
        os.chdir(ROOT)
        params = configure("k8s-small", overrides, folder / "params.yaml")
    finally:
        os.chdir(here)
    lock(folder, params.crawl)


def lock(folder: Path, crawl: CrawlParams) -> None:
    here = Path.cwd()
    try:
        os.chdir(folder)
        update(crawl, Path("source.lock.yaml"))
    finally:
        os.chdir(here)


def git(repository: Path, *words: str, stdin: str = "") -> str:
    identity = {f"GIT_{who}_{what}": "bench@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environ = {**os.environ, **identity, "GIT_INDEX_FILE": str(repository / "bench-index")}
    return subprocess.run(
        ["git", f"--git-dir={repository}", *words], input=stdin, env=environ, capture_output=True, text=True, check=True
    ).stdout.strip()


def change(repository: Path, branch: str, texts: dict[str, str]) -> int:
    """Commit a line more at the end of every hundredth Chinese page; returns how many."""
    git(repository, "read-tree", branch)
    paths = sorted(texts)[:: round(1 / CHANGED)]
    for path in paths:
        blob = git(
            repository, "hash-object", "-w", "--stdin", stdin=texts[path] + "\n<!--\nIt is new.\n-->\n这是新的。\n"
        )
        git(repository, "update-index", "--cacheinfo", f"100644,{blob},content/zh-cn/docs/{path}")
    commit = git(repository, "commit-tree", git(repository, "write-tree"), "-p", branch, "-m", "an update")
    git(repository, "update-ref", f"refs/heads/{branch}", commit)
    return len(paths)


def write_tree(folder: Path, texts: dict[str, dict[str, str]], copies: int) -> None:
    vocabulary = {
        "en": sorted(
            {word for text in list(texts["en"].values())[:200] for word in re.findall(r"\b[a-z]{4,}\b", text)}
        ),
        "zh": sorted({c for text in list(texts["zh"].values())[:200] for c in re.findall(r"[\u4e00-\u9fff]", text)}),
    }
    for copy in range(copies):
        memo: dict[str, str] = {}

        def other(match: re.Match[str], copy: int = copy, memo: dict[str, str] = memo) -> str:
            word = match[0]
            if word not in memo:
                number = int(hashlib.sha256(f"{copy} {word}".encode()).hexdigest()[:12], 16)
                choice = vocabulary["en" if word.isascii() else "zh"]
                memo[word] = choice[number // 10 % len(choice)] if copy and number % 10 < 3 else word
            return memo[word]

        for lang, root in (("en", "content/en/docs"), ("zh", "content/zh-cn/docs")):
            for path, text in texts[lang].items():
                file = folder / root / (f"copy{copy}/{path}" if copy else path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(_WORD.sub(other, text) if copy else text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repository", type=Path, default=Path("../shared/k8s-website.git"))
    parser.add_argument("--snapshot", default="snapshot-2025-10-19")
    parser.add_argument("--without-tenfold", action="store_true")
    options = parser.parse_args()
    texts = read_texts(options.repository, options.snapshot)
    result: dict[str, Any] = {"structure_current_pages": structure(texts, CURRENT)}

    def note(name: str, value: Any) -> None:
        result[name] = value
        print(name, json.dumps(value), file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="doctune-bench-") as scratch:
        upstream, site = Path(scratch) / "upstream.git", Path(scratch) / "site"
        subprocess.run(["git", "clone", "--quiet", "--bare", str(options.repository), str(upstream)], check=True)
        git(upstream, "config", "uploadpack.allowFilter", "true")
        git(upstream, "branch", "--force", "bench", options.snapshot)
        overrides = [f"crawl.url={upstream}", "crawl.ref=bench"]
        project(site, overrides)
        measure(site, "crawl")  # the clone is warm from here on
        note("full", run(site))
        note("again", run(site))
        changed = change(upstream, "bench", texts["zh"])
        project(site, overrides)
        note("update", {**run(site), "changed_pages": changed})
        note("update_share_of_full", round(result["update"]["seconds"] / result["full"]["seconds"], 3))
        note("leakage", json.loads((site / "reports/split.json").read_text(encoding="utf-8"))["leakage"])
        if not options.without_tenfold:
            for name, copies in (("once_as_a_folder", 1), ("tenfold", COPIES)):
                write_tree(Path(scratch) / name, texts, copies)
                folder = Path(scratch) / f"{name}-project"
                project(folder, ["crawl.source=tree", f"crawl.tree={Path(scratch) / name}"])
                note(name, run(folder))
            note("tenfold_ratio", round(result["tenfold"]["seconds"] / result["once_as_a_folder"]["seconds"], 2))
    print(json.dumps(result))


if __name__ == "__main__":
    main()

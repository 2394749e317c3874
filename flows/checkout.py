"""The clone in which scheduled runs work, so that they neither see nor touch what a person has open in the project.

    clone = prepare(Path.cwd())              # .doctune/scheduled/checkout, branch `scheduled`, at the project's HEAD
    ...                                      # a run of the pipeline there
    clone.commit("Scheduled run ...")        # the two locks and params.yaml, when they changed; the commit or None

The branch holds the project's files and, of its own, only what runs write: source.lock.yaml, dvc.lock and params.yaml.
DVC's cache is the project's. To have a run again: `git fetch .doctune/scheduled/checkout scheduled`,
`git checkout COMMIT`, `dvc checkout`.
"""

import os
import subprocess
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from doctune.errors import DoctuneError
from doctune.locks import hold
from doctune.registry.lineage import DVC_LOCK, LOCK_OF_SOURCES
from doctune.section import PARAMS_FILE

FOLDER = Path(".doctune") / "scheduled" / "checkout"
SCHEDULED_LOCK = Path(".doctune") / "scheduled.lock"  # held by a scheduled run
FLOW_LOCK = Path(".doctune") / "flow.lock"  # held by every flow run that works on the project's files
BRANCH = "scheduled"
LOCKS = (LOCK_OF_SOURCES, DVC_LOCK.name)
KNOBS = PARAMS_FILE.name
WRITTEN = (*LOCKS, KNOBS)
_IDENTITY = [
    "-c",
    "user.name=doctune",
    "-c",
    "user.email=doctune@localhost",
    "-c",
    "commit.gpgsign=false",
    "-c",
    "core.hooksPath=/dev/null",
]


@dataclass(frozen=True)
class Clone:
    """A clone of the project: its top folder, the project's folder in it, and the project commit that it stands at."""

    top: Path
    root: Path
    project_commit: str

    def commit(self, message: str) -> str | None:
        """Commit what runs write, if it changed; returns the new commit."""
        present = [name for name in WRITTEN if (self.root / name).exists()]
        _git(self.root, "add", "--force", "--", *present)
        if not _git(self.root, "diff", "--cached", "--name-only"):
            return None
        _git(self.root, *_IDENTITY, "commit", "--quiet", "--no-verify", "--message", message)
        return _git(self.root, "rev-parse", "HEAD")


def only_flow_run(root: Path) -> AbstractContextManager[None]:
    """Be the only flow run on the checkout at `root`; DoctuneError while another is."""
    return hold(root / FLOW_LOCK, "to start a flow run on this checkout")


def prepare(project: Path) -> Clone:
    """Clone the project at `project`, or bring its clone to the project's HEAD.

    Leftovers of a run that was cut short are dropped; uncommitted changes of the project are no part of it. Raises
    DoctuneError when the project is no git repository or has no commit.
    """
    top = Path(_git(project, "rev-parse", "--show-toplevel"))
    inside = _git(project, "rev-parse", "--show-prefix")
    head = _git(project, "rev-parse", "--verify", "HEAD^{commit}")
    clone = project.resolve() / FOLDER
    (clone / ".git/index.lock").unlink(missing_ok=True)  # of a git that was killed; the schedule's lock is held
    if not (clone / ".git").exists():
        clone.parent.mkdir(parents=True, exist_ok=True)
        _git(project, "clone", "--quiet", "--no-checkout", "--origin", "project", str(top), str(clone))
    _git(clone, "fetch", "--quiet", "--no-tags", "--force", str(top), f"{head}:refs/doctune/project")
    if not _has(clone, f"refs/heads/{BRANCH}"):
        _git(clone, "checkout", "--quiet", "--force", "-B", BRANCH, head)
    else:
        _git(clone, "checkout", "--quiet", "--force", BRANCH)
        _follow(clone, Path(inside), head)
        _take(clone, head, Path(inside) / KNOBS)  # those that an earlier schedule laid over them are none of this one's
    _git(clone, "clean", "--quiet", "-d", "--force")  # untracked files of a killed run; ignored ones (data, memos) stay
    root = clone / inside
    _share_cache(project, root)
    return Clone(clone, root, head)


def _follow(clone: Path, inside: Path, head: str) -> None:
    """Take the project's files as they are, and keep the branch's own locks: they are never merged line by line."""
    if _has(clone, head, "HEAD"):
        return
    if _has(clone, "HEAD", head):
        _git(clone, "reset", "--quiet", "--hard", head)
        return
    _git(clone, "read-tree", "--reset", "-u", head)
    for name in LOCKS:
        _take(clone, "HEAD", inside / name)
    tree = _git(clone, "write-tree")
    merged = _git(
        clone, *_IDENTITY, "commit-tree", tree, "-p", "HEAD", "-p", head, "-m", f"Take over the project at {head[:12]}"
    )
    _git(clone, "reset", "--quiet", "--hard", merged)


def _take(clone: Path, revision: str, path: Path) -> None:
    """The file at `path` as it is in a revision that has it."""
    if _git(clone, "ls-tree", "--name-only", revision, "--", path.as_posix()):
        _git(clone, "checkout", "--quiet", revision, "--", path.as_posix())


def _has(clone: Path, ancestor: str, descendant: str | None = None) -> bool:
    """Whether a ref exists; with `descendant`, whether the first is an ancestor of the second."""
    words = (
        ["merge-base", "--is-ancestor", ancestor, descendant]
        if descendant
        else ["rev-parse", "--verify", "--quiet", ancestor]
    )
    return (
        subprocess.run(["git", *words], cwd=clone, env=_environment(), capture_output=True, check=False).returncode == 0
    )


def _share_cache(project: Path, root: Path) -> None:
    cache = Path(_run([sys.executable, "-m", "dvc", "cache", "dir"], project))
    _run([sys.executable, "-m", "dvc", "cache", "dir", "--local", str((project / cache).resolve())], root)


def _git(folder: Path, *words: str) -> str:
    return _run(["git", *words], folder)


def _run(command: list[str], folder: Path) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, env=_environment(), capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise DoctuneError(
            f"could not run {command[0]} in {folder}: {error.strerror}; a scheduled run needs git"
        ) from None
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())[:400]
        raise DoctuneError(
            f"the scheduled run's clone of {folder} could not be prepared: {' '.join(command[:2])}: {said}"
        )
    return done.stdout.strip()


def _environment() -> dict[str, str]:
    """No git variables of a caller (a hook, say) that would point at another repository."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "DVC_NO_ANALYTICS": "1"}

"""What a killed DVC leaves in `.dvc/tmp/rwlock`, removed before it blocks the next run.

    drop_dead_locks(Path.cwd())

DVC's main lock dies with its process. Its list of files in use is JSON, with the process id of each user; DVC drops
entries of processes that are gone, but believes a reused process id (common in containers) and cannot read a
half-written file.
"""

import json
from pathlib import Path
from typing import Any

_CLOCK_SECONDS = 2.0  # a process's start is known less exactly than a file's time


def drop_dead_locks(root: Path) -> int:
    """Remove entries whose process is gone or is another program by now; returns how many. Living users keep theirs."""
    path = root / ".dvc" / "tmp" / "rwlock"
    if not path.exists():
        return 0
    from zc.lockfile import LockError, LockFile

    try:
        guard = LockFile(str(path.with_name("rwlock.lock")))  # the one that DVC takes to edit this file
    except LockError:
        return 0  # a living DVC is editing it: it is not stale
    try:
        written = path.stat().st_mtime
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
            kept, dropped = _sort(entries, written)
        except (ValueError, KeyError, TypeError, AttributeError):
            kept, dropped = {}, 1  # half-written by a killed process: nobody else could have read it either
        if dropped:
            path.write_text(json.dumps(kept), encoding="utf-8")
        return dropped
    finally:
        guard.close()


def _sort(entries: dict[str, Any], written: float) -> tuple[dict[str, Any], int]:
    dropped = 0
    kept: dict[str, Any] = {"write": {}, "read": {}}
    for path, info in entries.get("write", {}).items():
        if not info or not _alive(info, written):
            dropped += 1
        else:
            kept["write"][path] = info
    for path, readers in entries.get("read", {}).items():
        living = [info for info in readers if _alive(info, written)]
        dropped += len(readers) - len(living)
        if living:
            kept["read"][path] = living
    return kept, dropped


def _alive(info: dict[str, Any], written: float) -> bool:
    """Whether the process is there, is not younger than the file, and has the arguments that DVC noted."""
    import psutil

    try:
        process = psutil.Process(int(info["pid"]))
        if process.create_time() > written + _CLOCK_SECONDS:
            return False
        arguments = str(info["cmd"]).split()[1:]
        return not arguments or " ".join(process.cmdline()).split()[-len(arguments) :] == arguments
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True

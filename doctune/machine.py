"""What this process may use of the machine, and that it leaves nothing running on it."""

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def cores() -> int:
    """Processor cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int:
    """Bytes that this process may still take without pushing others out: the machine's, or fewer where a container has a limit."""
    import psutil

    return min(int(psutil.virtual_memory().available), *_left_in_containers(Path("/sys/fs/cgroup")))


def _left_in_containers(root: Path) -> list[int]:
    """What control groups leave, in the files of their second version and of their first; nothing where there is no limit.

    Pages of files that were read count as used there, though they make way when memory is wanted.
    """
    left = [sys.maxsize]
    for limit, used, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            allowed, taken = (root / limit).read_text().strip(), int((root / used).read_text())
            lines = (root / limit).with_name("memory.stat").read_text().splitlines()
        except (OSError, ValueError):
            continue  # the other version, or no control groups at all
        cached = sum(int(line.split()[1]) for line in lines if line.split()[0] == cache)
        if allowed != "max":
            left.append(max(0, int(allowed) - taken + cached))
    return left


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends (prctl PR_SET_PDEATHSIG), so that a killed run leaves nothing behind.

    DVC would otherwise drop the dead run's lock and start the same stage a second time beside the first.
    """
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the request was in place
        os.kill(os.getpid(), signal.SIGKILL)

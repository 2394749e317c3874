"""What this process may use of the machine, and that it leaves nothing running on it."""

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def cores() -> int:
    """Processor cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def collect_rarely() -> None:
    """Look for garbage in circles a hundredth as often, in a program that makes many objects and hardly any circle.

    Python would walk over all rows and blocks read so far again and again while it reads more.
    """
    gc.set_threshold(70_000, 50, 100)


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


def ends_with_us() -> Callable[[], object] | None:
    """For a child's `preexec_fn`: Linux kills the child when this process ends; None elsewhere."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # loaded before the fork: the child must not
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

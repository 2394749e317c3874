"""Runs one command and lets nothing of it survive: not its own end, not a stop, not the death of whoever asked for it.

    python -I -S flows/keeper.py PARENT_PID GRACE_SECONDS -- dvc repro --single-item train

A process of its own, because only one that lives on can clean up after `kill -9`. It leads a process group, which
whoever started it kills when it has ended. SIGTERM or SIGINT asks the group to end (by SIGINT, so that `finally` blocks
run) and kills it GRACE_SECONDS later. When the process PARENT_PID dies, the kernel tells the keeper, which kills the
group at once. Imports the standard library only and starts in some 30 ms. Exits as the command did (128 + n: signal n).
"""

import ctypes
import os
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1
_WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}


def main() -> int:
    parent, grace, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[sys.argv.index("--") + 1 :]
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)  # taken one by one below: no handlers, no races
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's `command &` hands it down ignored
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    _die_signal(signal.SIGTERM)
    if os.getppid() != parent:  # it died before the request was in place
        return 128 + signal.SIGKILL
    try:
        child = subprocess.Popen(command, preexec_fn=_before_exec)
    except OSError as error:
        print(f"could not start {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    kill_at = float("inf")
    while child.poll() is None:
        if os.getppid() != parent or time.monotonic() >= kill_at:
            os.killpg(0, signal.SIGKILL)  # this process too
        got = _next_signal(min(1.0, max(0.0, kill_at - time.monotonic())))
        if got in (signal.SIGTERM, signal.SIGINT) and os.getppid() == parent and kill_at == float("inf"):
            kill_at = time.monotonic() + grace
            os.killpg(0, signal.SIGINT)  # blocked here
            signal.sigwait({signal.SIGINT})
    return 128 - child.returncode if child.returncode < 0 else child.returncode


def _next_signal(seconds: float) -> int | None:
    if hasattr(signal, "sigtimedwait"):
        got = signal.sigtimedwait(_WATCHED, seconds)
        return got.si_signo if got else None
    time.sleep(min(seconds, 0.1))  # macOS
    pending = signal.sigpending() & _WATCHED
    return signal.sigwait(pending) if pending else None


def _before_exec() -> None:
    _die_signal(signal.SIGKILL)  # should the keeper itself be killed
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)


def _die_signal(number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


if __name__ == "__main__":
    sys.exit(main())

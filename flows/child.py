"""A child process whose output is read line by line while it runs, and that never outlives the flow.

    stop = Stop()
    code = run_child([sys.executable, "-m", "dvc", "repro"], cwd=root, env=environ, log=print, stop=stop)

Another thread, or a signal, calls `stop.request("cancelled in the Prefect UI")`; the child is then ended.
"""

import codecs
import ctypes
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from doctune.machine import PR_SET_PDEATHSIG

GRACE_SECONDS = 10.0
PROGRESS_SECONDS = 5.0
_LONGEST_LINE = 20_000
_POLL_SECONDS = 0.25
_DRAIN_SECONDS = 2.0
_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-_])")


class Stop:
    """Asks what runs to end; the first reason stays."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason = ""

    def request(self, reason: str) -> None:
        if not self._event.is_set():
            self.reason = reason
            self._event.set()

    def requested(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        return self._event.wait(seconds)


class Lines:
    """Bytes in, whole lines out: escapes removed, of a progress bar's carriage returns one line in PROGRESS_SECONDS."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._last_progress = float("-inf")

    def feed(self, data: bytes, final: bool = False) -> list[str]:
        """The lines that `data` completes; `final` also gives an unfinished last one."""
        *whole, self._rest = (self._rest + self._decoder.decode(data, final)).split("\n")
        lines = [self._visible(line) for line in whole]
        if final and self._rest:
            lines.append(self._visible(self._rest))
            self._rest = ""
        elif "\r" in self._rest.rstrip("\r"):
            before, self._rest = self._rest.rstrip("\r").rsplit("\r", 1)
            progress = self._visible(before)
            if progress and time.monotonic() - self._last_progress >= PROGRESS_SECONDS:
                self._last_progress = time.monotonic()
                lines.append(progress)
        elif len(self._rest) > _LONGEST_LINE:
            lines.append(self._visible(self._rest))
            self._rest = ""
        return [line for line in lines if line]

    def _visible(self, line: str) -> str:
        shown = [part for part in _ESCAPES.sub("", line).split("\r") if part.strip()]
        return shown[-1].rstrip()[:_LONGEST_LINE] if shown else ""


def start(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], out: int | IO[bytes], grace: float
) -> "subprocess.Popen[bytes]":
    """Start `command` under a keeper, its stdout and stderr going to `out`; finish it with `end`."""
    keeper = str(Path(__file__).with_name("keeper.py"))
    return subprocess.Popen(
        [sys.executable, "-I", "-S", keeper, str(os.getpid()), str(grace), "--", *command],
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.STDOUT,
        process_group=0,  # Ctrl-C in a terminal reaches this process, which asks the keeper
    )


def end(process: "subprocess.Popen[bytes]") -> int:
    """Ask a started command to end if it has not, wait for it, kill whatever of it is left; returns its exit code."""
    if process.poll() is None:
        process.terminate()
    code = process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return 128 - code if code < 0 else code


def end_with_parent() -> None:
    """Ask Linux for SIGTERM when this process's parent ends: a run whose worker is gone stops its own children."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def run_child(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Callable[[str], None],
    stop: Stop,
    grace: float = GRACE_SECONDS,
) -> int:
    """Run `command`, giving each line of its output to `log` as it comes; returns its exit code (128 + n: signal n).

    Ends the command when `stop` is requested (killed after `grace` seconds). Whatever happens here, an exception in
    `log` included, nothing of the command is left running on return.
    """
    process = start(command, cwd=cwd, env=env, out=subprocess.PIPE, grace=grace)
    assert process.stdout is not None
    lines = Lines()
    asked = False
    give_up = float("inf")
    try:
        while time.monotonic() < give_up:
            if stop.requested() and not asked:
                asked = True
                process.terminate()
            if process.poll() is not None and give_up == float("inf"):
                end(process)  # whatever still holds the pipe is killed, what it had written is read
                give_up = time.monotonic() + _DRAIN_SECONDS
            if not select.select([process.stdout], [], [], _POLL_SECONDS)[0]:
                continue
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                break
            for line in lines.feed(data):
                log(line)
        for line in lines.feed(b"", final=True):
            log(line)
        if not asked:
            process.wait()
    finally:
        code = end(process)
        process.stdout.close()
    return code

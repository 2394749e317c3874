"""One stale stage, run by DVC in a child process; its output live, its real error when it fails.

    ran = run_stage(Path.cwd(), "train", checkout=False, log=logger.info, stop=Stop(), flow_run_id="0195...")
    ran.state                  # "Completed", "Restored" (DVC had the result in its cache) or "Cached" (it was fresh)

DVC runs the stage, decides about it and writes dvc.lock; here is only the process and the reading of its lines.
"""

import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from doctune.errors import ERROR_PREFIX, DoctuneError
from flows.child import Stop, run_child

State = Literal["Cached", "Restored", "Completed"]

_HEAD_LINES, _TAIL_LINES = 20, 300
_LONGEST_ERROR = 600
_HINTS = (  # DVC's advice about git after every single stage
    "To track the changes with git, run:",
    "\tgit add ",
    "To enable auto staging, run:",
    "\tdvc config core.autostage true",
    "Use `dvc push` to send your updates to remote storage.",
    "Generating lock file ",
    "Updating lock file ",
)
_REPRO_ERROR = re.compile(r"^ERROR: failed to reproduce '[^']*': ")
_MARKS = re.compile(
    rf"(?=(?:Generating|Updating) lock file '|ERROR: failed to reproduce '|{ERROR_PREFIX}|Traceback \(most recent call)"
)
_EXIT = re.compile(r"exited with (?P<code>-?\d+)")
_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+)')


class StageFailed(DoctuneError):
    """A stage did not make its outputs; the message holds the stage's name and its own error."""


class StageStopped(DoctuneError):
    """A stage was ended because its run was cancelled; the message says by whom."""

    exit_code = 130


@dataclass(frozen=True)
class Ran:
    """What DVC did for a stage."""

    state: State
    seconds: float


def run_stage(
    root: Path, name: str, *, checkout: bool, log: Callable[[str], None], stop: Stop, flow_run_id: str
) -> Ran:
    """Bring stage `name` of the project in `root` up to date; with `checkout`, first take its outputs from DVC's cache.

    Raises StageFailed with the stage's real error, StageStopped when `stop` was requested. No process of the stage is
    left running in either case.
    """
    begin = time.monotonic()
    if checkout:
        code, lines = _dvc(["--wait-for-lock", "checkout", "--quiet", name], root, log, stop, flow_run_id)
        if code != 0 and not stop.requested():
            log(f"{name}: its outputs could not be taken from the cache ({explain(lines, code)}); running it")
    code, lines = _dvc(["--wait-for-lock", "repro", "--single-item", name], root, log, stop, flow_run_id)
    if stop.requested():
        raise StageStopped(f"stage {name} was stopped: {stop.reason}")
    if code != 0:
        raise StageFailed(f"stage {name} failed: {explain(lines, code)}")
    state = said(lines, name)
    return Ran("Restored" if checkout and state == "Cached" else state, time.monotonic() - begin)


def said(lines: Iterable[str], name: str) -> State:
    """What DVC said that it did; it says so before the stage can print anything."""
    for line in lines:
        if line == f"Stage '{name}' is cached - skipping run, checking out outputs":
            return "Restored"
        if line == f"Stage '{name}' didn't change, skipping":
            return "Cached"
        if line == f"Running stage '{name}':":
            break
    return "Completed"


def explain(lines: Sequence[str], code: int) -> str:
    """The real error in the output of a `dvc` that ended with `code`: the stage's own, never DVC's wrapper."""
    if 128 < code <= 128 + 64:
        return f"dvc itself was {_by_signal(code - 128)}"
    wrapper = next((n for n in range(len(lines) - 1, -1, -1) if lines[n].startswith("ERROR: ")), len(lines))
    said = "\n".join(lines[wrapper:])
    if "failed to run: " not in said:  # DVC's own: a missing file, a broken dvc.yaml, an output in use
        return _short(_REPRO_ERROR.sub("", said).removeprefix("ERROR: ") or f"dvc exited with {code}")
    exited = _EXIT.search(said)
    own = [line for line in lines[:wrapper] if not line.startswith(("Running stage '", "> "))]
    return own_error(own, int(exited["code"]) if exited else code)


def own_error(own: Sequence[str], status: int) -> str:
    """The real error of a program that said `own` and ended with `status`."""
    if status < 0 or 128 < status <= 128 + 64:
        return f"its process was {_by_signal(-status if status < 0 else status - 128)}"
    for line in reversed(own):
        if line.startswith(ERROR_PREFIX):
            return _short(line.removeprefix(ERROR_PREFIX))
    return _short(_traceback(own) or " | ".join([*own[-3:], f"exit code {status}"]))


def _traceback(lines: Sequence[str]) -> str:
    """The last traceback as "ValueError: what (tasks/align.py, line 12)", empty when there is none."""
    starts = [n for n, line in enumerate(lines) if line.startswith("Traceback (most recent call last):")]
    block = lines[starts[-1] + 1 :] if starts else []
    message = [line for line in block if not line.startswith(" ")]
    if not message:
        return ""
    frames = [found for line in block if (found := _FRAME.match(line))]
    where = f" ({os.path.relpath(frames[-1]['file'])}, line {frames[-1]['line']})" if frames else ""
    return _short(" ".join(message[:5])) + where


def _short(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= _LONGEST_ERROR else one_line[: _LONGEST_ERROR - 4] + " ..."


def _by_signal(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"killed by {name}" + (" (kill -9, or the machine ran out of memory)" if name == "SIGKILL" else "")


def _dvc(
    arguments: list[str], root: Path, log: Callable[[str], None], stop: Stop, flow_run_id: str
) -> tuple[int, list[str]]:
    head: list[str] = []
    tail: deque[str] = deque(maxlen=_TAIL_LINES)

    def take(text: str) -> None:
        for line in _MARKS.split(text):  # a progress bar without its newline may stand before them
            if line:
                (head if len(head) < _HEAD_LINES else tail).append(line)
                if not line.startswith(_HINTS):
                    log(line)

    code = run_child(
        [sys.executable, "-m", "dvc", *arguments], cwd=root, env=child_environment(flow_run_id), log=take, stop=stop
    )
    return code, [*head, *tail]


def child_environment(flow_run_id: str) -> dict[str, str]:
    """This process's environment, this interpreter's folder first on PATH: `python` in a stage's cmd is the venv's."""
    return {
        **os.environ,
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]),
        "DOCTUNE_FLOW_RUN_ID": flow_run_id,
        "PYTHONUNBUFFERED": "1",
        "DVC_NO_ANALYTICS": "1",
    }

"""A lock between processes on one machine: held while its holder lives, dropped by the kernel when it dies.

with hold(Path(".doctune/flow.lock"), "to start a flow run on this checkout", wait=5):
    ...                       # another gets: "wanted to start a flow run on this checkout, but process 4711 ..."
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from doctune.errors import DoctuneError

_POLL_SECONDS = 0.1


@contextmanager
def hold(path: Path, wanted: str, wait: float = 0.0, say: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold an exclusive lock on `path` (made when missing, never removed: removing a lock file breaks the lock).

    `wanted` says in words what was wanted, for the message of the one that is refused. Waits up to `wait` seconds, then
    raises DoctuneError naming the holder's process id and since when it holds. Other threads of the holder are refused
    too.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise DoctuneError(
            f"could not open the lock {path}: {error.strerror or error}; check its permissions"
        ) from None
    with file:
        deadline = time.monotonic() + wait
        told = say is None
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise DoctuneError(_refusal(path, wanted)) from None
                if not told and say is not None:
                    say(f"waiting {wanted}: {path} is held")
                    told = True
                time.sleep(_POLL_SECONDS)
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "since": datetime.now().astimezone().isoformat(timespec="seconds")}))
        file.flush()
        yield


def _refusal(path: Path, wanted: str) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        who = f"process {int(holder['pid'])} has held {path} since {datetime.fromisoformat(holder['since'])}"
    except (OSError, ValueError, KeyError, TypeError):  # it was about to write its name
        who = f"another process holds {path}"
    return f"wanted {wanted}, but {who}; wait for it to end, or stop it, and try again"

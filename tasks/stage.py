"""What every stage's program does around its work: options from its signature, one-line errors, no orphans.

def main(pairs: Path, out: Path) -> None: ...

if __name__ == "__main__":
    stage(main)                     # python -m tasks.split --pairs data/pairs.jsonl --out data/splits
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, get_type_hints

from doctune.errors import DoctuneError

ERROR_PREFIX = "doctune: error: "
_PR_SET_PDEATHSIG = 1


def stage(main: Callable[..., None]) -> None:
    """Run a stage: parse `main`'s keyword options, die with the parent, turn DoctuneError into one line and exit 1."""
    import typer

    die_with_parent()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # text streams in a real process
    main.__annotations__ = {
        name: Annotated[hint, typer.Option()] for name, hint in get_type_hints(main).items() if name != "return"
    }
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        app(standalone_mode=True)
    except DoctuneError as error:
        fail(error)


def fail(error: DoctuneError) -> None:
    print(f"{ERROR_PREFIX}{error}", file=sys.stderr, flush=True)
    sys.exit(error.exit_code)


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends (prctl PR_SET_PDEATHSIG), so that a killed run leaves nothing behind.

    DVC would otherwise drop the dead run's lock and start the same stage a second time beside the first.
    """
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the request was in place
        os.kill(os.getpid(), signal.SIGKILL)

"""What every stage's program does around its work: options from its signature, one-line errors, no orphans.

def main(pairs: Path, out: Path) -> None: ...

if __name__ == "__main__":
    stage(main)                     # python -m tasks.split --pairs data/pairs.jsonl --out data/splits
"""

import sys
from collections.abc import Callable
from typing import Annotated, get_type_hints

from doctune.errors import ERROR_PREFIX, DoctuneError
from doctune.machine import die_with_parent


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

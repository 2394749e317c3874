"""A long stage's progress in Prefect: a progress artifact of its task run, brought up to date while the stage runs.

    with shown_progress(Path.cwd(), "train"):
        run_stage(...)                 # the artifact train-progress: a bar, the last line, the curves so far

The stage writes a small file (doctune.progress); a thread looks at it. Nothing happens for a stage that writes none, and a
server that does not answer costs nothing but the picture.
"""

import contextvars
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, cast

from doctune.progress import Progress, clock, progress_file, read_progress
from doctune.tables import markdown_table

if TYPE_CHECKING:
    from uuid import UUID

LOOK_SECONDS = 2.0
LAST_LOOK_SECONDS = 5.0  # for the server to take the end of it


class Artifact:
    """The artifact of one stage's run, made when there is something to show."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.id: UUID | None = None
        self.shown: Progress | None = None

    def show(self, progress: Progress | None) -> None:
        if progress is None or progress == self.shown:
            return
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        text = description(self.stage, progress)
        if self.id is None:
            key = f"{self.stage.replace('_', '-')}-progress"
            self.id = cast("UUID", create_progress_artifact(progress.percent, key=key, description=text))
        else:
            update_progress_artifact(self.id, progress.percent, description=text)
        self.shown = progress


@contextmanager
def shown_progress(root: Path, stage: str) -> Iterator[None]:
    """Show what the stage of that name says of its progress while the body runs it."""
    file = progress_file(stage, root)
    with suppress(OSError):
        file.unlink(missing_ok=True)  # of an earlier run
    artifact, done = Artifact(stage), threading.Event()

    def watch() -> None:
        while not done.wait(LOOK_SECONDS):
            _show(artifact, root)
        _show(artifact, root)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(watch,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(LAST_LOOK_SECONDS)


def _show(artifact: Artifact, root: Path) -> None:
    with suppress(Exception):  # a server that restarts or is gone must not end the stage
        artifact.show(read_progress(artifact.stage, root))


def description(stage: str, progress: Progress) -> str:
    """Markdown: how far, the last line, and the points so far as a table."""
    left = "" if progress.seconds_left is None else f", {clock(progress.seconds_left)} left"
    lines = [f"**{stage}: {progress.done:,} of {progress.total:,}{left}**", "", progress.text]
    names = list(dict.fromkeys(name for point in progress.points for name in point))
    if names:
        rows = [[_cell(point.get(name)) for name in names] for point in progress.points]
        lines += ["", markdown_table([name.replace("_", " ") for name in names], rows)]
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if float(value).is_integer() or 1000 <= value < inf else f"{value:.4g}"

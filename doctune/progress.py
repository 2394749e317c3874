"""How far a long stage is, as a small file that whoever started it may read meanwhile: `.doctune/progress/train.json`.

    report_progress("train", 120, 600, "loss 2.314", [{"step": 120, "loss": 2.314}], seconds_left=250.1)
    read_progress("train")             # Progress(done=120, total=600, text="loss 2.314", ...), None where there is none

It is beside the stage's work, never in its way: one that cannot be written costs a warning.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from doctune.errors import DoctuneError, warn
from doctune.files import whole_file
from doctune.section import Section

FOLDER = Path(".doctune") / "progress"
MOST_POINTS = 20


class Progress(Section):
    """`points` are what was measured on the way, each by name; `seconds_left` is None where nobody knows."""

    done: int = Field(ge=0)
    total: int = Field(ge=1)
    text: str
    points: list[dict[str, float]]
    seconds_left: float | None

    @property
    def percent(self) -> float:
        return min(100.0, 100 * self.done / self.total)


def progress_file(stage: str, root: Path = Path()) -> Path:
    return root / FOLDER / f"{stage}.json"


def report_progress(
    stage: str,
    done: int,
    total: int,
    text: str,
    points: Sequence[Mapping[str, float]] = (),
    seconds_left: float | None = None,
) -> None:
    """Say that `done` of `total` is done, for the stage of that name in the project in the current folder."""
    told = {"done": done, "total": total, "text": text, "points": thinned(points), "seconds_left": seconds_left}
    try:
        with whole_file(progress_file(stage), durable=False) as tmp:
            tmp.write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
    except (DoctuneError, OSError) as error:
        warn(f"{error}; the stage goes on, its progress is not shown")


def read_progress(stage: str, root: Path = Path()) -> Progress | None:
    """What the stage said last; None where it said nothing that can be read."""
    try:
        return Progress.model_validate_json(progress_file(stage, root).read_bytes())
    except (OSError, ValidationError):
        return None


def thinned(points: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """At most so many of the points as a person reads, evenly, the last among them."""
    every = max(1, -(-len(points) // MOST_POINTS))
    return list(points[::-1][::every])[::-1]


def clock(seconds: float) -> str:
    """4:10, or 3:04:10 from an hour on."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

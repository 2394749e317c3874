"""Points of a trial's curves on their way between two processes: one line of output each.

say_point({"step": 40, "eval_loss": 2.31, "evaluation": 2})      # doctune: trial: {"step": 40, "eval_loss": 2.31, ...
read_point(line)                                                 # the same, or None for any other line
"""

import json

PREFIX = "doctune: trial: "


def say_point(point: dict[str, float]) -> None:
    print(PREFIX + json.dumps(point), flush=True)  # NaN, too, which a diverged loss is


def read_point(line: str) -> dict[str, float] | None:
    return dict(json.loads(line.removeprefix(PREFIX))) if line.startswith(PREFIX) else None

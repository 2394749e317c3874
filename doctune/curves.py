"""train's curves.csv, read back.

read_curves(Path("reports/train/curves.csv"))    # [(20, {"loss": 2.31, "eval_loss": 2.4, "seconds": 8.5}), ...]
"""

import csv
from pathlib import Path

from doctune.errors import DoctuneError, one_line


def read_curves(path: Path) -> list[tuple[int, dict[str, float]]]:
    """The step of each row, and by column what was measured there: an empty cell was not."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                (int(row.pop("step")), {column: float(cell) for column, cell in row.items() if cell})
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DoctuneError(
            f"wanted curves with a column step and numbers in {path}, got {one_line(error)}; run the train stage again"
        ) from None

"""Rows of a file, checked before anything is made of them.

check_rows(read_jsonl(path), TRANSLATED_FIELDS, path)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from doctune.errors import DoctuneError

Row = dict[str, Any]

TRANSLATED_FIELDS = ("id", "en", "zh")  # of rows that a model translates, and that its reference measures


def check_rows(rows: Sequence[Row], fields: Sequence[str], where: Path) -> None:
    """Raise DoctuneError unless there are rows and each has all `fields` as strings."""
    if not rows:
        raise DoctuneError(f"{where} holds no rows, wanted at least one; check where it comes from")
    for number, row in enumerate(rows, 1):
        for field in fields:
            if not isinstance(row.get(field), str):
                got = f"{where}, row {number}: wanted text in {field!r}, got {row.get(field)!r}"
                raise DoctuneError(f"{got}; a stage's file: run the stage again (dvc repro); your own: mend the row")

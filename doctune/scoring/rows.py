"""The rows that scoring reads, checked: test and training rows, text from elsewhere, a system's translations.

check_splits(test, train, Path("data/splits"))
hypotheses_of(test, read_jsonl(path), path)           # the system's texts, in the order of the test rows
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from doctune.errors import DoctuneError

Row = dict[str, Any]

TEST_FIELDS = ("id", "en", "zh", "page", "kind")
_TRAIN_FIELDS = ("en", "zh")
_GENERAL_FIELDS = ("id", "en", "zh")


def check_rows(rows: Sequence[Row], fields: Sequence[str], where: Path) -> None:
    """Raise DoctuneError unless there are rows and each has all `fields` as strings."""
    if not rows:
        raise DoctuneError(f"{where} holds no rows, wanted at least one; check the report of the stage that writes it")
    for number, row in enumerate(rows, 1):
        for field in fields:
            if not isinstance(row.get(field), str):
                got = f"{where}, row {number}: wanted text in {field!r}, got {row.get(field)!r}"
                raise DoctuneError(f"{got}; run the stage that writes it again (dvc repro)")


def check_splits(test: Sequence[Row], train: Sequence[Row], folder: Path) -> None:
    """Raise DoctuneError unless both splits have rows of the shape that evaluation needs."""
    check_rows(test, TEST_FIELDS, folder / "test.jsonl")
    check_rows(train, _TRAIN_FIELDS, folder / "train.jsonl")


def check_general(rows: Sequence[Row], where: Path) -> None:
    """Raise DoctuneError unless text from elsewhere has rows of the shape that evaluation needs."""
    check_rows(rows, _GENERAL_FIELDS, where)


def hypotheses_of(test: Sequence[Row], translated: Sequence[Row], where: Path) -> list[str]:
    """The system's Chinese for each test row; raises DoctuneError unless ids are the test's, in the same order."""
    again = "run its translate stage again (dvc repro)"
    if len(translated) != len(test):
        raise DoctuneError(f"{where}: wanted {len(test)} rows, as in the test set, got {len(translated)}; {again}")
    check_rows(translated, ("id", "hyp"), where)
    for number, (wanted, got) in enumerate(zip(test, translated, strict=True), 1):
        if wanted["id"] != got["id"]:
            raise DoctuneError(f"{where}, row {number}: wanted id {wanted['id']}, got {got['id']}; {again}")
    return [row["hyp"] for row in translated]

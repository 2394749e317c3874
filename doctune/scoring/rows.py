"""The rows that scoring reads, checked: test and training rows, text from elsewhere, a system's translations.

check_splits(test, train, Path("data/splits"))
hypotheses_of(test, read_jsonl(path), path)           # the system's texts, in the order of the test rows
"""

from collections.abc import Sequence
from pathlib import Path

from doctune.errors import DoctuneError
from doctune.rows import TRANSLATED_FIELDS, Row, check_rows

TEST_FIELDS = ("id", "en", "zh", "page", "kind")
_TRAIN_FIELDS = ("en", "zh")


def check_splits(test: Sequence[Row], train: Sequence[Row], folder: Path) -> None:
    """Raise DoctuneError unless both splits have rows of the shape that evaluation needs."""
    check_rows(test, TEST_FIELDS, folder / "test.jsonl")
    check_rows(train, _TRAIN_FIELDS, folder / "train.jsonl")


def check_general(rows: Sequence[Row], where: Path) -> None:
    """Raise DoctuneError unless text from elsewhere has rows of the shape that evaluation needs."""
    check_rows(rows, TRANSLATED_FIELDS, where)


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

"""How much of the test and validation text is in train too, counted by other code than the one that split it.

    leakage([{"id": "1", "page": "a.md", "en": "Use **Pods**."}], [], [{"id": "2", "page": "b.md", "en": "use pods"}])
    # {"test_in_train": {"rows": 1, "identical": 0, "same_letters": 1, "pages": 0, "ids": 0}, ...}

It shares nothing with `doctune.splitting` or `doctune.text`, so that a mistake there shows here.
"""

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]


def leakage(train: Sequence[Row], valid: Sequence[Row], test: Sequence[Row]) -> dict[str, dict[str, int]]:
    """For test in train, valid in train and test in valid: rows of the first whose source the second holds too.

    identical: same text but for white space; same_letters: same letters and digits in the same order whatever their
    case, markup and punctuation. pages and ids: how many both hold. After a good split all are 0 but `rows`, the number
    of rows asked about.
    """
    return {
        "test_in_train": _shared(test, train),
        "valid_in_train": _shared(valid, train),
        "test_in_valid": _shared(test, valid),
    }


def _shared(rows: Sequence[Row], others: Sequence[Row]) -> dict[str, int]:
    lines = {_line(row["en"]) for row in others}
    letters = {_letters(row["en"]) for row in others}
    return {
        "rows": len(rows),
        "identical": sum(_line(row["en"]) in lines for row in rows),
        "same_letters": sum(_letters(row["en"]) in letters for row in rows),
        "pages": len({row["page"] for row in rows} & {row["page"] for row in others}),
        "ids": len({row["id"] for row in rows} & {row["id"] for row in others}),
    }


def _line(text: str) -> str:
    return " ".join(text.split())


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower())) or _line(text)

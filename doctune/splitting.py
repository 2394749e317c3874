"""Train, valid and test: whole pages by a hash, and no source of one in another.

    splits, report = split(pairs, params)
    {name: len(rows) for name, rows in splits.items()}      # {"train": 28000, "valid": 1000, "test": 2000}

A page's place depends on its path and the seed only, so a new page moves no old one. Whatever is left out is counted.
"""

from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from pydantic import Field, model_validator

from doctune.errors import DoctuneError
from doctune.files import hash_text
from doctune.leakage import leakage
from doctune.mixing import is_extra
from doctune.section import Section
from doctune.text import match_key

Pair = dict[str, Any]
NAMES = ("train", "valid", "test")


class SplitParams(Section):
    """Knobs of the split stage. Fractions are of pages, caps of rows."""

    seed: int
    test: float = Field(gt=0, lt=1, description="fraction of pages whose rows are for testing")
    valid: float = Field(gt=0, lt=1, description="fraction of pages whose rows choose the checkpoint")
    max_test: int = Field(gt=0, description="most test rows, chosen by the hash of their id")
    max_valid: int = Field(gt=0, description="most validation rows")
    train_only: list[str] = Field(description="globs of page paths that stay in train (`*` matches slashes too)")

    @model_validator(mode="after")
    def _room_for_train(self) -> "SplitParams":
        if self.test + self.valid >= 1:
            raise ValueError(f"test {self.test} + valid {self.valid} must be below 1, or nothing is left to train on")
        return self


def page_split(page: str, params: SplitParams) -> str:
    """The split of a page: "train", "valid" or "test"."""
    if any(fnmatchcase(page, pattern) for pattern in params.train_only):
        return "train"
    share = int(hash_text(str(params.seed), page)[:16], 16) / 16**16
    return "test" if share < params.test else "valid" if share < params.test + params.valid else "train"


def split(pairs: Iterable[Pair], params: SplitParams) -> tuple[dict[str, list[Pair]], dict[str, Any]]:
    """Split rows (with `id`, `en`, `zh`, `page`, `kind`) into train, valid and test, each in the rows' order.

    Extra rows (`mixing.is_extra`), which come last, are train rows to every rule and never anything else.

    Removed and counted: rows repeated within a split (same `en` and `zh` by `text.match_key`), rows over a cap, train
    and valid rows whose source is a test source, train rows whose source is a valid one. Raises DoctuneError when a
    split would be empty. The report ends with leakage counts that `doctune.leakage` computes by its own code.
    """
    rows: dict[str, list[Pair]] = {name: [] for name in NAMES}
    pages: dict[str, set[str]] = {name: set() for name in NAMES}
    total = 0
    for pair in pairs:
        name = "train" if is_extra(pair) else page_split(pair["page"], params)
        rows[name].append(pair)
        pages[name].add(pair["page"])
        total += 1
    removed: Counter[str] = Counter()
    for name in NAMES:
        rows[name] = _count(removed, f"{name}_repeated", rows[name], _distinct(rows[name]))
    rows["test"] = _count(removed, "test_over_cap", rows["test"], _capped(rows["test"], params.max_test, params.seed))
    held = {match_key(row["en"]) for row in rows["test"]}
    valid = [row for row in rows["valid"] if match_key(row["en"]) not in held]
    rows["valid"] = _count(removed, "valid_source_in_test", rows["valid"], valid)
    valid = _capped(rows["valid"], params.max_valid, params.seed)
    rows["valid"] = _count(removed, "valid_over_cap", rows["valid"], valid)
    for name in ("test", "valid"):
        held = {match_key(row["en"]) for row in rows[name]}
        train = [row for row in rows["train"] if match_key(row["en"]) not in held]
        rows["train"] = _count(removed, f"train_source_in_{name}", rows["train"], train)
    _refuse_empty(rows, pages, total, params)
    report = {
        "pairs": total,
        "rows": {name: len(rows[name]) for name in NAMES},
        "pages": {name: len(pages[name]) for name in NAMES},
        "rows_by_kind": {name: dict(sorted(Counter(row["kind"] for row in rows[name]).items())) for name in NAMES},
        "removed": dict(sorted(removed.items())),
        "leakage": leakage(rows["train"], rows["valid"], rows["test"]),
    }
    return rows, report


def _distinct(rows: list[Pair]) -> list[Pair]:
    """The first row of each (en, zh)."""
    first: dict[tuple[str, str], Pair] = {}
    for row in rows:
        first.setdefault((match_key(row["en"]), match_key(row["zh"])), row)
    return list(first.values())


def _capped(rows: list[Pair], most: int, seed: int) -> list[Pair]:
    """At most `most` rows, those whose id hashes lowest: another row changes the choice at its rim only."""
    if len(rows) <= most:
        return rows
    chosen = {row["id"] for row in sorted(rows, key=lambda row: hash_text(str(seed), row["id"]))[:most]}
    return [row for row in rows if row["id"] in chosen]


def _count(removed: Counter[str], reason: str, before: list[Pair], after: list[Pair]) -> list[Pair]:
    removed[reason] += len(before) - len(after)
    return after


def _refuse_empty(rows: dict[str, list[Pair]], pages: dict[str, set[str]], total: int, params: SplitParams) -> None:
    empty = [name for name in NAMES if not rows[name]]
    if not empty:
        return
    got = ", ".join(f"{name} {len(rows[name])} rows of {len(pages[name])} pages" for name in NAMES)
    advice = {
        "test": f"raise split.test (now {params.test}) or change split.seed",
        "valid": f"raise split.valid (now {params.valid}) or change split.seed",
        "train": f"lower split.test and split.valid (now {params.test} and {params.valid})",
    }
    raise DoctuneError(
        f"wanted rows in train, valid and test, got {got} from {total} pairs; "
        + "; ".join(advice[name] for name in empty)
        + ", shorten split.train_only, or give more pages"
    )

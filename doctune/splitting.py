"""Train, valid and test: whole pages by a hash, and no source of one, nor a near duplicate of it, in another.

    splits, report = split(pairs, params)
    {name: len(rows) for name, rows in splits.items()}      # {"train": 28000, "valid": 1000, "test": 2000}

A page's place depends on its path and the seed only, so a new page moves no old one. Which of several rows stays
depends on the hashes of their ids, so their order changes nothing and a new row changes the choice at its rim only.
Whatever is left out is counted.

With `test_since` the test set is what changed since an older revision of the site, wherever it stands; what did not
change on those pages is left out, and the rest of the pages are for train and valid. `train_only` pages stay in train.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from doctune.errors import DoctuneError
from doctune.files import hash_share, hash_text
from doctune.leakage import leakage
from doctune.mixing import is_extra, is_term
from doctune.near import LONGEST, NGRAMS, NearIndex, few_near
from doctune.section import Section
from doctune.since import changed
from doctune.words import Texts

Pair = dict[str, Any]
NAMES = ("train", "valid", "test")


class SplitParams(Section):
    """Knobs of the split stage. Fractions are of pages, caps of rows; in globs of page paths `*` matches slashes too."""

    seed: int
    test: float = Field(gt=0, lt=1, description="fraction of pages whose rows are for testing")
    valid: float = Field(gt=0, lt=1, description="fraction of pages whose rows choose the checkpoint")
    max_test: int = Field(gt=0, description="most test rows, chosen by the hash of their id")
    max_valid: int = Field(gt=0, description="most validation rows")
    train_only: list[str] = Field(description="globs of pages that stay in train")
    near: float = Field(gt=0, le=1, description="Jaccard index of n-grams from which on two texts are near duplicates")
    near_copies: int = Field(gt=0, description="most train rows that are near duplicates in source and target")
    generated: list[str] = Field(description="globs of pages that a program wrote")
    max_generated: int = Field(ge=0, description="most train rows of those pages, chosen by the hash of their id")
    test_since: bool = Field(description="true: test on what changed since crawl.since, not on a fraction of pages")

    @model_validator(mode="after")
    def _room_for_train(self) -> "SplitParams":
        if self.test + self.valid >= 1:
            raise ValueError(f"test {self.test} + valid {self.valid} must be below 1, or nothing is left to train on")
        return self


def page_split(page: str, params: SplitParams) -> str:
    """The split of a page: "train", "valid" or "test" (never the last with `test_since`, which asks the passages)."""
    if _matches(page, params.train_only):
        return "train"
    share = hash_share(str(params.seed), page)
    if share < params.test:
        return "train" if params.test_since else "test"
    return "valid" if share < params.test + params.valid else "train"


def split(
    pairs: Iterable[Pair], params: SplitParams, old: Iterable[Mapping[str, Any]] = (), memo: Path | None = None
) -> tuple[dict[str, list[Pair]], dict[str, Any]]:
    """Split rows (with `id`, `en`, `zh`, `page`, `kind`) into train, valid and test, each sorted by page and line.

    Extra rows (`mixing.is_extra`) are train rows to every rule and never anything else.

    `old` holds the pages of the revision that `test_since` compares with. Removed and counted: what did not change on a
    page that did (`test_since`); rows repeated within a split (same `en` and `zh` by `text.match_key`); rows over a
    cap; train and valid rows whose source is a test source or a near duplicate of one, and train rows whose source is
    that of a valid one; train rows beyond `near_copies` and `max_generated`. Raises DoctuneError when a split would be
    empty. The report ends with leakage counts that `doctune.leakage` computes by its own code. `memo` is a file that
    saves reading the texts of an earlier run again (`doctune.words`).
    """
    everything = sorted(pairs, key=lambda row: (row["page"], row.get("zh_lines") or [], row["id"]))
    read = _Read(everything, params, memo)
    sieve = _Sieve(_placed(everything, params, old))
    rows = sieve.rows
    sieve.removed["unchanged_on_changed_pages"] = len(everything) - sum(map(len, rows.values()))
    for name in NAMES:
        sieve.keep(name, "repeated", _distinct(rows[name], read))
    sieve.keep("test", "over_cap", _capped(rows["test"], params.max_test, read))
    held = _Held(params.near, read, rows["test"] + rows["valid"])
    held.add("test", rows["test"])
    sieve.leave_out("valid", held)
    sieve.keep("valid", "over_cap", _capped(rows["valid"], params.max_valid, read))
    held.add("valid", rows["valid"])
    sieve.leave_out("train", held)
    sieve.keep("train", "near_copies", _few_copies(rows["train"], params, read))
    sieve.keep("train", "generated_over_cap", _few_generated(rows["train"], params, read))
    pages = {name: {row["page"] for row in rows[name] if not is_extra(row)} for name in NAMES}
    _refuse_empty(rows, pages, len(everything), params)
    report = {
        "pairs": len(everything),
        "rows": {name: len(rows[name]) for name in NAMES},
        "pages": {name: len(pages[name]) for name in NAMES},
        "rows_by_kind": {name: dict(sorted(Counter(row["kind"] for row in rows[name]).items())) for name in NAMES},
        "generated_rows": {name: sum(read.is_generated(row) for row in rows[name]) for name in NAMES},
        "removed": dict(sorted(sieve.removed.items())),
        "leakage": leakage(rows["train"], rows["valid"], rows["test"], params.near, NGRAMS),
    }
    return rows, report


class _Read:
    """What the rules ask of rows, read once: the words of their texts, and their places among others."""

    def __init__(self, rows: list[Pair], params: SplitParams, memo: Path | None) -> None:
        self.texts = Texts(memo)
        self._generated = {page for page in {row["page"] for row in rows} if _matches(page, params.generated)}
        self._sides = {row["id"]: (self.texts.add(row["en"]), self.texts.add(row["zh"])) for row in rows}
        self.texts.keep()
        self._ranks = {row["id"]: hash_text(str(params.seed), row["id"]) for row in rows}
        ordered = sorted(rows, key=lambda row: (is_extra(row), self.is_generated(row), self.rank(row)))
        self._by_hand_first = {row["id"]: number for number, row in enumerate(ordered)}

    def sides(self, row: Pair) -> tuple[int, int]:
        """The numbers of the row's source and target among the texts."""
        return self._sides[row["id"]]

    def keys(self, row: Pair) -> tuple[int, int]:
        """Two sources, or two targets, have the same when they count as the same."""
        source, target = self.sides(row)
        return self.texts.key(source), self.texts.key(target)

    def is_generated(self, row: Pair) -> bool:
        return row["page"] in self._generated

    def rank(self, row: Pair) -> str:
        """The place of a row among others that have to leave or stay: nobody's choice, and no other row moves it."""
        return self._ranks[row["id"]]

    def by_hand_first(self, rows: list[Pair]) -> list[Pair]:
        """The site's own rows before extra ones, which may be weighed out later, and what people wrote before what programs did."""
        return sorted(rows, key=lambda row: self._by_hand_first[row["id"]])


class _Sieve:
    """The rows of each split, and how many left it for which reason."""

    def __init__(self, rows: dict[str, list[Pair]]) -> None:
        self.rows = rows
        self.removed: Counter[str] = Counter()

    def keep(self, name: str, reason: str, rows: list[Pair]) -> None:
        self.removed[f"{name}_{reason}"] += len(self.rows[name]) - len(rows)
        self.rows[name] = rows

    def leave_out(self, name: str, held: "_Held") -> None:
        """Keep the rows of a split whose source no other split holds, nor a near duplicate of it."""
        reasons = held.reasons_to_leave(self.rows[name])
        for reason in held.reasons:
            self.removed[f"{name}_{reason}"] += reasons.count(reason)
        self.rows[name] = [row for row, reason in zip(self.rows[name], reasons, strict=True) if not reason]


class _Held:
    """The sources of test and valid, which no split after them may hold."""

    def __init__(self, threshold: float, read: _Read, likely: list[Pair]) -> None:
        self.reasons: list[str] = []
        self._read = read
        self._index = NearIndex(threshold, NGRAMS, read.texts, self._sources(likely))
        self._owners: list[str] = []  # the split of each text of the index
        self._keys: dict[int, str] = {}

    def _sources(self, rows: list[Pair]) -> list[tuple[int]]:
        return [self._read.sides(row)[:1] for row in rows]

    def add(self, name: str, rows: list[Pair]) -> None:
        self.reasons += [f"source_in_{name}", f"near_{name}"]
        self._index.add(self._sources(rows))
        self._owners += [name] * len(rows)
        for row in rows:
            self._keys.setdefault(self._read.keys(row)[0], name)

    def reasons_to_leave(self, rows: list[Pair]) -> list[str]:
        """Why each row has to leave: "source_in_test", "near_valid" and so on; "" when it may stay."""
        near = {place: self._owners[first] for place, first in reversed(self._index.near(self._sources(rows)))}
        owners = [self._keys.get(self._read.keys(row)[0]) for row in rows]
        return [
            f"source_in_{owner}" if owner else f"near_{near[place]}" if place in near else ""
            for place, owner in enumerate(owners)
        ]


def _placed(rows: list[Pair], params: SplitParams, old: Iterable[Mapping[str, Any]]) -> dict[str, list[Pair]]:
    """Rows by split; with `test_since` those that did not change on a page that did are in none."""
    new: set[str] = set()
    if params.test_since:
        old = list(old)
        if not old:
            raise DoctuneError("split.test_since wants pages of an older revision, got none; set crawl.since to one")
        asked = (row for row in rows if not is_extra(row) and not _matches(row["page"], params.train_only))
        new = changed(asked, old)
    moved = {row["page"] for row in rows if row["id"] in new}
    home = {page: page_split(page, params) for page in {row["page"] for row in rows}}
    placed: dict[str, list[Pair]] = {name: [] for name in NAMES}
    for row in rows:
        if row["id"] in new:
            placed["test"].append(row)
        elif row["page"] not in moved:
            placed["train" if is_extra(row) else home[row["page"]]].append(row)
    return placed


def _matches(page: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(page, pattern) for pattern in patterns)


def _distinct(rows: list[Pair], read: _Read) -> list[Pair]:
    """One row of each (en, zh) and task, of a page written by hand where there is one."""
    first: dict[tuple[int, int, bool], str] = {}
    for row in read.by_hand_first(rows):
        first.setdefault((*read.keys(row), is_term(row)), row["id"])
    chosen = set(first.values())
    return [row for row in rows if row["id"] in chosen]


def _capped(rows: list[Pair], most: int, read: _Read) -> list[Pair]:
    """At most `most` rows, those whose id hashes lowest: another row changes the choice at its rim only."""
    if len(rows) <= most:
        return rows
    chosen = {row["id"] for row in sorted(rows, key=read.rank)[:most]}
    return [row for row in rows if row["id"] in chosen]


def _few_copies(rows: list[Pair], params: SplitParams, read: _Read) -> list[Pair]:
    """Rows without those that `near_copies` rows before them, which stay, nearly repeat in source and target.

    Terms, each of which is there once, stay: they are no copies of the titles that they stand in.
    """
    ordered = read.by_hand_first([row for row in rows if not is_term(row)])
    stay = few_near(params.near, LONGEST, read.texts, [read.sides(row) for row in ordered], params.near_copies)
    chosen = {row["id"] for row, stays in zip(ordered, stay, strict=True) if stays}
    return [row for row in rows if row["id"] in chosen or is_term(row)]


def _few_generated(rows: list[Pair], params: SplitParams, read: _Read) -> list[Pair]:
    generated = [row for row in rows if read.is_generated(row)]
    chosen = {row["id"] for row in _capped(generated, params.max_generated, read)}
    return [row for row in rows if row["id"] in chosen or not read.is_generated(row)]


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
    if params.test_since:
        advice |= {"test": "set crawl.since to an older revision", "train": "set crawl.since to a newer revision"}
        advice["valid"] += " or set crawl.since to a newer revision"
    raise DoctuneError(
        f"wanted rows in train, valid and test, got {got} from {total} pairs; "
        + "; ".join(advice[name] for name in empty)
        + ", shorten split.train_only, or give more pages"
    )

"""Extra rows mixed into train: each as often as its weight says, all of them no more than their share.

    rows, counts = mix(train, extra, params)
    counts["sources"]["wmt"]                  # {"rows": 5000, "seen": 2519}: weight 0.5

A weight is how often a row is seen in an epoch: 2.0 puts it in twice, 0.5 puts in every second row, always the same
ones. What stays is chosen by hashes of content: it depends on no order, and more rows change it at its rim only. Mixing
leaves out and repeats, it never lets in: so rows that shared no source with test and valid before still do not.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from doctune.errors import DoctuneError
from doctune.extra.params import ExtraParams
from doctune.files import hash_share, hash_text
from doctune.text import match_key

Row = dict[str, Any]


def is_extra(row: Row) -> bool:
    """Whether a row comes from the stage `extra`: such rows have a weight."""
    return "weight" in row


def is_term(row: Row) -> bool:
    """Whether a row asks for a term's rendering; without a task it asks for a translation."""
    return bool(row.get("task") == "term")


def apart(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """The site's own rows, and the extra ones."""
    own: list[Row] = []
    extra: list[Row] = []
    for row in rows:
        (extra if is_extra(row) else own).append(row)
    return own, extra


def mix(train: Sequence[Row], extra: Sequence[Row], params: ExtraParams) -> tuple[list[Row], dict[str, Any]]:
    """The train rows in their order, then the extra rows that join them, by id; and the counts of both.

    Train rows are all kept. A further copy of a row has its id with #2, #3, ... Where a share is full, back-translated
    rows give way to genuine ones; among either it is the hash that decides, so that the sources keep their proportions.
    """
    if extra and not train:
        raise DoctuneError(
            f"wanted training rows to mix {len(extra)} extra rows into, got none; extra data alone teach no site"
        )
    dropped: Counter[str] = Counter()
    distinct = _distinct(train, extra)
    dropped["repeated"] = len(extra) - len(distinct)
    copies = [copy for row in distinct for copy in _copies(row)]
    dropped["weight_below_one"] = len(distinct) - sum(copy.number == 1 for copy in copies)

    genuine, synthetic = (
        sorted((copy for copy in copies if copy.row["synthetic"] is made), key=_rank) for made in (False, True)
    )
    room = _room(params.max_share, len(train))
    joined = genuine if room is None else genuine[:room]
    dropped["over_max_share"] = len(genuine) - len(joined)
    synthetic_room = _room(params.max_synthetic_share, len(train) + len(joined))
    rooms = {"over_max_share": None if room is None else room - len(joined), "over_max_synthetic_share": synthetic_room}
    reason, most = min(rooms.items(), key=lambda item: len(synthetic) if item[1] is None else item[1])
    made_up = synthetic if most is None else synthetic[:most]
    dropped[reason] += len(synthetic) - len(made_up)

    kept = sorted((copy.named() for copy in [*joined, *made_up]), key=lambda row: row["id"])
    total = len(train) + len(kept)
    counts = {
        "rows": {"train": len(train), "extra": len(kept), "synthetic": len(made_up)},
        "share": round(len(kept) / total, 4) if total else 0.0,
        "synthetic_share": round(len(made_up) / total, 4) if total else 0.0,
        "dropped": {reason: count for reason, count in sorted(dropped.items()) if count},
        "sources": _by_source(extra, [*joined, *made_up]),
    }
    return [*train, *kept], counts


class _Copy(NamedTuple):
    row: Row
    number: int  # 1 for the row itself

    def named(self) -> Row:
        return self.row if self.number == 1 else {**self.row, "id": f"{self.row['id']}#{self.number}"}


def _distinct(train: Sequence[Row], extra: Sequence[Row]) -> list[Row]:
    """Extra rows that train does not have, each pair once: the genuine one, of the largest weight."""
    if not extra:  # keys of a whole corpus take a while
        return []
    seen = {_pair(row) for row in train}
    found: dict[tuple[str, str, bool], Row] = {}
    for row in sorted(extra, key=lambda row: (row["synthetic"], -row["weight"], row["id"])):
        pair = _pair(row)
        if pair not in seen:
            found.setdefault(pair, row)
    return list(found.values())


def _pair(row: Row) -> tuple[str, str, bool]:
    """What makes two rows the same; a term that is a title too is learnt as both."""
    return match_key(row["en"]), match_key(row["zh"]), is_term(row)


def _copies(row: Row) -> list[_Copy]:
    """As many as the weight has ones, and one more for as large a part of the rows as is left."""
    whole = int(row["weight"])
    luck = hash_share("weight", row["en"], row["zh"])
    return [_Copy(row, number) for number in range(1, whole + (luck < row["weight"] - whole) + 1)]


def _rank(copy: _Copy) -> tuple[str, str]:
    return hash_text("share", copy.row["en"], copy.row["zh"], str(copy.number)), copy.row["id"]


def _room(share: float, others: int) -> int | None:
    """The most rows that are at most `share` of themselves and `others`; None: any number."""
    exact = Fraction(str(share))
    return None if exact == 1 else int(exact * others / (1 - exact))


def _by_source(extra: Iterable[Row], copies: Iterable[_Copy]) -> dict[str, dict[str, int]]:
    """Rows of each source that are in train, and how often they are seen in an epoch; a source without any is 0."""
    rows: dict[str, set[str]] = {row["source"]: set() for row in extra}
    seen: Counter[str] = Counter()
    for copy in copies:
        rows[copy.row["source"]].add(copy.row["id"])
        seen[copy.row["source"]] += 1
    return {name: {"rows": len(rows[name]), "seen": seen[name]} for name in sorted(rows)}

"""Learns the lexicon from parallel texts: which Chinese characters, or pairs of them, an English stem becomes.

    python -m doctune.alignment.learning pairs.jsonl doctune/alignment/lexicon.tsv       # 47,000 pairs: 4 minutes, 7 GB

IBM Model 1 (Brown et al. 1993) with a null word gives t(unit | stem) by five rounds of expectation-maximisation. Of the likeliest
units of a stem those are its renderings that stand in translations of texts with the stem at least three times as often as
elsewhere, and add to what the ones before them find. Word tables only, no sentence, leave the corpus.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from doctune.alignment.lexicon import stems, units
from doctune.files import read_jsonl, whole_file
from doctune.text import count_cjk, visible

ROUNDS = 5
LEAST_STEMS, LEAST_UNITS = 5, 4  # rarer ones are left out
MOST_STEMS = 80  # texts with more are left out: they cost much and tell little
LIKELY = 0.02  # t(unit | stem) of a unit that may render the stem
CANDIDATES, RENDERINGS = 12, 6
LIFT, ADDS, ADDS_LIFT = 3.0, 0.03, 2.0
LEAST_RATE = 2e-6

Array = np.ndarray[Any, Any]


class Entry(NamedTuple):
    """A line of the table; `Lexicon` says what hit and rate are."""

    stem: str
    hit: float
    rate: float
    renderings: tuple[str, ...]


def learn(pairs: list[tuple[str, str]]) -> list[Entry]:
    """Entries sorted by stem, from (English, Chinese) texts."""
    english, chinese = [stems(en) for en, _ in pairs], [units(zh) for _, zh in pairs]
    lengths = np.array([count_cjk(visible(zh)) for _, zh in pairs])
    at_stem, at_unit = _places(english), _places(chinese)
    likely = _likely(english, chinese)
    entries = []
    for stem, candidates in sorted(likely.items()):
        rows = at_stem[stem]
        chosen: list[str] = []
        found: set[int] = set()
        for _, unit in sorted(candidates, key=_likeliest_and_shortest)[:CANDIDATES]:
            there, everywhere = at_unit[unit] & rows, len(at_unit[unit]) / len(pairs)
            new = len(there - found) / len(rows)
            if (
                len(there) < 2
                or len(there) / len(rows) <= LIFT * everywhere
                or new <= max(ADDS, ADDS_LIFT * everywhere)
            ):
                continue
            chosen.append(unit)
            found |= there
            if len(chosen) == RENDERINGS:
                break
        if chosen:
            elsewhere = set[int]().union(*(at_unit[unit] for unit in chosen)) - rows
            rate = len(elsewhere) / max(int(lengths.sum() - lengths[list(rows)].sum()), 1)
            entries.append(Entry(stem, (len(found) + 1) / (len(rows) + 3), max(rate, LEAST_RATE), tuple(chosen)))
    return entries


def _likeliest_and_shortest(candidate: tuple[float, str]) -> tuple[float, int, str]:
    return -candidate[0], len(candidate[1]), candidate[1]


def write(entries: list[Entry], path: Path) -> None:
    with whole_file(path) as tmp, tmp.open("w", encoding="utf-8") as file:
        for entry in entries:
            file.write(f"{entry.stem}\t{entry.hit:.3f}\t{entry.rate:.2e}\t{' '.join(entry.renderings)}\n")


def _places(texts: list[set[str]]) -> dict[str, set[int]]:
    places: dict[str, set[int]] = {}
    for number, members in enumerate(texts):
        for member in members:
            places.setdefault(member, set()).add(number)
    return places


def _likely(english: list[set[str]], chinese: list[set[str]]) -> dict[str, list[tuple[float, str]]]:
    """Stem -> (t(unit | stem), unit) of its likelier units."""
    stem_names, stem_ids = _numbered(english, LEAST_STEMS)
    unit_names, unit_ids = _numbered(chinese, LEAST_UNITS)
    null, width = len(stem_names), len(unit_names)
    cells, owners, count = [], [], 0
    for left, right in zip(stem_ids, unit_ids, strict=True):
        if len(left) >= MOST_STEMS or not len(right):
            continue
        left = np.append(left, null)
        cells.append((right[:, None] + left[None, :] * width).ravel())  # the stems of one unit side by side
        owners.append(np.repeat(np.arange(count, count + len(right), dtype=np.int32), len(left)))
        count += len(right)
    if not cells:
        return {}
    known, cell = np.unique(np.concatenate(cells), return_inverse=True)
    owner, stem = np.concatenate(owners), known // width
    chance = np.full(len(known), 1.0, dtype=np.float32)
    for _ in range(ROUNDS):
        share = chance[cell]
        share /= np.bincount(owner, weights=share, minlength=count)[owner]
        expected = np.bincount(cell, weights=share, minlength=len(known))
        chance = (expected / np.bincount(stem, weights=expected, minlength=null + 1)[stem]).astype(np.float32)
    likely: dict[str, list[tuple[float, str]]] = {}
    for key in np.flatnonzero((chance > LIKELY) & (stem < null)):
        row, column = divmod(int(known[key]), width)
        likely.setdefault(stem_names[row], []).append((float(chance[key]), unit_names[column]))
    return likely


def _numbered(texts: list[set[str]], least: int) -> tuple[list[str], list[Array]]:
    counts = Counter(member for members in texts for member in members)
    names = sorted(name for name, count in counts.items() if count >= least)
    index = {name: number for number, name in enumerate(names)}
    return names, [np.array(sorted(index[m] for m in members if m in index), dtype=np.int64) for members in texts]


def main() -> None:
    corpus, table = map(Path, sys.argv[1:])
    write(learn([(row["en"], row["zh"]) for row in read_jsonl(corpus)]), table)


if __name__ == "__main__":
    main()

"""Monotone alignment of the blocks of one English passage with those of its translation; the uncertain is left out.

    align_blocks([heading, paragraph], [标题, 段落], start=0, least=0.8).matches
    # [Match(0, 0, 0.99), Match(1, 1, 0.99)]

Where both sides hold the same kinds in the same order, block n goes with block n unless its evidence speaks against
it. Elsewhere dynamic programming finds the best monotone path, and a match on it is kept only when its own evidence is
strong and no neighbour, alone or merged, would fit as well.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from doctune.alignment.evidence import Features, features, fit
from doctune.markdown import Block
from doctune.text import has_cjk

SAME_SHAPE = 3.0  # log-odds that block n belongs to block n when kinds and counts agree
FIRST = 1.5  # and that the block right after the comment belongs to the comment's first one, whatever follows
KIND = {("paragraph", "list_item"): -1.0, ("paragraph", "table_cell"): -0.5, ("list_item", "table_cell"): -1.0}
OTHER_KIND = -6.0
MOST_CELLS = 200_000  # largest English x Chinese blocks compared one by one (0.5 s); no real passage comes near
MARGIN = 1.0  # how much better than its rivals a match must be


@dataclass(frozen=True)
class Match:
    """English block number `en` with Chinese block number `zh`; confidence in [0, 1]."""

    en: int
    zh: int
    confidence: float


@dataclass(frozen=True)
class Alignment:
    """Matches in order, and why the other English blocks have none (their number -> reason)."""

    matches: list[Match]
    unmatched: dict[int, str]
    same_shape: bool


def align_blocks(en: Sequence[Block], zh: Sequence[Block], start: int, least: float) -> Alignment:
    """Align text blocks; `start` is the English block that the comment before the Chinese passage begins with.

    Chinese blocks without a Chinese character take part: they pair with the English that was left as it is. `least`
    is the lowest confidence that a match may have where shapes differ.
    """
    ef = [features(b.text, "en") for b in en]
    zf = [features(b.text, "zh") for b in zh]
    if [b.kind for b in en] == [b.kind for b in zh]:
        values = [SAME_SHAPE + _fit(en[n], zh[n], ef[n], zf[n]) for n in range(len(en))]
        if min(values, default=0.0) > 0:
            return Alignment([Match(n, n, _sigmoid(value)) for n, value in enumerate(values)], {}, True)
    return _certain(en, zh, ef, zf, start, least)


def _fit(en: Block, zh: Block, ef: Features, zf: Features) -> float:
    if not has_cjk(zh.text):
        return 6.0 if " ".join(en.text.split()) == " ".join(zh.text.split()) else fit(ef, zf) - 3
    return fit(ef, zf)


def _certain(
    en: Sequence[Block], zh: Sequence[Block], ef: list[Features], zf: list[Features], start: int, least: float
) -> Alignment:
    rows, columns = len(en), len(zh)
    if rows * columns > MOST_CELLS:
        return Alignment([], dict.fromkeys(range(rows), "passage_too_long"), False)
    value = [[_value(en[i], zh[j], ef[i], zf[j], i == start and j == 0) for j in range(columns)] for i in range(rows)]
    best = [[0.0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows - 1, -1, -1):
        for j in range(columns - 1, -1, -1):
            best[i][j] = max(best[i + 1][j], best[i][j + 1], value[i][j] + best[i + 1][j + 1])
    path: list[tuple[int, int]] = []
    i = j = 0
    while i < rows and j < columns:
        if value[i][j] > 0 and best[i][j] == value[i][j] + best[i + 1][j + 1]:
            path.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    matches, unmatched = [], dict.fromkeys(range(rows), "no_counterpart")
    for number, (i, j) in enumerate(path):
        del unmatched[i]
        low = path[number - 1] if number else (-1, -1)
        high = path[number + 1] if number + 1 < len(path) else (rows, columns)
        rival = _rival(value, ef, zf, (i, j), low, high)
        confidence = _sigmoid(min(value[i][j] - max(rival, 0.0) + 1, value[i][j]))
        if rival > value[i][j] - MARGIN:
            unmatched[i] = "ambiguous"
        elif confidence < least:
            unmatched[i] = "uncertain"
        else:
            matches.append(Match(i, j, confidence))
    return Alignment(matches, unmatched, False)


def _value(en: Block, zh: Block, ef: Features, zf: Features, first: bool) -> float:
    kinds = 0.0 if en.kind == zh.kind else KIND.get((en.kind, zh.kind), KIND.get((zh.kind, en.kind), OTHER_KIND))
    level = -2.0 if en.kind == zh.kind == "heading" and en.level != zh.level else 0.0
    anchor = 3.0 if en.anchor and en.anchor == zh.anchor else 0.0
    heading = 1.0 if en.kind == zh.kind == "heading" else 0.0
    return _fit(en, zh, ef, zf) + kinds + level + anchor + heading + (FIRST if first else 0.0)


def _rival(
    value: list[list[float]],
    ef: list[Features],
    zf: list[Features],
    at: tuple[int, int],
    low: tuple[int, int],
    high: tuple[int, int],
) -> float:
    """The best value of another reading of a match: a free neighbour on either side, or a block merged with one."""
    i, j = at
    rivals = [value[i][k] for k in range(low[1] + 1, high[1]) if k != j]
    rivals += [value[k][j] for k in range(low[0] + 1, high[0]) if k != i]
    base = fit(ef[i], zf[j])
    for k in (i - 1, i + 1):
        if low[0] < k < high[0]:
            rivals.append(value[i][j] + fit(_merged(ef[i], ef[k]), zf[j]) - base)
    for k in (j - 1, j + 1):
        if low[1] < k < high[1]:
            rivals.append(value[i][j] + fit(ef[i], _merged(zf[j], zf[k])) - base)
    return max(rivals, default=-math.inf)


def _merged(one: Features, two: Features) -> Features:
    return Features(one.anchors | two.anchors, one.words | two.words, one.length + two.length)


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))

"""Alignment of the blocks of one English passage with those of its translation; the uncertain is left out.

    align_blocks([heading, paragraph], [标题, 段落], start=0, least=0.8).matches
    # [Match(en=(0, 1), zh=(0, 1), confidence=0.99), Match(en=(1, 2), zh=(1, 2), confidence=0.99)]

Where both sides hold the same kinds in the same order, block n goes with block n unless its evidence speaks against
it. Elsewhere the lattice of all monotone alignments says how sure each match is; two neighbours may go with one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from doctune.alignment.lattice import align
from doctune.alignment.likeness import items, likeness, merged
from doctune.markdown import Block

SAME_SHAPE = 3.0  # log-odds that block n belongs to block n when kinds and counts agree
FIRST = 2.0  # and that the block right after the comment belongs to the comment's first one, whatever follows
LEAST_OWN = 0.0  # log-odds that a match must have of its own where shapes differ, however well its neighbours fit
SKIP, MERGE = -3.0, -4.0  # of the lattice: under a comment little is left out
MOST_CELLS = 1_000_000  # largest English x Chinese blocks compared one by one; no real passage comes near


@dataclass(frozen=True)
class Match:
    """English blocks en[0]:en[1] with Chinese blocks zh[0]:zh[1]; confidence in [0, 1]."""

    en: tuple[int, int]
    zh: tuple[int, int]
    confidence: float


@dataclass(frozen=True)
class Alignment:
    """Matches in order, and why the other English blocks have none (their number -> reason)."""

    matches: list[Match]
    unmatched: dict[int, str]


def align_blocks(en: Sequence[Block], zh: Sequence[Block], start: int, least: float) -> Alignment:
    """Align text blocks; `start` is the English block that the comment before the Chinese passage begins with.

    Chinese blocks without a Chinese character take part: they pair with the English that was left as it is. `least`
    is the lowest confidence that a match may have.
    """
    rows, columns = len(en), len(zh)
    if rows * columns > MOST_CELLS:
        return Alignment([], dict.fromkeys(range(rows), "passage_too_long"))
    if not en or not zh:
        return Alignment([], dict.fromkeys(range(rows), "no_counterpart"))
    source, target = items(en, "en"), items(zh, "zh")
    one = likeness(source, target)
    if [b.kind for b in en] == [b.kind for b in zh]:
        values = [SAME_SHAPE + float(one[n, n]) for n in range(rows)]
        if min(values) > 0:
            found = [Match((n, n + 1), (n, n + 1), _sigmoid(value)) for n, value in enumerate(values)]
            sure = [match for match in found if match.confidence >= least]
            return Alignment(sure, {m.en[0]: "uncertain" for m in found if m.confidence < least})
    one[start, 0] += FIRST
    two_en, two_zh = merged(source, target, cells=True)
    matches, doubtful = [], {}
    for bead in align(one, two_en, two_zh, skip=SKIP, merge=MERGE):
        table = (
            one
            if bead.en[1] - bead.en[0] == bead.zh[1] - bead.zh[0] == 1
            else two_en
            if bead.en[1] - bead.en[0] == 2
            else two_zh
        )
        assert table is not None  # the bead came from it
        own = float(table[bead.en[0], bead.zh[0]])
        confidence = min(bead.posterior, _sigmoid(own + SAME_SHAPE))
        if own < LEAST_OWN or confidence < least:
            doubtful.update(dict.fromkeys(range(*bead.en), "uncertain"))
        else:
            matches.append(Match(bead.en, bead.zh, confidence))
    taken = {i for match in matches for i in range(*match.en)}
    unmatched = {}
    for i in range(rows):
        if i not in taken:
            unmatched[i] = doubtful.get(i) or ("ambiguous" if one[i].max() > LEAST_OWN else "no_counterpart")
    return Alignment(matches, unmatched)


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))

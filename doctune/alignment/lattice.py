"""The best monotone alignment of two sequences, and how sure each of its beads is.

    beads = align(table, merged)        # table[i, j]: log-odds that item j translates item i
    beads[0]                            # Bead(en=(0, 1), zh=(0, 1), posterior=0.998)

A pair hidden Markov model in the manner of Gale and Church (1993), with evidence in the place of lengths: at each step one
item of either side is left out, or one pairs with one, or two neighbours with one. Forward and backward sums over every
alignment give each bead's posterior probability, and a bead stands when that is at least one half, so that the
beads that stand never cross. All of it works on anti-diagonals, whose cells do not depend on each other.
"""

import math
from typing import Any, NamedTuple

import numpy as np

Table = np.ndarray[Any, Any]

SKIP = -2.0  # log-weight of leaving out one item; two of these stand against a match's log-odds
MERGE = -3.5  # and what a bead of two with one costs beside its log-odds: they are rare
NOTHING = -1e9  # log of a sum without terms: finite, so that the difference of two of these is a number
CHANCE_BIAS, CHANCE_SLOPE = -0.52, 0.755


class Bead(NamedTuple):
    """English items en[0]:en[1] with Chinese items zh[0]:zh[1]; posterior in [0.5, 1]."""

    en: tuple[int, int]
    zh: tuple[int, int]
    posterior: float


def align(
    one: Table, two_en: Table | None = None, two_zh: Table | None = None, skip: float = SKIP, merge: float = MERGE
) -> list[Bead]:
    """Beads whose posterior is at least one half, in order.

    one: (n, m) log-odds of item j translating item i. two_en: (n - 1, m), of j translating i and i + 1 together;
    two_zh: (n, m - 1), of j and j + 1 translating i. Without one of these no such bead is made.
    """
    n, m = one.shape
    if n == 0 or m == 0:
        return []
    moves = [(1, 1, one)]
    if two_en is not None and n > 1:
        moves.append((2, 1, two_en + merge))
    if two_zh is not None and m > 1:
        moves.append((1, 2, two_zh + merge))
    ahead, behind = _sums(n, m, moves, skip)
    behind = behind[::-1, ::-1]
    beads = []
    for a, b, value in moves:
        posterior = np.exp(ahead[: n + 1 - a, : m + 1 - b] + value + behind[a:, b:] - ahead[n, m])
        for i, j in zip(*np.nonzero(posterior >= 0.5), strict=True):
            beads.append(Bead((int(i), int(i) + a), (int(j), int(j) + b), min(float(posterior[i, j]), 1.0)))
    return sorted(beads)


def chance(bead: Bead) -> float:
    """The chance that a bead is right, in [0, 1].

    A logistic regression on 34,800 beads of Kubernetes pages, in step with today's English or up to a year behind it,
    whose comments say which English was translated; what the bead's own log-odds add to its posterior is nothing.
    """
    among = math.log(max(bead.posterior, 1e-9) / max(1 - bead.posterior, 1e-9))
    return 1 / (1 + math.exp(-(CHANCE_BIAS + CHANCE_SLOPE * min(among, 8.0))))


def _sums(n: int, m: int, moves: list[tuple[int, int, Table]], skip: float) -> Table:
    """Log-sums over all alignments of the first i and first j items, and of the last i and last j: (2, n + 1, m + 1).

    Two rows and two columns of NOTHING before them are where moves come from that begin outside. In one row after another
    an anti-diagonal is a slice with a step, and what leads to it by one move is the same slice further back.
    """
    width = m + 3
    total = np.full((2, n + 3, width), NOTHING)
    total[:, 2, 2] = 0.0
    steps: list[tuple[int, Table | None]] = [(width, None), (1, None)]
    for a, b, value in moves:
        weight = np.zeros_like(total)
        weight[:, 2 + a :, 2 + b :] = value, value[::-1, ::-1]
        steps.append((a * width + b, weight.reshape(2, -1)))
    flat = total.reshape(2, -1)
    for diagonal in range(1, n + m + 1):
        first = max(0, diagonal - m)
        count = min(n, diagonal) + 1 - first
        begin = (first + 2) * width + diagonal - first + 2
        end = begin + count * (width - 1)
        terms = np.empty((len(steps), 2, count))
        for term, (back, weights) in zip(terms, steps, strict=True):
            here = skip if weights is None else weights[:, begin : end : width - 1]
            np.add(flat[:, begin - back : end - back : width - 1], here, out=term)
        top = terms.max(axis=0)
        terms -= top
        flat[:, begin : end : width - 1] = top + np.log(np.exp(terms, out=terms).sum(axis=0))
    return total[:, 2:, 2:]

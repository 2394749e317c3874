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
    ahead = _sums(n, m, moves, skip)
    behind = _sums(n, m, [(a, b, value[::-1, ::-1]) for a, b, value in moves], skip)[::-1, ::-1]
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
    """Log-sums over all alignments of the first i and first j items, (n + 1, m + 1)."""
    total = np.full((n + 1, m + 1), -np.inf)
    total[0, 0] = 0.0
    for diagonal in range(1, n + m + 1):
        i = np.arange(max(0, diagonal - m), min(n, diagonal) + 1)
        j = diagonal - i
        best = np.full(len(i), -np.inf)
        for a, b, value in ((1, 0, None), (0, 1, None), *moves):
            whole = slice(*np.searchsorted(i, (a, diagonal - b + 1)))  # i >= a and j >= b
            ii, jj = i[whole] - a, j[whole] - b
            weight = skip if value is None else value[ii, jj]
            best[whole] = np.logaddexp(best[whole], total[ii, jj] + weight)
        total[i, j] = best
    return total

"""Kept markup as metrics: precision, recall and F1 of all of it, and the share of rows that keep theirs without a difference.

    stats = STRUCTURE.statistics(["运行 `ls`。"], ["执行 `ls`。"], ["Run `ls`."])      # kept, wanted, got of each row
    score(STRUCTURE, stats)                                                     # 100.0

The reference is not read: its own markup is judged like any system's, for translators change markup, too.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from doctune.scoring.metrics import Array, Metric, share
from doctune.structure.kept import KINDS, compare


def counts(hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str] = ()) -> Array:
    """(rows, 3): kept, wanted, got."""
    return np.array([_total(*pair) for pair in zip(sources, hypotheses, strict=True)], dtype=np.float64)


@lru_cache(maxsize=1 << 14)  # four metrics ask for it
def _total(source: str, hypothesis: str) -> tuple[int, ...]:
    return tuple(sum(column) for column in zip((0, 0, 0), *compare(source, hypothesis).values(), strict=True))


def f1(sums: Array) -> Array:
    kept, both = sums[..., 0], sums[..., 1] + sums[..., 2]
    return np.where(both > 0, 200.0 * kept / np.maximum(both, 1.0), 100.0)


def precision(hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str] = ()) -> Array:
    """(rows, 2): kept, and what the translation has."""
    return counts(hypotheses, references, sources)[:, (0, 2)]


def recall(hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str] = ()) -> Array:
    """(rows, 2): kept, and what the source has."""
    return counts(hypotheses, references, sources)[:, (0, 1)]


def perfect(hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str] = ()) -> Array:
    """(rows, 2): is all kept and nothing added, and is there markup on either side."""
    kept, wanted, got = counts(hypotheses, references, sources).T
    judged = wanted + got > 0
    return np.stack([judged & (kept == wanted) & (kept == got), judged], axis=1).astype(np.float64)


def _signature(samples: int, seed: int) -> str:
    return f"bs:{samples}|seed:{seed}|kinds:{'+'.join(KINDS)}|version:1"


STRUCTURE = Metric("structure", "markup kept", counts, f1, _signature)
STRUCTURE_PRECISION = Metric("structure_precision", "markup precision", precision, share, _signature)
STRUCTURE_RECALL = Metric("structure_recall", "markup recall", recall, share, _signature)
STRUCTURE_ROWS = Metric("structure_rows", "rows with all markup kept", perfect, share, _signature)

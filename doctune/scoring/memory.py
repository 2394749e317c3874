"""The translation memory: for every test source the Chinese of the most similar training source, and how similar it is.

    nearest(["The Pod is running."], ["A Service is an object.", "The Pods are running."])
    # [Match(row=1, similarity=0.85)]

A team without a model has this already, so a model must beat it on rows that are new. Similarity is the normalised
indel similarity over characters, as in the fuzzy matches of translators' tools: 1 - (insertions + deletions) / (sum of
both lengths), so 1 for the same text. Unrelated English sentences are at 0.4 to 0.6.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NEW_BELOW = 0.8  # a row is new when nothing in train is this similar: with four characters in five shared it is not

_QUERIES_AT_ONCE = 32  # 32 x 35,000 similarities are 9 MB


@dataclass(frozen=True)
class Match:
    row: int  # index into the training sources
    similarity: float  # 0 to 1


def nearest(queries: Sequence[str], sources: Sequence[str]) -> list[Match]:
    """The most similar source of each query, found by comparing with every one; of equally similar ones the first."""
    from rapidfuzz.distance import Indel
    from rapidfuzz.process import cdist

    if not sources:
        raise ValueError("wanted at least one training source, got none")
    first_row: dict[str, int] = {}
    for row, source in enumerate(sources):
        first_row.setdefault(source, row)
    distinct, rows = list(first_row), list(first_row.values())
    matches = []
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        block = queries[start : start + _QUERIES_AT_ONCE]
        similarity = cdist(block, distinct, scorer=Indel.normalized_similarity, dtype=np.float64, workers=-1)
        best = similarity.argmax(axis=1)  # the first of equal ones, so the earliest training row
        matches += [Match(rows[column], float(line[column])) for line, column in zip(similarity, best, strict=True)]
    return matches

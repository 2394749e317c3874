"""Perplexity: how much the reference surprises a model, from what its translate stage measured.

    stats = likelihoods(translated, references)["perplexity"]    # (rows, 3): nats, tokens of the model, characters
    score(PERPLEXITY, stats)                                     # 3.4: as unsure as between 3.4 tokens at each
    score(PERPLEXITY_CHARACTER, stats)                           # a character's: compares models of different tokenizers

exp(nats / tokens) of the whole corpus, as training's validation has it.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from doctune.scoring.metrics import Array, Metric, not_of_texts


def likelihoods(translated: Sequence[Mapping[str, Any]], references: Sequence[str]) -> dict[str, Array]:
    """(rows, 3) by metric; none where a row was not measured: a system that only gave its texts."""
    if not all("nats" in row for row in translated):
        return {}
    counts = [
        (row["nats"], row["tokens"], len(reference) if row["tokens"] else 0)
        for row, reference in zip(translated, references, strict=True)
    ]
    counted = np.array(counts, dtype=np.float64)
    return {metric.name: counted for metric in MEASURED}


def _perplexity(unit: int, sums: Array) -> Array:
    return np.exp(sums[..., 0] / np.maximum(sums[..., unit], 1.0))


def _signature(of: str, samples: int, seed: int) -> str:
    return f"nrefs:1|bs:{samples}|seed:{seed}|of:{of}|forced:yes|log:e|version:1"


PERPLEXITY = Metric(
    "perplexity",
    "perplexity",
    not_of_texts,
    partial(_perplexity, 1),
    partial(_signature, "token"),
    higher_is_better=False,
)
PERPLEXITY_CHARACTER = Metric(
    "perplexity_character",
    "perplexity of a character",
    not_of_texts,
    partial(_perplexity, 2),
    partial(_signature, "character"),
    higher_is_better=False,
)
MEASURED = (PERPLEXITY, PERPLEXITY_CHARACTER)

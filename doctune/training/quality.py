"""chrF of greedy translations of some validation rows, to choose a checkpoint by what it writes.

    quality = Quality(loaded, valid_rows, seed=17)
    quality.score(quality.counts())                   # 41.7, as sacreBLEU counts it

A validation loss judges each token after the right ones; a translation lives with its own mistakes.
"""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from doctune.errors import DoctuneError
from doctune.models import Loaded
from doctune.scoring.metrics import CHRF, Array
from doctune.text import flatten, normalise
from doctune.translation import make_translator

# Checkpoints are compared on the same rows, so what counts is how far a difference between two of them strays: with 200
# rows about half a chrF point, at seconds of decoding for each evaluation. The test set judges the result on all rows.
SAMPLE_ROWS = 200


class Quality:
    """A sample of the rows, always the same for the same rows and seed."""

    def __init__(self, loaded: Loaded, rows: list[dict[str, Any]], seed: int):
        if not rows:
            raise DoctuneError("train.choose_by is chrf, but there is no validation row; set split.valid higher")
        self.translator = make_translator(loaded)
        self.rows = rows if len(rows) <= SAMPLE_ROWS else random.Random(seed).sample(rows, SAMPLE_ROWS)

    def counts(self, first: int = 0, step: int = 1) -> Array:
        """chrF's summed counts (k,) over every `step`th row from `first`; they add up over several processes."""
        rows = self.rows[first::step]
        if not rows:
            return self.counts() * 0
        answers = self.translator.translate([row["en"] for row in rows])
        references = [flatten(row["zh"], "zh") for row in rows]
        summed: Array = CHRF.statistics([normalise(answer) for answer in answers], references).sum(axis=0)
        return summed

    def score(self, counts: Sequence[float] | Array) -> float:
        return round(float(CHRF.corpus(np.asarray(counts, dtype=np.float64))), 4)

"""ROUGE-L over the tokens of sacreBLEU's `zh`: how much of the reference comes in its order.

score(ROUGE_L, ROUGE_L.statistics(["塔灯"], ["灯塔"]))            # 50.0: one of two
"""

from collections.abc import Sequence

import numpy as np

from doctune.scoring.metrics import Array, Metric, check_paired


def rouge_l(sums: Array) -> Array:
    """ROUGE-L of summed counts (..., 3): lengths of hypothesis and reference, of their longest common subsequences.

    F1 of the whole corpus (precision: common over hypothesis tokens, recall: over reference tokens); no stemming.
    """
    lengths = sums[..., 0] + sums[..., 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(lengths > 0, 200.0 * sums[..., 2] / lengths, 0.0)


def _statistics(hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str] = ()) -> Array:
    from rapidfuzz.distance import LCSseq
    from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh

    check_paired(hypotheses, references)
    tokenize = TokenizerZh()
    pairs = [(tokenize(hyp).split(), tokenize(ref).split()) for hyp, ref in zip(hypotheses, references, strict=True)]
    return np.array([(len(hyp), len(ref), LCSseq.similarity(hyp, ref)) for hyp, ref in pairs], dtype=np.float64)


def _signature(samples: int, seed: int) -> str:
    from sacrebleu import __version__

    return f"nrefs:1|bs:{samples}|seed:{seed}|case:mixed|eff:no|tok:zh|f:1|aggregate:corpus|version:{__version__}"


ROUGE_L = Metric("rouge_l", "ROUGE-L", _statistics, rouge_l, _signature)

"""TER's edits as sacreBLEU counts them, to the last one, in a fraction of its time.

    edits("夜 里 灯 塔 发 光".split(), "灯 塔 在 夜 里 发 光".split())         # 2: a shift, an insertion

sacreBLEU measures every text that a shift could give by a table of Python objects, and nearly all of them turn out no better.
Here rapidfuzz's distance tells first which those are. It is that of the whole table, where sacreBLEU looks along a beam about
the diagonal: so it is never more than sacreBLEU's, and the same where its path lies in the beam. The search for shifts, and
the trace that steers it, are sacreBLEU's.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.lib_ter import _BEAM_WIDTH, _MAX_SHIFT_CANDIDATES, BeamEditDistance, _shift
from sacrebleu.metrics.ter import TER as SacreTER

from doctune.scoring.metrics import Array, Metric, check_paired, sacre_signature


class _Distance(BeamEditDistance):
    """Edits from a text to the reference, and their trace for `text`, whose shifts are being tried.

    A shifted text that is no better than `text` may get fewer edits than it takes, but never fewer than `text` does.
    """

    def __init__(self, reference: list[str], text: list[str]) -> None:
        super().__init__(reference)
        self.at(text)

    def at(self, text: list[str]) -> None:
        self.text, self.now = text, super().__call__(text)

    def __call__(self, words_hyp: list[str]) -> tuple[int, str]:
        if words_hyp is self.text:
            return self.now
        found = Levenshtein.distance(words_hyp, self._words_ref)
        if found >= self.now[0] or self._in_beam(words_hyp):
            return found, ""
        return super().__call__(words_hyp)

    def _in_beam(self, words: list[str]) -> bool:
        """Does a cheapest path stay near the diagonal? It is straight between two edits, so these are where to look."""
        slope = self._n_words_ref / len(words)
        path = Levenshtein.editops(words, self._words_ref)
        return all(abs(edit.dest_pos - edit.src_pos * slope) < _BEAM_WIDTH - 2 for edit in path)


def edits(hypothesis: Sequence[str], reference: Sequence[str]) -> int:
    """Insertions, deletions, substitutions and shifts of words that make the hypothesis the reference.

    The loop of `sacrebleu.metrics.lib_ter.translation_edit_rate` (Snover et al. 2006).
    """
    words, target = list(hypothesis), list(reference)
    if not target or not words:
        return len(words) + len(target)
    distance, shifts, checked = _Distance(target, words), 0, 0
    while True:
        gained, shifted, checked = _shift(words, target, distance, checked)
        if checked >= _MAX_SHIFT_CANDIDATES or gained <= 0:
            return shifts + distance.now[0]
        shifts, words = shifts + 1, shifted
        distance.at(words)


def ter(sums: Array) -> Array:
    """TER of summed counts (..., 2): edits, length of the reference. May exceed 100."""
    edits, length = sums[..., 0], sums[..., 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(length > 0, 100.0 * edits / length, np.where(edits > 0, 100.0, 0.0))


def _statistics(hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str] = ()) -> Array:
    check_paired(hypotheses, references)
    words = _sacre_ter()
    pairs = [
        [words._preprocess_segment(text).split() for text in pair] for pair in zip(hypotheses, references, strict=True)
    ]
    return np.array([(edits(hyp, ref), len(ref)) for hyp, ref in pairs], dtype=np.float64)


def _sacre_ter() -> SacreTER:
    # Tercom leaves Chinese as one word unless both are set: then a character is a word.
    return SacreTER(normalized=True, asian_support=True, case_sensitive=True)


TER = Metric("ter", "TER", _statistics, ter, partial(sacre_signature, _sacre_ter), higher_is_better=False)

"""Which metrics are scored: those against the reference, and those that the human reference is judged by, too.

    for metric in ALL:
        metric.statistics(hypotheses, references, sources)

`JUDGED` look at a text and its English alone, so the human reference is one more system there, the one to compare with.
"""

from doctune.scoring.metrics import BLEU, CHRF, ROUGE_L, TER, Metric

REFERENCE = "reference"  # the human translation as a system
COMPARED: tuple[Metric, ...] = (BLEU, CHRF, TER, ROUGE_L)
JUDGED: tuple[Metric, ...] = ()
ALL = COMPARED + JUDGED
SLOW = frozenset({TER.name})  # searches shifts: minutes for texts that share little, so not for the translation memory

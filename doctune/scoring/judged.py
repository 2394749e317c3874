"""Which metrics are scored: those against the reference, and those that the human reference is judged by, too.

    for metric in COMPARED + judged(glossary):
        metric.statistics(hypotheses, references, sources)

What `judged` gives looks at a text and its English alone, so the human reference is one more system there: the one to
compare with, for it is not perfect either.
"""

from pathlib import Path

from doctune.degeneration import DEGENERATE
from doctune.lint.metric import STYLE
from doctune.scoring import comet
from doctune.scoring.likelihood import MEASURED
from doctune.scoring.metrics import BLEU, CHRF, Metric
from doctune.scoring.rouge import ROUGE_L
from doctune.scoring.ter import TER
from doctune.structure.metric import STRUCTURE, STRUCTURE_PRECISION, STRUCTURE_RECALL, STRUCTURE_ROWS
from doctune.terms.metric import metric_of

REFERENCE = "reference"  # the human translation as a system
COMPARED: tuple[Metric, ...] = (BLEU, CHRF, TER, ROUGE_L)
SLOW = frozenset({TER.name})  # seconds for a thousand rows, while it searches shifts: not for the translation memory


def judged(glossary: Path) -> tuple[Metric, ...]:
    structure = (STRUCTURE, STRUCTURE_PRECISION, STRUCTURE_RECALL, STRUCTURE_ROWS)
    return (metric_of(glossary), *structure, STYLE, DEGENERATE)


def all_metrics(glossary: Path, checkpoint: str = "") -> tuple[Metric, ...]:
    """Every metric in the order of tables; the last ones are of models, not of texts."""
    return COMPARED + judged(glossary) + MEASURED + (comet.metric_of(checkpoint),)

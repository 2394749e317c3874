"""Scoring: what a system's Chinese is worth against the references, with intervals, beside a translation memory.

metrics.py      a metric over sufficient statistics, its bootstrap interval, the paired comparison of two systems
ter.py          TER
rouge.py        ROUGE-L
comet.py        COMET, by a program in an environment of its own
judged.py       which metrics are scored
likelihood.py   perplexity, from what the translate stages measured
rows.py         the rows that scoring reads, checked
memory.py       the baseline that copies the most similar training pair, and how new each test row is
evaluation.py   systems on the same rows: `metrics.json`
report.py       slices, the largest changes, tables for people
plots.py        CSV for `dvc plots` and PNG pictures
"""

from pydantic import Field

from doctune.section import Section


class EvaluateParams(Section):
    """Section `evaluate` of params.yaml."""

    bootstrap_samples: int = Field(ge=100, le=10_000)  # resamples behind every interval and p-value
    seed: int = Field(ge=0)
    largest_changes: int = Field(ge=1, le=10_000)  # gains, and as many losses, in the table of changes
    glossary: str = Field(min_length=1)  # path of the terms that are judged; doctune/terms/glossary.yaml is ours
    general: str = Field(min_length=1)  # path of jsonl (id, en, zh) from elsewhere: what fine-tuning must not forget
    comet: str  # path or hub name of a COMET checkpoint; empty: none

"""Scoring: what a system's Chinese is worth against the references, with intervals, beside a translation memory.

metrics.py      a metric over sufficient statistics, its bootstrap interval, the paired comparison of two systems
judged.py       which metrics are scored
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

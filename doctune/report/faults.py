"""Where systems go wrong: what the metrics themselves tell of terms, markup, style and sanity, system beside system.

    faults(evaluation, Path("doctune/terms/glossary.yaml"), "tuned")
    # [Faults("Terms that are right", ("term", "of", "base", "tuned", "human reference"), [("taint", 12, 3, 11, 12)]), ...]

The human reference is one of the systems: where it is no better, the fault may be the rule's. What nobody got wrong is
left out, and of the rest the MOST_ROWS that `first` got wrong most are there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from doctune.scoring.evaluation import Evaluation
from doctune.scoring.judged import REFERENCE
from doctune.scoring.report import LABELS

MOST_ROWS = 15

Row = Mapping[str, Any]
Wrong = Callable[[Row], float]


@dataclass(frozen=True)
class Faults:
    title: str
    header: tuple[str, ...]  # the thing, of how many, and then systems
    rows: Sequence[tuple[Any, ...]]


def faults(evaluation: Evaluation, glossary: Path, first: str) -> list[Faults]:
    """A table for each of the four in which there is something to show."""
    from doctune import degeneration
    from doctune.lint import metric as lint
    from doctune.structure import kept
    from doctune.terms import metric as terms

    texts = {name: evaluation.outputs[name] for name in in_order(evaluation)} | {REFERENCE: evaluation.references}

    def table(
        title: str, header: tuple[str, str, str], breakdown: Callable[..., list[dict[str, Any]]], wrong: Wrong
    ) -> Faults:
        thing, whole, part = header
        by_system = {
            name: {row[thing]: row for row in breakdown(outputs, evaluation.references, evaluation.sources)}
            for name, outputs in texts.items()
        }
        names = [name for name in by_system[first] if any(wrong(rows[name]) for rows in by_system.values())]
        names.sort(key=lambda name: (-wrong(by_system[first][name]), -sum(wrong(r[name]) for r in by_system.values())))
        rows = [
            (name, by_system[first][name][whole], *(rows[name][part] for rows in by_system.values()))
            for name in names[:MOST_ROWS]
        ]
        return Faults(title, (thing, whole, *by_system), rows)

    found = [
        table(
            "Terms: how often each is right",
            ("term", "of", "right"),
            partial(terms.breakdown, glossary=glossary),
            lambda row: float(row["of"] - row["right"]),
        ),
        table(
            "Markup: F1 of each kind", ("kind", "wanted", "f1"), kept.breakdown, lambda row: 100.0 - float(row["f1"])
        ),
        table("Style: rows with a finding", ("rule", "of", "rows"), lint.breakdown, _rows),
        table("Degenerate rows", ("reason", "of", "rows"), degeneration.breakdown, _rows),
    ]
    return [item for item in found if item.rows]


def in_order(evaluation: Evaluation) -> tuple[str, ...]:
    """Systems as every table has them: the memory, then those that others are compared with."""
    known = [name for name in LABELS if name in evaluation.outputs]
    return tuple(dict.fromkeys([*known, *evaluation.outputs]))


def _rows(row: Row) -> float:
    return float(row["rows"])

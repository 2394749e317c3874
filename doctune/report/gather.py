"""From an evaluation to what the page says: plain facts, whoever asks for them.

    page = page_of(evaluation, summary, slices, changes, pair=("tuned", "base"), curves={"tuned": curve_points(path)})
    page = compare(test, train, {"base": Output([...]), "lora": Output([...])}, params, pair=("lora", "base"))

The first is for a stage that has scored already; the second scores. Which metrics and groups there are is read from the
numbers themselves: a metric that is new to metrics.json is on the page without a change here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from doctune.curves import read_curves
from doctune.errors import DoctuneError
from doctune.report.faults import Faults, faults, in_order
from doctune.scoring import EvaluateParams
from doctune.scoring.evaluation import (
    MEMORY,
    Evaluation,
    Output,
    Selection,
    evaluate,
    gain,
    notes,
    scores,
    with_comet,
)
from doctune.scoring.judged import REFERENCE
from doctune.scoring.metrics import METRICS
from doctune.scoring.report import LABELS, largest_changes, slice_scores

Row = Mapping[str, Any]
Points = dict[str, list[tuple[float, float]]]

RATIO_STEP = 0.1
RATIO_END = 2.0  # the last bucket holds everything from here on

_INTERVAL = ("_low", "_high")
_GATE = ("gate", "wanted", "got", "passed")


@dataclass(frozen=True)
class Table:
    """Scores of some rows: by system, flat as in metrics.json (bleu, bleu_low, bleu_high, ...)."""

    title: str
    scores: Mapping[str, Row]
    differences: Mapping[str, Row]  # by title: one system minus another, flat too, with p-values


@dataclass(frozen=True)
class Page:
    title: str
    pair: tuple[str, str]  # whose changes are shown: (new, over)
    systems: tuple[str, ...]  # whose texts were scored; the human reference is none of them
    rows: int
    new_rows: int | None  # None: without training rows nobody knows
    tables: Sequence[Table]
    counts: Mapping[str, Row]  # what is one number a system: length ratio, empty outputs
    slices: Sequence[Row]  # as from scoring.report.slice_scores
    ratios: Mapping[str, Sequence[tuple[float, float]]]  # by system: (length over reference's, share of rows in %)
    changes: Sequence[Row]  # as from scoring.report.largest_changes
    signatures: Mapping[str, str]
    skipped: Mapping[str, str]  # by metric: why it is missing
    curves: Mapping[str, Points] = field(default_factory=dict)  # by model, then by curve
    gates: Sequence[Row] = ()  # {gate, wanted, got, passed}; empty before a promotion was tried
    breakdowns: Sequence[Faults] = ()


def page_of(
    evaluation: Evaluation,
    summary: Row,
    slices: Sequence[Row],
    changes: Sequence[Row],
    pair: tuple[str, str],
    title: str = "Translation report",
    curves: Mapping[str, Points] | None = None,
    gates: Sequence[Row] = (),
    breakdowns: Sequence[Faults] = (),
) -> Page:
    """The page of scores that are there: `summary` is metrics.json or has its shape."""
    systems = in_order(evaluation)
    return Page(
        title=title,
        pair=pair,
        systems=systems,
        rows=int(summary["rows"]),
        new_rows=summary["new_rows"],
        tables=_tables(summary, (REFERENCE, *systems), pair),
        counts={key: value for key, value in summary.items() if _is_count(value, systems)},
        slices=slices,
        ratios={name: _ratios(evaluation.outputs[name], evaluation.references) for name in systems},
        changes=changes,
        signatures=summary["signature"],
        skipped=summary.get("skipped", {}),
        curves=curves or {},
        gates=checked_gates(gates),
        breakdowns=breakdowns,
    )


def compare(
    test: Sequence[dict[str, Any]],
    train: Sequence[dict[str, Any]],
    outputs: Mapping[str, Output],
    params: EvaluateParams,
    pair: tuple[str, str],
    curves: Mapping[str, Points] | None = None,
    gates: Sequence[Row] = (),
    general: tuple[Sequence[dict[str, Any]], Mapping[str, Output]] | None = None,
) -> Page:
    """Score any systems on the same rows, each against `pair`'s second, and put them on one page.

    `general` is text from elsewhere, and what some of the systems, the second of `pair` among them, made of it.
    """
    for name in (*pair, *(general[1] if general else ())):
        if name not in outputs:
            raise DoctuneError(f"wanted one of {', '.join(outputs)} to compare, got {name!r}")
    if pair[0] == pair[1]:
        raise DoctuneError(f"wanted two systems to compare, got {pair[0]!r} twice")
    if general and pair[1] not in general[1]:
        raise DoctuneError(f"wanted general text by {pair[1]!r} too, as others are compared with it; it is missing")
    glossary = Path(params.glossary)
    evaluation = evaluate(test, train, with_comet(test, outputs, params.comet), glossary)
    elsewhere = evaluate(general[0], [], with_comet(*general, params.comet), glossary) if general else None
    return scored(evaluation, params, pair, curves, gates, elsewhere)


def scored(
    evaluation: Evaluation,
    params: EvaluateParams,
    pair: tuple[str, str],
    curves: Mapping[str, Points] | None = None,
    gates: Sequence[Row] = (),
    elsewhere: Evaluation | None = None,
    title: str = "Translation report",
) -> Page:
    """The page of any systems that were counted already, `elsewhere` on general text."""
    summary = summary_of(evaluation, pair[1], params)
    if elsewhere is not None:
        everywhere = np.ones(len(elsewhere.rows), dtype=bool)
        summary["general"] = {"rows": len(elsewhere.rows), **_group(elsewhere, pair[1], everywhere, params)}
    return page_of(
        evaluation,
        summary,
        [
            row
            for row in slice_scores(evaluation, params, in_order(evaluation))
            if MEMORY in evaluation.outputs or row["group"] != "similarity"
        ],
        largest_changes(evaluation, params.largest_changes, *pair),
        pair,
        title,
        curves=curves,
        gates=gates,
        breakdowns=faults(evaluation, Path(params.glossary), pair[0]),
    )


def summary_of(evaluation: Evaluation, over: str, params: EvaluateParams) -> dict[str, Any]:
    """The shape of metrics.json for systems of any name; `gains` holds each system of a model minus `over`."""
    everywhere = np.ones(len(evaluation.rows), dtype=bool)
    return {
        "rows": len(evaluation.rows),
        "new_rows": int(evaluation.new.sum()) if MEMORY in evaluation.outputs else None,
        **_group(evaluation, over, everywhere, params),
        REFERENCE: scores(evaluation, REFERENCE, everywhere, params),
        "new": _group(evaluation, over, evaluation.new, params)
        if MEMORY in evaluation.outputs and evaluation.new.any()
        else {},
        **notes(evaluation, params),
    }


def _group(evaluation: Evaluation, over: str, where: Selection, params: EvaluateParams) -> dict[str, Any]:
    gains = {
        f"{label(name)} minus {label(over)}": gain(evaluation, name, over, where, params)
        for name in evaluation.outputs
        if name not in (over, MEMORY)
    }
    return {**{name: scores(evaluation, name, where, params) for name in evaluation.outputs}, "gains": gains}


def label(system: str) -> str:
    return {REFERENCE: "human reference", **LABELS}.get(system, system)


def metric_names(tables: Sequence[Row]) -> list[str]:
    """Names of the scores in flat rows, in their order: every number that is no bound and no p-value of another."""
    found = dict.fromkeys(key for row in tables for key, value in row.items() if is_number(value))
    return [key for key in found if not key.endswith((*_INTERVAL, "p_value"))]


def p_values(values: Row, metric: str) -> list[tuple[str, float]]:
    """(test, p) of one metric in a flat row of differences. BLEU's paired bootstrap has no prefix in metrics.json."""
    names = metric_names([values])
    found = []
    for key, value in values.items():
        if key.endswith("p_value") and is_number(value):
            stem = key.removesuffix("p_value").rstrip("_") or METRICS[0].name
            # structure_rows_ar is a test of structure_rows, not one of structure that is called "rows ar"
            owner = max((name for name in names if f"{stem}_".startswith(f"{name}_")), key=len, default=None)
            if owner == metric:
                found.append((stem.removeprefix(metric).strip("_").replace("_", " "), float(value)))
    return found


def curve_points(path: Path) -> Points:
    """Each column of train's curves.csv as (step, value), without what was not measured or is no finite number."""
    found: Points = {}
    for step, values in read_curves(path):
        for name, value in values.items():
            if math.isfinite(value):
                found.setdefault(name, []).append((float(step), value))
    return found


def checked_gates(gates: Any) -> Sequence[Row]:
    """Gates as they came, each with all its keys; raises DoctuneError for anything else."""
    if not isinstance(gates, Sequence) or isinstance(gates, str):
        raise DoctuneError(f"wanted a list of gates, got {type(gates).__name__}")
    for number, gate in enumerate(gates, 1):
        if not isinstance(gate, Mapping) or any(key not in gate for key in _GATE):
            raise DoctuneError(f"gate {number}: wanted {', '.join(_GATE)}, got {gate!r}")
        if not isinstance(gate["passed"], bool):
            raise DoctuneError(f"gate {number}: wanted true or false in 'passed', got {gate['passed']!r}")
    return gates


def _tables(summary: Row, systems: Sequence[str], pair: tuple[str, str]) -> list[Table]:
    """All rows, and every group of metrics.json in which systems have scores: new rows, general text."""
    groups = {"": summary, **{name: value for name, value in summary.items() if name not in systems}}
    found = []
    for name, group in groups.items():
        if isinstance(group, Mapping) and (inside := _systems_in(group, systems)):
            rows = f", {group['rows']:,} rows" if name and is_number(group.get("rows")) else ""
            titles = {
                "": "All rows",
                "new": "New rows",
                "general": f"General text{rows} of no page of the site: what fine-tuning must not forget",
            }
            title = titles.get(name, name.replace("_", " ") + rows)
            found.append(Table(title, inside, _differences(group, pair)))
    return found


def _systems_in(group: Row, systems: Sequence[str]) -> dict[str, Row]:
    return {name: group[name] for name in systems if isinstance(group.get(name), Mapping)}


def _differences(group: Row, pair: tuple[str, str]) -> dict[str, Row]:
    new, over = (label(name) for name in pair)
    titles = {"gain": f"{new} minus {over}", "gain_over_memory": f"{new} minus {label(MEMORY)}"}
    found = {title: group[key] for key, title in titles.items() if isinstance(group.get(key), Mapping)}
    return found | dict(group.get("gains", {}))


def _is_count(value: Any, systems: Sequence[str]) -> bool:
    return isinstance(value, Mapping) and any(is_number(value.get(name)) for name in systems)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _ratios(texts: Sequence[str], references: Sequence[str]) -> list[tuple[float, float]]:
    """How the characters of the texts compare with the references': (middle of a bucket, share of rows in %)."""
    buckets = round(RATIO_END / RATIO_STEP) + 1
    counts = [0] * buckets
    for text, reference in zip(texts, references, strict=True):
        # whole numbers, so that no machine rounds a ratio on the edge of a bucket another way
        counts[min(len(text) * (buckets - 1) // round(max(1, len(reference)) * RATIO_END), buckets - 1)] += 1
    return [(round((at + 0.5) * RATIO_STEP, 2), 100.0 * count / len(texts)) for at, count in enumerate(counts)]

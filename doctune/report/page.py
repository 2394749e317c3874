"""A page of facts as HTML that stands alone: no script, no file or address beside it, every text escaped.

    html = render(page)               # the same bytes for the same facts

What systems wrote is not trusted. The template escapes everything, characters that would reorder or hide text are shown
by their code, and a Content-Security-Policy lets the browser load nothing but the page's own style (by its hash).
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from doctune.report.charts import COLOURS, Bar, Group, Line, bars, lines
from doctune.report.diff import pieces
from doctune.report.faults import MOST_ROWS
from doctune.report.gather import RATIO_END, Page, Table, is_number, label, metric_names, p_values
from doctune.scoring.judged import REFERENCE, all_metrics
from doctune.scoring.likelihood import MEASURED
from doctune.scoring.memory import NEW_BELOW
from doctune.scoring.metrics import CHRF
from doctune.terms.glossary import OWN

_HERE = Path(__file__).parent
_GROUPS = {
    "kind": "Kind of block",
    "page": "Page type",
    "words": "Words of the English source",
    "similarity": "Similarity to the nearest training source",
}
_METRICS = {metric.name: metric for metric in all_metrics(OWN)}
_FINE = frozenset(metric.name for metric in MEASURED)  # near 1: one decimal says too little
_LINE_GROUPS = ("similarity",)
LOSSES = ("loss", "eval_loss")
# controls, and what changes direction or has no width: a text must not look like another one
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def render(page: Page) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"seen": seen, "label": label, "number": number}
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    return environment.get_template("page.html").render(
        page=page,
        style=Markup(style),  # our own file
        policy=policy(style),
        legend=[(index % COLOURS, label(system)) for index, system in enumerate(page.systems)],
        tables=[part for table in page.tables for part in _score_tables(table)],
        charts=_charts(page),
        losses=_losses(page),
        slice_tables=_slice_tables(page),
        changes=_changes(page),
        measured=set(metric_names([row for table in page.tables for row in table.scores.values()])),
        most_rows=MOST_ROWS,
        new_below=f"{NEW_BELOW:.0%}",
        metric=metric_label,
    )


def policy(style: str, script: str = "") -> str:
    """A Content-Security-Policy under which a page loads nothing and runs nothing but these texts of its own."""
    parts = ["default-src 'none'", f"style-src {_hash(style)}", "base-uri 'none'", "form-action 'none'"]
    return "; ".join([*parts, *([f"script-src {_hash(script)}"] if script else [])])


def seen(text: Any) -> str:
    """Text in which characters that hide or reorder others are written as their code: ⟨U+202E⟩."""
    return _UNSEEN.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", str(text))


def number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def metric_label(name: str) -> str:
    return _METRICS[name].label if name in _METRICS else name.replace("_", " ")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


def _score_tables(table: Table) -> list[dict[str, Any]]:
    """Metrics by systems, and metrics by differences; the best system of each metric is marked, of equal ones each.

    The human reference is what systems are held against, not one that competes.
    """
    scores, rows = {name: table.scores[name] for name in _last(REFERENCE, table.scores)}, []
    for name in _in_order(metric_names(list(scores.values()))):
        values = [row[name] for key, row in scores.items() if key != REFERENCE and is_number(row.get(name))]
        best = None
        if name in _METRICS and len(values) > 1:  # of an unknown metric nobody can say which way is better
            best = max(values) if _METRICS[name].higher_is_better else min(values)
        cells = [
            _cell(row, name, best=key != REFERENCE and best is not None and row.get(name) == best)
            for key, row in scores.items()
        ]
        rows.append(_score_row(name, cells))
    found = [{"title": table.title, "columns": [label(system) for system in scores], "rows": rows}]
    if table.differences:
        rows = [
            _score_row(
                name,
                [
                    {**_cell(row, name, sign="+"), "tests": [(test, f"{p:.4f}") for test, p in p_values(row, name)]}
                    for row in table.differences.values()
                ],
            )
            for name in _in_order(metric_names(list(table.differences.values())))
        ]
        title = f"{table.title.partition(',')[0]}: differences"
        found.append({"title": title, "columns": list(table.differences), "rows": rows})
    return found


def _last(name: str, names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda other: other == name)


def _score_row(name: str, cells: list[dict[str, Any]]) -> dict[str, Any]:
    down = name in _METRICS and not _METRICS[name].higher_is_better
    return {"metric": metric_label(name), "down": down, "cells": cells}


def _in_order(names: Iterable[str]) -> list[str]:
    """Scores that are known in their own order, whichever system has them first; then the others."""
    known = list(_METRICS)
    return sorted(names, key=lambda name: known.index(name) if name in known else len(known))


def _cell(row: Mapping[str, Any], name: str, best: bool = False, sign: str = "") -> dict[str, Any]:
    """A score with its interval; an empty cell where the system has no such score."""
    value, low, high = (row.get(name + end) for end in ("", "_low", "_high"))
    if not is_number(value):
        return {"value": "", "interval": "", "best": False}
    form = f"{sign}.{2 if name in _FINE else 1}f"
    interval = f"{low:{form}} to {high:{form}}" if is_number(low) and is_number(high) else ""
    return {"value": f"{value:{form}}", "interval": interval, "best": best}


def _charts(page: Page) -> list[tuple[str, str, Markup]]:
    """(title, what its numbers are, picture) of every group of slices, and of the lengths."""
    found = []
    for group in dict.fromkeys(row["group"] for row in page.slices):
        rows = [row for row in page.slices if row["group"] == group and is_number(row.get(CHRF.name))]
        title = _GROUPS.get(group, str(group).replace("_", " "))
        if group in _LINE_GROUPS:
            series = [
                Line(index, label(system), [(r["position"], r[CHRF.name]) for r in rows if r["system"] == system])
                for index, system in enumerate(page.systems)
            ]
            picture = lines(series, f"{CHRF.label}: {title}", title.lower(), CHRF.label, from_zero=True)
            title = "Quality against novelty"
        else:
            picture = bars(_bar_groups(page.systems, rows), f"{CHRF.label}: {title}")
        found.append((title, f"{CHRF.label} with 95 % interval" if group not in _LINE_GROUPS else CHRF.label, picture))
    series = [Line(index, label(name), page.ratios[name]) for index, name in enumerate(page.systems)]
    what = f"share of rows by length of the translation over the reference's, in characters; the last is {RATIO_END:g} and more"
    axis = "length over the reference's"
    found.append(("Length", what, lines(series, "Length", axis, "% of rows", from_zero=True)))
    return found


def _bar_groups(systems: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[Group]:
    return [
        Group(
            seen(name),
            f"{next(row['rows'] for row in rows if row['slice'] == name):,} rows",
            [
                Bar(
                    systems.index(row["system"]),
                    label(row["system"]),
                    row[CHRF.name],
                    row.get(f"{CHRF.name}_low"),
                    row.get(f"{CHRF.name}_high"),
                )
                for row in sorted(rows, key=lambda row: systems.index(row["system"]))
                if row["slice"] == name
            ],
        )
        for name in dict.fromkeys(row["slice"] for row in rows)
    ]


def _losses(page: Page) -> list[tuple[str, list[tuple[int, str]], Markup]]:
    """(title, legend, picture) of each model's loss curves."""
    found = []
    for model, curves in page.curves.items():
        names = [name for name in LOSSES if name in curves]
        series = [Line(index, name.replace("_", " "), curves[name]) for index, name in enumerate(names)]
        if picture := lines(series, f"Loss of {label(model)}", "step", "nats a token"):
            found.append((f"Loss, {label(model)}", [(line.colour, line.name) for line in series], picture))
    return found


def _slice_tables(page: Page) -> list[tuple[str, dict[str, Any]]]:
    """All metrics of every group of slices, a row a slice and system."""
    found = []
    for group in dict.fromkeys(row["group"] for row in page.slices):
        rows = [row for row in page.slices if row["group"] == group]
        names = _in_order(name for name in metric_names(rows) if name not in ("rows", "position"))
        cells = [
            (seen(row["slice"]), label(row["system"]), f"{row['rows']:,}", [_cell(row, name) for name in names])
            for row in rows
        ]
        title = _GROUPS.get(group, str(group).replace("_", " "))
        found.append((title, {"metrics": [metric_label(name) for name in names], "rows": cells}))
    return found


def _changes(page: Page) -> list[tuple[str, list[dict[str, Any]]]]:
    """Gains, then losses, each with every system's text cut into what agrees with the reference and what does not."""
    new, over = page.pair
    others = [name for name in page.systems if name not in page.pair]
    shown = [
        {
            "delta": f"{row['delta']:+.1f}",
            "gain": row["delta"] > 0,
            "page": row["page"],
            "kind": row["kind"],
            "en": row["en"],
            "ref": row["ref"],
            "texts": [
                (label(name), name not in page.pair, not row[name].strip(), pieces(row[name], row["ref"]))
                for name in (new, over, *others)
                if name in row
            ],
        }
        for row in page.changes
    ]
    return [
        ("Gains", [row for row in shown if row["gain"]]),
        ("Losses", [row for row in shown if not row["gain"]]),
    ]

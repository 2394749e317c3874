"""What people read of an evaluation: slices, the largest changes, tables.

print(markdown_summary(read_json(Path("reports/metrics.json"))))

| all 1,000 rows | BLEU | 95 % interval | chrF | 95 % interval |
|---|---|---|---|---|
| base | 33.1 | 31.9 to 34.4 | 29.8 | 28.9 to 30.7 |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from doctune.scoring import EvaluateParams
from doctune.scoring.evaluation import BASE, MEMORY, TUNED, Evaluation, Selection, scores
from doctune.scoring.judged import REFERENCE, all_metrics
from doctune.scoring.memory import NEW_BELOW
from doctune.scoring.metrics import CHRF, METRICS
from doctune.tables import literal, markdown_table
from doctune.terms.glossary import OWN
from doctune.text import top_folder

LABELS = {MEMORY: "translation memory", BASE: "base", TUNED: "tuned"}  # in the order of every table
SCORE_HEADER = ("system", *(text for metric in METRICS for text in (metric.label, "95 % interval")))

_OTHERS = {metric.name: metric.label for metric in all_metrics(OWN) if metric not in METRICS}
_WORDS = (1, 6, 11, 21, 41)  # English words of the source, the least of each bucket
_SIMILARITY = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # unrelated sentences are at 0.4 to 0.6, so the first is wide


@dataclass(frozen=True)
class Slice:
    group: str  # kind, page, words or similarity
    name: str  # sorts as text in its natural order: "01-05 words", "06-10 words"
    position: float  # on an axis of its group: the index, or the middle of a similarity bucket
    where: Selection


def slices(evaluation: Evaluation) -> list[Slice]:
    """Rows by kind of block, by top folder of the page, by words of the source, by similarity to the nearest training
    source. None is empty.
    """
    kinds = np.array([row["kind"] for row in evaluation.rows])
    words = np.array([max(1, len(source.split())) for source in evaluation.sources])
    similarity = evaluation.similarity
    found = [Slice("kind", name, index, kinds == name) for index, name in enumerate(sorted(set(kinds.tolist())))]
    pages = np.array([top_folder(row["page"]) for row in evaluation.rows])
    found += [Slice("page", name, index, pages == name) for index, name in enumerate(sorted(set(pages.tolist())))]
    for index, least in enumerate(_WORDS):
        above = _WORDS[index + 1] if index + 1 < len(_WORDS) else None
        name = f"{least:02}-{above - 1:02} words" if above else f"{least:02} words and more"
        found.append(Slice("words", name, index, (words >= least) & (words < above if above else True)))
    for left, right in pairwise(_SIMILARITY):
        inside = (similarity >= left) & ((similarity < right) | (right == 1.0))
        found.append(Slice("similarity", f"{left:.1f}-{right:.1f}", round((left + right) / 2, 2), inside))
    return [item for item in found if item.where.any()]


def slice_scores(
    evaluation: Evaluation, params: EvaluateParams, systems: Sequence[str] = tuple(LABELS)
) -> list[dict[str, Any]]:
    """One flat row per slice and system: group, slice, position, system, rows, and each metric with its interval."""
    return [
        {
            "group": item.group,
            "slice": item.name,
            "position": item.position,
            "system": system,
            "rows": int(item.where.sum()),
            **scores(evaluation, system, item.where, params),
        }
        for item in slices(evaluation)
        for system in systems
    ]


def largest_changes(evaluation: Evaluation, count: int, system: str = TUNED, over: str = BASE) -> list[dict[str, Any]]:
    """Up to `count` gains, best first, then up to `count` losses, worst first, by sentence chrF of `system` minus `over`."""
    chrf = {name: CHRF.corpus(evaluation.statistics[name][CHRF.name]) for name in (system, over)}
    delta = np.round(chrf[system] - chrf[over], 4)
    order = np.argsort(-delta, kind="stable").tolist()
    gains = [row for row in order if delta[row] > 0][:count]
    losses = [row for row in reversed(order) if delta[row] < 0][:count]
    return [
        {
            "id": evaluation.rows[row]["id"],
            "page": evaluation.rows[row]["page"],
            "kind": evaluation.rows[row]["kind"],
            "en": evaluation.sources[row],
            "ref": evaluation.references[row],
            **{name: texts[row] for name, texts in evaluation.outputs.items()},
            "delta": float(delta[row]),
        }
        for row in gains + losses
    ]


def changes_markdown(changes: Sequence[Mapping[str, Any]]) -> str:
    """The largest changes as Markdown tables, gains and losses; texts are escaped so that none can break its cell."""
    parts = ["# Largest changes, tuned against base", "", "By chrF of the sentence, tuned minus base."]
    for title, chosen in (
        ("Gains", [row for row in changes if row["delta"] > 0]),
        ("Losses", [row for row in changes if row["delta"] < 0]),
    ):
        header = ("chrF", "English", "reference", "base", "tuned", "translation memory", "page")
        cells = [
            (f"{row['delta']:+.1f}", *(literal(row[key]) for key in ("en", "ref", BASE, TUNED, MEMORY, "page")))
            for row in chosen
        ]
        parts += ["", f"## {title}", "", markdown_table(header, cells) if cells else "None."]
    return "\n".join(parts) + "\n"


def score_table(metrics: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """(system, BLEU, interval, chrF, interval) for each system of a group of `metrics.json`: the whole or its "new"."""
    table = []
    for system, label in LABELS.items():
        if system in metrics:
            cells = [label]
            for metric in METRICS:
                value, low, high = (metrics[system][metric.name + end] for end in ("", "_low", "_high"))
                cells += [f"{value:.1f}", f"{low:.1f} to {high:.1f}"]
            table.append(tuple(cells))
    return table


def other_table(metrics: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Under a header of systems, a row for each score that `score_table` leaves out; the human reference is a system."""
    systems = {key: label for key, label in {REFERENCE: "human reference", **LABELS}.items() if key in metrics}
    rows = [
        (label, *(f"{metrics[key][name]:.1f}" if name in metrics[key] else "" for key in systems))
        for name, label in _OTHERS.items()
        if any(name in metrics[key] for key in systems)
    ]
    return [("", *systems.values()), *rows] if rows else []


def gain_line(metrics: Mapping[str, Any]) -> str:
    """One sentence: tuned against base, and against the translation memory on new rows where there are any."""
    line = f"Tuned against base: {_difference(metrics['gain'])}"
    if metrics["new"]:
        line += f"; against the translation memory on new rows: {_difference(metrics['new']['gain_over_memory'])}"
    return line + "."


def markdown_summary(metrics: Mapping[str, Any]) -> str:
    """Scores on all rows and on new rows, differences, signatures."""
    parts = [markdown_table((f"all {metrics['rows']:,} rows", *SCORE_HEADER[1:]), score_table(metrics)), ""]
    if metrics["new"]:
        title = f"{metrics['new_rows']:,} new rows"
        parts += [markdown_table((title, *SCORE_HEADER[1:]), score_table(metrics["new"])), ""]
    else:
        parts += ["No row is new.", ""]
    if others := other_table(metrics):
        parts += [markdown_table(others[0], others[1:]), ""]
    if general := metrics.get("general"):
        parts += [
            f"Text from elsewhere, {general['rows']:,} rows, tuned against base: {_difference(general['gain'])}.",
            "",
        ]
    parts += [
        f"{gain_line(metrics)} A row is new when no training source is {NEW_BELOW:.0%} similar to it.",
        "",
        *(f"- {metric.label}: `{metrics['signature'][metric.name]}`" for metric in METRICS),
    ]
    return "\n".join(parts) + "\n"


def _difference(gain: Mapping[str, float]) -> str:
    return f"{gain['bleu']:+.1f} BLEU ({gain['bleu_low']:+.1f} to {gain['bleu_high']:+.1f}, p = {gain['p_value']:.4f})"

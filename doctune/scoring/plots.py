"""The plots of an evaluation: JSON tables for `dvc plots` and PNG pictures, the same bytes for the same scores.

reports/plots/
  scores.json  kind.json  words.json      one bar a row: {"bar": "heading, tuned", "bleu": 41.2, "chrf": 38.0, ...}
  similarity.json                         {"similarity": 0.85, "base": 38.1, "memory": 61.0, "tuned": 49.3, ...}
  scores.png  kind.png  words.png  similarity.png
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doctune.files import whole_dir, write_json
from doctune.plotting import COLOURS, INK, figure, save, style
from doctune.scoring.evaluation import BASE, TUNED
from doctune.scoring.metrics import CHRF, METRICS, Metric
from doctune.scoring.report import LABELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]

_COLOURS = {"base": COLOURS[0], "tuned": COLOURS[1], "memory": COLOURS[2]}
_AXES = {
    "kind": "kind of block",
    "words": "words of the English source",
    "similarity": "similarity to the nearest training source",
}


def write_plots(folder: Path, metrics: Mapping[str, Any], slices: Rows) -> None:
    """Write all plots of `metrics` (as in metrics.json) and `slices` (as from report.slice_scores) into `folder`."""
    with whole_dir(folder) as out:
        write_json(out / "scores.json", [{"bar": LABELS[name], **metrics[name]} for name in LABELS])
        for group in ("kind", "words"):
            write_json(out / f"{group}.json", _bars([row for row in slices if row["group"] == group]))
        write_json(out / "similarity.json", _series([row for row in slices if row["group"] == "similarity"]))
        with style():
            _draw_scores(out / "scores.png", metrics)
            for group, axis in _AXES.items():
                _draw_slices(out / f"{group}.png", [row for row in slices if row["group"] == group], axis, CHRF)


def _bars(rows: Rows) -> list[dict[str, Any]]:
    """Base and tuned of each slice as a bar of its own: DVC colours by revision and has no grouped bars."""
    keys = ("rows", *(metric.name + end for metric in METRICS for end in ("", "_low", "_high")))
    return [
        {"bar": f"{row['slice']}, {row['system']}", **{key: row[key] for key in keys}}
        for row in rows
        if row["system"] in (BASE, TUNED)
    ]


def _series(rows: Rows) -> list[dict[str, Any]]:
    """A point per bucket, a column per system, so that DVC draws a line for each."""
    table: dict[float, dict[str, Any]] = {}
    for row in rows:
        point = table.setdefault(row["position"], {"similarity": row["position"], "rows": row["rows"]})
        point[row["system"]] = row[CHRF.name]
    return list(table.values())


def _draw_scores(path: Path, metrics: Mapping[str, Any]) -> None:
    made, axes = figure(len(METRICS), width=8.0)
    for metric, ax in zip(METRICS, axes, strict=True):
        for index, system in enumerate(LABELS):
            _bar(ax, index, 0.7, metrics[system], metric, system)
        ax.set_xticks(range(len(LABELS)), [label.replace(" ", "\n") for label in LABELS.values()])
        ax.set_title(f"{metric.label}, {metrics['rows']:,} rows")
        ax.set_ylim(bottom=0)
    save(made, path)


def _draw_slices(path: Path, rows: Rows, axis: str, metric: Metric) -> None:
    made, (ax,) = figure(1, width=9.0)
    names = list(dict.fromkeys(row["slice"] for row in rows))
    width = 0.8 / len(LABELS)
    for row in rows:
        offset = (list(LABELS).index(row["system"]) - (len(LABELS) - 1) / 2) * width
        _bar(ax, names.index(row["slice"]) + offset, width * 0.92, row, metric, row["system"])
    counts = {row["slice"]: row["rows"] for row in rows}
    ax.set_xticks(range(len(names)), [f"{name}\n{counts[name]:,} rows" for name in names])
    ax.set_xlabel(axis)
    ax.set_title(f"{metric.label} with 95 % interval")
    ax.set_ylim(bottom=0)
    handles, labels = ax.get_legend_handles_labels()
    legend = dict(zip(labels, handles, strict=True))  # one entry a system, not one a bar
    made.legend(legend.values(), legend.keys(), frameon=False, ncols=len(legend), loc="outside lower center")
    save(made, path)


def _bar(ax: "Axes", at: float, width: float, row: Mapping[str, Any], metric: Metric, system: str) -> None:
    value, low, high = (row[metric.name + end] for end in ("", "_low", "_high"))
    errors = [[max(0.0, value - low)], [max(0.0, high - value)]]
    ax.bar(at, value, width, color=_COLOURS[system], label=LABELS[system])
    ax.errorbar(at, value, yerr=errors, color=INK, capsize=3, linewidth=1)

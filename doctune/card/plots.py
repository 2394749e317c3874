"""The pictures of a data card, and the same numbers as tables for `dvc plots`.

reports/card/
  lengths.json   {"characters": 40, "en": 0.12, "zh": 0.17}     share of texts by length; characters: the least of a bin
  ratio.json     {"ratio": 0.425, "pairs": 3120}                Chinese to English characters
  scores.json    {"score": 0.975, "pairs": 20310}               of the alignment
  kinds.json     {"bar": "heading, comment", "pairs": 6724}
  dropped.json   {"bar": "untranslated", "blocks": 5259}
  lengths.png  ratio.png  scores.png  kinds.png  dropped.png
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doctune.files import write_json
from doctune.plotting import COLOURS, figure, save, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]


def draw(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write all pictures and tables of `facts` into an existing folder."""
    histograms = facts["histograms"]
    kinds = [
        {"bar": f"{row['kind']}, {row['method']}", "pairs": row["pairs"]}
        for row in facts["pairs"]["by_kind_and_method"]
    ]
    dropped = [{"bar": reason, "blocks": count} for reason, count in facts["dropped"].items()]
    panels: tuple[tuple[str, Rows, Callable[[Axes, Rows], None]], ...] = (
        ("lengths", histograms["lengths"], _lengths),
        ("ratio", histograms["ratio"], _ratio),
        ("scores", histograms["scores"], _scores),
        ("kinds", kinds, _kinds),
        ("dropped", dropped, _dropped),
    )
    with style():
        for name, rows, drawn in panels:
            write_json(folder / f"{name}.json", list(rows))
            tall = max(2.4, 0.34 * len(rows) + 1.1) if rows and "bar" in rows[0] else 4.2
            made, (ax,) = figure(1, width=8.0, height=tall)
            drawn(ax, rows)
            save(made, folder / f"{name}.png")


def _lengths(ax: "Axes", rows: Rows) -> None:
    edges = [row["characters"] for row in rows]
    edges.append(edges[-1] ** 2 / edges[-2])  # the last bin is open; it is drawn as wide as the one before
    for colour, (lang, label) in zip(COLOURS, (("en", "English"), ("zh", "Chinese")), strict=False):
        ax.stairs([row[lang] for row in rows], edges, color=colour, label=label, linewidth=2)
    ax.set_xscale("log", base=2)
    ax.set_xticks(edges[:-1:3], [str(edge) for edge in edges[:-1:3]], minor=False)
    ax.set_xlabel("characters")
    ax.set_ylabel("share of texts")
    ax.set_title("Length of a text on one line")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False)


def _ratio(ax: "Axes", rows: Rows) -> None:
    _columns(ax, rows, "ratio", "Chinese to English characters")
    ax.set_title("Length ratio")


def _scores(ax: "Axes", rows: Rows) -> None:
    _columns(ax, rows, "score", "score of the alignment")
    ax.set_yscale("symlog")  # nearly all are near 1, and the others are what one looks for
    ax.set_title("Scores")


def _columns(ax: "Axes", rows: Rows, name: str, label: str) -> None:
    at = [row[name] for row in rows]
    ax.bar(at, [row["pairs"] for row in rows], width=0.9 * (at[1] - at[0]), color=COLOURS[0])
    ax.set_xlabel(label)
    ax.set_ylabel("pairs")


def _kinds(ax: "Axes", rows: Rows) -> None:
    _bars(ax, rows, "pairs")
    ax.set_title("Pairs by kind of block and method of alignment")


def _dropped(ax: "Axes", rows: Rows) -> None:
    _bars(ax, rows, "blocks")
    ax.set_title("Blocks left out, by reason")


def _bars(ax: "Axes", rows: Rows, name: str) -> None:
    values = [row[name] for row in rows]
    ax.barh(range(len(rows)), values, color=COLOURS[0])
    ax.set_yticks(range(len(rows)), [row["bar"] for row in rows])
    ax.invert_yaxis()
    ax.set_xlabel(name)
    for at, value in enumerate(values):
        ax.annotate(f" {value:,}", (value, at), va="center")
    ax.margins(x=0.12)

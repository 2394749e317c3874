"""Bars and lines as inline SVG, small and the same bytes for the same numbers; colours come from the page's style.

    bars([Group("heading", "12 rows", [Bar(0, "base", 31.2, 28.0, 34.0), Bar(1, "tuned", 44.0, 41.1, 47.2)])])
    lines([Line(0, "loss", [(20, 3.1), (40, 2.4)])], x_label="step", y_label="nats a token")

A chart is 360 units wide, so that its text keeps its size on a telephone. A system has a number that picks its colour
(`s0`, `s1`, ... in page.css) and, in a line chart, its dashes: colour alone must not tell systems apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

COLOURS = 8

_WIDTH = 360
_LEFT, _RIGHT = 4, 46  # of bars: the value is written at the right
_BAR, _GAP, _LABEL, _BETWEEN = 10, 2, 16, 8
_PLOT = (44, 24, 340, 200)  # of lines: left, top, right, bottom
_HEIGHT = 242


@dataclass(frozen=True)
class Bar:
    colour: int
    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Group:
    label: str
    note: str
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Line:
    colour: int
    name: str
    points: Sequence[tuple[float, float]]


def bars(groups: Sequence[Group], title: str) -> Markup:
    """A group of horizontal bars below each other for every label, with their intervals as whiskers."""
    ends = [end for group in groups for bar in group.bars for end in (bar.value, bar.low, bar.high) if end is not None]
    least, most = min([0.0, *ends]), max([0.0, *ends])
    span = (most - least) or 1.0

    def at(value: float) -> float:
        return _LEFT + (value - least) / span * (_WIDTH - _LEFT - _RIGHT)

    parts, y = [], 2
    for group in groups:
        note = Markup('<tspan class="note" dx="6">{}</tspan>').format(group.note) if group.note else ""
        parts.append(Markup('<text x="{}" y="{}">{}{}</text>').format(_LEFT, y + 12, group.label, note))
        y += _LABEL
        for bar in group.bars:
            left, right = sorted((at(0.0), at(bar.value)))
            middle = y + _BAR / 2
            parts.append(
                Markup(
                    '<rect class="s{}" x="{}" y="{}" width="{}" height="{}"><title>{}, {}: {:.1f}</title></rect>'
                ).format(bar.colour % COLOURS, _n(left), y, _n(right - left), _BAR, group.label, bar.name, bar.value)
            )
            end = right
            if bar.low is not None and bar.high is not None:
                parts.append(
                    Markup('<path class="whisker" d="M{0} {2}H{1}M{0} {3}v6M{1} {3}v6"/>').format(
                        _n(at(bar.low)), _n(at(bar.high)), _n(middle), _n(middle - 3)
                    )
                )
                end = max(right, at(bar.high))
            parts.append(
                Markup('<text class="value" x="{}" y="{}">{:.1f}</text>').format(_n(end + 4), y + 9, bar.value)
            )
            y += _BAR + _GAP
        y += _BETWEEN
    return _svg(title, y, parts)


def lines(series: Sequence[Line], title: str, x_label: str, y_label: str, from_zero: bool = False) -> Markup:
    """A line a series over round axes; nothing where no series has a point."""
    drawn = [line for line in series if line.points]
    if not drawn:
        return Markup("")
    left, top, right, bottom = _PLOT
    xs = _ticks(*_range([x for line in drawn for x, _ in line.points]))
    ys = _ticks(*_range([*(y for line in drawn for _, y in line.points), *([0.0] if from_zero else [])]))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + (x - xs[0]) / (xs[-1] - xs[0]) * (right - left),
            bottom - (y - ys[0]) / (ys[-1] - ys[0]) * (bottom - top),
        )

    parts = []
    for y in ys:
        height = place(xs[0], y)[1]
        parts.append(Markup('<path class="grid" d="M{} {}H{}"/>').format(left, _n(height), right))
        parts.append(
            Markup('<text class="tick y" x="{}" y="{}">{}</text>').format(left - 5, _n(height + 4), _tick(y, ys))
        )
    for x in xs:
        parts.append(
            Markup('<text class="tick x" x="{}" y="{}">{}</text>').format(
                _n(place(x, ys[0])[0]), bottom + 15, _tick(x, xs)
            )
        )
    parts.append(
        Markup('<text class="tick x" x="{}" y="{}">{}</text>').format((left + right) / 2, bottom + 34, x_label)
    )
    parts.append(Markup('<text class="tick" x="2" y="11">{}</text>').format(y_label))
    for line in drawn:
        path = " ".join(f"{_n(x)},{_n(y)}" for x, y in (place(*point) for point in line.points))
        parts.append(
            Markup('<polyline class="s{}" points="{}"><title>{}</title></polyline>').format(
                line.colour % COLOURS, path, line.name
            )
        )
        if len(line.points) <= 25:
            for x, y in line.points:
                cx, cy = place(x, y)
                parts.append(
                    Markup(
                        '<circle class="s{}" cx="{}" cy="{}" r="2.5"><title>{}: {:g}, {:.4g}</title></circle>'
                    ).format(line.colour % COLOURS, _n(cx), _n(cy), line.name, x, y)
                )
    return _svg(title, _HEIGHT, parts)


def _svg(title: str, height: int, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, height, title, Markup("").join(parts)
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    least, most = min(values), max(values)
    return (least, most) if most > least else (least - 0.5, most + 0.5)


def _ticks(least: float, most: float) -> list[float]:
    """Three to seven round numbers, evenly spaced, from at most `least` to at least `most`."""
    rough = (most - least) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    first, last = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _tick(value: float, ticks: Sequence[float]) -> str:
    """With as many decimals as the steps of the axis have."""
    decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    return f"{value + 0.0:,.{decimals}f}"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")

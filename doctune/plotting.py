"""Pictures that are the same bytes for the same numbers, on any machine.

with style():
    made, (ax,) = figure(1, width=9.0)
    ax.bar(["甲", "乙"], [3, 4], color=COLOURS[0])
    save(made, Path("bars.png"))
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#6aa5d8", "#d9822b", "#9aa5b1", "#5b9a68", "#b35c74", "#8a6fb0")  # told apart in grey, too
INK = "#22303c"
_STYLE = {"font.family": "DejaVu Sans", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False}


def style() -> AbstractContextManager[None]:
    """Matplotlib's defaults and ours, whatever style the user has set: pictures must not depend on the machine."""
    from matplotlib import style

    context: AbstractContextManager[None] = style.context(["default", _STYLE])
    return context


def figure(panels: int, width: float, height: float = 4.2) -> tuple[Any, list["Axes"]]:
    """A figure of its own, without pyplot: no window and no global state."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), dpi=110, layout="constrained")
    return made, [made.add_subplot(1, panels, number + 1) for number in range(panels)]


def save(made: Any, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(made)
    canvas.print_png(path, metadata={"Software": None})  # matplotlib's version would change the bytes

"""What all pictures share: the registry, colours, line styles and axes.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart; each also has a line style of its own,
so that the pictures survive a grey printer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.widgets import Slider

Draw = Callable[[], Any]

# Every picture, by the name of its file: a function that returns a figure.
PICTURES: dict[str, Draw] = {}

BLUE, ORANGE, GREEN, PINK, SKY, AMBER, BLACK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#000000",
)
GREY = "#888888"

LINES: tuple[dict[str, Any], ...] = (
    {"color": BLUE, "linestyle": "-"},
    {"color": ORANGE, "linestyle": (0, (5, 1.5))},
    {"color": GREEN, "linestyle": (0, (4, 1.2, 1, 1.2))},
    {"color": PINK, "linestyle": (0, (1.2, 1.2))},
    {"color": AMBER, "linestyle": (0, (7, 1.5, 1, 1.5, 1, 1.5))},
    {"color": SKY, "linestyle": "-"},
    {"color": BLACK, "linestyle": (0, (2.5, 1.5))},
)

SETTINGS = {
    "font.size": 10.5,
    "axes.titlesize": 11.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ebebeb",
    "lines.linewidth": 2.0,
    "legend.frameon": False,
    "legend.handlelength": 3.0,
    "figure.constrained_layout.use": True,
}


def picture(draw: Draw) -> Draw:
    """Enter a function that draws a figure in the list, under its name with dashes; it draws in the common style."""

    @functools.wraps(draw)
    def in_style() -> Any:
        with plt.rc_context(SETTINGS):
            return draw()

    PICTURES[draw.__name__.replace("_", "-")] = in_style
    return in_style


def panels(columns: int, title: str, width: float = 5.6, height: float = 4.6, rows: int = 1) -> tuple[Any, Any]:
    """Return a figure with a headline, and its axes, each of `width` and `height`, row by row."""
    figure, axes = plt.subplots(rows, columns, figsize=(width * columns, height * rows), squeeze=False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    return figure, axes.ravel()


def slider_panel(name: str, low: float, high: float, start: float) -> tuple[Any, Any]:
    """Return a figure and its axes, and below them a slider, which `follow` ties a drawing to."""
    with plt.rc_context({**SETTINGS, "figure.constrained_layout.use": False}):
        figure, axes = plt.subplots(figsize=(7, 4.4))
        figure.subplots_adjust(bottom=0.25)
    figure.slider = Slider(figure.add_axes((0.2, 0.06, 0.6, 0.05)), name, low, high, valinit=start)
    return figure, axes


def follow(figure: Any, draw: Callable[[float], None]) -> None:
    """Draw with the slider's value, now and whenever it moves; where no window opens, it stays at its start."""

    def moved(value: float) -> None:
        draw(value)
        figure.canvas.draw_idle()

    figure.slider.on_changed(moved)
    moved(figure.slider.val)


def label(axes: Any, title: str, x: str, y: str) -> None:
    """Say what a panel shows and what its axes measure."""
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def legend_below(figure: Any, axes: Any) -> None:
    """Put the legend of one panel below all of them, where it lies over nothing."""
    handles, labels = axes.get_legend_handles_labels()
    lines = -(-len(handles) // 4)
    figure.legend(handles, labels, loc="outside lower center", ncols=-(-len(handles) // lines))

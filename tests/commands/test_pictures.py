"""Pictures say what they show: kernels by name, ticks in one notation, minima and corners labelled, legends aside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from matplotlib import pyplot as plt

from lossk.cli.bench.cases import SUITES
from lossk.cli.plot.limits import draw_limits, rows_of
from lossk.cli.plot.style import PICTURES
from tests.support.results import entry, result_of, results_of

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("suite", ["quick", "table"])
def test_limits_name_six_kernels_and_their_peers(suite: str, tmp_path: Path) -> None:
    cases = [
        result_of(
            case,
            entry("lossk", case.modes[0], 1.0, limit=0.75, fraction=0.75),
            entry("torch eager", case.modes[0], 4.0, limit=0.75),
            entry("numpy", case.modes[0], 8.0, limit=0.75),
        )
        for case in SUITES[suite]
    ]
    (axes,) = draw_limits(results_of(*cases), tmp_path / "limits.png").axes
    assert (tmp_path / "limits.png").read_bytes().startswith(b"\x89PNG")
    names = [label.get_text().split("\n")[0] for label in axes.get_yticklabels()]
    assert len(set(names)) == len(names) == 6
    assert set(names) <= {case.kernel for case in SUITES[suite]}
    said = texts(axes)
    assert sum(text.startswith("lossk 75 %") for text in said) == 6
    assert sum("torch eager 19 %" in text and "4x the time" in text for text in said) == 6


def test_limits_leave_out_kernels_without_peers_unless_none_has_any(tmp_path: Path) -> None:
    case, other = SUITES["table"][0], next(c for c in SUITES["table"] if c.kernel != SUITES["table"][0].kernel)
    alone = result_of(case, entry("lossk", case.modes[0], 1.0, limit=0.5))
    compared = result_of(
        other, entry("lossk", other.modes[0], 1.0, limit=0.5), entry("torch eager", other.modes[0], 2.0, limit=0.5)
    )
    assert [row[0].kernel for row in rows_of(results_of(alone))] == [case.kernel]
    assert [row[0].kernel for row in rows_of(results_of(alone, compared))] == [other.kernel]
    draw_limits(results_of(alone), tmp_path / "limits.png")


def test_regression_compares_like_with_like_and_shows_its_corner() -> None:
    left, right = PICTURES["regression-losses"]().axes
    lines = {line.get_label(): line for line in left.get_lines()}
    half, huber = lines["half of L2, r²/2"], lines["Huber, δ = 5"]
    inside = abs(half.get_xdata()) <= 5
    assert (abs(half.get_ydata() - huber.get_ydata())[inside] < 1e-12).all()
    for axes in (left, right):
        low, high = axes.get_xlim()
        assert low < -5 < 5 < high
        assert "r = 5" in texts(axes)


def test_minima_are_labelled() -> None:
    for axes in PICTURES["momentum"]().axes:
        assert {"local minimum", "global minimum"} <= set(texts(axes))


@pytest.mark.parametrize(
    "name",
    [
        "regression-losses",
        "squared-error-of-classes",
        "batch-sizes",
        "momentum",
        "learning-rates",
        "adaptive-steps",
        "saddle-point",
        "vanishing-gradients",
    ],
)
def test_legends_lie_below_the_panels_and_inside_the_picture(name: str) -> None:
    figure = PICTURES[name]()
    figure.canvas.draw()
    assert all(axes.get_legend() is None for axes in figure.axes)
    (legend,) = figure.legends
    place = legend.get_window_extent()
    assert all(place.y1 <= axes.get_window_extent().y0 for axes in figure.axes)
    assert place.x0 >= 0
    assert place.x1 <= figure.bbox.x1


def test_sliders_move_what_is_drawn() -> None:
    from lossk.cli.plot.descent import learning_rate_slider, momentum_slider
    from lossk.cli.plot.losses import delta_slider

    rates = learning_rate_slider()
    for rate in (0.2, 0.5, 1.1):
        rates.slider.set_val(rate)
        wanted = [1.5 * (1 - 2 * rate) ** step for step in range(9)]
        assert rates.axes[0].get_lines()[1].get_xdata() == pytest.approx(wanted, abs=1e-12)
    momentum = momentum_slider()
    for value, low, high in ((0.0, 1, 2), (0.9, -2, -1)):
        momentum.slider.set_val(value)
        assert low < momentum.axes[0].get_lines()[1].get_xdata()[-1] < high
    delta = delta_slider()
    lines = {line.get_label(): line for line in delta.axes[0].get_lines()}
    for value in (1.0, 4.0):
        delta.slider.set_val(value)
        assert lines["Huber"].get_ydata()[-1] == pytest.approx(value * (6 - value / 2))

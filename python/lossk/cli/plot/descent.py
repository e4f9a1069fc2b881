"""Gradient descent at work: learning rates, batch sizes, momentum, steps of a size of their own, a saddle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lossk
from lossk.cli.plot.style import BLACK, GREY, LINES, follow, label, legend_below, panels, picture, slider_panel

Array = NDArray[np.float64]
SQUARED = lossk.SquaredError()


def line_data(samples: int = 256) -> tuple[Array, Array]:
    """Draw points around a line; columns of the design are the slope's and the intercept's."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, samples)
    return np.stack([x, np.ones_like(x)], axis=1), 1.5 * x - 0.5 + rng.normal(scale=0.7, size=samples)


def descend(design: Array, y: Array, batch: int, lr: float, steps: int) -> tuple[Array, Array]:
    """Fit the line by mini-batches; return the weights after each step, and the loss over all samples."""
    rng = np.random.default_rng(0)
    weights = np.array([-1.6, 2.0])
    optimizer = lossk.SGD([weights], lr=lr)
    path, loss = [weights.copy()], [SQUARED(design @ weights, y)]
    while len(path) <= steps:
        order = rng.permutation(y.size)
        for first in range(0, y.size, batch):
            rows = order[first : first + batch]
            residual = SQUARED.grad(design[rows] @ weights, y[rows])
            optimizer.step([design[rows].T @ residual])
            path.append(weights.copy())
            loss.append(SQUARED(design @ weights, y))
    return np.array(path[: steps + 1]), np.array(loss[: steps + 1])


def _contours(axes: Any, design: Array, y: Array) -> None:
    slope, intercept = np.meshgrid(np.linspace(-2.2, 3.6, 121), np.linspace(-3.4, 3.0, 129))
    surface = [SQUARED(design @ np.array(w), y) for w in zip(slope.flat, intercept.flat, strict=True)]
    axes.contour(slope, intercept, np.reshape(surface, slope.shape), levels=14, colors="#c8c8c8", linewidths=0.9)


@picture
def batch_sizes() -> Any:
    """Draw full-batch, mini-batch and stochastic descent on one surface."""
    design, y = line_data()
    best = np.linalg.lstsq(design, y, rcond=None)[0]
    kinds = (("full batch, 256 samples a step", 256), ("mini-batch, 16 samples", 16), ("stochastic, 1 sample", 1))
    figure, (left, right) = panels(2, "Fitting a line: small batches wander, but cost little a step", width=6.0)
    _contours(left, design, y)
    for (name, batch), line in zip(kinds, LINES, strict=False):
        path, loss = descend(design, y, batch, lr=0.12, steps=80)
        left.plot(*path.T, label=name, marker=".", markersize=4, **{**line, "linewidth": 1.4})
        right.plot(np.arange(1, len(loss) + 1) * batch, loss, label=name, **line)
    left.set_ylim(-2.0, 2.6)
    left.plot(*best, marker="*", markersize=15, color=BLACK, linestyle="none", label="least squares")
    legend_below(figure, left)
    label(left, "80 steps on the surface of the mean squared error", "slope", "intercept")
    right.set_xscale("log")
    right.axhline(SQUARED(design @ best, y), color=GREY, linewidth=1)
    label(right, "The same steps, over the samples they looked at", "samples used (logarithmic)", "mean squared error")
    return figure


def walk(
    gradient: Callable[[Array], Array], start: Any, steps: int, optimizer: Any = lossk.SGD, **options: Any
) -> Array:
    """Return the points (steps + 1, n) that an optimizer visits from `start`, a number or a vector of n."""
    x = np.array(np.atleast_1d(start), dtype=np.float64)
    update = optimizer([x], **options)
    path = [x.copy()]
    for _ in range(steps):
        update.step([gradient(x)])
        path.append(x.copy())
    return np.array(path)


def double_well(x: Array) -> Array:
    """Return the height of a valley with two bottoms, the left one deeper."""
    return 0.25 * x**4 - x**2 + 0.35 * x + 1.5


def double_well_slope(x: Array) -> Array:
    """Return its derivative."""
    return np.asarray(x**3 - 2 * x + 0.35)


@picture
def momentum() -> Any:
    """Draw momentum leaving a local minimum in which plain descent stays."""
    x = np.linspace(-2.35, 2.3, 501)
    figure, (left, right) = panels(2, "Momentum carries a step over the hill that stops plain descent", width=6.0)
    left.plot(x, double_well(x), color=GREY)
    runs = (("plain, lr = 0.02", {"lr": 0.02}), ("momentum 0.9, lr = 0.02", {"lr": 0.02, "momentum": 0.9}))
    for (name, options), line in zip(runs, LINES, strict=False):
        path = walk(double_well_slope, 2.2, 120, **options)[:, 0]
        left.plot(path, double_well(path), label=name, marker="o", markersize=3.5, **{**line, "linewidth": 0.8})
        left.plot(path[-1], double_well(path[-1]), marker="D", markersize=9, color=line["color"], linestyle="none")
        right.plot(path, label=name, **line)
    start = (2.2, float(double_well(np.array(2.2))))
    left.annotate("start", start, (1.2, 3.2), color=BLACK, arrowprops={"arrowstyle": "-", "color": GREY})
    for name, x0, place in (("local minimum", 1.31, (0.9, 0.25)), ("global minimum", -1.49, (-0.85, -0.12))):
        bottom = (x0, float(double_well(np.array(x0))))
        left.annotate(name, bottom, place, color=BLACK, arrowprops={"arrowstyle": "-", "color": GREY})
        right.axhline(x0, color=GREY, linewidth=0.8)
        right.annotate(name, (88, x0), (0, 10), textcoords="offset points", color=GREY, fontsize=9)
    legend_below(figure, left)
    label(left, "Down the valley; the end of each run is a diamond", "x", "f(x)")
    label(right, "Where each run is after so many steps", "steps", "x")
    return figure


@picture
def learning_rates() -> Any:
    """Draw a learning rate that is too small, one that is right, and one that is too large."""
    design, y = line_data()
    best = SQUARED(design @ np.linalg.lstsq(design, y, rcond=None)[0], y)
    rates = (("too small: 0.01", 0.01), ("right: 0.3", 0.3), ("too large: 1.05", 1.05))
    figure, (left, right) = panels(2, "The learning rate decides between crawling, arriving and flying off", width=6.0)
    _contours(left, design, y)
    for (name, rate), line in zip(rates, LINES, strict=False):
        path, loss = descend(design, y, y.size, lr=rate, steps=25)
        left.plot(*path.T, label=name, marker="o", markersize=3.5, **{**line, "linewidth": 1.2})
        right.plot(loss - best, label=name, **line)
    left.set(xlim=(-2.2, 3.6), ylim=(-3.4, 3.0))
    legend_below(figure, left)
    label(left, "25 full-batch steps", "slope", "intercept")
    right.set_yscale("log")
    label(right, "Distance from the smallest loss", "steps", "loss above the minimum (logarithmic)")
    return figure


def learning_rate_slider() -> Any:
    """Draw steps on a parabola, with a slider for the learning rate."""
    figure, axes = slider_panel("learning rate", 0.01, 1.1, 0.2)
    x = np.linspace(-2, 2, 201)
    axes.plot(x, SQUARED(x, 0.0, reduction="none"), color=GREY)
    (line,) = axes.plot([], [], marker="o", **LINES[0])
    axes.set_ylim(-0.2, 4)
    label(axes, "Eight steps of descent on x²", "x", "x²")

    def draw(rate: float) -> None:
        path = walk(lambda x: SQUARED.grad(x, 0.0), 1.5, 8, lr=rate)[:, 0]
        line.set_data(path, SQUARED(path, 0.0, reduction="none"))

    follow(figure, draw)
    return figure


def momentum_slider() -> Any:
    """Draw descent in the valley with two bottoms, with a slider for the momentum."""
    figure, axes = slider_panel("momentum", 0.0, 0.98, 0.88)
    x = np.linspace(-2.35, 2.3, 501)
    axes.plot(x, double_well(x), color=GREY)
    (line,) = axes.plot([], [], marker="o", **{**LINES[0], "linewidth": 0.8})
    label(axes, "120 steps from the right; lr = 0.02", "x", "f(x)")

    def draw(value: float) -> None:
        path = walk(double_well_slope, 2.2, 120, lr=0.02, momentum=value)[:, 0]
        line.set_data(path, double_well(path))

    follow(figure, draw)
    return figure


# A bowl a hundred times as steep in one direction: half of x² + 100 y².
CURVATURE = np.array([1.0, 100.0])


def bowl_slope(x: Array) -> Array:
    """Return its gradient."""
    return CURVATURE * x


@picture
def adaptive_steps() -> Any:
    """Draw SGD, Adagrad and RMSprop in a bowl with one steep direction, and their steps under a constant gradient."""
    runs: tuple[tuple[str, Any, dict[str, float]], ...] = (
        ("SGD, lr = 0.018", lossk.SGD, {"lr": 0.018}),
        ("Adagrad, lr = 0.5", lossk.Adagrad, {"lr": 0.5}),
        ("RMSprop, lr = 0.05", lossk.RMSprop, {"lr": 0.05}),
    )
    figure, (left, right) = panels(2, "Adagrad and RMSprop: each coordinate has a step size of its own", width=6.0)
    x, y = np.meshgrid(np.linspace(-3.3, 0.7, 121), np.linspace(-1.9, 2.2, 121))
    left.contour(x, y, x**2 + 100 * y**2, levels=14, colors="#c8c8c8", linewidths=0.9)
    for (name, optimizer, options), line in zip(runs, LINES, strict=False):
        path = walk(bowl_slope, (-3.0, 2.0), 60, optimizer, **options)
        left.plot(*path.T, label=name, marker="o", markersize=3, **{**line, "linewidth": 1.2})
        steps = -np.diff(walk(np.ones_like, 0.0, 300, optimizer, **options)[:, 0]) / options["lr"]
        right.plot(np.arange(1, 301), steps, label=name, **line)
    left.plot(0, 0, marker="*", markersize=14, color=BLACK, linestyle="none")
    legend_below(figure, left)
    label(left, "60 steps; the star is the minimum", "x, curvature 1", "y, curvature 100")
    right.set(xscale="log", yscale="log")
    label(right, "Steps while the gradient stays 1", "step (logarithmic)", "size of the step, in learning rates")
    return figure


def saddle(x: Any, y: Any) -> Any:
    """Return a height with a saddle at (0, 0) and minima at (0, -1) and (0, 1)."""
    return x**2 / 2 + y**4 / 4 - y**2 / 2


def saddle_slope(w: Array) -> Array:
    """Return its gradient."""
    return np.array([w[0], w[1] ** 3 - w[1]])


@picture
def saddle_point() -> Any:
    """Draw descent from the ridge of a saddle, where it ends at the saddle, and from beside it."""
    figure, (left, right) = panels(2, "A saddle: the gradient is 0, and yet it is no minimum", width=6.0)
    x, y = np.meshgrid(np.linspace(-0.9, 1.7, 121), np.linspace(-1.5, 1.5, 121))
    left.contour(x, y, saddle(x, y), levels=16, colors="#c8c8c8", linewidths=0.9)
    for start, line, width in zip(((1.5, 0.0), (1.5, 0.001)), LINES, (5.0, 1.2), strict=False):
        path = walk(saddle_slope, start, 120, lr=0.1)
        name = f"start {start}"
        left.plot(*path.T, label=name, marker="o", markersize=3 * width**0.5, **{**line, "linewidth": width})
        right.plot(saddle(*path.T), label=name, **line)
    for name, y0 in (("saddle", 0.0), ("minimum", 1.0), ("minimum", -1.0)):
        left.plot(0, y0, marker="x" if name == "saddle" else "*", markersize=12, color=BLACK, linestyle="none")
        left.annotate(name, (0, y0), (-12, 8), textcoords="offset points", ha="right")
    legend_below(figure, left)
    label(left, "120 steps", "x", "y")
    label(right, "The loss rests at the saddle's height, 0", "steps", "loss")
    return figure

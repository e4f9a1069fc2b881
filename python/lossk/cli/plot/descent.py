"""Gradient descent at work: batch sizes on one surface, momentum and a local minimum, learning rates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lossk
from lossk.cli.plot.style import BLACK, GREY, LINES, label, legend_below, panels, picture

Array = NDArray[np.float64]
SQUARED = lossk.SquaredError()


def _line_data(samples: int = 256) -> tuple[Array, Array]:
    """Draw points around a line; columns of the design are the slope's and the intercept's."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, samples)
    return np.stack([x, np.ones_like(x)], axis=1), 1.5 * x - 0.5 + rng.normal(scale=0.7, size=samples)


def _descend(design: Array, y: Array, batch: int, lr: float, steps: int) -> tuple[Array, Array]:
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
    design, y = _line_data()
    best = np.linalg.lstsq(design, y, rcond=None)[0]
    kinds = (("full batch, 256 samples a step", 256), ("mini-batch, 16 samples", 16), ("stochastic, 1 sample", 1))
    figure, (left, right) = panels(2, "Fitting a line: small batches wander, but cost little a step", width=6.0)
    _contours(left, design, y)
    for (name, batch), line in zip(kinds, LINES, strict=False):
        path, loss = _descend(design, y, batch, lr=0.12, steps=80)
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


def _walk(gradient: Callable[[Array], Array], start: float, steps: int, **options: Any) -> Array:
    x = np.array([start])
    optimizer = lossk.SGD([x], **options)
    path = [start]
    for _ in range(steps):
        optimizer.step([gradient(x)])
        path.append(float(x[0]))
    return np.array(path)


def _double_well(x: Array) -> Array:
    return 0.25 * x**4 - x**2 + 0.35 * x + 1.5


def _double_well_slope(x: Array) -> Array:
    return np.asarray(x**3 - 2 * x + 0.35)


@picture
def momentum() -> Any:
    """Draw momentum leaving a local minimum in which plain descent stays."""
    x = np.linspace(-2.35, 2.3, 501)
    figure, (left, right) = panels(2, "Momentum carries a step over the hill that stops plain descent", width=6.0)
    left.plot(x, _double_well(x), color=GREY)
    runs = (("plain, lr = 0.02", {"lr": 0.02}), ("momentum 0.9, lr = 0.02", {"lr": 0.02, "momentum": 0.9}))
    for (name, options), line in zip(runs, LINES, strict=False):
        path = _walk(_double_well_slope, 2.2, 120, **options)
        left.plot(path, _double_well(path), label=name, marker="o", markersize=3.5, **{**line, "linewidth": 0.8})
        left.plot(path[-1], _double_well(path[-1]), marker="D", markersize=9, color=line["color"], linestyle="none")
        right.plot(path, label=name, **line)
    start = (2.2, float(_double_well(np.array(2.2))))
    left.annotate("start", start, (1.2, 3.2), color=BLACK, arrowprops={"arrowstyle": "-", "color": GREY})
    for name, x0, place in (("local minimum", 1.31, (0.9, 0.25)), ("global minimum", -1.49, (-0.85, -0.12))):
        bottom = (x0, float(_double_well(np.array(x0))))
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
    design, y = _line_data()
    best = SQUARED(design @ np.linalg.lstsq(design, y, rcond=None)[0], y)
    rates = (("too small: 0.01", 0.01), ("right: 0.3", 0.3), ("too large: 1.05", 1.05))
    figure, (left, right) = panels(2, "The learning rate decides between crawling, arriving and flying off", width=6.0)
    _contours(left, design, y)
    for (name, rate), line in zip(rates, LINES, strict=False):
        path, loss = _descend(design, y, y.size, lr=rate, steps=25)
        left.plot(*path.T, label=name, marker="o", markersize=3.5, **{**line, "linewidth": 1.2})
        right.plot(loss - best, label=name, **line)
    left.set(xlim=(-2.2, 3.6), ylim=(-3.4, 3.0))
    legend_below(figure, left)
    label(left, "25 full-batch steps", "slope", "intercept")
    right.set_yscale("log")
    label(right, "Distance from the smallest loss", "steps", "loss above the minimum (logarithmic)")
    return figure

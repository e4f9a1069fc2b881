"""Losses over the residual, the margin and the probability, and the constant that each fits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import lossk
from lossk.cli.plot.style import BLACK, GREY, LINES, follow, label, legend_below, panels, picture, slider_panel

Array = NDArray[np.float64]


@picture
def regression_losses() -> Any:
    """Draw L1, half of L2, Huber and pseudo-Huber at delta .25 and 5, and their gradients."""
    residual = np.linspace(-8, 8, 641)
    losses = (
        ("half of L2, r²/2", lossk.SquaredError(), 0.5),
        ("L1, |r|", lossk.AbsoluteError(), 1.0),
        ("Huber, δ = 0.25", lossk.Huber(delta=0.25), 1.0),
        ("Huber, δ = 5", lossk.Huber(delta=5.0), 1.0),
        ("pseudo-Huber, δ = 0.25", lossk.PseudoHuber(delta=0.25), 1.0),
        ("pseudo-Huber, δ = 5", lossk.PseudoHuber(delta=5.0), 1.0),
    )
    figure, (left, right) = panels(2, "Regression: δ is where a loss stops being a parabola and becomes a line")
    for (name, loss, factor), line in zip(losses, LINES, strict=False):
        value, gradient = loss.value_and_grad(residual, 0.0, reduction="none")
        left.plot(residual, factor * value, label=name, **line)
        right.plot(residual, factor * gradient, label=name, **line)
    label(left, "Loss", "residual r = prediction - target", "loss")
    label(right, "Gradient: how hard one sample pulls", "residual r = prediction - target", "d loss / d r")
    for axes, (low, high) in ((left, (-0.6, 26)), (right, (-8, 8))):
        axes.set_ylim(low, high)
        for corner in (-5, 5):
            axes.axvline(corner, color=GREY, linewidth=0.8)
            axes.annotate(f"r = {corner}", (corner, low), (3, 4), textcoords="offset points", color=GREY, fontsize=8.5)
    legend_below(figure, left)
    return figure


def delta_slider() -> Any:
    """Draw Huber and pseudo-Huber between a parabola and a line, with a slider for delta."""
    figure, axes = slider_panel("delta", 0.1, 6.0, 1.5)
    residual = np.linspace(-6, 6, 481)
    axes.plot(residual, lossk.SquaredError()(residual, 0.0, reduction="none") / 2, color=GREY, label="r²/2")
    losses = (("Huber", lossk.Huber, LINES[0]), ("pseudo-Huber", lossk.PseudoHuber, LINES[1]))
    curves = [(loss, axes.plot([], [], label=name, **line)[0]) for name, loss, line in losses]
    corners = [axes.axvline(0, color=GREY, linewidth=0.8) for _ in range(2)]
    axes.set_ylim(-0.5, 18)
    axes.legend(loc="upper center")
    label(axes, "The lines are at -delta and delta", "residual r = prediction - target", "loss")

    def draw(delta: float) -> None:
        for loss, curve in curves:
            curve.set_data(residual, loss(delta)(residual, 0.0, reduction="none"))
        for corner, place in zip(corners, (-delta, delta), strict=True):
            corner.set_xdata([place, place])

    follow(figure, draw)
    return figure


@picture
def classification_losses() -> Any:
    """Draw hinge, binary, sigmoid and weighted cross-entropy and softmax over the margin of a positive sample."""
    margin = np.linspace(-4, 5, 721)
    one = np.ones_like(margin)
    pair = np.stack([margin, np.zeros_like(margin)], axis=1)
    labels = np.zeros(margin.size, np.int64)
    softmax, plain = lossk.CrossEntropy(), lossk.BinaryCrossEntropyWithLogits()
    weighted = lossk.BinaryCrossEntropyWithLogits(pos_weight=0.5)
    curves = (
        ("hinge", lossk.Hinge()(margin, one, reduction="none")),
        ("squared hinge", lossk.SquaredHinge()(margin, one, reduction="none")),
        ("sigmoid cross-entropy", plain(margin, one, reduction="none")),
        (
            "the same, pos_weight = 0.5",
            weighted(margin, one, reduction="none"),
        ),
        ("softmax cross-entropy of (z, 0)", softmax(pair, labels, reduction="none")),
        ("exponential", lossk.Exponential()(margin, one, reduction="none")),
    )
    figure, (left, right) = panels(2, "Classification: what a sample of the positive class costs")
    for (name, values), line in zip(curves, LINES, strict=False):
        width = 4.5 if name.startswith("softmax") else 2.0
        left.plot(margin, values, label=name, **{**line, "linewidth": width, "zorder": 1 if width > 2 else 2})
    left.plot(margin, margin < 0, color=GREY, linewidth=1.2, label="zero-one: wrong or right")
    left.axvline(0, color=GREY, linewidth=0.8)
    left.set_ylim(-0.1, 5)
    left.legend(loc="upper right", fontsize=9)
    label(left, "Over the logit z (margin): right answers lie on the right", "logit z", "loss")

    p = np.linspace(0.001, 0.999, 999)
    binary = lossk.BinaryCrossEntropy()
    right.plot(p, binary(p, np.ones_like(p), reduction="none"), label="binary cross-entropy, y = 1", **LINES[0])
    right.plot(p, binary(p, np.zeros_like(p), reduction="none"), label="binary cross-entropy, y = 0", **LINES[1])
    focal = lossk.Focal(alpha=-1, gamma=2)(np.log(p / (1 - p)), np.ones_like(p), reduction="none")
    right.plot(p, focal, label="focal, exponent 2, y = 1", **LINES[2])
    right.set_ylim(-0.1, 5)
    right.legend(loc="upper center")
    label(right, "Over the predicted probability", "predicted probability of the positive class", "loss")
    return figure


@picture
def squared_error_of_classes() -> Any:
    """Draw cross-entropy and squared error of a sigmoid, and their gradients, where the right answer is 1."""
    z = np.linspace(-9, 5, 701)
    one = np.ones_like(z)
    sigmoid, squared = lossk.Sigmoid(), lossk.SquaredError()
    value, slope = squared.value_and_grad(sigmoid(z), one, reduction="none")
    cross = lossk.BinaryCrossEntropyWithLogits().value_and_grad(z, one, reduction="none")
    curves = (("cross-entropy", *cross), ("squared error of the sigmoid", value, sigmoid.vjp(z, slope)))
    figure, (left, right) = panels(2, "Squared error gives up on the samples that are most wrong")
    for (name, values, gradients), line in zip(curves, LINES, strict=False):
        left.plot(z, values, label=name, **line)
        right.plot(z, gradients, label=name, **line)
    label(left, "Loss of a sample of the positive class", "logit z", "loss")
    label(right, "Gradient: how hard the sample pulls", "logit z", "d loss / d z")
    for axes in (left, right):
        axes.axvspan(-9, -4, color="#f0f0f0", zorder=0)
    right.annotate("sure and wrong:\nno pull", (-7.4, 0), (-7.4, -0.33), ha="center", arrowprops={"arrowstyle": "->"})
    legend_below(figure, left)
    return figure


# A target of five classes, and three predictions of it, each better than the one before.
ONE_HOT = np.array([0.0, 0.0, 0.0, 1.0, 0.0])
PREDICTIONS = np.array([[0.1, 0.1, 0.1, 0.6, 0.1], [0.05, 0.1, 0.05, 0.7, 0.1], [0.05, 0.05, 0.05, 0.8, 0.05]])


@picture
def one_hot_cross_entropy() -> Any:
    """Draw three predictions of a one-hot target, and where they lie on minus the logarithm."""
    losses = lossk.information.cross_entropy(np.tile(ONE_HOT, (3, 1)), PREDICTIONS)
    figure, (left, right) = panels(2, "Cross-entropy of a one-hot target: only the label's probability counts")
    shades = ("#d9d9d9", "#969696", "#404040")
    for i, (prediction, shade) in enumerate(zip(PREDICTIONS, shades, strict=True)):
        left.bar(np.arange(5) + 0.25 * (i - 1), prediction, 0.22, color=shade, label=f"loss {losses[i]:.2f}")
    left.bar(np.arange(5), ONE_HOT, 0.8, fill=False, edgecolor=GREY, linestyle="--", label="target", zorder=0)
    left.legend(loc="upper left")
    label(left, "Three predictions", "class", "probability")
    p = np.linspace(0.05, 1, 400)
    right.plot(p, lossk.information.information(p), **LINES[0])
    for x, y in zip(PREDICTIONS[:, 3], losses, strict=True):
        right.plot(x, y, marker="o", color=BLACK)
        right.annotate(f"-log {x:g} = {y:.2f}", (x, y), (-6, 22), textcoords="offset points", fontsize=9.5)
    right.set_ylim(0, 3)
    label(right, "The loss of a row", "predicted probability of the label", "-log p, in nats")
    return figure


def skewed_sample() -> Array:
    """Draw 1,001 waiting times: most are short, a few are very long."""
    return np.random.default_rng(0).lognormal(0.0, 0.8, 1001)


def best_constant(loss: Any, y: Array) -> float:
    """Return the constant whose mean loss over `y` is smallest: where the gradient changes its sign, by halving."""
    low, high = float(y.min()), float(y.max())
    for _ in range(60):
        middle = (low + high) / 2
        slope = loss.grad(np.full_like(y, middle), y, reduction="sum").sum()
        low, high = (low, middle) if slope > 0 else (middle, high)
    return (low + high) / 2


@picture
def best_constants() -> Any:
    """Draw what regression losses make of one skewed sample."""
    y = skewed_sample()
    losses = (
        ("squared error: mean", lossk.SquaredError()),
        ("absolute error: median", lossk.AbsoluteError()),
        ("Huber, δ = 1: between", lossk.Huber(delta=1.0)),
        ("quantile, q = 0.9", lossk.Quantile(q=0.9)),
    )
    figure, (axes,) = panels(1, "What a loss asks for: its best constant", width=9.0, height=3.8)
    axes.hist(y, bins=np.linspace(0, 8, 65), color="#dddddd")
    for (name, loss), line in zip(losses, LINES, strict=False):
        best = best_constant(loss, y)
        axes.axvline(best, label=f"{name} ({best:.2f})", **line)
    axes.legend(loc="upper right")
    label(axes, "One sample, four answers", "waiting time", "samples")
    return figure

"""Losses over the residual and over the margin, activations with their derivatives, entropy of a coin."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import lossk
from lossk.cli.plot.style import GREY, LINES, label, legend_below, panels, picture

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
def activations() -> Any:
    """Draw each activation and its derivative."""
    x = np.linspace(-4, 4, 801)
    functions = (
        ("sigmoid", lossk.Sigmoid()),
        ("tanh", lossk.Tanh()),
        ("ReLU", lossk.ReLU()),
        ("leaky ReLU, slope 0.1", lossk.LeakyReLU(negative_slope=0.1)),
        ("SELU", lossk.SELU()),
        ("softplus", lossk.Softplus()),
    )
    figure, (left, right) = panels(2, "Activations")
    for (name, function), line in zip(functions, LINES, strict=False):
        left.plot(x, function(x), label=name, **line)
        right.plot(x, function.derivative(x), label=name, **line)
    label(left, "f(x)", "x", "f(x)")
    label(right, "Derivative: where it is near 0, nothing is learned", "x", "f'(x)")
    left.set_ylim(-2, 4)
    right.set_ylim(-0.1, 1.9)
    left.legend(loc="upper left")
    return figure


@picture
def entropy_of_a_coin() -> Any:
    """Draw the entropy of a coin in bits, and what a wrong belief about it costs."""
    p = np.linspace(0, 1, 501)
    coin = np.stack([p, 1 - p], axis=-1)
    figure, (left, right) = panels(2, "A coin: entropy is what a toss tells, cross-entropy what a wrong belief costs")
    entropy = lossk.information.entropy(coin, base=2)
    left.plot(p, entropy, **LINES[0])
    left.annotate("fair: one bit", (0.5, 1), (0.5, 0.86), ha="center", arrowprops={"arrowstyle": "-", "color": GREY})
    label(left, "Entropy H(p)", "probability p of heads", "bits a toss")
    inner = coin[1:-1]
    right.plot(p, entropy, label="entropy: the belief is right", **LINES[0])
    for belief, line in zip((0.5, 0.8), LINES[1:], strict=False):
        q = np.broadcast_to(np.array([belief, 1 - belief]), inner.shape)
        cost = lossk.information.cross_entropy(inner, q, base=2)
        right.plot(p[1:-1], cost, label=f"cross-entropy, believing in {belief:g}", **line)
    label(right, "Cross-entropy: never below; the gap is the KL divergence", "probability p of heads", "bits a toss")
    right.legend(loc="lower center")
    return figure

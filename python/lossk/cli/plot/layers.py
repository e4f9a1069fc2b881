"""Activations, the Jacobian of softmax, from logits to a loss, gradients that vanish or explode."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import lossk
from lossk.cli.plot.style import GREY, LINES, label, legend_below, panels, picture

Array = NDArray[np.float64]


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
def softmax_jacobian() -> Any:
    """Draw a softmax, and the derivative of each of its outputs by each of its inputs."""
    z = np.log([0.1, 0.2, 0.3, 0.4])
    jacobian = np.array([lossk.softmax.vjp(z, unit) for unit in np.eye(4)])
    figure, (left, right) = panels(2, "Softmax: raising one logit takes from all others", width=4.8)
    left.bar(np.arange(4), lossk.softmax(z), color="#cccccc", edgecolor=GREY)
    left.set_xticks(np.arange(4))
    label(left, "p = softmax(z)", "class", "probability")
    right.imshow(jacobian, cmap="PuOr", vmin=-0.5, vmax=0.5)
    right.grid(visible=False)
    for (i, j), value in np.ndenumerate(jacobian):
        right.text(j, i, f"{value:+.2f}", ha="center", va="center")
    right.set(xticks=np.arange(4), yticks=np.arange(4))
    label(right, "Rows sum to 0", "by logit j", "derivative of p_i")
    return figure


@picture
def softmax_log_nll() -> Any:
    """Draw one row on its way from logits to its loss and its gradient."""
    z = np.array([[1.2, -0.3, 0.4, 2.1, -1.0, 0.0, 0.8, -0.6, 0.3, 1.5]])
    t = np.array([3])
    p, log_p = lossk.softmax(z), lossk.log_softmax(z)
    grad = lossk.CrossEntropy().grad(z, t)
    steps = (
        ("The logits of a row", "z", z),
        ("Softmax", "p", p),
        ("Minus the logarithm: the label's is the loss", "-log p", -log_p),
        ("Gradient by the logits: softmax minus one-hot", "p - y", grad),
    )
    figure, axes = panels(2, f"From ten logits to a loss of {lossk.NLL()(log_p, t):.2f}", width=5.0, height=2.8, rows=2)
    for panel, (name, symbol, row) in zip(axes, steps, strict=True):
        bars = panel.bar(np.arange(10), row[0], color="#cccccc", edgecolor=GREY)
        bars[int(t[0])].set(color="#303030")
        panel.axhline(0, color=GREY, linewidth=0.8)
        panel.set_xticks(np.arange(10))
        label(panel, name, "class; the label is dark", symbol)
    return figure


def gradient_norms(activation: Any, gain: float, layers: int = 30, width: int = 64) -> Array:
    """Return the norm of the gradient at the input of each layer of a random network, relative to the last one's.

    Weights (width, width) are normal with standard deviation ``gain / sqrt(width)``.
    """
    rng = np.random.default_rng(0)
    weights = [rng.normal(scale=gain / np.sqrt(width), size=(width, width)) for _ in range(layers)]
    x, sums = rng.normal(size=(16, width)), []
    for w in weights:
        sums.append(x @ w)
        x = activation(sums[-1])
    grad, norms = rng.normal(size=x.shape), []
    for w, before in zip(reversed(weights), reversed(sums), strict=True):
        grad = activation.vjp(before, grad) @ w.T
        norms.append(float(np.linalg.norm(grad)))
    return np.array(norms[::-1]) / norms[0]


# Networks by name: an activation, and the gain of its weights.
NETWORKS: tuple[tuple[str, Any, float], ...] = (
    ("sigmoid, gain 1", lossk.Sigmoid(), 1.0),
    ("tanh, gain 1", lossk.Tanh(), 1.0),
    ("ReLU, gain √2", lossk.ReLU(), 2**0.5),
    ("SELU, gain 1", lossk.SELU(), 1.0),
    ("ReLU, gain 3", lossk.ReLU(), 3.0),
)


@picture
def vanishing_gradients() -> Any:
    """Draw how the gradient shrinks or grows on its way back through 30 layers."""
    figure, (axes,) = panels(1, "Thirty layers: each multiplies the gradient", width=9.0, height=4.4)
    for (name, activation, gain), line in zip(NETWORKS, LINES, strict=False):
        axes.plot(np.arange(1, 31), gradient_norms(activation, gain), label=name, **line)
    axes.set_yscale("log")
    axes.axhline(1, color=GREY, linewidth=0.8)
    label(axes, "The way back is from right to left", "layer", "norm of the gradient, of the last layer's 1")
    legend_below(figure, axes)
    return figure

"""Information of an event, entropy of a coin, likelihoods and their maxima."""

from __future__ import annotations

from typing import Any

import numpy as np

import lossk
from lossk.cli.plot.style import BLACK, GREY, LINES, label, panels, picture


@picture
def information_and_entropy() -> Any:
    """Draw the bits of an event over its probability, and those of four outcomes with their mean, the entropy."""
    figure, axes = panels(2, "Entropy is the mean information of the outcomes", width=5.0, height=3.0, rows=2)
    p = np.linspace(0.001, 1, 999)
    axes[0].plot(p, lossk.information.information(p, base=2), **LINES[0])
    label(axes[0], "An event of probability p", "p", "bits, -log2 p")
    sources = (
        ("Four equal outcomes", [0.25] * 4),
        ("One of them likely", [0.1, 0.1, 0.1, 0.7]),
        ("One of them nearly sure", [0.001] * 3 + [0.997]),
    )
    for panel, (name, source) in zip(axes[1:], sources, strict=True):
        entropy = lossk.information.entropy(source, base=2)
        panel.bar(np.arange(4), lossk.information.information(source, base=2), color="#cccccc", edgecolor=GREY)
        panel.axhline(entropy, **LINES[1])
        panel.annotate(f"entropy {entropy:.3f}", (3.4, entropy), (0, 5), textcoords="offset points", ha="right")
        panel.set_xticks(np.arange(4), [f"{share:g}" for share in source])
        panel.set_ylim(0, 11)
        label(panel, name, "probability of the outcome", "bits")
    axes[0].set_ylim(0, 11)
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


# A coin that showed seven heads in ten tosses, and weights of five cats in kg.
TOSSES = np.array([1.0, 1, 0, 1, 1, 0, 1, 1, 0, 1])
CATS = np.array([3.6, 4.1, 4.4, 4.9, 5.5])


@picture
def maximum_likelihood() -> Any:
    """Draw the negative log-likelihood of a coin over its bias, and of cats' weights over their mean."""
    figure, (left, right) = panels(2, "Maximum likelihood: the best parameter is where the loss is smallest")
    bias = np.linspace(0.02, 0.98, 481)
    coin = lossk.BinaryCrossEntropy()
    left.plot(bias, [coin(np.full(10, p), TOSSES, reduction="sum") for p in bias], **LINES[0])
    left.plot(0.7, coin(np.full(10, 0.7), TOSSES, reduction="sum"), marker="o", color=BLACK)
    left.annotate("7 heads in 10: p = 0.7", (0.7, 6.1), (0.4, 14), ha="center", arrowprops={"arrowstyle": "->"})
    label(left, "A coin: binary cross-entropy", "probability p of heads", "-log likelihood of ten tosses")
    mean = np.linspace(3, 6, 301)
    squared, gaussian, ones = lossk.SquaredError(), lossk.GaussianNLL(full=True), np.ones_like(CATS)
    half = [squared(np.full_like(CATS, m), CATS, reduction="sum") / 2 for m in mean]
    right.plot(mean, half, label="half of the squared errors", **LINES[1])
    likelihood = [gaussian(np.full_like(CATS, m), CATS, ones, reduction="sum") for m in mean]
    right.plot(mean, likelihood, label="-log likelihood, variance 1", **LINES[0])
    right.axvline(CATS.mean(), color=GREY, linewidth=0.8)
    right.annotate(f"mean {CATS.mean():g} kg", (CATS.mean(), 0.2), (5, 0), textcoords="offset points", color=GREY)
    right.set_ylim(0, 11)
    right.legend(loc="upper center")
    label(right, "Cats: one curve is the other, moved up", "mean weight in kg", "of five cats")
    return figure

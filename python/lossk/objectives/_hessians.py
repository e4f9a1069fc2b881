"""Which Hessian each loss trains with: one table, with reasons and sources.

A leaf's value is ``-sum(g) / sum(h)``: a Newton step. Where the loss is flatter away from its minimum than near it,
that step is too long or endless, so that true second derivatives do not train robust losses. A Hessian that majorises
(the loss stays below the parabola through the current value with this curvature) never overshoots.

- ``true``: the kernel's. The loss is convex and does not flatten out, or libraries train with it and so results agree.
- ``secant``: ``g / r`` of the residual ``r``, the weight of iteratively reweighted least squares, which is the smallest
  that majorises (Huber, *Robust Statistics*, 1981, 7.8; de Leeuw, Lange, "Sharp quadratic majorization", 2009).
- ``smoothed``: ``e / (e + |r|)``, and `g` times `e`: where there is no curvature at all, Hunter and Lange's majoriser
  ("Quantile regression via an MM algorithm", 2000) with the median of ``|r|`` as the width of the corner, which shrinks
  as the fit improves. Libraries refit leaves to medians instead, which they do not let objectives of others do. As both
  derivatives have the scale of squared errors, regularisation and a least sum of Hessians mean the same, whatever the
  unit of targets. A ``secant`` loss whose `delta` is smaller than `e` is one of these, too.
- ``absolute``: ``|h|``, where the loss is not convex (Dauphin et al., "Identifying and attacking the saddle point
  problem", 2014).
- ``expected``: the second derivative's mean under the model, ``exp((2 - power) z)`` (Fisher scoring), where the true
  one may be negative.
- ``constant``: 1, where there is no curvature and margins have a unit of their own.

A new loss is ``true`` by itself; one that flattens out, or is not convex, wants a line in `rule_of`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import lossk

from .._arrays import Array
from ..losses import Loss


class Rule(NamedTuple):
    """How a loss trains: derivatives times `scale`, the kind of Hessian times `factor`, bounded below by `floor`."""

    hessian: str
    scale: float = 1.0
    factor: float = 1.0
    floor: float = 1e-16
    delta: float = 0.0  # where a robust loss turns from a square into a line


def rule_of(loss: Loss) -> Rule:
    """Return how a loss trains, but for what libraries do differently."""
    match loss:
        case lossk.SquaredError():
            return Rule("true", scale=0.5)  # half the square is what libraries minimise
        case lossk.AbsoluteError() | lossk.EpsilonInsensitive() | lossk.AbsolutePercentageError():
            return Rule("smoothed")
        case lossk.Quantile():
            return Rule("smoothed", scale=2.0)
        case lossk.SmoothL1(beta=0.0):
            return Rule("smoothed")
        case lossk.SmoothL1(beta=beta):
            return Rule("secant", scale=beta, delta=beta)  # Huber
        case lossk.Huber(delta=delta) | lossk.PseudoHuber(delta=delta):
            return Rule("secant", delta=delta)
        case lossk.LogCosh():
            return Rule("secant", delta=1.0)
        case lossk.PoissonNLL():
            return Rule("true", factor=float(np.exp(0.7)))  # max_delta_step of XGBoost and LightGBM
        case lossk.Tweedie(power=power):
            return Rule("true" if 1 <= power <= 2 else "expected")
        case lossk.Hinge() | lossk.HingeEmbedding() | lossk.Perceptron():
            return Rule("constant")
        case lossk.ModifiedHuber() | lossk.SquaredEpsilonInsensitive():
            return Rule("constant", factor=2.0)  # the largest second derivative, which majorises
        case lossk.Focal() | lossk.SquaredLogarithmicError():
            return Rule("absolute")
        case lossk.CrossEntropy(softcap=None, focal_gamma=0.0, poly_epsilon=0.0):
            return Rule("true")
        case lossk.CrossEntropy():
            return Rule("absolute")
    return Rule("true")


def with_width(rule: Rule, z: Array, y: Array, w: Array | None) -> tuple[Rule, float]:
    """Return the rule with its scale, and the width of a corner, from residuals of the whole data."""
    if rule.hessian not in ("secant", "smoothed"):
        return rule, 0.0
    if w is not None and not w.all():
        z, y = z[w != 0], y[w != 0]
    step = max(1, len(z) // 2**16)  # a median of so many is as good
    size = np.abs(np.subtract(z[::step], y[::step], dtype=np.float64))
    width = float(np.median(size)) if size.size else 1.0
    if not 0 < width < np.inf:  # most fit exactly
        mean = float(size.mean())
        width = mean if 0 < mean < np.inf else 1.0
    if width <= rule.delta:
        return rule, width
    return rule._replace(hessian="smoothed", scale=rule.scale * width / (rule.delta or 1.0)), width


def apply(rule: Rule, loss: Any, width: float, z: Array, y: Array, w: Any, g: Array, h: Array) -> None:
    """Turn the kernel's weighted derivatives into those to train with, in place."""
    if rule.hessian == "secant":
        r = np.subtract(z, y)
        np.divide(g, r, out=h, where=r != 0)  # else the kernel's, which is the limit
    elif rule.hessian == "smoothed":
        r = np.abs(np.subtract(z, y))
        np.divide(width, np.add(r, width, out=r), out=h)
        if isinstance(loss, lossk.AbsolutePercentageError):
            h *= loss._factor(y)
    elif rule.hessian == "absolute":
        np.abs(h, out=h)
    elif rule.hessian == "expected":
        np.exp((2 - loss.power) * z, out=h)
    elif rule.hessian == "constant":
        h.fill(1)
    if rule.hessian in ("smoothed", "expected", "constant") and w is not None:
        h *= w
    if rule.scale != 1:
        g *= rule.scale
    factor = rule.factor * (1.0 if rule.hessian == "smoothed" else rule.scale)
    if factor != 1:
        h *= factor
    np.maximum(h, rule.floor if w is None else rule.floor * w, out=h)

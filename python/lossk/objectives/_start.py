"""Where boosting starts, what margins mean, and which targets a loss takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import lossk

from .._arrays import Array, as_array, real_kind
from ..losses import Loss, PointwiseLoss

LOGIT = (lossk.BinaryCrossEntropyWithLogits, lossk.Focal, lossk.Logistic)
MARGIN = (
    *(lossk.Hinge, lossk.SquaredHinge, lossk.HingeEmbedding, lossk.Logistic, lossk.Exponential),
    *(lossk.ModifiedHuber, lossk.Perceptron),
)
LOG_MEAN = (lossk.PoissonNLL, lossk.Gamma, lossk.Tweedie)
REGRESSION = (
    *(lossk.Huber, lossk.SmoothL1, lossk.PseudoHuber, lossk.LogCosh),
    *(lossk.EpsilonInsensitive, lossk.SquaredEpsilonInsensitive),
    *(lossk.AbsolutePercentageError, lossk.SquaredLogarithmicError),
)


def on_margins(loss: Any) -> Loss:
    """Return the loss as a function of margins, which have no bounds. Raises TypeError where there is none."""
    wanted = "a pointwise loss of lossk or CrossEntropy"
    if isinstance(loss, type) and issubclass(loss, Loss):
        raise TypeError(f"loss: got the class {loss.__name__}, wanted an instance, as lossk.{loss.__name__}()")
    if isinstance(loss, lossk.BinaryCrossEntropy):
        return lossk.BinaryCrossEntropyWithLogits(label_smoothing=loss.label_smoothing)
    if isinstance(loss, lossk.PoissonNLL) and not loss.log_input:
        return lossk.PoissonNLL(full=loss.full)
    if isinstance(loss, lossk.GaussianNLL):
        raise TypeError(f"loss: got {loss!r}, wanted SquaredError() and weights of 1 / var, which is the same in z")
    if not isinstance(loss, PointwiseLoss | lossk.CrossEntropy):
        raise TypeError(f"loss: got {loss!r}, wanted {wanted}")
    return loss


def inverse_link(loss: Loss, z: Array) -> Array:
    """Return what margins mean: probabilities, means, or themselves."""
    if isinstance(loss, lossk.CrossEntropy):
        return np.asarray(lossk.softmax(z if loss.softcap is None else loss.softcap * np.tanh(z / loss.softcap)))
    if isinstance(loss, LOGIT):
        return np.asarray(lossk.Sigmoid()(z))
    if isinstance(loss, lossk.Exponential):
        return np.asarray(lossk.Sigmoid()(2 * z))  # its minimum is half the log-odds
    return np.exp(z) if isinstance(loss, LOG_MEAN) else z


def targets(loss: Loss, label: Any) -> Array:
    """Return targets as the loss wants them: labels of an integer type, classes 0 and 1 as -1 and 1.

    Raises ValueError or TypeError, naming the first target that is none.
    """
    y = as_array("label", label)
    if real_kind(y.dtype) not in "fiub":
        raise TypeError(f"label: got dtype {y.dtype}, wanted real numbers")
    if isinstance(loss, lossk.CrossEntropy):
        with np.errstate(invalid="ignore"):
            labels = y.astype(np.int32)
        _check(y, labels == y, "an integer from 0 to the number of classes - 1")
        return np.asarray(labels)
    if isinstance(loss, MARGIN):
        _check(y, (y == 1) | (y == 0) | (y == -1), "0 or 1, or -1 or 1")
        return np.asarray(np.where(y == 0, -1, y))
    if isinstance(loss, LOGIT):
        _check(y, (y >= 0) & (y <= 1), "a number from 0 to 1")
    elif isinstance(loss, lossk.Gamma) or (isinstance(loss, lossk.Tweedie) and loss.power >= 2):
        _check(y, y > 0, "a number above 0")
    elif isinstance(loss, lossk.PoissonNLL) or (isinstance(loss, lossk.Tweedie) and loss.power > 0):
        _check(y, y >= 0, "a number, at least 0")
    return y


def _check(y: Array, good: Array, wanted: str) -> None:
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(f"label[{row}]: got {y.flat[row]}, wanted {wanted}")


def best_constant(loss: Any, y: Array, w: Array | None, classes: int | None) -> Any:
    """Return the margin, or one for each class, that costs least if every sample gets it, in float64."""
    w = np.ones(y.shape) if w is None else w.astype(np.float64)
    if y.ndim != 1 or w.shape != y.shape or not w.sum() > 0:
        raise ValueError(f"label: got shape {y.shape} with weights of shape {w.shape}, wanted (n,) and weights above 0")
    if isinstance(loss, lossk.CrossEntropy):
        return _class_prior(loss, y, w, classes)
    y = y.astype(np.float64)
    if isinstance(loss, lossk.AbsoluteError | lossk.Quantile):
        order, q = np.argsort(y), getattr(loss, "q", 0.5)
        total = np.cumsum(w[order])
        return float(y[order[np.searchsorted(total, q * total[-1])]])
    mean = float(np.average(y, weights=w))
    if isinstance(loss, lossk.SquaredError):
        return mean
    if isinstance(loss, LOG_MEAN):
        return float(np.log(max(mean, 1e-9)))  # nothing but 0 has no minimum
    bounds = (y.min(), y.max()) if isinstance(loss, REGRESSION) else (-30.0, 30.0)
    if isinstance(loss, lossk.HingeEmbedding):
        bounds = (0.0, 30.0)  # of distances
    return _root(lambda c: float(loss.grad(np.full_like(y, c), y, sample_weight=w, reduction="sum").sum()), *bounds)


def _class_prior(loss: Any, y: Array, w: Array, classes: int | None) -> Array:
    counted = y != loss.ignore_index
    size = classes or int(y[counted].max(initial=0)) + 1
    if not ((y[counted] >= 0) & (y[counted] < size)).all():
        raise ValueError(f"label: got labels from {y.min()} to {y.max()}, wanted them in [0, {size})")
    e, weight = loss.label_smoothing, np.ones(size) if loss.weight is None else loss.weight
    if weight.shape != (size,):
        raise ValueError(f"loss: got weight of shape {weight.shape}, wanted ({size},), one a class")
    counts = np.bincount(y[counted], weights=w[counted], minlength=size)
    share = (1 - e) * weight * counts + (e / size) * weight * counts.sum()
    log_p = np.log(np.maximum(share / share.sum(), 1e-15))  # LightGBM's bound
    if loss.softcap is None:
        return np.asarray(log_p)
    return np.asarray(loss.softcap * np.arctanh(np.clip(log_p / loss.softcap, -0.999, 0.999)))


def _root(slope: Callable[[float], float], low: float, high: float) -> float:
    """Return where a slope turns from negative to positive, or the nearer end."""
    for _ in range(64):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float((low + high) / 2)

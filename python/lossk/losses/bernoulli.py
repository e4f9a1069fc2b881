"""Losses for two classes: probabilities or logits z and targets y in [0, 1], of one shape."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .._arrays import Array
from .._parameters import at_least_0, check_number, constant_array
from ._base import Reference, loss
from ._pointwise import PointwiseLoss

__all__ = ["BinaryCrossEntropy", "BinaryCrossEntropyWithLogits", "Focal"]


@loss
class BinaryCrossEntropy(PointwiseLoss):
    """Binary cross-entropy of probabilities, ``-y log(z) - (1 - y) log(1 - z)``, the logarithms cut off at -100.

    With label smoothing ``s``, ``y`` stands for ``y (1 - s) + s / 2``.

    Gradient ``(z - y) / d`` with ``d = max(z (1 - z), 1e-12)``; second derivative
    ``(y (1 - z)**2 + (1 - y) z**2) / d**2``. From logits, `BinaryCrossEntropyWithLogits` is more exact. Shapes and
    dtypes are those of every pointwise loss: see calling it.

    Parameters
    ----------
    label_smoothing : float
        In [0, 1]: the share of a target that is spread evenly over both classes.

    Raises
    ------
    ValueError
        If `label_smoothing` is not as above; from the verbs, if an entry of `z` or `y` is outside [0, 1] or one of `z`
        is NaN, before anything is written. With ``check=False`` such a `z` has a value of NaN.

    References
    ----------
    ``torch.nn.functional.binary_cross_entropy``; ``keras.losses.BinaryCrossentropy(label_smoothing=)``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([0.5, 0.25, 0.0]), np.array([1.0, 0.0, 1.0])
    >>> lossk.BinaryCrossEntropy()(z, y, reduction="none").round(4)
    array([  0.6931,   0.2877, 100.    ])
    >>> lossk.BinaryCrossEntropy().grad(z[:2], y[:2], reduction="sum").round(4)
    array([-2.    ,  1.3333])
    """

    _kernel: ClassVar[str] = "binary_cross_entropy"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"label_smoothing": 0.25})

    _also: ClassVar[tuple[str, ...]] = ("binary_cross_entropy_smoothed",)

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        smoothing = _share("label_smoothing", self.label_smoothing)
        self._set("label_smoothing", smoothing)
        self._set("_bound", self._bind(self._also[0], (smoothing,)) if smoothing else self._bind(self._kernel, ()))

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
        """Draw probabilities and targets, two thirds of them hard, for tests and benchmarks."""
        return rng.uniform(0.01, 0.99, size=shape).astype(dtype), _targets(rng, shape, dtype)

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        y = _smoothed(y, self.label_smoothing)
        value = -(y * np.maximum(-100, np.log(z)) + (1 - y) * np.maximum(-100, np.log1p(-z)))
        d = np.maximum(z * (1 - z), 1e-12)
        return value, (z - y) / d, (y * (1 - z) ** 2 + (1 - y) * z**2) / d**2


def _share(name: str, value: object) -> float:
    return check_number(name, value, "a number in [0, 1]", lambda x: 0 <= x <= 1)


def _smoothed(y: np.ndarray, smoothing: float) -> np.ndarray:
    return y * (1 - smoothing) + smoothing / 2


def _targets(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    y: Array = np.clip(rng.uniform(-1, 2, size=shape), 0, 1).astype(dtype)
    return y


class LogitLoss(PointwiseLoss):
    """A loss of logits and targets in [0, 1]."""

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
        """Draw logits and targets, two thirds of them hard, for tests and benchmarks."""
        return rng.normal(scale=3.0, size=shape).astype(dtype), _targets(rng, shape, dtype)


def of_logit(z: np.ndarray, yes: Any, no: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return p = sigmoid(z), q = 1 - p, and ``-yes log(p) - no log(q)`` with its gradient."""
    e = np.exp(-np.abs(z))
    p, q = np.where(z < 0, e, 1.0) / (1 + e), np.where(z < 0, 1.0, e) / (1 + e)
    weight = np.where(z < 0, yes, no)
    value = (yes + no) * np.log1p(e) + np.where(weight == 0, 0.0, weight * np.abs(z))
    return p, q, value, no * p - yes * q


@loss
class BinaryCrossEntropyWithLogits(LogitLoss):
    """Binary cross-entropy of logits, ``-pos_weight y log(p) - (1 - y) log(1 - p)`` with ``p = sigmoid(z)``.

    Gradient ``(1 - y) p - pos_weight y (1 - p)``, second derivative ``(1 - y + pos_weight y) p (1 - p)``; small
    probabilities keep their digits, and where `z` is infinite on the target's side, the loss is 0. With label smoothing
    ``s``, ``y`` stands for ``y (1 - s) + s / 2``. Shapes, dtypes and errors are those of every pointwise loss: see
    calling it.

    Parameters
    ----------
    pos_weight : float or array_like
        Weight of the positive class, at least 0: one, or an array of the length of the last axis of `z` (one for each
        of independent classes) or of the shape of `z`.
    label_smoothing : float
        In [0, 1]: the share of a target that is spread evenly over both classes.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as above.

    References
    ----------
    ``torch.nn.functional.binary_cross_entropy_with_logits``, but for NaN at infinite logits; with weight 1,
    scikit-learn's ``HalfBinomialLoss``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([0.0, 1000.0]), np.array([1.0, 0.0])
    >>> lossk.BinaryCrossEntropyWithLogits()(z, y, reduction="none").round(4)
    array([6.931e-01, 1.000e+03])
    >>> lossk.BinaryCrossEntropyWithLogits(pos_weight=[3.0, 1.0]).grad(z, y, reduction="sum")
    array([-1.5,  1. ])
    """

    _kernel: ClassVar[str] = "binary_cross_entropy_with_logits"
    _also: ClassVar[tuple[str, ...]] = (
        "binary_cross_entropy_with_logits_smoothed",
        "binary_cross_entropy_with_logits_weighted",
        "binary_cross_entropy_with_logits_weighted_smoothed",
    )
    _variants: ClassVar[tuple[dict[str, Any], ...]] = (
        {},
        {"pos_weight": 3.5},
        {"pos_weight": 0.5, "label_smoothing": 0.25},
    )

    pos_weight: Any = 1.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        smoothing = _share("label_smoothing", self.label_smoothing)
        self._set("label_smoothing", smoothing)
        if isinstance(self.pos_weight, int | float | np.integer | np.floating):
            weight = at_least_0("pos_weight", self.pos_weight)
            self._set("pos_weight", weight)
            kernel, numbers = (self._also[0], (weight, smoothing)) if smoothing else (self._kernel, (weight,))
            self._set("_bound", self._bind(kernel, numbers))
            return
        weights = constant_array("pos_weight", self.pos_weight)
        if weights[1].size == 0 or not ((weights[1] >= 0) & (weights[1] < np.inf)).all():
            raise ValueError(f"pos_weight: got {self.pos_weight!r}, wanted finite numbers, at least 0")
        self._set("pos_weight", weights[1])
        self._set("_constant", weights)
        self._set("_third", "pos_weight")
        self._set("_bound", self._bind(self._also[2], (smoothing,)) if smoothing else self._bind(self._also[1], ()))

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        y = _smoothed(y, self.label_smoothing)
        yes, no = self.pos_weight * y, 1 - y
        p, q, value, grad = of_logit(z, yes, no)
        return value, grad, (yes + no) * p * q


@loss
class Focal(LogitLoss):
    """Focal loss of logits: binary cross-entropy ``c`` times ``alpha_t (1 - p_t)**gamma``.

    With ``p = sigmoid(z)``::

        p_t = y p + (1 - y) (1 - p)
        alpha_t = alpha y + (1 - alpha) (1 - y)                 1 where alpha is negative
        dloss/dz = alpha_t (1 - p_t)**gamma (p - y + u c)       u = gamma (1 - 2 y) p (1 - p) / (1 - p_t)

    so samples that are well classified already weigh less. Derivatives keep the digits of small probabilities; the
    second one may be negative. Shapes, dtypes and errors are those of every pointwise loss: see calling it.

    Parameters
    ----------
    alpha : float
        Weight of the positive class, at most 1; ``1 - alpha`` is that of the negative one. Negative: both are 1.
    gamma : float
        At least 0: how fast the weight falls with ``p_t``; 0 is binary cross-entropy.

    Raises
    ------
    ValueError
        If a parameter is not as above.

    References
    ----------
    Lin et al., "Focal Loss for Dense Object Detection", 2017; ``torchvision.ops.sigmoid_focal_loss``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.log([1.0, 9.0]), np.array([1.0, 1.0])
    >>> lossk.Focal(alpha=-1)(z, y, reduction="none").round(6)
    array([0.173287, 0.001054])
    >>> lossk.Focal(alpha=-1, gamma=0).grad(z, y, reduction="sum").round(6)
    array([-0.5, -0.1])
    """

    _kernel: ClassVar[str] = "focal"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = (
        {},
        {"alpha": -1.0, "gamma": 1.5},
        {"alpha": 0.5, "gamma": 0.0},
        {"alpha": 0.75, "gamma": 0.5},
    )

    alpha: float = 0.25
    gamma: float = 2.0

    def _check(self) -> None:
        self._set("alpha", check_number("alpha", self.alpha, "a number, at most 1", lambda x: -np.inf < x <= 1))
        self._set("gamma", at_least_0("gamma", self.gamma))

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        p, q, c, slope = of_logit(z, y, 1 - y)
        m = y * q + (1 - y) * p  # 1 - p_t
        f = m**self.gamma * (1.0 if self.alpha < 0 else self.alpha * y + (1 - self.alpha) * (1 - y))
        s = (1 - 2 * y) * p * q / np.maximum(m, np.finfo(np.float64).tiny)  # m' / m
        u = self.gamma * s
        uc = np.where(u == 0, 0.0, u * c)
        return f * c, f * (slope + uc), f * (p * q + 2 * u * slope + uc * (u - s + q - p))

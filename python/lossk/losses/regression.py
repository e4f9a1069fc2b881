"""Regression losses: predictions z and targets y of one shape, residual r = z - y."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .._parameters import at_least_0, check_number, positive
from ._base import Reference, loss
from ._pointwise import PointwiseLoss

__all__ = ["AbsoluteError", "Huber", "LogCosh", "PseudoHuber", "Quantile", "SmoothL1", "SquaredError"]


@loss
class SquaredError(PointwiseLoss):
    """Squared error, ``(z - y)**2``; its mean is the mean squared error.

    Gradient ``2 (z - y)``, second derivative 2. Shapes, dtypes and errors are those of every pointwise loss: see
    calling it.

    References
    ----------
    ``torch.nn.functional.mse_loss``; Hastie, Tibshirani, Friedman, *The Elements of Statistical Learning*, 10.6.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([1.0, 3.0]), np.array([0.0, 1.0])
    >>> lossk.SquaredError()(z, y)
    2.5
    >>> lossk.SquaredError().grad(z, y, reduction="sum")
    array([2., 4.])
    """

    _kernel: ClassVar[str] = "squared_error"

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        r = z - y
        return r**2, 2 * r, np.full_like(r, 2.0)


@loss
class AbsoluteError(PointwiseLoss):
    """Absolute error, ``|z - y|``; its mean is the mean absolute error.

    Gradient ``sign(z - y)``, 0 where they are equal; second derivative 0. Shapes, dtypes and errors are those of
    every pointwise loss: see calling it.

    References
    ----------
    ``torch.nn.functional.l1_loss``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([1.0, 3.0, 5.0]), np.array([2.0, 1.0, 5.0])
    >>> lossk.AbsoluteError()(z, y)
    1.0
    >>> lossk.AbsoluteError().grad(z, y, reduction="sum")
    array([-1.,  1.,  0.])
    """

    _kernel: ClassVar[str] = "absolute_error"

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        r = z - y
        return np.abs(r), np.sign(r), np.zeros_like(r)


@loss
class Huber(PointwiseLoss):
    """Huber loss, ``r**2 / 2`` where ``|r| <= delta``, else ``delta (|r| - delta / 2)``, with ``r = z - y``.

    Gradient ``r`` clipped to ``[-delta, delta]``; second derivative 1 inside, 0 outside. Shapes, dtypes and errors
    are those of every pointwise loss: see calling it.

    Parameters
    ----------
    delta : float
        Where the square turns into a line, above 0, in units of `z`.

    Raises
    ------
    ValueError
        If `delta` is not above 0.

    References
    ----------
    P. J. Huber, "Robust Estimation of a Location Parameter", 1964; ``torch.nn.functional.huber_loss``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([0.5, 3.0]), np.zeros(2)
    >>> lossk.Huber(delta=1.0)(z, y, reduction="none")
    array([0.125, 2.5  ])
    >>> lossk.Huber(delta=1.0).grad(z, y, reduction="sum")
    array([0.5, 1. ])
    """

    _kernel: ClassVar[str] = "huber"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"delta": 0.25}, {"delta": 5.0})

    delta: float = 1.0

    def _check(self) -> None:
        self._set("delta", positive("delta", self.delta))

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        r = z - y
        size = np.abs(r)
        inside = size <= self.delta
        value = np.where(inside, 0.5 * np.minimum(size, self.delta) ** 2, self.delta * (size - 0.5 * self.delta))
        return value, np.clip(r, -self.delta, self.delta), inside.astype(np.float64)


@loss
class SmoothL1(PointwiseLoss):
    """Smooth L1 loss, ``r**2 / (2 beta)`` where ``|r| < beta``, else ``|r| - beta / 2``, with ``r = z - y``.

    It is `Huber` with ``delta = beta``, divided by `beta`. Gradient ``r / beta`` inside, ``sign(r)`` outside; second
    derivative ``1 / beta`` inside, 0 outside. Shapes, dtypes and errors are those of every pointwise loss: see
    calling it.

    Parameters
    ----------
    beta : float
        Where the square turns into a line, at least 0, in units of `z`; with 0 this is `AbsoluteError`.

    Raises
    ------
    ValueError
        If `beta` is below 0 or not finite.

    References
    ----------
    R. Girshick, "Fast R-CNN", 2015; ``torch.nn.functional.smooth_l1_loss``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([0.5, 3.0]), np.zeros(2)
    >>> lossk.SmoothL1(beta=2.0)(z, y, reduction="none")
    array([0.0625, 2.    ])
    >>> lossk.SmoothL1(beta=2.0).grad(z, y, reduction="sum")
    array([0.25, 1.  ])
    """

    _kernel: ClassVar[str] = "smooth_l1"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"beta": 0.25}, {"beta": 0.0})

    beta: float = 1.0

    def _check(self) -> None:
        self._set("beta", at_least_0("beta", self.beta))

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        r = z - y
        inside = np.abs(r) < self.beta
        scale = 1 / self.beta if self.beta > 0 else 0.0  # nothing is inside of 0
        near = np.where(inside, r, 0.0)
        value = np.where(inside, 0.5 * near * near * scale, np.abs(r) - 0.5 * self.beta)
        return value, np.where(inside, near * scale, np.sign(r)), np.where(inside, scale, 0.0)


@loss
class PseudoHuber(PointwiseLoss):
    """Pseudo-Huber loss, ``delta**2 (sqrt(1 + (r / delta)**2) - 1)``, with ``r = z - y``.

    Smooth everywhere: ``r**2 / 2`` near 0, ``delta |r| - delta**2`` far away. With ``s = sqrt(1 + (r / delta)**2)``,
    the gradient is ``r / s`` and the second derivative ``1 / s**3``. Shapes, dtypes and errors are those of every
    pointwise loss: see calling it.

    Parameters
    ----------
    delta : float
        Where the square turns into a line, above 0, in units of `z`.

    Raises
    ------
    ValueError
        If `delta` is not above 0.

    References
    ----------
    Charbonnier et al., "Deterministic Edge-Preserving Regularization in Computed Imaging", 1997;
    ``xgboost`` objective ``reg:pseudohubererror``; ``scipy.special.pseudo_huber``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([0.75, -2.4]), np.zeros(2)
    >>> lossk.PseudoHuber()(z, y, reduction="none")
    array([0.25, 1.6 ])
    >>> lossk.PseudoHuber().grad(z, y, reduction="sum").round(4)
    array([ 0.6   , -0.9231])
    """

    _kernel: ClassVar[str] = "pseudo_huber"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"delta": 0.25}, {"delta": 100.0})

    delta: float = 1.0

    def _check(self) -> None:
        self._set("delta", positive("delta", self.delta))

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        r = z - y
        u = r / self.delta
        s = np.hypot(1.0, u)
        # r**2 / (1 + s) does not cancel where r is small, as delta**2 (s - 1) does.
        far = np.isinf(u)
        value = np.where(far, self.delta * (np.abs(r) - self.delta), r * (r / (1 + s)))
        grad = np.where(far, self.delta * np.sign(r), r / s)
        return value, grad, (1 / s) ** 3


@loss
class LogCosh(PointwiseLoss):
    """Log-cosh loss, ``log(cosh(r))``, with ``r = z - y``.

    Smooth everywhere: ``r**2 / 2`` near 0, ``|r| - log(2)`` far away, computed without overflow and without
    cancellation. Gradient ``tanh(r)``, second derivative ``1 - tanh(r)**2``. Shapes, dtypes and errors are those of
    every pointwise loss: see calling it.

    References
    ----------
    ``keras.losses.LogCosh``; Saleh, Saleh, "Statistical Properties of the log-cosh Loss Function", 2022.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([1e-4, 1000.0]), np.zeros(2)
    >>> lossk.LogCosh()(z, y, reduction="none").round(12)
    array([5.00000000e-09, 9.99306853e+02])
    >>> lossk.LogCosh().grad(z, y, reduction="sum").round(8)
    array([1.e-04, 1.e+00])
    """

    _kernel: ClassVar[str] = "log_cosh"

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        r = z - y
        size = np.abs(r)
        e = np.exp(-2 * size)
        # cosh(r) - 1 = 2 sinh(r / 2)**2 keeps the digits of a small r.
        near = np.log1p(2 * np.sinh(np.minimum(size, 1.0) / 2) ** 2)
        value = np.where(size < 1, near, size - np.log(2) + np.log1p(e))
        return value, np.tanh(r), 4 * e / (1 + e) ** 2


@loss
class Quantile(PointwiseLoss):
    """Quantile (pinball) loss, ``max(q (y - z), (q - 1) (y - z))``; its minimum is the q-quantile of the targets.

    Gradient ``-q`` where ``z < y``, ``1 - q`` where ``z > y``, 0 where they are equal; second derivative 0. With
    ``q = 0.5`` this is half the `AbsoluteError`. Shapes, dtypes and errors are those of every pointwise loss: see
    calling it.

    Parameters
    ----------
    q : float
        The quantile, above 0 and below 1.

    Raises
    ------
    ValueError
        If `q` is not above 0 and below 1.

    References
    ----------
    Koenker, Bassett, "Regression Quantiles", 1978; ``sklearn.metrics.mean_pinball_loss``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([1.0, 3.0]), np.array([2.0, 1.0])
    >>> lossk.Quantile(q=0.75)(z, y, reduction="none")
    array([0.75, 0.5 ])
    >>> lossk.Quantile(q=0.75).grad(z, y, reduction="sum")
    array([-0.75,  0.25])
    """

    _kernel: ClassVar[str] = "quantile"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"q": 0.1}, {"q": 0.95})

    q: float = 0.5

    def _check(self) -> None:
        self._set("q", check_number("q", self.q, "a number above 0 and below 1", lambda x: 0 < x < 1))

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        r = z - y
        slope = np.where(r > 0, 1 - self.q, np.where(r < 0, -self.q, r))
        return np.maximum(-self.q * r, (1 - self.q) * r), slope, np.zeros_like(r)

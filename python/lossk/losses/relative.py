"""Regression losses of ratios: a residual counts by its share of the target."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .._arrays import Array
from .._parameters import positive
from ._base import Reference, loss
from ._pointwise import PointwiseLoss

__all__ = ["AbsolutePercentageError", "SquaredLogarithmicError"]


class RelativeLoss(PointwiseLoss):
    """A loss of predictions and targets that are mostly above 0."""

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
        """Draw positive predictions and targets, for tests and benchmarks."""
        return rng.uniform(0.25, 5.0, size=shape).astype(dtype), rng.uniform(0.25, 5.0, size=shape).astype(dtype)


@loss
class SquaredLogarithmicError(RelativeLoss):
    """Squared logarithmic error, ``(log(1 + max(z, eps)) - log(1 + max(y, eps)))**2``; its mean is the MSLE.

    With ``d`` the difference of the logarithms, the gradient is ``2 d / (1 + z)`` and the second derivative
    ``2 (1 - d) / (1 + z)**2``; both are 0 where ``z < eps``, so predictions must begin above it to learn. Where ``z``
    and ``y`` are close, ``d`` keeps its digits. Shapes, dtypes and errors are those of every pointwise loss: see
    calling it.

    Parameters
    ----------
    eps : float
        Above 0: smaller predictions and targets are taken as this.

    Raises
    ------
    ValueError
        If `eps` is not above 0.

    References
    ----------
    ``keras.losses.MeanSquaredLogarithmicError``, whose `eps` is 1e-7; ``sklearn.metrics.mean_squared_log_error``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([0.0, 1.0]), np.array([1.0, 1.0])
    >>> lossk.SquaredLogarithmicError()(z, y, reduction="none").round(4)
    array([0.4805, 0.    ])
    >>> lossk.SquaredLogarithmicError().grad(np.array([3.0]), np.array([1.0]), reduction="sum").round(4)
    array([0.3466])
    """

    _kernel: ClassVar[str] = "squared_logarithmic_error"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"eps": 0.5})

    eps: float = 1e-7

    def _check(self) -> None:
        self._set("eps", positive("eps", self.eps))

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        a, b = np.maximum(z, self.eps), np.maximum(y, self.eps)
        u = (a - b) / (1 + b)
        d = np.where(np.abs(u) < 0.5, np.log1p(u), np.log1p(a) - np.log1p(b))
        moves = z >= self.eps
        return d**2, np.where(moves, 2 * d / (1 + a), 0.0), np.where(moves, 2 * (1 - d) / (1 + a) ** 2, 0.0)


@loss
class AbsolutePercentageError(RelativeLoss):
    """Absolute percentage error, ``100 |z - y| / max(|y|, eps)``; its mean is the MAPE.

    Gradient ``100 sign(z - y) / max(|y|, eps)``, 0 where they are equal; second derivative 0. Shapes, dtypes and errors
    are those of every pointwise loss: see calling it.

    Parameters
    ----------
    eps : float
        Above 0: the smallest divisor. Targets of 0 cost ``100 |z| / eps``.

    Raises
    ------
    ValueError
        If `eps` is not above 0.

    References
    ----------
    ``keras.losses.MeanAbsolutePercentageError``, whose `eps` is 1e-7; ``sklearn.metrics`` leaves out the 100.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([3.0, 1.0]), np.array([2.0, -4.0])
    >>> lossk.AbsolutePercentageError()(z, y, reduction="none")
    array([ 50., 125.])
    >>> lossk.AbsolutePercentageError().grad(z, y, reduction="sum")
    array([50., 25.])
    """

    _kernel: ClassVar[str] = "absolute_percentage_error"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"eps": 1.0})

    eps: float = 1e-7

    def _check(self) -> None:
        self._set("eps", positive("eps", self.eps))

    def _factor(self, y: np.ndarray) -> Any:
        """Return what a residual costs."""
        return 100 / np.maximum(np.abs(y), self.eps)

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        r, factor = z - y, self._factor(y)
        return np.abs(r) * factor, np.sign(r) * factor, np.zeros_like(r)

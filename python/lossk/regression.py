"""Regression losses: predictions z and targets y of one shape, residual r = z - y."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ._families import PointwiseLoss, Reference, loss, positive


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

    kernel: ClassVar[str] = "squared_error"

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

    kernel: ClassVar[str] = "absolute_error"

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

    kernel: ClassVar[str] = "huber"
    variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"delta": 0.25}, {"delta": 5.0})

    delta: float = 1.0

    def _check(self) -> None:
        self._set("delta", positive("delta", self.delta))

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        r = z - y
        size = np.abs(r)
        inside = size <= self.delta
        value = np.where(inside, 0.5 * np.minimum(size, self.delta) ** 2, self.delta * (size - 0.5 * self.delta))
        return value, np.clip(r, -self.delta, self.delta), inside.astype(np.float64)

"""Regression losses that cost nothing near the target: residual r = z - y within epsilon of 0."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .._arrays import Array
from .._parameters import at_least_0
from ._base import Reference, loss
from ._pointwise import PointwiseLoss

__all__ = ["EpsilonInsensitive", "SquaredEpsilonInsensitive"]


class InsensitiveLoss(PointwiseLoss):
    """A loss of how far the residual is outside of [-epsilon, epsilon]."""

    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"epsilon": 0.3})

    epsilon: float = 0.1

    def _check(self) -> None:
        self._set("epsilon", at_least_0("epsilon", self.epsilon))

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
        """Draw eighths, for tests and benchmarks: no residual is so near a corner that its distance cancels."""
        z, y = (np.round(8 * rng.normal(size=shape)) / 8 for _ in range(2))
        return z.astype(dtype), y.astype(dtype)


@loss
class EpsilonInsensitive(InsensitiveLoss):
    """Epsilon-insensitive loss, ``max(0, |r| - epsilon)``, with ``r = z - y``.

    Gradient ``sign(r)`` where the loss is above 0, else 0; second derivative 0. With ``epsilon = 0`` this is
    `AbsoluteError`. Shapes, dtypes and errors are those of every pointwise loss: see calling it.

    Parameters
    ----------
    epsilon : float
        Residuals up to this size cost nothing, at least 0, in units of `z`.

    Raises
    ------
    ValueError
        If `epsilon` is below 0 or not finite.

    References
    ----------
    Vapnik, *The Nature of Statistical Learning Theory*, 1995; ``sklearn.svm.LinearSVR``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([0.25, -3.0]), np.zeros(2)
    >>> lossk.EpsilonInsensitive(epsilon=0.5)(z, y, reduction="none")
    array([0. , 2.5])
    >>> lossk.EpsilonInsensitive(epsilon=0.5).grad(z, y, reduction="sum")
    array([ 0., -1.])
    """

    _kernel: ClassVar[str] = "epsilon_insensitive"

    epsilon: float = 0.1

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        r = z - y
        slack = np.abs(r) - self.epsilon
        return np.maximum(0.0, slack), np.where(slack > 0, np.sign(r), 0.0), np.zeros_like(r)


@loss
class SquaredEpsilonInsensitive(InsensitiveLoss):
    """Squared epsilon-insensitive loss, ``max(0, |r| - epsilon)**2``, with ``r = z - y``.

    Gradient ``2 sign(r) max(0, |r| - epsilon)``; second derivative 2 where the loss is above 0, else 0. With
    ``epsilon = 0`` this is `SquaredError`. Shapes, dtypes and errors are those of every pointwise loss: see calling it.

    Parameters
    ----------
    epsilon : float
        Residuals up to this size cost nothing, at least 0, in units of `z`.

    Raises
    ------
    ValueError
        If `epsilon` is below 0 or not finite.

    References
    ----------
    ``sklearn.svm.LinearSVR(loss="squared_epsilon_insensitive")``; Ho, Lin, "Large-scale Linear Support Vector
    Regression", 2012.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([0.25, -3.0]), np.zeros(2)
    >>> lossk.SquaredEpsilonInsensitive(epsilon=0.5)(z, y, reduction="none")
    array([0.  , 6.25])
    >>> lossk.SquaredEpsilonInsensitive(epsilon=0.5).grad(z, y, reduction="sum")
    array([ 0., -5.])
    """

    _kernel: ClassVar[str] = "squared_epsilon_insensitive"

    epsilon: float = 0.1

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        r = z - y
        slack = np.abs(r) - self.epsilon
        active = np.maximum(0.0, slack)
        return active**2, 2 * active * np.sign(r), np.where(slack > 0, 2.0, 0.0)

"""Losses of rows of probabilities that are symmetric: Jensen-Shannon and Jeffreys divergences."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._arrays import Array
from ._base import Reference, loss
from ._rows import RowLoss

__all__ = ["JeffreysDivergence", "JensenShannonDivergence"]


class DivergenceOfProbabilities(RowLoss):
    """A loss of rows of probabilities, predictions and targets alike."""

    _takes_labels: ClassVar[bool] = False
    _takes_probabilities: ClassVar[bool] = True

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
        """Draw positive numbers, whose sums do not matter to the formulas, for tests and benchmarks."""
        return rng.uniform(0.5, 1.5, size=shape).astype(dtype), rng.uniform(0.05, 1.5, size=shape).astype(dtype)


@loss
class JensenShannonDivergence(DivergenceOfProbabilities):
    r"""Jensen-Shannon divergence of two rows of probabilities, over the last axis, in nats.

    For rows ``z`` and ``y`` with the mean ``m = (y + z) / 2``::

        loss = sum_k (y[k] log(y[k] / m[k]) + z[k] log(z[k] / m[k])) / 2
        dloss/dz[k] = log(z[k] / m[k]) / 2

    Symmetric, from 0 to log(2), and finite where probabilities are 0: those terms are 0, with a gradient of -infinity
    where ``z[k]`` is 0 and ``y[k]`` is not. A negative ``y[k]`` is an error (with ``check=False`` it gives NaN, as a
    negative ``z[k]`` does). Rows are not scaled to a sum of 1. ``"mean"`` divides by the number of rows.

    References
    ----------
    Lin, "Divergence Measures Based on the Shannon Entropy", 1991; the square of
    ``scipy.spatial.distance.jensenshannon``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([[0.5, 0.5, 0.0]]), np.array([[0.5, 0.0, 0.5]])
    >>> round(lossk.JensenShannonDivergence()(z, y), 6)
    0.346574
    >>> lossk.JensenShannonDivergence().grad(np.array([[0.75, 0.25]]), np.array([[0.25, 0.75]])).round(4)
    array([[ 0.2027, -0.3466]])
    """

    _kernel: ClassVar[str] = "jensen_shannon"

    def _reference(self, z: NDArray[np.float64], y: Array) -> Reference:
        both = z + y
        d = np.where(both == 0, 0.0, (y - z) / both)
        near = np.abs(d) < 0.5
        of_y = np.where(near, np.log1p(d), np.log(2 * y / both))
        of_z = np.where(near, np.log1p(-d), np.log(2 * z / both))
        close = both / 2 * (np.log1p(-d * d) + d * (of_y - of_z))
        far = np.where(y == 0, 0.0, y * of_y) + np.where(z == 0, 0.0, z * of_z)
        negative = (z < 0) | (y < 0)
        value = np.where(negative, np.nan, np.where(near, close, far) / 2)
        hess = np.where(y == 0, 0.0, y / (2 * z * both))
        grad, hess = (np.where(negative, np.nan, part) for part in (of_z / 2, hess))
        return value.sum(axis=-1), grad, hess


@loss
class JeffreysDivergence(DivergenceOfProbabilities):
    r"""Jeffreys divergence of two rows of probabilities, over the last axis: Kullback's and Leibler's both ways.

    For rows ``z`` and ``y``::

        loss = sum_k (z[k] - y[k]) (log z[k] - log y[k])
        dloss/dz[k] = log(z[k] / y[k]) + 1 - y[k] / z[k]

    Symmetric, 0 where both probabilities are 0, and infinite where one of them is. Negative numbers give NaN unless
    both are. ``"mean"`` divides by the number of rows.

    References
    ----------
    Jeffreys, "An Invariant Form for the Prior Probability in Estimation Problems", 1946; Kullback, Leibler 1951.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([[0.75, 0.25]]), np.array([[0.25, 0.75]])
    >>> round(lossk.JeffreysDivergence()(z, y), 6)
    1.098612
    >>> lossk.JeffreysDivergence().grad(z, y).round(4)
    array([[ 1.7653, -3.0986]])
    """

    _kernel: ClassVar[str] = "jeffreys"

    def _reference(self, z: NDArray[np.float64], y: Array) -> Reference:
        r = y - z
        u = r / z
        ratio = np.where(np.abs(u) < 0.5, np.log1p(u), np.log(y) - np.log(z))
        parts = r * ratio, -(ratio + u), (1 + y / z) / z
        value, grad, hess = (np.where((z == 0) & (y == 0), 0.0, part) for part in parts)
        return value.sum(axis=-1), grad, hess

"""Losses for two classes: margins z and targets y = +-1, of one shape."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ._arrays import Array
from ._families import PointwiseLoss, Reference, finite, loss


class MarginLoss(PointwiseLoss):
    """A loss of margins and targets that are -1 or +1."""

    @staticmethod
    def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
        """Draw margins and targets, for tests and benchmarks."""
        y = rng.integers(0, 2, size=shape) * 2 - 1
        return rng.normal(scale=2.0, size=shape).astype(dtype), y.astype(dtype)


@loss
class Hinge(MarginLoss):
    """Hinge loss, ``max(0, margin - y z)`` for targets ``y`` of -1 and +1.

    Gradient ``-y`` where the loss is above 0, else 0; second derivative 0. Shapes, dtypes and errors are those of
    every pointwise loss: see calling it.

    Parameters
    ----------
    margin : float
        The margin up to which a correct prediction still costs, finite.

    Raises
    ------
    ValueError
        If `margin` is not finite.

    References
    ----------
    Cortes, Vapnik, "Support-Vector Networks", 1995; ``sklearn.metrics.hinge_loss``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([2.0, 0.5, -1.0]), np.array([1.0, 1.0, 1.0])
    >>> lossk.Hinge()(z, y, reduction="none")
    array([0. , 0.5, 2. ])
    >>> lossk.Hinge().grad(z, y, reduction="sum")
    array([ 0., -1., -1.])
    """

    kernel: ClassVar[str] = "hinge"
    variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"margin": 0.5})

    margin: float = 1.0

    def _check(self) -> None:
        self._set("margin", finite("margin", self.margin))

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        slack = self.margin - y * z
        return np.maximum(0.0, slack), np.where(slack > 0, -y, 0.0), np.zeros_like(z)


@loss
class SquaredHinge(MarginLoss):
    """Squared hinge loss, ``max(0, margin - y z)**2`` for targets ``y`` of -1 and +1.

    Gradient ``-2 y max(0, margin - y z)``; second derivative ``2 y**2`` where the loss is above 0, else 0. Shapes,
    dtypes and errors are those of every pointwise loss: see calling it.

    Parameters
    ----------
    margin : float
        The margin up to which a correct prediction still costs, finite.

    Raises
    ------
    ValueError
        If `margin` is not finite.

    References
    ----------
    ``sklearn.svm.LinearSVC(loss="squared_hinge")``; Fan et al., "LIBLINEAR", 2008.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([2.0, 0.5, -1.0]), np.array([1.0, 1.0, 1.0])
    >>> lossk.SquaredHinge()(z, y, reduction="none")
    array([0.  , 0.25, 4.  ])
    >>> lossk.SquaredHinge().grad(z, y, reduction="sum")
    array([-0., -1., -4.])
    """

    kernel: ClassVar[str] = "squared_hinge"
    variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"margin": 0.5})

    margin: float = 1.0

    def _check(self) -> None:
        self._set("margin", finite("margin", self.margin))

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        slack = self.margin - y * z
        active = np.maximum(0.0, slack)
        return active**2, -2 * y * active, np.where(slack > 0, 2 * y * y, 0.0)

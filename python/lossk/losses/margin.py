"""Losses for two classes: margins z and targets y = +-1, of one shape."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .._arrays import Array
from .._parameters import finite
from ._base import Reference, loss
from ._pointwise import PointwiseLoss

__all__ = ["Exponential", "Hinge", "HingeEmbedding", "Logistic", "ModifiedHuber", "Perceptron", "SquaredHinge"]


class MarginLoss(PointwiseLoss):
    """A loss of margins and targets that are -1 or +1."""

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
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

    _kernel: ClassVar[str] = "hinge"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"margin": 0.5})

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

    _kernel: ClassVar[str] = "squared_hinge"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"margin": 0.5})

    margin: float = 1.0

    def _check(self) -> None:
        self._set("margin", finite("margin", self.margin))

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        slack = self.margin - y * z
        active = np.maximum(0.0, slack)
        return active**2, -2 * y * active, np.where(slack > 0, 2 * y * y, 0.0)


@loss
class HingeEmbedding(MarginLoss):
    """Hinge embedding loss of distances: ``z`` where ``y = 1``, ``max(0, margin - z)`` where ``y = -1``.

    Pairs that are alike (``y = 1``) are drawn together, others apart up to `margin`. Gradient 1 where ``y = 1``; -1
    where ``y = -1`` and ``z <= margin``, else 0; second derivative 0. Shapes, dtypes and errors are those of every
    pointwise loss: see calling it.

    Parameters
    ----------
    margin : float
        The distance from which on pairs that differ cost nothing, finite.

    Raises
    ------
    ValueError
        If `margin` is not finite.

    References
    ----------
    ``torch.nn.functional.hinge_embedding_loss``, also (with ``check=False``) for targets other than -1 and 1, which it
    gives both terms, but for NaN, which stays NaN.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([0.5, 0.25, 2.0]), np.array([1.0, -1.0, -1.0])
    >>> lossk.HingeEmbedding()(z, y, reduction="none")
    array([0.5 , 0.75, 0.  ])
    >>> lossk.HingeEmbedding().grad(z, y, reduction="sum")
    array([ 1., -1.,  0.])
    """

    _kernel: ClassVar[str] = "hinge_embedding"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"margin": 0.25})

    margin: float = 1.0

    def _check(self) -> None:
        self._set("margin", finite("margin", self.margin))

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
        """Draw distances and targets, for tests and benchmarks."""
        z, y = MarginLoss._draw(rng, shape, dtype)
        return np.abs(z), y

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        slack = self.margin - z
        alike, apart = y != -1, y != 1
        value = np.where(alike, z, 0.0) + np.where(apart, np.maximum(0.0, slack), 0.0)
        grad = alike.astype(np.float64) - (apart & (slack >= 0))
        return np.where(np.isnan(y), y, value), np.where(np.isnan(y), y, grad), np.zeros_like(z)


@loss
class Logistic(MarginLoss):
    """Logistic (soft margin) loss, ``log(1 + exp(-y z))`` for targets ``y`` of -1 and +1.

    With ``q = 1 / (1 + exp(y z))``, the probability given to the other class, the gradient is ``-y q`` and the second
    derivative ``y**2 q (1 - q)``; neither overflows, and a small `q` keeps its digits. Shapes, dtypes and errors are
    those of every pointwise loss: see calling it.

    References
    ----------
    ``torch.nn.functional.soft_margin_loss`` (which overflows from ``-y z = 88`` on in float32); Hastie, Tibshirani,
    Friedman, *The Elements of Statistical Learning*, 10.5.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([0.0, 1000.0]), np.array([1.0, -1.0])
    >>> lossk.Logistic()(z, y, reduction="none").round(4)
    array([6.931e-01, 1.000e+03])
    >>> lossk.Logistic().grad(z, y, reduction="sum")
    array([-0.5,  1. ])
    """

    _kernel: ClassVar[str] = "logistic"

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        m = y * z
        e = np.exp(-np.abs(m))
        q = np.where(m < 0, 1.0, e) / (1 + e)
        return np.maximum(0.0, -m) + np.log1p(e), -y * q, y * y * e / (1 + e) ** 2


@loss
class Exponential(MarginLoss):
    """Exponential loss, ``exp(-y z)`` for targets ``y`` of -1 and +1: what AdaBoost minimises.

    Gradient ``-y exp(-y z)``, second derivative ``y**2 exp(-y z)``. Shapes, dtypes and errors are those of every
    pointwise loss: see calling it.

    References
    ----------
    Friedman, Hastie, Tibshirani, "Additive Logistic Regression: A Statistical View of Boosting", 2000; scikit-learn's
    ``ExponentialLoss``, with its targets 0 and 1 for -1 and +1.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.log([2.0, 4.0]), np.array([1.0, -1.0])
    >>> lossk.Exponential()(z, y, reduction="none").round(12)
    array([0.5, 4. ])
    >>> lossk.Exponential().grad(z, y, reduction="sum").round(12)
    array([-0.5,  4. ])
    """

    _kernel: ClassVar[str] = "exponential"

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        e = np.exp(-y * z)
        return e, -y * e, y * y * e


@loss
class ModifiedHuber(MarginLoss):
    """Modified Huber loss: ``max(0, 1 - y z)**2`` where ``y z >= -1``, else ``-4 y z``, for targets of -1 and +1.

    `SquaredHinge` that goes on as a line where a prediction is badly wrong, so that outliers weigh less. Gradient
    ``-2 y max(0, 1 - y z)``, ``-4 y`` on the line; second derivative 2 where the loss is a square above 0, else 0.
    Shapes and dtypes are those of every pointwise loss: see calling it.

    Raises
    ------
    ValueError
        From the verbs, if an entry of `y` is neither -1 nor 1, before anything is written.

    References
    ----------
    Zhang, "Solving Large Scale Linear Prediction Problems Using Stochastic Gradient Descent Algorithms", 2004;
    ``sklearn.linear_model.SGDClassifier(loss="modified_huber")``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([2.0, 0.5, -3.0]), np.array([1.0, 1.0, 1.0])
    >>> lossk.ModifiedHuber()(z, y, reduction="none")
    array([ 0.  ,  0.25, 12.  ])
    >>> lossk.ModifiedHuber().grad(z, y, reduction="sum")
    array([-0., -1., -4.])
    """

    _kernel: ClassVar[str] = "modified_huber"

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        slack = np.maximum(0.0, 1 - y * z)
        square = slack <= 2
        value = np.where(square, slack**2, -4 * y * z)
        return value, -2 * y * np.minimum(slack, 2.0), np.where(square & (slack > 0), 2 * y * y, 0.0)


@loss
class Perceptron(MarginLoss):
    """Perceptron loss, ``max(0, -y z)`` for targets ``y`` of -1 and +1.

    Gradient ``-y`` where ``y z <= 0``, else 0: also at a prediction of 0, so that a model that begins there learns.
    Second derivative 0. Shapes and dtypes are those of every pointwise loss: see calling it.

    Raises
    ------
    ValueError
        From the verbs, if an entry of `y` is neither -1 nor 1, before anything is written.

    References
    ----------
    Rosenblatt, "The Perceptron", 1958; ``sklearn.linear_model.SGDClassifier(loss="perceptron")``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([2.0, 0.0, -1.0]), np.array([1.0, 1.0, 1.0])
    >>> lossk.Perceptron()(z, y, reduction="none")
    array([0., 0., 1.])
    >>> lossk.Perceptron().grad(z, y, reduction="sum")
    array([ 0., -1., -1.])
    """

    _kernel: ClassVar[str] = "perceptron"

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        slack = 0.0 - y * z
        return np.maximum(0.0, slack), np.where(slack >= 0, -y, 0.0), np.zeros_like(z)

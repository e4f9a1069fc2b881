"""Losses of how much a predicted region and the true one overlap: Dice and Tversky, a region a row."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._arrays import Array
from .._parameters import at_least_0
from ._base import Reference, loss
from ._rows import RowLoss

__all__ = ["Dice", "Tversky"]


class OverlapLoss(RowLoss):
    """A loss of rows of probabilities and of targets in [0, 1], by their sums over the row."""

    _takes_labels: ClassVar[bool] = False
    _takes_probabilities: ClassVar[bool] = True

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
        """Draw probabilities and masks, for tests and benchmarks."""
        return rng.uniform(size=shape).astype(dtype), (rng.uniform(size=shape) < 0.4).astype(dtype)

    def _reference(self, z: NDArray[np.float64], y: Array) -> Reference:
        alpha, beta, smooth = self._parameters
        wrong = (alpha * z * (1 - y) + beta * (1 - z) * y).sum(axis=-1, keepdims=True)
        right = (z * y).sum(axis=-1, keepdims=True) + smooth
        whole = right + wrong
        b = alpha + (1 - alpha - beta) * y
        grad = (b * (right / whole) - y) / whole
        return (wrong / whole)[..., 0], grad, -2 * b / whole * grad


@loss
class Dice(OverlapLoss):
    r"""Soft Dice loss of probabilities and a mask, over the last axis.

    For a row of probabilities ``z`` and targets ``y`` in [0, 1]::

        loss = 1 - (2 sum(z y) + smooth) / (sum(z) + sum(y) + smooth)

    A row is a region: for images of shape ``(N, C, H, W)`` pass ``z.reshape(N, C, -1)``, and every class of every image
    has a loss of its own, whose mean is taken, as libraries of segmentation do by default; ``z.reshape(C, -1)`` of
    arrays of classes first makes one region of a batch. Logits go through `Sigmoid` or `softmax` first. Targets and
    probabilities are not checked.

    Parameters
    ----------
    smooth : float
        At least 0: added to numerator and denominator, so that an empty region that is predicted as such costs 0. With
        0 it gives NaN.

    Raises
    ------
    ValueError
        If `smooth` is below 0 or not finite.

    References
    ----------
    Milletari et al., "V-Net", 2016, with plain sums in place of squares; ``monai.losses.DiceLoss``,
    ``segmentation_models_pytorch.losses.DiceLoss``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([[0.5, 1.0, 0.0, 0.5]]), np.array([[1.0, 1.0, 0.0, 0.0]])
    >>> lossk.Dice(smooth=0.0)(z, y)
    0.25
    >>> lossk.Dice(smooth=0.0).grad(z, y)
    array([[-0.3125, -0.3125,  0.1875,  0.1875]])
    """

    _kernel: ClassVar[str] = "dice"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"smooth": 0.25})

    smooth: float = 1.0

    def _check(self) -> None:
        self._set("smooth", at_least_0("smooth", self.smooth))
        self._set("_parameters", (0.5, 0.5, self.smooth / 2))


@loss
class Tversky(OverlapLoss):
    r"""Soft Tversky loss of probabilities and a mask, over the last axis: `Dice` that weighs false alarms and misses.

    For a row of probabilities ``z`` and targets ``y`` in [0, 1]::

        loss = 1 - N / D    N = sum(z y) + smooth    D = N + alpha sum(z (1 - y)) + beta sum((1 - z) y)
        dloss/dz[k] = (b N / D - y[k]) / D           b = alpha + (1 - alpha - beta) y[k]

    A row is a region, as in `Dice`, which this is with ``alpha = beta = 1/2`` and half its `smooth`; with
    ``alpha = beta = 1`` it is the soft Jaccard loss.

    Parameters
    ----------
    alpha : float
        Weight of what is predicted and not there (false positives), at least 0.
    beta : float
        Weight of what is there and not predicted (false negatives), at least 0.
    smooth : float
        At least 0: added to numerator and denominator.

    Raises
    ------
    ValueError
        If a parameter is below 0 or not finite.

    References
    ----------
    Salehi et al., "Tversky loss function for image segmentation using 3D fully convolutional deep networks", 2017;
    ``monai.losses.TverskyLoss``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([[0.5, 1.0, 0.0, 0.5]]), np.array([[1.0, 1.0, 0.0, 0.0]])
    >>> lossk.Tversky(alpha=0.5, beta=1.5, smooth=0.0)(z, y)
    0.4
    >>> lossk.Tversky(alpha=1.0, beta=1.0, smooth=0.0).grad(z, y)
    array([[-0.4 , -0.4 ,  0.24,  0.24]])
    """

    _kernel: ClassVar[str] = "tversky"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"alpha": 1.0, "beta": 1.0, "smooth": 0.5})

    alpha: float = 0.3
    beta: float = 0.7
    smooth: float = 1.0

    def _check(self) -> None:
        for name in ("alpha", "beta", "smooth"):
            self._set(name, at_least_0(name, getattr(self, name)))
        self._set("_parameters", (self.alpha, self.beta, self.smooth))

"""Losses of pairs: which of two scores is larger, whether two vectors point the same way."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._arrays import Array
from .._parameters import check_number, finite
from ._pairs import LossOfTwo, pair_loss

__all__ = ["CosineEmbedding", "MarginRanking"]


@pair_loss
class MarginRanking(LossOfTwo):
    """Margin ranking loss of pairs of scores, ``max(0, margin - y (x1 - x2))``.

    Where ``y = 1``, `x1` should be larger by `margin`; where ``y = -1``, `x2`. Every entry is a sample; `x1`, `x2` and
    `y` have one shape. The gradients are ``-y`` and ``y`` where the loss is above 0 or just at it, else 0.

    Parameters
    ----------
    margin : float
        By how much the one should be larger, finite.

    Raises
    ------
    ValueError
        If `margin` is not finite.

    References
    ----------
    ``torch.nn.functional.margin_ranking_loss``, whose results these are; Herbrich et al., "Large Margin Rank
    Boundaries for Ordinal Regression", 2000.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> x1, x2, y = np.array([2.0, 0.0]), np.array([1.0, 1.0]), np.array([1.0, 1.0])
    >>> lossk.MarginRanking(margin=0.5)(x1, x2, y, reduction="none")
    array([0. , 1.5])
    >>> g1, g2 = lossk.MarginRanking(margin=0.5).grad(x1, x2, y, reduction="sum")
    >>> g1, g2
    (array([-0., -1.]), array([0., 1.]))
    """

    _kernel: ClassVar[str] = "margin_ranking"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"margin": 0.5})
    _single: ClassVar[bool] = True

    margin: float = 0.0

    def _check(self) -> None:
        self._set("margin", finite("margin", self.margin))

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, ...]:
        """Draw scores and targets, for tests and benchmarks; no hinge is near its corner."""
        x1, x2 = (np.round(8 * rng.normal(size=shape)) / 8 for _ in range(2))
        return x1.astype(dtype), (x2 + 1 / 16).astype(dtype), (rng.integers(0, 2, size=shape) * 2 - 1).astype(dtype)

    def _reference(self, *inputs: NDArray[np.float64]) -> tuple[Any, ...]:
        x1, x2, y = inputs
        slack = self.margin - y * (x1 - x2)
        grad = np.where(slack >= 0, y, 0.0)
        return np.maximum(0.0, slack), -grad, grad


@pair_loss
class CosineEmbedding(LossOfTwo):
    r"""Cosine embedding loss of pairs of vectors, over the last axis, with targets of -1 and 1.

    For rows ``a`` of `x1` and ``b`` of `x2`, with ``A = sum(a**2) + 1e-12`` and ``B = sum(b**2) + 1e-12``::

        cos = sum(a b) / sqrt(A B)                                  dcos/da = b / sqrt(A B) - a cos / A
        loss = 1 - cos               where y = 1
               max(0, cos - margin)  where y = -1;  the gradient passes at the tie

    The cosine of a row of zeros is 0, and its gradient ``b / sqrt(A B)``, which is large. With ``y = 1`` for all rows,
    the loss is cosine distance: 1 minus cosine similarity.

    Parameters
    ----------
    margin : float
        In [-1, 1]: the cosine up to which pairs that differ cost nothing.

    Raises
    ------
    ValueError
        If `margin` is not as above; from the verbs, if an entry of `y` is neither -1 nor 1, before anything is written.

    References
    ----------
    ``torch.nn.functional.cosine_embedding_loss``, whose results these are; ``keras.losses.CosineSimilarity`` is this
    minus 1 with ``y = 1``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> x1, x2 = np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([[4.0, 3.0], [1.0, 1.0]])
    >>> lossk.CosineEmbedding()(x1, x2, np.array([1.0, -1.0]), reduction="none").round(4)
    array([0.04  , 0.7071])
    >>> g1, g2 = lossk.CosineEmbedding().grad(x1, x2, 1, reduction="sum")
    >>> g1.round(4)
    array([[-0.0448,  0.0336],
           [-0.    , -0.7071]])
    """

    _kernel: ClassVar[str] = "cosine_embedding"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"margin": 0.25})

    margin: float = 0.0

    def _check(self) -> None:
        self._set("margin", check_number("margin", self.margin, "a number in [-1, 1]", lambda x: -1 <= x <= 1))

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, ...]:
        """Draw vectors and targets, for tests and benchmarks."""
        x1, x2 = (rng.normal(size=shape).astype(dtype) for _ in range(2))
        return x1, x2, (rng.integers(0, 2, size=shape[:-1]) * 2 - 1).astype(dtype)

    def _reference(self, *inputs: NDArray[np.float64]) -> tuple[Any, ...]:
        a, b, y = inputs
        size_a, size_b = ((x * x).sum(axis=-1) + 1e-12 for x in (a, b))
        size = np.sqrt(size_a) * np.sqrt(size_b)
        cosine = (a * b).sum(axis=-1) / size
        beyond = cosine - self.margin
        value = np.where(np.isnan(y), np.nan, np.where(y == 1, 1 - cosine, np.maximum(0.0, beyond)))
        slope = np.where(y == 1, -1.0, np.where(beyond >= 0, 1.0, 0.0))
        both, of_a, of_b = (x[..., None] for x in (slope / size, slope * cosine / size_a, slope * cosine / size_b))
        return value, both * b - of_a * a, both * a - of_b * b

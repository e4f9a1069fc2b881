"""The loss of triplets: an anchor should be nearer to what is like it than to what is not."""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arrays import Array
from .._keywords import Reduction, Value
from .._parameters import at_least_0, boolean, check_number, positive
from .._request import GRAD, VALUE, VALUE_AND_GRAD
from ._pairs import PairLoss, pair_loss

__all__ = ["TripletMargin"]

Three: TypeAlias = tuple[Array, Array, Array]


@pair_loss
class TripletMargin(PairLoss):
    r"""Triplet margin loss of an anchor, a positive and a negative, vectors over the last axis.

    With ``d(u, v) = sum(|u - v + eps|**p)**(1 / p)``::

        loss = max(0, margin + d(anchor, positive) - d(anchor, negative))

    With `swap`, ``d(positive, negative)`` takes the place of ``d(anchor, negative)`` where it is smaller; where both
    are the same, each has half of the gradient. The gradient passes where the loss is just 0; that of a distance of 0
    is 0. A distance whose ``|u - v + eps|**p`` are all below the smallest normal number of the arithmetic (1.2e-38 in
    float32) may be taken as 0.

    Parameters
    ----------
    margin : float
        By how much the negative should be farther away, above 0.
    p : float
        The power of the norm, from 1 to 100.
    eps : float
        At least 0: keeps distances of equal points from 0.
    swap : bool
        Take the nearer of anchor and positive to the negative?

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as above.

    References
    ----------
    ``torch.nn.functional.triplet_margin_loss``, whose results these are; Balntas et al., "Learning local feature
    descriptors with triplets and shallow convolutional neural networks", 2016.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> anchor, positive, negative = np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]]), np.array([[0.0, 5.5]])
    >>> loss = lossk.TripletMargin(eps=0.0)
    >>> loss(anchor, positive, negative)
    0.5
    >>> [g.round(2).tolist() for g in loss.grad(anchor, positive, negative)]
    [[[-0.6, 0.2]], [[0.6, 0.8]], [[0.0, -1.0]]]
    """

    _kernel: ClassVar[str] = "triplet_margin"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = (
        {},
        {"p": 1.0, "margin": 3.0},
        {"p": 3.0, "swap": True},
        {"swap": True, "eps": 0.0, "margin": 2.0},
    )
    _inputs: ClassVar[tuple[str, ...]] = ("anchor", "positive", "negative")
    _takes_target: ClassVar[bool] = False

    margin: float = 1.0
    p: float = 2.0
    eps: float = 1e-6
    swap: bool = False

    def _check(self) -> None:
        self._set("margin", positive("margin", self.margin))
        self._set("p", check_number("p", self.p, "a number from 1 to 100", lambda x: 1 <= x <= 100))
        self._set("eps", at_least_0("eps", self.eps))
        self._set("swap", boolean("swap", self.swap))

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, ...]:
        """Draw triplets, for tests and benchmarks."""
        anchor, positive, negative = (rng.normal(size=shape).astype(dtype) for _ in range(3))
        return anchor, positive, negative

    def _reference(self, *inputs: NDArray[np.float64]) -> tuple[Any, ...]:
        anchor, positive, negative = inputs
        to_positive, of_positive = self._distance(anchor - positive)
        to_negative, of_negative = self._distance(anchor - negative)
        other, of_other = self._distance(positive - negative)
        share = np.where(other < to_negative, 1.0, np.where(other == to_negative, 0.5, 0.0)) * self.swap
        slack = self.margin + to_positive - np.where(share == 1, other, to_negative)
        active = np.where(slack >= 0, 1.0, 0.0)[..., None]
        of_positive = of_positive * active
        of_negative, of_other = of_negative * active * (1 - share[..., None]), of_other * active * share[..., None]
        return np.maximum(0.0, slack), of_positive - of_negative, -of_positive - of_other, of_negative + of_other

    def _distance(self, difference: NDArray[np.float64]) -> tuple[Any, Any]:
        """Return the norm of each row, and its gradient."""
        d = difference + self.eps
        size = (np.abs(d) ** self.p).sum(axis=-1) ** (1 / self.p)
        slope = np.where(size > 0, size, 1.0) ** (1 - self.p)
        return size, np.sign(d) * np.abs(d) ** (self.p - 1) * slope[..., None]

    # ---- verbs ------------------------------------------------------------------------------------------------------

    def __call__(
        self,
        anchor: ArrayLike,
        positive: ArrayLike,
        negative: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
    ) -> Value:
        """Return the loss.

        Parameters
        ----------
        anchor, positive, negative : array_like of float32, float64, float16 or bfloat16, shape (..., D)
            Vectors, of one shape and dtype.
        sample_weight : array_like, shape (...), optional
            Factor of each triplet's loss.
        reduction : {"mean", "sum", "none"}
            ``"mean"`` divides the sum by the number of triplets, or by the sum of their weights.
        normalizer : float, optional
            Divisor of ``"mean"`` in place of that.
        num_threads : int, optional
            Threads of this call; the result does not depend on it.

        Returns
        -------
        float or ndarray
            A float, accumulated in float64; with ``"none"`` one value a triplet (float32 for 16-bit types).

        Raises
        ------
        TypeError, ValueError
            Where an argument is not as above; the message says what was got and what is wanted.
        """
        how = (sample_weight, reduction, normalizer, num_threads, None)
        return self._verb(VALUE, (anchor, positive, negative), None, *how)

    def grad(
        self,
        anchor: ArrayLike,
        positive: ArrayLike,
        negative: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
        out: Three | None = None,
    ) -> Three:
        """Return the gradients of the three; `out` is a tuple of three arrays, each its input or apart."""
        how = (sample_weight, reduction, normalizer, num_threads, out)
        result: Three = self._verb(GRAD, (anchor, positive, negative), None, *how)
        return result

    def value_and_grad(
        self,
        anchor: ArrayLike,
        positive: ArrayLike,
        negative: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
        out: Three | None = None,
    ) -> tuple[Value, Three]:
        """Return the loss and the three gradients, from one call; see calling the loss and `grad`."""
        how = (sample_weight, reduction, normalizer, num_threads, out)
        result: tuple[Value, Three] = self._verb(VALUE_AND_GRAD, (anchor, positive, negative), None, *how)
        return result

    def vjp(
        self,
        anchor: ArrayLike,
        positive: ArrayLike,
        negative: ArrayLike,
        cotangent: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        num_threads: int | None = None,
        out: Three | None = None,
    ) -> Three:
        """Return each triplet's gradients times its entry of `cotangent`."""
        inputs = (anchor, positive, negative)
        result: Three = self._vjp(inputs, None, cotangent, sample_weight, num_threads, out)
        return result

    def reference(
        self,
        anchor: ArrayLike,
        positive: ArrayLike,
        negative: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        derivatives: bool = False,
    ) -> Value:
        """Return the loss from the formula in plain float64 NumPy; with `derivatives`: (value, gradients)."""
        inputs = (anchor, positive, negative)
        return self._whole_reference(inputs, None, sample_weight, reduction, normalizer, derivatives)

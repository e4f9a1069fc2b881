"""Losses of rows that go element by element: NLL, multi-class hinge, Kullback-Leibler divergence."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._arrays import Array
from .._parameters import boolean, finite
from ._base import Reference, loss
from ._rows import RowLoss

__all__ = ["NLL", "KLDivergence", "MultiMargin"]


def _hard(z: NDArray[np.float64], t: Array) -> NDArray[np.bool_]:
    """Return where a class is the label of its row."""
    hard: NDArray[np.bool_] = np.arange(z.shape[-1]) == t[..., None]
    return hard


def _log_softmax(z: NDArray[np.float64]) -> NDArray[np.float64]:
    d = z - z.max(axis=-1, keepdims=True)
    shifted: NDArray[np.float64] = d - np.log(np.exp(d).sum(axis=-1, keepdims=True))
    return shifted


@loss
class NLL(RowLoss):
    r"""Negative log-likelihood of labels, from log-probabilities over the last axis.

    For a row of log-probabilities ``z`` with label ``t`` and class weights ``w``::

        loss = -w[t] z[t]
        dloss/dz[k] = -w[t] [k = t]

    ``NLL()(log_softmax(x), t)`` is ``CrossEntropy()(x, t)``, which needs one pass instead of two. ``"mean"`` divides by
    the sum of ``w[t]`` (times the sample's weight) over the rows that count.

    Parameters
    ----------
    weight : array_like (C,), optional
        Weight of each class.
    ignore_index : int, optional
        Rows with this label do not count: loss 0, gradient exactly 0. None: all rows count.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as above.

    References
    ----------
    ``torch.nn.functional.nll_loss``, whose results these are.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z = np.log(np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]))
    >>> round(lossk.NLL()(z, np.array([0, 2])), 6)
    1.039721
    >>> lossk.NLL().grad(z, np.array([0, -100]))
    array([[-1.,  0.,  0.],
           [ 0.,  0.,  0.]])
    """

    _kernel: ClassVar[str] = "nll"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"ignore_index": 1})
    _class_weights_divide: ClassVar[bool] = True
    _only_label: ClassVar[bool] = True

    weight: Any = None
    ignore_index: int | None = -100

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
        """Draw log-probabilities and labels, for tests and benchmarks."""
        z = _log_softmax(rng.normal(scale=3.0, size=shape))
        return z.astype(dtype), rng.integers(0, shape[-1], size=shape[:-1])

    def _reference(self, z: NDArray[np.float64], y: Array) -> Reference:
        grad = -_hard(z, y).astype(np.float64)
        return -np.take_along_axis(z, y[..., None], -1)[..., 0], grad, np.zeros_like(z)


@loss
class MultiMargin(RowLoss):
    r"""Multi-class hinge loss of scores with labels, over the last axis.

    For a row of ``C`` scores ``z`` with label ``t``, class weights ``w`` and ``m[k] = max(0, margin - z[t] + z[k])``::

        loss = (w[t] / C) sum over k != t of m[k]**p
        dloss/dz[k] = (w[t] / C) p m[k]**(p - 1) where m[k] > 0;  at the label minus their sum

    ``"mean"`` divides by the number of rows (by the sum of their sample weights), class weights or not.

    Parameters
    ----------
    p : {1, 2}
        Power of the hinge.
    margin : float
        By how much the label's score should be ahead.
    weight : array_like (C,), optional
        Weight of each class.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as above.

    References
    ----------
    ``torch.nn.functional.multi_margin_loss``, whose results these are; Crammer, Singer 2001.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> value, grad = lossk.MultiMargin().value_and_grad(np.array([[1.0, 0.5, -3.0]]), np.array([0]))
    >>> round(value, 6), grad.round(3)
    (0.166667, array([[-0.333,  0.333,  0.   ]]))
    """

    _kernel: ClassVar[str] = "multi_margin"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"p": 2, "margin": 0.5})

    p: int = 1
    margin: float = 1.0
    weight: Any = None

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
        """Draw scores and labels, for tests and benchmarks; with margins of eighths, no hinge is near its corner."""
        z, t = np.round(8 * rng.normal(size=shape)) / 8, rng.integers(0, shape[-1], size=shape[:-1])
        return (z + _hard(z, t) / 16).astype(dtype), t

    def _check(self) -> None:
        if isinstance(self.p, bool) or self.p not in (1, 2):
            raise ValueError(f"p: got {self.p!r}, wanted 1 or 2")
        self._set("p", int(self.p))
        self._set("margin", finite("margin", self.margin))
        self._set("_parameters", (float(self.p), self.margin))

    def _reference(self, z: NDArray[np.float64], y: Array) -> Reference:
        classes, hard = z.shape[-1], _hard(z, y)
        slack = z - np.take_along_axis(z, y[..., None], -1) + self.margin
        m = np.where(hard, 0.0, np.maximum(slack, 0.0)) / classes
        one = np.where(hard, 0.0, slack > 0) / classes
        value, grad, hess = (m, one, 0.0 * one) if self.p == 1 else (m * m * classes, 2 * m, 2 * one)
        grad = np.where(hard, -grad.sum(axis=-1, keepdims=True), grad)
        return value.sum(axis=-1), grad, np.where(hard, hess.sum(axis=-1, keepdims=True), hess)


@loss
class KLDivergence(RowLoss):
    r"""Kullback-Leibler divergence of probabilities from log-probabilities, over the last axis.

    For a row of log-probabilities ``z`` and a target of probabilities ``p`` (with `log_target`: their logarithms)::

        loss = sum_k p[k] (log p[k] - z[k])
        dloss/dz[k] = -p[k]

    Where ``p[k]`` is 0 it contributes 0, even at ``z[k] = -infinity``; a negative ``p[k]`` is an error (with
    ``check=False`` it gives NaN). ``"mean"`` divides by the number of rows, which is torch's ``"batchmean"`` for two
    axes (torch's ``"mean"`` divides by all elements).

    Parameters
    ----------
    log_target : bool
        Are targets log-probabilities?

    Raises
    ------
    TypeError
        If `log_target` is no bool.

    References
    ----------
    ``torch.nn.functional.kl_div``; Kullback, Leibler 1951.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> p, z = np.array([[0.5, 0.5, 0.0]]), np.log(np.array([[0.25, 0.5, 0.25]]))
    >>> value, grad = lossk.KLDivergence().value_and_grad(z, p)
    >>> round(value, 6), grad
    (0.346574, array([[-0.5, -0.5, -0. ]]))
    """

    _kernel: ClassVar[str] = "kl_divergence"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"log_target": True})
    _takes_labels: ClassVar[bool] = False
    _takes_probabilities: ClassVar[bool] = True

    log_target: bool = False

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
        """Draw log-probabilities and probabilities, for tests and benchmarks."""
        z, y = (_log_softmax(rng.normal(scale=2.0, size=shape)) for _ in range(2))
        return z.astype(dtype), np.exp(y).astype(dtype)

    def _check(self) -> None:
        self._set("log_target", boolean("log_target", self.log_target))
        self._set("_parameters", (float(self.log_target),))

    def _reference(self, z: NDArray[np.float64], y: Array) -> Reference:
        p, log_p = (np.exp(y), y) if self.log_target else (y, np.log(y))
        value = np.where((p == 0) & ~np.isnan(z), 0.0, p * (log_p - z))
        return value.sum(axis=-1), -p, np.zeros_like(z)

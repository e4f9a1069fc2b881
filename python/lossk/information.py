"""Entropy, cross-entropy and Kullback-Leibler divergence of probability vectors.

Not losses: these take probabilities of both sides, normalise them, and have no gradient. The loss of logits is
`lossk.CrossEntropy`, that of log-probabilities `lossk.KLDivergence`, whose kernel also computes what is here.

Examples
--------
>>> import numpy as np
>>> from lossk import information
>>> p, q = np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([[0.5, 0.5], [0.5, 0.5]])
>>> information.entropy(p, base=2)
array([1., 0.])
>>> information.kl_divergence(p, q, base=2)
array([0., 1.])
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import as_array, class_axis
from .rows import KLDivergence

__all__ = ["cross_entropy", "entropy", "kl_divergence"]

Float64 = NDArray[np.float64]

_divergence = KLDivergence()


def entropy(p: ArrayLike, base: float | None = None, axis: int = -1) -> Any:
    """Return ``-sum(p log p)`` over `axis`, of `p` scaled to sum 1.

    Parameters
    ----------
    p : array_like of real numbers
        Probabilities, or anything in proportion to them; not negative.
    base : float, optional
        Base of the logarithm, above 0: 2 gives bits. By default nats.
    axis : int
        The axis of the distribution.

    Returns
    -------
    float or ndarray of float64
        Without `axis`; computed in float64. ``0 log 0`` is 0; a negative `p` gives -infinity, one that sums to 0 NaN.

    Raises
    ------
    TypeError, ValueError
        Where an argument is not as above.

    References
    ----------
    ``scipy.stats.entropy``, whose results these are (its `axis` is 0 by default); Shannon 1948.

    Examples
    --------
    >>> from lossk.information import entropy
    >>> entropy([1, 1, 2], base=2)
    1.5
    """
    share = _shares("p", p, axis)
    value = 0.0 - _sum(share, np.zeros_like(share))
    return _in_base(_where_negative(-np.inf, value, share), base)


def cross_entropy(p: ArrayLike, q: ArrayLike, base: float | None = None, axis: int = -1) -> Any:
    """Return ``-sum(p log q)`` over `axis`, of `p` and `q` scaled to sum 1: entropy plus divergence.

    Parameters, result and errors are those of `entropy`, with `q` of the shape of `p`. Where `q` is 0 and `p` is not,
    or `q` is negative, the result is infinity; a negative `p` gives NaN.

    Examples
    --------
    >>> from lossk.information import cross_entropy
    >>> round(cross_entropy([0.5, 0.5], [0.25, 0.75], base=2), 12)
    1.207518749639
    """
    left, right = _pair(p, q, axis)
    value = _sum(left, _log(right)) - _sum(left, np.zeros_like(left))
    return _in_base(_where_negative(np.nan, _where_negative(np.inf, value, left, right), left), base)


def kl_divergence(p: ArrayLike, q: ArrayLike, base: float | None = None, axis: int = -1) -> Any:
    """Return ``sum(p log(p / q))`` over `axis`, of `p` and `q` scaled to sum 1.

    Parameters, result and errors are those of `entropy`, with `q` of the shape of `p`. Where `q` is 0 and `p` is not,
    or either is negative, the result is infinity.

    References
    ----------
    ``scipy.stats.entropy(p, q)``, whose results these are; Kullback, Leibler 1951.

    Examples
    --------
    >>> from lossk.information import kl_divergence
    >>> round(kl_divergence([0.5, 0.5], [0.25, 0.75], base=2), 12)
    0.207518749639
    """
    left, right = _pair(p, q, axis)
    value = _sum(left, _log(right))
    return _in_base(_where_negative(np.inf, value, left, right), base)


def _shares(name: str, p: Any, axis: int) -> Float64:
    """Return `p` in float64 with the distribution last, scaled to sum 1."""
    given = as_array(name, p)
    if given.dtype.kind not in "fiub" and given.dtype.name != "bfloat16":
        raise TypeError(f"{name}: got dtype {given.dtype}, wanted real numbers")
    if given.ndim == 0 or given.size == 0:
        raise ValueError(f"{name}: got shape {given.shape}, wanted at least one number over the axis")
    rows = np.moveaxis(given, class_axis(given, axis), -1).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        rows /= rows.sum(axis=-1, keepdims=True)
    return np.ascontiguousarray(rows)


def _pair(p: Any, q: Any, axis: int) -> tuple[Float64, Float64]:
    left, right = _shares("p", p, axis), _shares("q", q, axis)
    if left.shape != right.shape:
        raise ValueError(f"q: got shape {np.shape(q)}, wanted {np.shape(p)}, the shape of p")
    return left, right


def _log(q: Float64) -> Float64:
    with np.errstate(invalid="ignore", divide="ignore"):
        logarithm: Float64 = np.log(q)
        return logarithm


def _sum(p: Float64, log_q: Float64) -> Float64:
    """Return ``sum(p (log p - log_q))`` over the last axis: the kernel of `KLDivergence`."""
    value: Float64 = _divergence(log_q, p, reduction="none")
    return value


def _where_negative(wanted: float, value: Float64, *shares: Float64) -> Float64:
    """Return `wanted` for rows with a negative number and without NaN."""
    numbers = np.concatenate(shares, axis=-1)
    return np.where((numbers < 0).any(axis=-1) & ~np.isnan(numbers).any(axis=-1), wanted, value)


def _in_base(nats: Float64, base: Any) -> Any:
    if base is not None:
        if isinstance(base, bool) or not isinstance(base, int | float | np.integer | np.floating):
            raise TypeError(f"base: got {base!r}, wanted a number above 0")
        if not base > 0:
            raise ValueError(f"base: got {base!r}, wanted a number above 0")
        with np.errstate(divide="ignore", invalid="ignore"):
            nats = nats / np.log(base)
    return float(nats) if nats.ndim == 0 else nats

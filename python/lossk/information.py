"""Information of events; entropy, cross-entropy and Kullback-Leibler divergence of probability vectors.

Not losses: these take probabilities of both sides, scale them to sum 1 unless told not to, and have no gradient. The
loss of logits is `lossk.CrossEntropy`, that of log-probabilities `lossk.KLDivergence`, whose kernel also computes what
is here.

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

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import as_array, class_axis, real_kind
from ._parameters import boolean, check_number
from .losses.rows import KLDivergence

__all__ = ["cross_entropy", "entropy", "information", "kl_divergence"]

Float64 = NDArray[np.float64]

_divergence = KLDivergence()

# How far rounding to 16 bits may bring a sum from 1.
ROUNDING = {"float16": 2.0**-11, "bfloat16": 2.0**-9}


def information(p: ArrayLike, base: float | None = None) -> Any:
    """Return ``-log p`` of each probability: the information, or surprisal, of an event that has it.

    Parameters
    ----------
    p : array_like of real numbers, from 0 to 1
        Probabilities of events, each by itself: they need not sum to 1.
    base : float, optional
        Base of the logarithm, above 0 and not 1: 2 gives bits. By default nats.

    Returns
    -------
    float or ndarray of float64
        Of the shape of `p`; computed in float64. An event of probability 0 gives infinity.

    Raises
    ------
    TypeError, ValueError
        Where an argument is not as above.

    References
    ----------
    Shannon 1948, whose entropy is the mean of this; ``scipy.special.entr`` is ``p`` times it.

    Examples
    --------
    >>> from lossk.information import information
    >>> information(0.25, base=2)
    2.0
    >>> information([1.0, 0.5, 0.001], base=2).round(3)
    array([0.   , 1.   , 9.966])
    """
    given = _real("p", p)
    _check_each("p", given, given > 1, "at most 1")
    return _in_base(0.0 - _log(given.astype(np.float64)), base)


def entropy(p: ArrayLike, base: float | None = None, axis: int = -1, normalize: bool = True) -> Any:
    """Return ``-sum(p log p)`` over `axis`.

    Parameters
    ----------
    p : array_like of real numbers, at least 0
        Probabilities.
    base : float, optional
        Base of the logarithm, above 0 and not 1: 2 gives bits. By default nats.
    axis : int
        The axis of the distribution.
    normalize : bool
        Scale `p` to sum 1, with a warning where a sum was off by more than 1e-6 (or the precision of its dtype)? Else
        the formula is that of the numbers as they are.

    Returns
    -------
    float or ndarray of float64
        Without `axis`; computed in float64. ``0 log 0`` is 0; what sums to 0 cannot be scaled and gives NaN.

    Raises
    ------
    TypeError, ValueError
        Where an argument is not as above.

    References
    ----------
    ``scipy.stats.entropy``, which scales without a warning (its `axis` is 0 by default); Shannon 1948.

    Examples
    --------
    >>> from lossk.information import entropy
    >>> entropy([0.25, 0.25, 0.5], base=2)
    1.5
    """
    share = _shares("p", p, axis, normalize)
    return _in_base(0.0 - _sum(share, np.zeros_like(share)), base)


def cross_entropy(p: ArrayLike, q: ArrayLike, base: float | None = None, axis: int = -1, normalize: bool = True) -> Any:
    """Return ``-sum(p log q)`` over `axis`: entropy plus divergence.

    Parameters, result and errors are those of `entropy`, with `q` of the shape of `p`. Where `q` is 0 and `p` is not,
    the result is infinity.

    Examples
    --------
    >>> from lossk.information import cross_entropy
    >>> round(cross_entropy([0.5, 0.5], [0.25, 0.75], base=2), 12)
    1.207518749639
    >>> round(cross_entropy([0, 0, 0, 1, 0], [0.01, 0.02, 0.03, 0.8, 0.05], normalize=False), 3)
    0.223
    """
    left, right = _pair(p, q, axis, normalize)
    return _in_base(_sum(left, _log(right)) - _sum(left, np.zeros_like(left)), base)


def kl_divergence(p: ArrayLike, q: ArrayLike, base: float | None = None, axis: int = -1, normalize: bool = True) -> Any:
    """Return ``sum(p log(p / q))`` over `axis`.

    Parameters, result and errors are those of `entropy`, with `q` of the shape of `p`. Where `q` is 0 and `p` is not,
    the result is infinity.

    References
    ----------
    ``scipy.stats.entropy(p, q)``, which scales without a warning; Kullback, Leibler 1951.

    Examples
    --------
    >>> from lossk.information import kl_divergence
    >>> round(kl_divergence([0.5, 0.5], [0.25, 0.75], base=2), 12)
    0.207518749639
    """
    left, right = _pair(p, q, axis, normalize)
    return _in_base(_sum(left, _log(right)), base)


def _shares(name: str, p: Any, axis: int, normalize: bool, level: int = 4) -> Float64:
    """Return `p` in float64 with the distribution last, scaled to sum 1 if wanted; `level` calls below the user's."""
    given = _real(name, p)
    if given.ndim == 0 or given.size == 0:
        raise ValueError(f"{name}: got shape {given.shape}, wanted at least one number over the axis")
    rows = np.moveaxis(given, class_axis(given, axis, name), -1).astype(np.float64)
    if boolean("normalize", normalize):
        _scale(name, rows, ROUNDING.get(given.dtype.name, 1e-6), level)
    return np.ascontiguousarray(rows)


def _real(name: str, p: Any) -> NDArray[Any]:
    """Return `p` as an array of real numbers, none of them negative."""
    given = as_array(name, p)
    if real_kind(given.dtype) not in "fiub":
        raise TypeError(f"{name}: got dtype {given.dtype}, wanted real numbers")
    _check_each(name, given, given < 0, "a number that is not negative")
    return given


def _check_each(name: str, given: NDArray[Any], wrong: Any, wanted: str) -> None:
    """Raise where a number is wrong, naming the first."""
    if np.any(wrong):
        first = np.unravel_index(int(np.argmax(wrong)), given.shape)
        at = f"[{', '.join(str(int(i)) for i in first)}]" if first else ""
        raise ValueError(f"{name}{at}: got {given[first]}, wanted {wanted}")


def _scale(name: str, rows: Float64, rounding: float, level: int) -> None:
    """Scale rows to sum 1, in place; warn where that changes more than rounding did."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        sums = rows.sum(axis=-1, keepdims=True)
        off = np.abs(sums - 1)
        if (off > rounding).any():
            worst = float(sums.flat[int(np.nanargmax(off))])
            what = "scaled to 1" if 0 < worst < np.inf else "which cannot be scaled to 1 as it is"
            text = f"{name}: got a sum of {worst:.7g}, {what}; normalize=False takes the numbers as they are"
            warnings.warn(text, stacklevel=level)
        if np.isinf(sums).any():  # the numbers may be finite
            rows /= rows.max(axis=-1, keepdims=True)
            sums = rows.sum(axis=-1, keepdims=True)
        rows /= sums


def _pair(p: Any, q: Any, axis: int, normalize: bool) -> tuple[Float64, Float64]:
    left, right = _shares("p", p, axis, normalize, 5), _shares("q", q, axis, normalize, 5)
    if left.shape != right.shape:
        raise ValueError(f"q: got shape {np.shape(q)}, wanted {np.shape(p)}, the shape of p")
    return left, right


def _log(q: Float64) -> Float64:
    with np.errstate(invalid="ignore", divide="ignore"):
        logarithm: Float64 = np.log(q)
        return logarithm


def _sum(p: Float64, log_q: Float64) -> Float64:
    """Return ``sum(p (log p - log_q))`` over the last axis: the kernel of `KLDivergence`."""
    value: Float64 = _divergence(log_q, p, reduction="none", check=False)
    return value


def _in_base(nats: Float64, base: Any) -> Any:
    if base is not None:
        wanted = "a finite number above 0, not 1"
        nats = nats / np.log(check_number("base", base, wanted, lambda x: 0 < x < np.inf and x != 1))
    return float(nats) if nats.ndim == 0 else nats

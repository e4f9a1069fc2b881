"""Row functions: softmax, log-softmax and log-sum-exp over one axis."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _core
from ._arrays import Array, as_array, class_axis, floats
from ._families import GRAD, VALUE, prepare_outputs
from ._rows import LOG_SOFTMAX, LOSS, SOFTMAX


def softmax(x: ArrayLike, *, axis: int = -1, out: Array | None = None, num_threads: int | None = None) -> Array:
    """Return ``exp(x) / sum(exp(x))`` over `axis`, without overflow.

    Parameters
    ----------
    x : array_like of float32, float64, float16 or bfloat16
        Logits of any shape with at least one axis.
    axis : int
        The axis that sums to 1.
    out : ndarray, optional
        Where to write: of the shape and dtype of `x`, `x` itself or separate memory.
    num_threads : int, optional
        Threads of this call; the result does not depend on it.

    Returns
    -------
    ndarray
        Like `x`; `out` where given. A row with NaN or +infinity, or of -infinity alone, is NaN.

    Raises
    ------
    TypeError, ValueError
        Where an argument is not as above.

    References
    ----------
    ``scipy.special.softmax``; Milakov, Gimelshein, "Online normalizer calculation for softmax", 2018.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.softmax(np.array([0.0, np.log(3.0)]))
    array([0.25, 0.75])
    """
    return _row_function(SOFTMAX, x, axis, out, num_threads)


def log_softmax(x: ArrayLike, *, axis: int = -1, out: Array | None = None, num_threads: int | None = None) -> Array:
    """Return ``x - log(sum(exp(x)))`` over `axis`, without overflow or cancellation.

    Parameters, result and errors are those of `softmax`.

    References
    ----------
    ``scipy.special.log_softmax``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.log_softmax(np.array([0.0, 0.0])).round(4)
    array([-0.6931, -0.6931])
    """
    return _row_function(LOG_SOFTMAX, x, axis, out, num_threads)


def logsumexp(x: ArrayLike, *, axis: int = -1, num_threads: int | None = None) -> Array:
    """Return ``log(sum(exp(x)))`` over `axis`, without overflow.

    Parameters
    ----------
    x : array_like of float32, float64, float16 or bfloat16
        Numbers of any shape with at least one axis.
    axis : int
        The axis that is summed.
    num_threads : int, optional
        Threads of this call; the result does not depend on it.

    Returns
    -------
    ndarray
        In the dtype of `x`, without `axis`. A row of -infinity alone gives -infinity; NaN gives NaN.

    Raises
    ------
    TypeError, ValueError
        Where an argument is not as above.

    References
    ----------
    ``scipy.special.logsumexp``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.logsumexp(np.array([[0.0, np.log(3.0)], [1000.0, -np.inf]])).round(4)
    array([   1.3863, 1000.    ])
    """
    x = x if isinstance(x, np.ndarray) else floats("x", x)
    rows = floats("x", np.moveaxis(as_array("x", x), class_axis(x, axis), -1))
    _, lse, _ = _call(LOSS, VALUE, rows, None, num_threads, True)
    result: Array = lse
    return result


def _call(output: int, verb: int, x: Any, out: Any, num_threads: int | None, stats: bool) -> Any:
    return _core.softmax(output, verb, x, None, 0.0, 0.0, 0.0, None, -1, None, "sum", None, num_threads, out, stats)


def _row_function(output: int, x: Any, axis: int, out: Any, num_threads: int | None) -> Array:
    result: Array
    if type(axis) is int and axis == -1:
        result = _call(output, GRAD, x, out, num_threads, False)
        if result is not NotImplemented:
            return result
    x = x if isinstance(x, np.ndarray) else floats("x", x)
    at = class_axis(x, axis)
    rows = floats("x", np.moveaxis(as_array("x", x), at, -1))
    outputs = prepare_outputs(GRAD, out, x, {}, input_name="x")
    result = np.moveaxis(_call(output, GRAD, rows, None, num_threads, False), -1, at)
    return outputs[0].fill(result) if outputs else result

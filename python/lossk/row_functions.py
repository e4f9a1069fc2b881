"""Row functions: softmax, log-softmax and log-sum-exp over one axis, and what they pass back."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from . import _core
from ._arrays import FLOATS, Array, Output, as_array, class_axis, floats, floats_like
from ._request import GRAD, LOG_SOFTMAX, LOSS, SOFTMAX, VALUE


class RowFunction:
    """A function of the rows of an array, called like a function; `vjp` passes a cotangent back through it."""

    _name: ClassVar[str]

    def __repr__(self) -> str:
        return f"lossk.{self._name}"

    def __reduce__(self) -> str:
        return self._name

    def __call__(
        self, x: ArrayLike, *, axis: int = -1, out: Array | None = None, num_threads: int | None = None
    ) -> Array:
        """Return the function over `axis`; parameters and errors are those of `lossk.softmax`."""
        raise NotImplementedError

    def vjp(
        self,
        x: ArrayLike,
        cotangent: ArrayLike,
        *,
        axis: int = -1,
        out: Array | None = None,
        num_threads: int | None = None,
    ) -> Array:
        """Return the gradient with respect to `x` of ``sum(cotangent * function(x))``, an array like `x`.

        `cotangent` has the shape of the function's result. `out` may be `x` or separate memory; nothing is written
        where anything raises. The rest is as in calling the function.
        """
        x = x if isinstance(x, np.ndarray) else floats("x", x)
        at = class_axis(x, axis, "x")
        others = {"cotangent": cotangent} if isinstance(cotangent, np.ndarray) else {}
        output = None if out is None else Output("out", out, x, others, "x")
        rows = floats("x", np.moveaxis(as_array("x", x), at, -1))
        wide = rows if rows.dtype in FLOATS else rows.astype(np.float32)
        c = self._cotangent(cotangent, x, at, wide)
        # Softmax first, to where the result will be; where kernels cannot write there, to memory of its own.
        p: Any = NotImplemented
        if out is not None and at == x.ndim - 1 and out.dtype == wide.dtype:
            p = _call(SOFTMAX, GRAD, wide, out, num_threads, False)
        if p is NotImplemented:
            p = _call(SOFTMAX, GRAD, wide, None, num_threads, False)
        result = self._pass_back(p, c, num_threads, p)
        if p is out:
            return result
        result = np.moveaxis(p, -1, at)
        return result.astype(x.dtype, copy=False) if output is None else output.fill(result)

    def _pass_back(self, p: Array, c: Array, num_threads: int | None, out: Array | None) -> Array:
        """Return the gradient, given the softmax of the rows."""
        target, weight = (None, c) if c.ndim < p.ndim else (c, None)
        kernel = _core.rows_kernels[f"{self._name}_vjp"]
        asked = (GRAD, p, target, None, weight, "sum", None, num_threads, out)
        result: Array = _core.rows(kernel, (), None, None)(asked)
        return result

    def _vjp_of_result(self, result: Array, cotangent: Array, axis: int) -> Array:
        """Return what `vjp` returns, from the function's result instead of `x`."""
        raise NotImplementedError

    def _cotangent(self, cotangent: Any, x: Array, at: int, rows: Array) -> Array:
        """Return the cotangent with its class axis last, in the type of `rows`."""
        c = _of_shape(cotangent, x.shape)
        return floats_like("cotangent", np.moveaxis(c, at, -1), rows)

    def _elementwise(self, output: int, x: Any, axis: int, out: Any, num_threads: int | None) -> Array:
        result: Array
        if type(axis) is int and axis == -1:
            result = _call(output, GRAD, x, out, num_threads, False)
            if result is not NotImplemented:
                return result
        x = x if isinstance(x, np.ndarray) else floats("x", x)
        at = class_axis(x, axis, "x")
        rows = floats("x", np.moveaxis(as_array("x", x), at, -1))
        place = None if out is None else Output("out", out, x, {}, "x")
        result = np.moveaxis(_call(output, GRAD, rows, None, num_threads, False), -1, at)
        return result if place is None else place.fill(result)


class Softmax(RowFunction):
    """Return ``exp(x) / sum(exp(x))`` over `axis`, without overflow.

    ``softmax.vjp(x, c)`` is ``p (c - sum(p c))`` with ``p = softmax(x)``.

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
    >>> lossk.softmax.vjp(np.zeros(2), np.array([1.0, 3.0]))
    array([-0.5,  0.5])
    """

    _name: ClassVar[str] = "softmax"

    def __call__(
        self, x: ArrayLike, *, axis: int = -1, out: Array | None = None, num_threads: int | None = None
    ) -> Array:
        """Return ``exp(x) / sum(exp(x))`` over `axis`."""
        return self._elementwise(SOFTMAX, x, axis, out, num_threads)

    def _vjp_of_result(self, result: Array, cotangent: Array, axis: int) -> Array:
        at = class_axis(result, axis)
        p = floats("result", np.moveaxis(result, at, -1))
        wide = p if p.dtype in FLOATS else p.astype(np.float32)
        grad = self._pass_back(wide, self._cotangent(cotangent, result, at, wide), None, None)
        return np.moveaxis(grad, -1, at).astype(result.dtype, copy=False)


class LogSoftmax(RowFunction):
    """Return ``x - log(sum(exp(x)))`` over `axis`, without overflow or cancellation.

    Parameters, result and errors are those of `lossk.softmax`; ``log_softmax.vjp(x, c)`` is ``c - softmax(x) sum(c)``.

    References
    ----------
    ``scipy.special.log_softmax``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.log_softmax(np.array([0.0, 0.0])).round(4)
    array([-0.6931, -0.6931])
    """

    _name: ClassVar[str] = "log_softmax"

    def __call__(
        self, x: ArrayLike, *, axis: int = -1, out: Array | None = None, num_threads: int | None = None
    ) -> Array:
        """Return ``x - log(sum(exp(x)))`` over `axis`."""
        return self._elementwise(LOG_SOFTMAX, x, axis, out, num_threads)

    def _vjp_of_result(self, result: Array, cotangent: Array, axis: int) -> Array:
        # Log-probabilities are logits of the same softmax.
        return self.vjp(result, cotangent, axis=axis)


class LogSumExp(RowFunction):
    """Return ``log(sum(exp(x)))`` over `axis`, without overflow.

    Parameters and errors are those of `lossk.softmax`, but for `out`, which has the shape and dtype of the result.
    ``logsumexp.vjp(x, c)`` is ``softmax(x) c``, with one entry of ``c`` a row.

    Returns
    -------
    ndarray
        In the dtype of `x` (float32 for 16-bit types), without `axis`. A row of -infinity alone gives -infinity; NaN
        or +infinity gives NaN.

    References
    ----------
    ``scipy.special.logsumexp``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> lossk.logsumexp(np.array([[0.0, np.log(3.0)], [1000.0, -np.inf]])).round(4)
    array([   1.3863, 1000.    ])
    """

    _name: ClassVar[str] = "logsumexp"

    def __call__(
        self, x: ArrayLike, *, axis: int = -1, out: Array | None = None, num_threads: int | None = None
    ) -> Array:
        """Return ``log(sum(exp(x)))`` over `axis`."""
        x = x if isinstance(x, np.ndarray) else floats("x", x)
        rows = floats("x", np.moveaxis(as_array("x", x), class_axis(x, axis, "x"), -1))
        result: Array = _call(LOSS, VALUE, rows, None, num_threads, True)[1]
        return result if out is None else Output("out", out, result, {"x": x}).fill(result)

    def _cotangent(self, cotangent: Any, x: Array, at: int, rows: Array) -> Array:
        c = _of_shape(cotangent, x.shape[:at] + x.shape[at + 1 :])
        return floats_like("cotangent", c, rows)


def _of_shape(cotangent: Any, shape: tuple[int, ...]) -> Array:
    c = as_array("cotangent", cotangent)
    if c.shape != shape:
        raise ValueError(f"cotangent: got shape {c.shape}, wanted {shape}, the shape of the result")
    return c


_KERNELS = [_core.softmax(output, None, None, None) for output in (LOSS, SOFTMAX, LOG_SOFTMAX)]


def _call(output: int, verb: int, x: Any, out: Any, num_threads: int | None, stats: bool) -> Any:
    return _KERNELS[output]((verb, x, None, None, None, "sum", None, num_threads, out, False, False, stats))


softmax = Softmax()
log_softmax = LogSoftmax()
logsumexp = LogSumExp()

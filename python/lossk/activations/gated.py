"""Activations of numbers and gates: GLU, SwiGLU, and PReLU, whose gate is a slope that is learned."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from .. import _core
from .._arrays import Array, arithmetic, class_axis, empty, float64, floats, floats_like, is_integer
from .._parameters import Frozen, dataclass_transform
from ._base import Float64
from ._normal import logistic
from .smooth import SiLU

__all__ = ["GLU", "PReLU", "SwiGLU"]

# Every gated activation by its name.
GATED: dict[str, type[Gated]] = {}

_Class = TypeVar("_Class", bound="Gated")

_PRELU_BLOCK = 1 << 20  # elements whose gradients of the slope are in memory at once


@dataclass_transform(frozen_default=True, eq_default=False)
def gated(cls: type[_Class]) -> type[_Class]:
    """Make a class a frozen dataclass and enter it in the catalogue."""
    GATED[cls.__name__] = dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
    return cls


class Gated(Frozen):
    """A function of numbers and their gates."""

    # The kernel's name in src/cpp/registry.hpp.
    _kernel: ClassVar[str]
    # Constructor arguments that tests go through.
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({},)

    def _call(
        self, x: Array, gate: Array | None, run: int, cotangent: Array | None, threads: Any, repeats: bool = False
    ) -> tuple[Array, Array | None]:
        """Return the flat value, or with a cotangent the gradients of `x` and of the gate, element by element."""
        halves, backward = gate is None, cotangent is not None
        out = empty("result", x.size // 2 if halves and not backward else x.size, x.dtype)
        gate_out = empty("gradient of the gate", x.size, x.dtype) if backward and not halves else None
        kernel = _core.gated_kernels[self._kernel]
        _core.gated(kernel, x, gate, repeats, run, cotangent, threads, out, gate_out)
        return out, gate_out


def _same_shape(name: str, array: Array, shape: tuple[int, ...]) -> Array:
    if array.shape != shape:
        raise ValueError(f"{name}: got shape {array.shape}, wanted {shape}")
    return array


@gated
class GLU(Gated):
    """Gated linear unit: ``a sigmoid(b)``, with ``a`` and ``b`` the halves of `x` along an axis.

    Largest errors in float32: 2.5 ULP, gradients 5 ULP.

    Parameters
    ----------
    axis : int
        The axis that is halved.

    Raises
    ------
    TypeError, ValueError
        If `axis` is not an integer; in a call, if it is not there or its length is odd.

    References
    ----------
    ``torch.nn.functional.glu``; Dauphin, Fan, Auli, Grangier 2017.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> glu = lossk.GLU()
    >>> x = np.array([[1.0, 2.0, 0.0, -1.0]])
    >>> glu(x).round(4)
    array([[0.5   , 0.5379]])
    >>> glu.vjp(x, np.ones((1, 2))).round(4)
    array([[0.5   , 0.2689, 0.25  , 0.3932]])
    """

    _kernel: ClassVar[str] = "glu"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"axis": 0})

    axis: int = -1

    def __post_init__(self) -> None:
        if not is_integer(self.axis):
            raise TypeError(f"axis: got {self.axis!r}, wanted an integer")

    def __call__(self, x: ArrayLike, *, num_threads: int | None = None) -> Array:
        """Return the gated half.

        Parameters
        ----------
        x : array_like of float32, float64, float16 or bfloat16
            Numbers, then gates, along the axis.
        num_threads : int, optional
            Threads of this call; the result does not depend on it.

        Returns
        -------
        ndarray
            Of the dtype of `x`; its axis is half as long.

        Raises
        ------
        TypeError, ValueError
            Where an argument is not as above.
        """
        array, run, shape = self._split(x)
        return self._call(array, None, run, None, num_threads)[0].reshape(shape)

    def vjp(self, x: ArrayLike, cotangent: ArrayLike, *, num_threads: int | None = None) -> Array:
        """Return the gradient with respect to `x`, for a cotangent of the result's shape."""
        array, run, shape = self._split(x)
        c = _same_shape("cotangent", floats_like("cotangent", cotangent, array), shape)
        return self._call(array, None, run, c, num_threads)[0].reshape(array.shape)

    def reference(self, x: ArrayLike, cotangent: ArrayLike | None = None) -> tuple[Float64, Float64]:
        """Return value and gradient, for a cotangent of ones unless given, in plain float64 NumPy."""
        a, b = np.split(float64("x", x), 2, self.axis)
        c = np.ones_like(a) if cotangent is None else float64("cotangent", cotangent)
        s = logistic(b)
        return a * s, np.concatenate([c * s, c * a * s * logistic(-b)], self.axis)

    def _split(self, x: ArrayLike) -> tuple[Array, int, tuple[int, ...]]:
        """Return the array, the length of a half's run in memory, and the result's shape."""
        array = floats("x", x)
        axis = class_axis(array, self.axis, "x")
        length = array.shape[axis]
        if length % 2:
            raise ValueError(f"x: got shape {array.shape}, wanted an even length of axis {axis}")
        shape = (*array.shape[:axis], length // 2, *array.shape[axis + 1 :])
        return array, int(np.prod(shape[axis:], dtype=np.int64)), shape


@gated
class SwiGLU(Gated):
    """Gated unit of large language models: ``silu(x) gate`` with ``silu(x) = x sigmoid(x)``.

    Largest errors in float32: 3 ULP; gradient of the gate 3 ULP, of `x` that of `SiLU`'s derivative and 1 ULP.

    References
    ----------
    Shazeer, "GLU variants improve transformer", 2020.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> swiglu = lossk.SwiGLU()
    >>> swiglu(np.array([1.0, -1.0]), np.array([2.0, 2.0])).round(4)
    array([ 1.4621, -0.5379])
    """

    _kernel: ClassVar[str] = "swiglu"

    def __call__(self, x: ArrayLike, gate: ArrayLike, *, num_threads: int | None = None) -> Array:
        """Return ``silu(x) gate``.

        Parameters
        ----------
        x : array_like of float32, float64, float16 or bfloat16, any shape
            What goes through SiLU.
        gate : array_like
            What it is multiplied by: of the shape of `x`, converted to its dtype.
        num_threads : int, optional
            Threads of this call; the result does not depend on it.

        Returns
        -------
        ndarray
            Like `x`.

        Raises
        ------
        TypeError, ValueError
            Where an argument is not as above.
        """
        array, gates = self._pair(x, gate)
        return self._call(array, gates, max(1, array.size), None, num_threads)[0].reshape(array.shape)

    def vjp(
        self, x: ArrayLike, gate: ArrayLike, cotangent: ArrayLike, *, num_threads: int | None = None
    ) -> tuple[Array, Array]:
        """Return the gradients with respect to `x` and `gate`, for a cotangent of their shape."""
        array, gates = self._pair(x, gate)
        c = _same_shape("cotangent", floats_like("cotangent", cotangent, array), array.shape)
        of_x, of_gate = self._call(array, gates, max(1, array.size), c, num_threads)
        assert of_gate is not None
        return of_x.reshape(array.shape), of_gate.reshape(array.shape)

    def reference(
        self, x: ArrayLike, gate: ArrayLike, cotangent: ArrayLike | None = None
    ) -> tuple[Float64, Float64, Float64]:
        """Return value and both gradients, for a cotangent of ones unless given, in plain float64 NumPy."""
        a, b = float64("x", x), float64("gate", gate)
        c = np.ones_like(a) if cotangent is None else float64("cotangent", cotangent)
        value, derivative = SiLU().reference(a)
        return value * b, c * b * derivative, c * value

    def _pair(self, x: ArrayLike, gate: ArrayLike) -> tuple[Array, Array]:
        array = floats("x", x)
        return array, _same_shape("gate", floats_like("gate", gate, array), array.shape)


@gated
class PReLU(Gated):
    """Leaky rectifier with a slope that is learned: ``x`` where ``x > 0``, ``slope x`` elsewhere.

    Errors in float32 are 0.5 ULP; the gradient of a slope is a sum in float64, whatever the number of threads.

    Parameters
    ----------
    axis : int
        The axis of channels, of which each may have a slope of its own.

    Raises
    ------
    TypeError, ValueError
        If `axis` is not an integer; in a call, if there are several slopes and it is not there.

    References
    ----------
    ``torch.nn.functional.prelu``; He, Zhang, Ren, Sun 2015.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> prelu = lossk.PReLU()
    >>> x = np.array([[-2.0, 3.0]])
    >>> prelu(x, 0.25)
    array([[-0.5,  3. ]])
    >>> prelu.vjp(x, 0.25, np.ones((1, 2)))
    (array([[0.25, 1.  ]]), array(-2.))
    """

    _kernel: ClassVar[str] = "prelu"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"axis": -1})

    axis: int = 1

    def __post_init__(self) -> None:
        if not is_integer(self.axis):
            raise TypeError(f"axis: got {self.axis!r}, wanted an integer")

    def __call__(self, x: ArrayLike, slope: ArrayLike, *, num_threads: int | None = None) -> Array:
        """Return the function of every number.

        Parameters
        ----------
        x : array_like of float32, float64, float16 or bfloat16, any shape
            Arguments.
        slope : array_like
            One number, or one a channel, converted to the dtype of `x`.
        num_threads : int, optional
            Threads of this call; the result does not depend on it.

        Returns
        -------
        ndarray
            Like `x`.

        Raises
        ------
        TypeError, ValueError
            Where an argument is not as above.
        """
        array, slopes = self._slopes(x, slope)
        run, repeats = self._run_of(array, slopes)
        return self._call(array, slopes, run, None, num_threads, repeats)[0].reshape(array.shape)

    def vjp(
        self, x: ArrayLike, slope: ArrayLike, cotangent: ArrayLike, *, num_threads: int | None = None
    ) -> tuple[Array, Array]:
        """Return the gradients with respect to `x` and `slope`, for a cotangent of the shape of `x`."""
        array, slopes = self._slopes(x, slope)
        c = _same_shape("cotangent", floats_like("cotangent", cotangent, array), array.shape)
        run, repeats = self._run_of(array, slopes)
        of_x, of_slope = empty("gradient", array.size, array.dtype), np.zeros(slopes.size)
        wide = arithmetic(array.dtype)  # terms of a slope's gradient are rounded as their sum
        slopes_wide = slopes.astype(wide)
        period = 1 if slopes.size == 1 else run * slopes.size if repeats else run  # after which slopes come again
        period = max(1, period)  # without channels, too
        block = max(1, _PRELU_BLOCK // period) * period
        flat, flat_c = array.reshape(-1), c.reshape(-1)
        for i in range(0, array.size, block):
            at = slice(i, i + block)
            together = flat[at].size if slopes.size == 1 else run
            x_wide, c_wide = flat[at].astype(wide, copy=False), flat_c[at].astype(wide, copy=False)
            of_x[at], each = self._call(x_wide, slopes_wide, together, c_wide, num_threads, repeats)
            assert each is not None
            by_channel = each.reshape((-1, slopes.size, together if repeats else 1))
            of_slope += by_channel.sum(axis=(0, 2), dtype=np.float64)
        return of_x.reshape(array.shape), of_slope.astype(array.dtype).reshape(slopes.shape)

    def reference(
        self, x: ArrayLike, slope: ArrayLike, cotangent: ArrayLike | None = None
    ) -> tuple[Float64, Float64, Float64]:
        """Return value and both gradients, for a cotangent of ones unless given, in plain float64 NumPy."""
        a, slopes = float64("x", x), float64("slope", slope)
        c = np.ones_like(a) if cotangent is None else float64("cotangent", cotangent)
        shape = [1] * a.ndim
        if slopes.size != 1:
            shape[class_axis(a, self.axis, "x")] = slopes.size
        of_slope = np.where(a > 0, 0.0, c * a)
        axes = tuple(i for i, n in enumerate(shape) if n == 1 or slopes.size == 1)
        wide = slopes.reshape(shape)
        by_x = np.where(np.isnan(a), a, c * np.where(a > 0, 1.0, wide))
        return np.where(a > 0, a, a * wide), by_x, of_slope.sum(axis=axes).reshape(slopes.shape)

    def _slopes(self, x: ArrayLike, slope: ArrayLike) -> tuple[Array, Array]:
        array = floats("x", x)
        slopes = floats_like("slope", slope, array)
        if slopes.size != 1 or slopes.ndim > 1:
            channels = array.shape[class_axis(array, self.axis, "x")] if array.ndim else 1
            if slopes.shape != (channels,):
                raise ValueError(f"slope: got shape {slopes.shape}, wanted one number, or ({channels},), one a channel")
        return array, slopes

    def _run_of(self, array: Array, slopes: Array) -> tuple[int, bool]:
        """Return how many numbers lie together that slopes belong to, and whether it is one slope for all of them."""
        if slopes.size == 1:
            return max(1, array.size), True
        inner = int(np.prod(array.shape[class_axis(array, self.axis, "x") + 1 :], dtype=np.int64))
        return (inner, True) if inner > 1 else (slopes.size, False)

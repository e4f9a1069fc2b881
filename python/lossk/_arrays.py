"""From what users pass to arrays that kernels can read, and back to where users want results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from . import _core

Array = NDArray[Any]

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
FLOAT_NAMES = "float32, float64, float16 or bfloat16 (of ml_dtypes)"


def is_float(dtype: np.dtype[Any]) -> bool:
    """Do kernels read and write this type (in native byte order)? bfloat16 exists where ml_dtypes is imported."""
    return (dtype.kind == "f" and dtype.itemsize <= 8) or dtype.name == "bfloat16"


def arithmetic(dtype: np.dtype[Any] | None) -> np.dtype[Any]:
    """Return the type of the arithmetic on arrays of this type, which is that of weights and per-sample values too."""
    return np.dtype(np.float64 if dtype is not None and dtype.newbyteorder("=") == np.float64 else np.float32)


# What other libraries raise where NumPy cannot read what they have.
UNREADABLE = (AttributeError, BufferError, RuntimeError, TypeError, ValueError)


def as_array(name: str, value: object) -> Array:
    """Return `value` as an ndarray: through DLPack or the buffer protocol without a copy where it speaks them."""
    array = read_array(name, value, f"an array of {FLOAT_NAMES}")
    if array.dtype == object:
        raise TypeError(f"{name}: got {_told(value)}, wanted an array of {FLOAT_NAMES}")
    return array


def read_array(name: str, value: object, wanted: str) -> Array:
    """Return `value` as an ndarray of any type; the error of whatever library it comes from names the argument."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name}: got a masked array, wanted a plain one (kernels do not know masks)")
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    try:
        array = _from_dlpack(name, value) if hasattr(value, "__dlpack_device__") else np.asarray(value)
    except UNREADABLE as error:
        if isinstance(error, _ElsewhereError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        advice = " (lossk.torch has losses of tensors that need a gradient)" if _needs_gradient(value) else ""
        raise TypeError(
            f"{name}: got {_told(value)} that NumPy cannot read ({reason}), wanted {wanted}{advice}"
        ) from error
    if array.dtype == object and array.ndim == 0:
        advice = f": list({name}) has its items" if isinstance(value, Iterator) else ""
        raise TypeError(f"{name}: got {_told(value)}, wanted {wanted}{advice}")
    return array


class _ElsewhereError(TypeError):
    """An array is not in the CPU's memory."""


def _from_dlpack(name: str, value: Any) -> Array:
    device = value.__dlpack_device__()
    if device[0] != 1:
        raise _ElsewhereError(f"{name}: got a {type(value).__name__} on DLPack device {device}, wanted one on the CPU")
    try:
        return np.from_dlpack(value)
    except UNREADABLE:
        words = _bfloat16_words(value)
        # Types that DLPack does not know, NumPy may read all the same, as it does Arrow's.
        return np.asarray(value) if words is None else words


def _told(value: object) -> str:
    if value is None:
        return "None"
    return "an array of objects" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"


def _needs_gradient(value: Any) -> bool:
    first = value[0] if isinstance(value, list | tuple) and value else value
    return getattr(first, "requires_grad", False) is True


def _bfloat16_words(value: Any) -> Array | None:
    """Return the memory of a bfloat16 tensor as an ndarray; None where it holds anything else or needs a gradient."""
    try:
        words = _core.words_from_dlpack(value.__dlpack__())
        return None if words is None else words.view(import_module("ml_dtypes").bfloat16)
    except (*UNREADABLE, ImportError):
        return None


# Tensors of the library that `exchange_with` was told of: the memory of one and of several as arrays (None stays None);
# a float as a tensor, and back; a loss of two that go together, else None.
exchange_with, array_of, arrays_of = _core.exchange_with, _core.array_of, _core.arrays_of
number_tensor, number_of, loss_of_pair = _core.number_tensor, _core.number_of, _core.loss_of_pair

# take_rows(out, x, order, num_threads): out[i] = x[order[i]], of rows of any dtype.
take_rows = _core.take_rows


def allocated(what: str, shape: tuple[int, ...], dtype: Any, make: Callable[[], Array]) -> Array:
    """Return an array that `make` allocates; where there is no memory for it, the error names it."""
    try:
        return make()
    except MemoryError:
        wanted = math.prod(shape) * np.dtype(dtype).itemsize
        raise MemoryError(f"{what}: wanted {wanted} bytes of memory, the system has no more") from None


def empty(what: str, shape: Any, dtype: Any) -> Array:
    """Return an array of a shape, or one length, not filled; the error names what there is no memory for.

    Large ones take pages that earlier results have given back, whose faults and clearing are paid for.
    """
    return _core.empty(what, shape if isinstance(shape, tuple) else (int(shape),), np.dtype(dtype))


def contiguous(name: str, array: Array, dtype: np.dtype[Any]) -> Array:
    """Return the array C-contiguous, aligned, in native byte order and of `dtype`; itself where it is."""
    flags = array.flags
    if type(array) is np.ndarray and array.dtype == dtype and dtype.isnative and flags.c_contiguous and flags.aligned:
        return array  # np.require takes longer to say so
    native = dtype.newbyteorder("=")
    return allocated(
        f"copy of {name}",
        array.shape,
        native,
        lambda: np.asarray(np.require(array, dtype=native, requirements=["C", "A"])),
    )


def floats(name: str, value: object, target_name: str = "", target: object = None) -> Array:
    """Return predictions as kernels want them: contiguous, of a supported floating type.

    Where they are not, and the target is, these two may have changed places, and the error asks.
    """
    array = as_array(name, value)
    if array.dtype.kind in "iub" and not isinstance(value, np.ndarray):
        array = array.astype(np.float64)  # numbers typed in by hand
    if not is_float(array.dtype):
        exchanged = isinstance(target, np.ndarray) and is_float(target.dtype)
        advice = f": are {name} and {target_name} exchanged?" if exchanged else ""
        if not advice and array.dtype.kind in "iub":
            advice = f": {name}.astype(np.float32)"
        raise TypeError(f"{name}: got dtype {array.dtype}, wanted {FLOAT_NAMES}{advice}")
    return contiguous(name, array, array.dtype)


def targets_like(value: object, z: Array) -> Array:
    """Return targets as `floats_like`; one number, of Python or in an array without axes, is every sample's."""
    y = floats_like("y", value, z)
    return np.full(z.shape, y) if y.ndim == 0 else y


def float64(name: str, value: object) -> NDArray[np.float64]:
    """Return real numbers in float64, as references want them."""
    return _converted(name, value, np.dtype(np.float64))


def floats_like(name: str, value: object, z: Array) -> Array:
    """Return targets in the dtype of `z`; numbers of any real type are converted."""
    return _converted(name, value, z.dtype)


def weights_like(name: str, value: object, z: Array) -> Array:
    """Return weights, or another input besides targets, in the type of the arithmetic on `z`."""
    return _converted(name, value, arithmetic(z.dtype))


def _converted(name: str, value: object, dtype: np.dtype[Any]) -> Array:
    return convert(name, as_array(name, value), dtype)


def convert(name: str, array: Array, dtype: np.dtype[Any]) -> Array:
    """Return real numbers of any type as kernels want them: contiguous, of `dtype`."""
    if real_kind(array.dtype) not in "fiub":
        raise TypeError(f"{name}: got dtype {array.dtype}, wanted real numbers")
    return contiguous(name, array, dtype)


def real_kind(dtype: np.dtype[Any]) -> str:
    """Return the kind of a type as NumPy has it, and "f" for bfloat16, which is none of NumPy's."""
    kind = dtype.kind  # names take microseconds
    return "f" if kind == "V" and dtype.name == "bfloat16" else kind


def is_integer(value: object) -> bool:
    """Is this an integer, of Python or of NumPy? Booleans are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def class_axis(z: Array, axis: int, name: str = "z") -> int:
    """Return the class axis of z as a non-negative number."""
    if z.ndim == 0:
        raise ValueError(f"{name}: got one number, wanted an array with at least one axis")
    if not is_integer(axis) or not -z.ndim <= axis < z.ndim:
        wanted = f"an integer in [{-z.ndim}, {z.ndim}), as {name} has shape {z.shape}"
        raise ValueError(f"axis: got {axis!r}, wanted {wanted}")
    return int(axis) % z.ndim


class Output:
    """Where a result goes: a user's `out` of any strides, filled from the contiguous array a kernel wrote.

    Checked at construction, before any kernel runs: an ndarray, writeable, of the shape and dtype of `z`, either
    exactly `z` or apart from it and from every other input.
    """

    def __init__(self, name: str, out: object, z: Array, others: dict[str, Array], z_name: str = "z") -> None:
        if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
            raise TypeError(f"{name}: got {type(out).__name__}, wanted a NumPy array to write to")
        if out.dtype != z.dtype:
            raise TypeError(f"{name}: got dtype {out.dtype}, wanted {z.dtype}")
        if out.shape != z.shape:
            raise ValueError(f"{name}: got shape {out.shape}, wanted {z.shape}")
        if not out.flags.writeable:
            raise ValueError(f"{name}: got a read-only array, wanted a writeable one")
        if overlaps_itself(out):
            raise ValueError(f"{name}: got an array whose elements share memory, wanted one with memory of its own")
        if not _is_same(out, z) and share_memory(out, z):
            raise ValueError(f"{name}: got memory that overlaps {z_name}, wanted {z_name} itself or separate memory")
        for other_name, other in others.items():
            if share_memory(out, other):
                raise ValueError(f"{name}: got memory that overlaps {other_name}, wanted separate memory")
        self._out = out

    def fill(self, result: Array) -> Array:
        """Copy the result to the user's array and return that."""
        self._out[...] = result
        return self._out


def _is_same(a: Array, b: Array) -> bool:
    return (a.__array_interface__["data"], a.shape, a.strides) == (b.__array_interface__["data"], b.shape, b.strides)


def share_memory(a: Array, b: Array) -> bool:
    """Tell whether arrays share memory: exactly, not by their bounds; yes where that is too hard to tell."""
    try:
        return np.shares_memory(a, b, max_work=cast(Any, 100_000))
    except np.exceptions.TooHardError:
        return True


def overlaps_itself(p: Array) -> bool:
    """Tell whether elements of a strided array share memory."""
    if p.flags.forc or p.size == 0:
        return False
    axes = sorted((abs(stride), length) for stride, length in zip(p.strides, p.shape, strict=True) if length > 1)
    extent = p.itemsize
    for stride, length in axes:
        if stride < extent:
            break
        extent += stride * (length - 1)
    else:
        return False
    # Axes that do not nest: where each element begins decides.
    offsets = np.zeros(1, np.int64)
    for stride, length in axes:
        offsets = np.add.outer(offsets, stride * np.arange(length)).reshape(-1)
    return bool(np.diff(np.sort(offsets)).min() < p.itemsize)

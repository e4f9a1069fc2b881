"""The same numbers, lying in memory in other ways."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.support.arrays import Array


def contiguous_copy(a: Array) -> Array:
    return np.array(a, order="C")


def offset_by_one(a: Array) -> Array:
    """The same numbers, one element behind an aligned start."""
    memory = np.zeros(a.size + 64 // a.itemsize + 1, a.dtype)
    start = (-memory.ctypes.data // a.itemsize) % (64 // a.itemsize) + 1
    view = memory[start : start + a.size].reshape(a.shape)
    view[...] = a
    return view


def misaligned(a: Array) -> Array:
    """The same numbers at an address that is no multiple of the element size."""
    memory = np.zeros(a.nbytes + a.itemsize, np.uint8)
    view = memory[1 : 1 + a.nbytes].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def every_second(a: Array) -> Array:
    memory = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    view = memory[..., ::2]
    view[...] = a
    return view


def reversed_memory(a: Array) -> Array:
    memory = np.zeros(a.shape, a.dtype)
    view = memory[::-1, ..., ::-1] if a.ndim > 1 else memory[::-1]
    view[...] = a
    return view


def fortran(a: Array) -> Array:
    return np.array(a, order="F")


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "contiguous": contiguous_copy,
    "offset by one": offset_by_one,
    "misaligned": misaligned,
    "every second": every_second,
    "reversed": reversed_memory,
    "Fortran": fortran,
}

"""Guarded memory, arrays at an offset, and outputs in either."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.support.arrays import Array, bits
from tests.support.cases import Batch, run_verb

ODD_SIZES = (1, 2, 3, 5, 7, 9, 15, 17, 31, 33, 63, 65, 129, 513, 1025)
ENDS = ("start", "end")


def at_offset(a: Array, elements: int) -> Array:
    """A copy that starts so many elements behind a multiple of 64 bytes, and what surrounds it: sevens."""
    per_line = 64 // a.itemsize
    memory = np.full(a.size + 3 * per_line, 7, a.dtype)
    start = (-memory.ctypes.data // a.itemsize) % per_line + elements
    memory[start : start + a.size] = a.reshape(-1)
    view: Array = memory[start : start + a.size].reshape(a.shape)
    assert view.ctypes.data % 64 == elements * a.itemsize
    return view


def assert_surroundings_kept(view: Array) -> None:
    """What surrounds an array from `at_offset` has not been written to."""
    memory = view.base if view.base.ndim == 1 else view.base.base
    assert (memory == 7).sum() >= 3 * (64 // view.itemsize), "the surroundings were written to"


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def guarded(a: Array, at: str = "end") -> Array:
    """A contiguous copy whose first ("start") or last ("end") byte touches a page that cannot be read.

    The other end has such a page less than a page away.
    """
    page = mmap.PAGESIZE
    between = max(1, -(-a.nbytes // page)) * page
    memory = mmap.mmap(-1, between + 2 * page)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for guard in (base, base + page + between):
        if _libc.mprotect(guard, page, 0) != 0:  # PROT_NONE
            raise OSError(ctypes.get_errno(), "mprotect")
    first = page if at == "start" else page + between - a.nbytes
    view = np.frombuffer(memory, a.dtype, count=a.size, offset=first).reshape(a.shape)
    view[...] = a
    return view


def outputs(verb: str, z: Array, make: Callable[[Array], Array]) -> Any:
    """What to pass as `out`, from memory that `make` chooses."""
    if verb == "value":
        return None
    return (make(z), make(z)) if verb == "grad_and_hess" else make(z)


def run_into(loss: Any, verb: str, batch: Batch, out: Any, **options: Any) -> list[bytes]:
    extra = {} if verb == "value" else {"out": out}
    result = run_verb(loss, verb, batch.z, batch.target, sample_weight=batch.weight, **options, **extra)
    return [bits(x) for x in result]

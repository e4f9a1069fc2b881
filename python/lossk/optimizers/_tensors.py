"""Lists and dicts of arrays: what optimizers take, and how their arrays lie in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from .._arrays import FLOAT_NAMES, Array, contiguous, is_float, overlaps_itself, share_memory

Arrays: TypeAlias = Sequence[Array] | Mapping[str, Array]
Gradients: TypeAlias = Sequence[Array | None] | Mapping[str, Array | None]
Keys: TypeAlias = tuple[str, ...] | None


def unpack(what: str, arrays: object) -> tuple[Keys, list[Any]]:
    """Return the keys of a dict of arrays, or None, and its arrays."""
    if isinstance(arrays, np.ndarray) or not isinstance(arrays, Sequence | Mapping):
        raise TypeError(f"{what}: got {type(arrays).__name__}, wanted a list or a dict of arrays")
    if not isinstance(arrays, Mapping):
        return None, list(arrays)
    for key in arrays:
        if not isinstance(key, str):
            raise TypeError(f"{what}: got the key {key!r}, wanted strings")
    keys = tuple(arrays)
    return keys, [arrays[key] for key in keys]


def gradients_in_order(keys: Keys, count: int, grads: object) -> list[Any]:
    """Return gradients in the order of the parameters, which have these keys or are numbered."""
    if type(grads) is dict and tuple(grads) == keys:
        return list(grads.values())
    if keys is not None:
        if not isinstance(grads, Mapping) or grads.keys() != set(keys):
            got = sorted(map(str, grads)) if isinstance(grads, Mapping) else type(grads).__name__
            raise ValueError(f"grads: got {got}, wanted a dict with the keys {sorted(keys)}")
        return [grads[key] for key in keys]
    if isinstance(grads, np.ndarray | Mapping) or not isinstance(grads, Sequence):
        raise TypeError(f"grads: got {type(grads).__name__}, wanted a list of arrays")
    arrays = list(grads)
    if len(arrays) != count:
        raise ValueError(f"grads: got {len(arrays)} arrays, wanted {count}")
    return arrays


def name(what: str, keys: Keys, i: int) -> str:
    """Return what users call an array of a list or dict."""
    return f"{what}[{keys[i]!r}]" if keys is not None else f"{what}[{i}]"


def check_writeable_floats(what: str, p: object, purpose: str = "update") -> None:
    """Raise where an array cannot be worked on in place."""
    if not isinstance(p, np.ndarray) or isinstance(p, np.ma.MaskedArray):
        raise TypeError(f"{what}: got {type(p).__name__}, wanted a NumPy array to {purpose} in place")
    if not is_float(p.dtype):
        raise TypeError(f"{what}: got dtype {p.dtype}, wanted {FLOAT_NAMES}")
    if not p.flags.writeable:
        raise ValueError(f"{what}: got a read-only array, wanted a writeable one")
    if overlaps_itself(p):
        raise ValueError(f"{what}: got an array whose elements share memory, wanted one with memory of its own")


def _neighbours(arrays: Sequence[Array]) -> Iterator[tuple[int, int]]:
    """Yield pairs i < j of arrays whose bounds in memory overlap."""
    bounds = sorted((*_bounds(a), i) for i, a in enumerate(arrays) if a.size)
    reaching: list[tuple[int, int]] = []  # the ends of those that reach behind the next one's beginning
    for first, end, i in bounds:
        reaching = [other for other in reaching if other[0] > first]
        for _, j in reaching:
            yield min(i, j), max(i, j)
        reaching.append((end, i))


def check_apart(names: Sequence[str], arrays: Sequence[Array]) -> None:
    """Raise where arrays that are written overlap one another."""
    for i, j in _neighbours(arrays):
        if share_memory(arrays[i], arrays[j]):
            raise ValueError(f"{names[j]}: got memory that overlaps {names[i]}, wanted separate memory")


def check_gradients_apart(keys: Keys, grads: Sequence[Any], params: Sequence[Array]) -> None:
    """Raise where a gradient is a masked array, or overlaps a parameter."""
    there = [i for i, g in enumerate(grads) if isinstance(g, np.ndarray)]
    for i in there:
        if isinstance(grads[i], np.ma.MaskedArray):
            own = name("grads", keys, i)
            raise TypeError(f"{own}: got a masked array, wanted a plain one (kernels do not know masks)")
    n, arrays = len(params), [*params, *(grads[i] for i in there)]
    for i, j in _neighbours(arrays):
        if i < n <= j and share_memory(arrays[i], arrays[j]):
            own, other = name("grads", keys, there[j - n]), name("params", keys, i)
            raise ValueError(f"{own}: got memory that overlaps {other}, wanted separate memory")


def _bounds(a: Array) -> tuple[int, int]:
    start = end = a.__array_interface__["data"][0]
    for stride, length in zip(a.strides, a.shape, strict=True):
        if stride < 0:
            start += stride * (length - 1)
        else:
            end += stride * (length - 1)
    return start, end + a.itemsize


def is_plain(a: Array) -> bool:
    """Tell whether kernels can work on the array's memory as it is."""
    return bool(a.flags.c_contiguous and a.flags.aligned and a.dtype.isnative)


def plain_gradient(what: str, g: Any) -> Array | None:
    """Return a gradient as kernels can read it; NumPy's scalars are arrays of no dimension."""
    if g is None:
        return None
    if not isinstance(g, np.ndarray | np.generic):
        raise TypeError(f"{what}: got {type(g).__name__}, wanted a NumPy array or None")
    array = np.asarray(g)
    return contiguous(what, array, array.dtype)

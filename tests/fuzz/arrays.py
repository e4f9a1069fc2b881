"""Drawn arrays: shapes, numbers, types and layouts that a call must take, and values that it must refuse."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from tests.support.arrays import INF, NAN, Array, bits
from tests.support.layouts import LAYOUTS, misaligned, offset_by_one

Rng = np.random.Generator

FLOATS = tuple(np.dtype(t) for t in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16))
INTEGERS = tuple(np.dtype(t) for t in "bBhHiIqQ?")
# Around the widths of registers and of short rows; rarely around blocks and chunks.
LENGTHS = (1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 130)
LONG = (511, 513, 1025, 4099, 16385, 40001)
SPECIAL = (NAN, INF, -INF, 0.0, -0.0, 1e-42, -80.0, 80.0)


def pick(rng: Rng, choices: Any) -> Any:
    """Return one of the choices as it is, which `rng.choice` would make an element of an array of."""
    return choices[int(rng.integers(len(choices)))]


def chance(rng: Rng, share: float) -> bool:
    return bool(rng.random() < share)


def draw_shape(rng: Rng, axes: int | None = None, largest: int = 3000) -> tuple[int, ...]:
    axes = pick(rng, (0, 1, 1, 1, 2, 2, 2, 3)) if axes is None else axes
    shape: list[int] = []
    for _ in range(axes):
        length = pick(rng, LONG) if chance(rng, 0.02) else 0 if chance(rng, 0.02) else pick(rng, LENGTHS)
        fits = length * int(np.prod(shape)) <= (50_000 if length > 500 and max(shape, default=1) < 4 else largest)
        shape.append(length if fits else 1)
    rng.shuffle(shape)
    return tuple(shape)


def with_specials(rng: Rng, a: Array, numbers: tuple[float, ...] = SPECIAL) -> Array:
    """Put some numbers that are not finite, or far from 1, into a fifth of the arrays."""
    if a.size and a.dtype.kind not in "iub" and chance(rng, 0.2):
        a = np.array(a)
        for _ in range(pick(rng, (1, 1, 2, 5))):
            a.reshape(-1)[rng.integers(a.size)] = pick(rng, numbers)
    return a


def transposed(a: Array) -> Array:
    return np.array(a.T, order="C").T


def other_order(a: Array) -> Array:
    """The same numbers, their bytes in the other order, where NumPy knows the type."""
    return a.astype(a.dtype.newbyteorder(">")) if a.dtype.name != "bfloat16" else a.copy()


def locked(a: Array) -> Array:
    copy = a.copy()
    copy.flags.writeable = False
    return copy


def one_repeated(a: Array) -> Array:
    """The first number, everywhere, at strides of 0."""
    return np.broadcast_to(a.reshape(-1)[:1].reshape((1,) * a.ndim), a.shape) if a.size else a


IN_PLACE = (*LAYOUTS.values(), transposed)
INPUTS = (*IN_PLACE, locked, other_order)


def lay(rng: Rng, a: Array, output: bool = False) -> Array:
    """Return the numbers of an array in memory of any layout."""
    a = np.asarray(a)
    if a.ndim == 0:
        return np.asarray(pick(rng, (np.array, misaligned, offset_by_one))(a))
    if not output and chance(rng, 0.02):
        return one_repeated(a)
    return np.asarray(pick(rng, IN_PLACE if output else INPUTS)(a)) if chance(rng, 0.5) else a.copy()


def draw_labels(rng: Rng, shape: tuple[int, ...], classes: int, ignored: int | None) -> Array:
    """Labels of any type that holds them, some of them ignored."""
    t = rng.integers(0, max(1, classes), size=shape)
    if ignored is not None and chance(rng, 0.4):
        t = np.where(rng.random(size=shape) < 0.3, ignored, t)
    low, high = t.min(initial=0), t.max(initial=0)
    types = [
        d for d in INTEGERS if (low >= 0 and high <= 1 if d.kind == "b" else np.can_cast(np.min_scalar_type(low), d))
    ]
    fitting = [d for d in types if d.kind == "b" or np.iinfo(d).min <= low <= high <= np.iinfo(d).max]
    return t.astype(
        pick(rng, (np.dtype(np.float32), np.dtype(np.float64))) if chance(rng, 0.05) else pick(rng, fitting)
    )


def wide(a: Any, widens: bool = True) -> Any:
    """The same numbers contiguous and in native order, those of 16 bits in float32 if wanted."""
    if not isinstance(a, np.ndarray):
        return a
    narrow = a.dtype.newbyteorder("=") in FLOATS[2:]
    return np.array(a, np.float32 if narrow and widens else a.dtype.newbyteorder("="), order="C")


def root_of(a: Array) -> Array:
    """The array whose memory a view is of."""
    while isinstance(a.base, np.ndarray):
        a = a.base
    return a


class Memory:
    """What arrays, and the memory around those that are views, held before a call."""

    def __init__(self, arrays: list[Array]) -> None:
        self._roots = [root_of(a) for a in arrays]
        self._before = [bits(a) for a in self._roots]

    def is_unchanged(self) -> bool:
        return [bits(a) for a in self._roots] == self._before


def wrong_array(rng: Rng, a: Any) -> Any:
    """Something else in the place of an array; now and then it is as good."""
    a = np.asarray(a)
    flat = a.reshape(-1)
    makers: tuple[Any, ...] = (
        lambda: None,
        lambda: "text",
        lambda: object(),
        lambda: [[1.0], [1.0, 2.0]],
        lambda: a.astype(np.float32).astype(complex),
        lambda: a.astype(np.float32).astype(object),
        lambda: a.astype(np.float32).astype(str),
        lambda: a.astype(np.float32).astype(np.longdouble),
        lambda: np.zeros(a.shape, "M8[s]"),
        lambda: np.zeros(a.shape, [("a", "f4")]),
        lambda: np.ma.masked_array(a.astype(np.float32)),
        lambda: a[..., None],
        lambda: flat[:-1],
        lambda: np.concatenate([flat, flat[:1]]),
        lambda: a.T,
        lambda: flat,
        lambda: np.asarray(0.5),
        lambda: 1,
        lambda: -1e30,
        lambda: a.astype(np.float32).astype(np.int8) if np.isfinite(a.astype(np.float32)).all() else None,
        lambda: a.astype(np.float32).tolist(),
        lambda: (a.astype(np.float32) * -3 - 1).astype(a.dtype) if a.dtype.kind in "fi" else a,
    )
    with np.errstate(all="ignore"):
        return pick(rng, makers)()


def wrong_label(rng: Rng, t: Array, classes: int) -> Array:
    """Labels one of which is out of range."""
    value = pick(rng, (classes, -1, -101, 2**31, 2**31 + 5, 2**32, 2**62, -(2**63), 2**63, 2**64 - 1, 2**64 - 100))
    fits = [d for d in INTEGERS[:-1] if np.iinfo(d).min <= value <= np.iinfo(d).max]
    t = np.where(t < 0, 0, t).astype(pick(rng, fits) if chance(rng, 0.5) else fits[-1])
    if t.size:
        t.reshape(-1)[rng.integers(t.size)] = value
    return t

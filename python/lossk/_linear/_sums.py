"""Where the sums over chunks are that become dw: in dw itself or, where it has 16 bits, in float32."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .. import _core
from .._arrays import Array


class Segment(NamedTuple):
    """Sums of consecutive classes, one row a class."""

    first: int
    sums: Array


def plain_sums(dw: Array) -> Iterator[list[Segment]]:
    """Yield dw, all of whose classes are summed at once."""
    yield [Segment(0, dw)]


def _in_place(classes: int, buffer: int) -> int:
    """Return of how many classes a pass keeps the sums in dw itself."""
    return max(0, min(classes // 2, classes - buffer))


def passes(classes: int, buffer: int) -> int:
    """Return how many passes `wide_sums` takes where `buffer` has so many rows."""
    count = 0
    while classes > 0:
        classes -= _in_place(classes, buffer) + buffer
        count += 1
    return count


def wide_sums(dw: Array, buffer: Array, tile: Array, threads: int | None) -> Iterator[list[Segment]]:
    """Yield float32 sums for a dw (C, D) of 16 bits, class by class from the last down; they are rounded afterwards.

    The classes of one pass are as many as there is memory for: `buffer` (rows, D), and what is not final yet of dw, two
    of whose rows hold one row of sums. So each pass leaves less than half of the classes to the next. `tile` holds
    rows on their way.
    """
    stop = len(dw)
    aligned = dw.ctypes.data % 4 == 0
    while stop:
        own = _in_place(stop, len(buffer)) if aligned else 0
        extra = min(len(buffer), stop - own)
        start = stop - own - extra
        in_place = dw[: 2 * own].reshape(-1).view(np.float32).reshape(own, dw.shape[1])
        yield [Segment(start, in_place), Segment(start + own, buffer[:extra])]
        _round_in_place(dw, in_place, start, tile, threads)
        _core.convert(dw[start + own : stop], buffer[:extra], threads)
        stop = start


def _round_in_place(dw: Array, sums: Array, start: int, tile: Array, threads: int | None) -> None:
    """Round row i of the sums to row start + i of dw, in whose rows 2 i and 2 i + 1 it lies.

    What is written there destroys the sums of row (start + i) / 2. From i = start upwards that row comes before i, and
    not before start; below start, going down, it comes after i. Either way it has been read.
    """
    step = 2 * len(tile)
    rounded = tile.reshape(-1).view(dw.dtype).reshape(step, dw.shape[1])
    split = min(start, len(sums))
    upwards = [(i, min(i + step, len(sums))) for i in range(split, len(sums), step)]
    downwards = [(max(0, i - step), i) for i in range(split, 0, -step)]
    for first, last in (*upwards, *downwards):
        _core.convert(rounded[: last - first], sums[first:last], threads)
        dw[start + first : start + last] = rounded[: last - first]

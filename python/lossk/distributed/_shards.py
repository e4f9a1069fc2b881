"""How classes are split over ranks."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from .._arrays import Array, is_integer
from ._group import Group, as_group

PIECE: int = _core.softmax_chunk_classes


def shard(classes: int, group: Any = None, *, equal_bits: bool = True) -> slice:
    """Return which of so many classes a rank holds.

    Parameters
    ----------
    classes : int
        Of the whole layer.
    group
        As in `as_group`.
    equal_bits : bool
        Cut between pieces of 16,384 classes only, as results with the same bits for any number of ranks want; ranks may
        have one piece more than others, or none. Else as evenly as can be.

    Returns
    -------
    slice
        Of the classes; consecutive ranks hold consecutive classes.

    Examples
    --------
    >>> from lossk.distributed import SingleProcess, shard
    >>> shard(50_257, SingleProcess())
    slice(0, 50257, None)
    """
    if not is_integer(classes) or classes < 1:
        raise ValueError(f"classes: got {classes!r}, wanted a positive integer")
    made, classes = as_group(group), int(classes)
    units = -(-classes // PIECE) if equal_bits else classes
    unit = PIECE if equal_bits else 1
    first, last = (min(classes, units * rank // made.size * unit) for rank in (made.rank, made.rank + 1))
    return slice(first, last)


class Shards:
    """Where the classes of each rank begin, from what every rank says that it holds."""

    def __init__(self, group: Group, classes: int, weight: Array | None) -> None:
        counts = group.all_gather(np.array([classes], np.int64))()[:, 0]
        bounds = np.concatenate([[0], np.cumsum(counts)])
        self.bounds = [int(b) for b in bounds]
        self.first, self.last = int(bounds[group.rank]), int(bounds[group.rank + 1])
        self.total, self.largest = int(bounds[-1]), int(counts.max())
        self.pieces = [-(-int(n) // PIECE) for n in counts]
        if self.total < 1:
            raise ValueError("classes: got 0 on every rank, wanted at least one class")
        if weight is not None and len(weight) != self.total:
            raise ValueError(f"weight: got {len(weight)} weights, wanted {self.total}, one a class of all ranks")

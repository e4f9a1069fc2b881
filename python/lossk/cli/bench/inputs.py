"""The arrays of a case: made from a seed, so that every process makes the same ones.

Random numbers are slow to draw, so one block of about a million is drawn and repeated; its prime length keeps rows
from repeating in step. Pointwise losses draw from their own domain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

import lossk
from lossk.cli.bench.cases import Case

Array = npt.NDArray[Any]

BLOCK = 1_000_003  # a prime
LEARNING_RATE = 1e-3
MOMENTUM = 0.9
HUBER_DELTA = 1.0
HINGE_MARGIN = 1.0


@dataclass
class Inputs:
    """What a kernel is given. Unused fields stay empty.

    z: prediction, (rows, classes) or (elements,);  y: target like z, or labels (rows,) int64;
    more: what the loss takes besides, like z;
    params, grads: lists of arrays, one per tensor.
    """

    z: Array = field(default_factory=lambda: np.empty(0))
    y: Array = field(default_factory=lambda: np.empty(0))
    more: list[Array] = field(default_factory=list)
    params: list[Array] = field(default_factory=list)
    grads: list[Array] = field(default_factory=list)


def normal(seed: int, shape: tuple[int, ...], dtype: str, scale: float = 1.0) -> Array:
    """Draw normal numbers of this shape and dtype, a repeated block."""
    block = np.random.default_rng(seed).standard_normal(BLOCK, dtype=np.float32) * np.float32(scale)
    return np.resize(block.astype(dtype), shape)


def make_inputs(case: Case, seed: int) -> Inputs:
    """Make the arrays of a case; equal seeds give equal bits."""
    if case.kind == "optimizer":
        tensors, elements = case.shape
        params, grads = normal(seed, case.shape, case.dtype), normal(seed + 1, case.shape, case.dtype)
        return Inputs(
            params=[params[i].reshape(elements).copy() for i in range(tensors)],
            grads=[grads[i].reshape(elements).copy() for i in range(tensors)],
        )
    if case.kind == "rows":
        rows, classes = case.shape
        z = normal(seed, case.shape, case.dtype, scale=3.0)
        return Inputs(z=z, y=np.random.default_rng(seed + 1).integers(0, classes, rows, dtype=np.int64))
    if case.kind == "row map":
        return Inputs(z=normal(seed, case.shape, case.dtype, scale=3.0))
    drawn = getattr(lossk, case.kernel).draw(np.random.default_rng(seed), (min(case.size, BLOCK),), case.dtype)
    z, y, *more = (np.resize(array, case.shape) for array in drawn)
    return Inputs(z=z, y=y, more=more)


def sample(case: Case) -> npt.NDArray[np.intp]:
    """Where results are compared with the reference: 16 rows, or 4096 elements (of the first tensor), evenly spread."""
    length = case.shape[1] if case.kind == "optimizer" else case.shape[0]
    wanted = 16 if case.kind in ("rows", "row map") else 4096
    return np.unique(np.linspace(0, length - 1, min(wanted, length)).astype(np.intp))

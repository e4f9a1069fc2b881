"""The arrays of a case: made from a seed, so that every process makes the same ones.

Random numbers are slow to draw, so one block of about a million is drawn and repeated; its prime length keeps rows
from repeating in step. Pointwise losses draw from their own domain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

import lossk
from lossk.cli.bench.cases import ITEMSIZE, PROBABILITIES, Case, Kind

Array = npt.NDArray[Any]

BLOCK = 1_000_003  # a prime
LEARNING_RATE = 1e-3
MOMENTUM = 0.9
HUBER_DELTA = 1.0
HINGE_MARGIN = 1.0


IGNORED = -100
IGNORED_EVERY = 10  # with ignored rows, one in so many


@dataclass
class Inputs:
    """What a kernel is given. Unused fields stay empty.

    z: prediction, (rows, classes) or (elements,);  y: target like z, or labels (rows,) int64;
    more: what the loss takes besides, like z; keywords: arguments by name, such as `sample_weight`;
    params, grads: lists of arrays, one per tensor. For an activation's vjp `y` is the cotangent; for a linear layer
    `z` is its input (rows, features), `more` holds its weights (classes, features).
    """

    z: Array = field(default_factory=lambda: np.empty(0))
    y: Array = field(default_factory=lambda: np.empty(0))
    more: list[Array] = field(default_factory=list)
    keywords: dict[str, Array] = field(default_factory=dict)
    params: list[Array] = field(default_factory=list)
    grads: list[Array] = field(default_factory=list)


def dtype_of(name: str) -> np.dtype[Any]:
    """Return the dtype of this name; bfloat16 is ml_dtypes' (ImportError without it)."""
    if name == "bfloat16":
        import ml_dtypes  # noqa: F401, makes the name known
    return np.dtype(name)


def missing_dtype(case: Case) -> str:
    """Say why a case's dtype cannot be had, if so."""
    if case.dtype not in ITEMSIZE:
        return f"unknown dtype {case.dtype}"
    try:
        dtype_of(case.dtype)
    except ImportError:
        return "skipped: bfloat16 is ml_dtypes' type, which is not installed"
    return ""


def normal(seed: int, shape: tuple[int, ...], dtype: str, scale: float = 1.0) -> Array:
    """Draw normal numbers of this shape and dtype, a repeated block."""
    block = np.random.default_rng(seed).standard_normal(BLOCK, dtype=np.float32) * np.float32(scale)
    return np.resize(block.astype(dtype_of(dtype)), shape)


def make_inputs(case: Case, seed: int) -> Inputs:
    """Make the arrays of a case; equal seeds give equal bits."""
    return _MAKERS[case.kind](case, seed)


def _optimizer(case: Case, seed: int) -> Inputs:
    tensors, elements = case.shape
    params, grads = normal(seed, case.shape, case.dtype), normal(seed + 1, case.shape, case.dtype)
    return Inputs(
        params=[params[i].reshape(elements).copy() for i in range(tensors)],
        grads=[grads[i].reshape(elements).copy() for i in range(tensors)],
    )


def _labels(rows: int, classes: int, seed: int) -> Array:
    return np.random.default_rng(seed).integers(0, classes, rows, dtype=np.int64)


def _rows(case: Case, seed: int) -> Inputs:
    rows, classes = case.shape
    if case.kernel != "CrossEntropy":
        drawn = getattr(lossk, case.kernel)._draw(
            np.random.default_rng(seed), (min(rows, BLOCK // classes + 1), classes), dtype_of(case.dtype)
        )
        z, y = (np.resize(array, (rows, *array.shape[1:])) for array in drawn)
        return Inputs(z=z, y=y)
    inputs = Inputs(z=normal(seed, case.shape, case.dtype, scale=3.0), y=_labels(rows, classes, seed + 1))
    if case.option == PROBABILITIES:
        odds = np.exp(normal(seed + 1, case.shape, "float32"))
        inputs.y = (odds / odds.sum(axis=1, keepdims=True)).astype(dtype_of(case.dtype))
    elif case.option == "ignored rows":
        inputs.y[::IGNORED_EVERY] = IGNORED
    elif case.option == "sample weights":
        weights = np.random.default_rng(seed + 2).uniform(0.5, 1.5, rows)
        inputs.keywords["sample_weight"] = weights.astype("float64" if case.dtype == "float64" else "float32")
    return inputs


def _map(case: Case, seed: int) -> Inputs:
    inputs = Inputs(z=normal(seed, case.shape, case.dtype, scale=3.0))
    if case.goal == "vjp":
        inputs.y = normal(seed + 1, case.shape, case.dtype)
    return inputs


def _pointwise(case: Case, seed: int) -> Inputs:
    draw = getattr(lossk, case.kernel)._draw
    drawn = draw(np.random.default_rng(seed), (min(case.size, BLOCK),), dtype_of(case.dtype))
    z, y, *more = (np.resize(array, case.shape) for array in drawn)
    return Inputs(z=z, y=y, more=more)


def _linear(case: Case, seed: int) -> Inputs:
    rows, features, classes = case.shape
    x = normal(seed, (rows, features), case.dtype)
    w = normal(seed + 1, (classes, features), case.dtype, scale=features**-0.5)
    return Inputs(z=x, more=[w], y=_labels(rows, classes, seed + 2))


_MAKERS: dict[Kind, Callable[[Case, int], Inputs]] = {
    "rows": _rows,
    "row map": _map,
    "activation": _map,
    "pointwise": _pointwise,
    "optimizer": _optimizer,
    "linear": _linear,
}


def sample(case: Case) -> npt.NDArray[np.intp]:
    """Where results are compared with the reference: 16 rows, or 4096 elements (of the first tensor), evenly spread."""
    length = case.shape[1] if case.kind == "optimizer" else case.shape[0]
    wanted = 16 if case.kind in ("rows", "row map", "linear") else 4096
    return np.unique(np.linspace(0, length - 1, min(wanted, length)).astype(np.intp))


def sampled(case: Case, array: Any, labels: Array) -> Array:
    """Take the places that are compared: of a layer's (dx, dw) rows, and the classes that are their labels."""
    places = sample(case)
    if case.kind != "linear":
        return np.array(array[places])
    dx, dw = array
    return np.concatenate([dx[places], dw[labels[places]]])

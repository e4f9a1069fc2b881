"""The inputs of a call, checked, and where its results go; rows are looked at in pieces, and not copied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._arrays import FLOATS, Array, arithmetic, as_array, contiguous, floats, share_memory, weights_like
from .._keywords import Value
from ..losses import RowStats
from ..losses._targets import labels_of

# Rows of a chunk among all rows: a slice, or their numbers where some rows do not count.
Rows: TypeAlias = "slice | NDArray[np.intp]"

PIECE = 4096  # rows that are looked at at once
GROUP = 32  # rows that lie together in a chunk


def pieces(rows: int) -> Iterator[slice]:
    """Cut rows into pieces whose masks and numbers take no memory to speak of."""
    for start in range(0, rows, PIECE):
        yield slice(start, min(start + PIECE, rows))


class Problem(NamedTuple):
    """Checked inputs: x (N, D) and w (C, D), labels (N) of any integer type, factors (N) of rows, how to reduce."""

    x: Array
    w: Array
    bias: Array | None
    labels: Array
    factors: tuple[Array, ...]
    ignore_index: int | None
    shape: tuple[int, ...]
    reduction: str
    divisor: float | None
    counted: int

    @property
    def wide(self) -> np.dtype[Any]:
        """The type that products are computed in."""
        return arithmetic(self.x.dtype)

    @property
    def narrow(self) -> bool:
        """Whether inputs have 16 bits, and are widened tile by tile."""
        return self.x.dtype not in FLOATS

    @property
    def drops(self) -> bool:
        """Whether there are rows that do not count."""
        return self.counted < self.labels.size

    @property
    def poisoned(self) -> bool:
        """Whether a mean divides by 0, or by NaN: everything becomes NaN."""
        return self.divisor is not None and (self.divisor == 0 or self.divisor != self.divisor)

    def chunks(self, largest: int) -> Iterator[Rows]:
        """Cut the rows that count into chunks of nearly equal size."""
        even = GROUP if GROUP <= largest < self.counted else 1
        count = -(-self.counted // (largest // even * even))
        starts = (-(-i * self.counted // (count * even)) * even for i in range(count))
        bounds = [*starts, self.counted] if count else []
        if not self.drops:
            yield from map(slice, bounds[:-1], bounds[1:])
            return
        unread, left = pieces(self.labels.size), np.empty(0, np.intp)
        for size in np.diff(bounds):
            found = [left]
            while sum(map(len, found)) < size:
                piece = next(unread)
                found.append(np.flatnonzero(counting(self.labels[piece], self.ignore_index)) + piece.start)
            rows = np.concatenate(found)
            yield rows[:size]
            left = rows[size:]

    def row_weight(self, rows: Rows) -> Array | None:
        """Return the factor of each of these rows."""
        return product_of(self.factors, rows, self.wide)

    def factor(self) -> float:
        """Return what a sum over rows is multiplied with, NaN where a mean divides by 0 or by NaN."""
        if self.divisor is None:
            return 1.0
        return float("nan") if self.poisoned else 1.0 / self.divisor


def counting(labels: Array, ignore_index: int | None) -> NDArray[np.bool_]:
    """Return which rows count."""
    return np.ones(labels.shape, np.bool_) if ignore_index is None else np.asarray(labels != ignore_index)


def product_of(factors: tuple[Array, ...], rows: Rows, dtype: np.dtype[Any]) -> Array | None:
    """Return the products of these rows' factors."""
    if not factors:
        return None
    product = factors[0][rows].astype(dtype)
    for factor in factors[1:]:
        product *= factor[rows].astype(dtype)
    return product


# ---- checks -------------------------------------------------------------------------------------------------------


def float_rows(name: str, value: Any) -> Array:
    """Return an array of rows."""
    array = floats(name, value)
    if array.ndim == 0:
        raise ValueError(f"{name}: got a 0-dimensional array, wanted shape (..., D)")
    return contiguous(array, array.dtype)


def integer_labels(target: Any, shape: tuple[int, ...], classes: int, ignore_index: int | None) -> Array:
    """Return the labels, flat, each of them a class or ignored."""
    flat = labels_of(target, shape, classes).reshape(-1)
    for piece in pieces(flat.size):
        part = flat[piece]
        bad = counting(part, ignore_index) & ((part < 0) | (part >= classes))
        if bad.any():
            row = piece.start + int(np.argmax(bad))
            at = ", ".join(str(int(i)) for i in np.unravel_index(row, shape))
            ignored = "" if ignore_index is None else f" or ignore_index ({ignore_index})"
            raise IndexError(f"target[{at}]: got {flat[row]}, wanted a label in [0, {classes}){ignored}")
    return flat


def row_factor(name: str, value: Any, shape: tuple[int, ...]) -> Array:
    """Return one factor a row, flat, of any real type."""
    array = as_array(name, value)
    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        raise TypeError(f"{name}: got dtype {array.dtype}, wanted real numbers")
    if array.shape != shape:
        raise ValueError(f"{name}: got shape {array.shape}, wanted {shape}, one weight a row")
    return array.reshape(-1)


def class_bias(bias: Any, x: Array, classes: int) -> Array:
    """Return the bias in the type of the products."""
    array = weights_like("bias", bias, x)
    if array.shape != (classes,):
        raise ValueError(f"bias: got shape {array.shape}, wanted {(classes,)}, one a class")
    return array


# ---- results ------------------------------------------------------------------------------------------------------


class Outputs(NamedTuple):
    """Gradients, None where they are not wanted."""

    dx: Array
    dw: Array | None = None
    dbias: Array | None = None


def make_outputs(problem: Problem, x_shape: tuple[int, ...], wrt: str, out: Any) -> Outputs:
    """Return what gradients are written to: the user's arrays, checked, or fresh ones."""
    if wrt not in ("all", "x"):
        raise ValueError(f"wrt: got {wrt!r}, wanted 'all' or 'x'")
    x, w, bias = problem.x, problem.w, problem.bias
    shapes = [x_shape] if wrt == "x" else [x_shape, w.shape, None if bias is None else bias.shape]
    if out is None:
        fresh: list[Any] = [None if shape is None else np.empty(shape, x.dtype) for shape in shapes]
        return Outputs(*fresh)
    if wrt == "all" and (not isinstance(out, tuple) or tuple.__len__(out) != 3):
        raise TypeError(f"out: got {type(out).__name__}, wanted a tuple of three: dx, dw, and dbias or None")
    given = (out,) if wrt == "x" else out
    names = ("out",) if wrt == "x" else ("out[0]", "out[1]", "out[2]")
    for i, (name, array, shape) in enumerate(zip(names, given, shapes, strict=True)):
        _check_output(name, array, shape, (x.dtype,) if i == 0 else (x.dtype, problem.wide), problem)
    for i, name in enumerate(names):
        for other in range(i):
            if given[i] is not None and given[other] is not None and share_memory(given[i], given[other]):
                raise ValueError(f"{name}: got memory that overlaps {names[other]}, wanted separate memory")
    return Outputs(*given)


def _check_output(name: str, out: Any, shape: Any, dtypes: tuple[np.dtype[Any], ...], problem: Problem) -> None:
    if shape is None:
        if out is not None:
            raise TypeError(f"{name}: got {type(out).__name__}, wanted None, as there is no bias")
        return
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name}: got {type(out).__name__}, wanted a NumPy array to write to")
    if out.dtype not in dtypes:
        raise TypeError(f"{name}: got dtype {out.dtype}, wanted {' or '.join(dict.fromkeys(map(str, dtypes)))}")
    if out.shape != shape:
        raise ValueError(f"{name}: got shape {out.shape}, wanted {shape}")
    if not (out.flags.c_contiguous and out.flags.writeable and out.flags.aligned):
        raise ValueError(f"{name}: got a strided or read-only array, wanted a C-contiguous, writeable one")
    weights = (("sample_weight or cotangent", factor) for factor in problem.factors)
    inputs = (("x", problem.x), ("w", problem.w), ("bias", problem.bias), ("target", problem.labels), *weights)
    for input_name, array in inputs:
        if array is not None and share_memory(out, array):
            raise ValueError(f"{name}: got memory that overlaps {input_name}, wanted separate memory")


class Results:
    """The value of a call, and its statistics, put together from chunks."""

    def __init__(self, problem: Problem, stats: bool) -> None:
        self.problem = problem
        rows = problem.labels.size
        self.total = 0.0
        self.each = np.zeros(rows, problem.wide) if problem.reduction == "none" else None
        self._lse = np.full(rows, np.nan, problem.wide) if stats else None
        self._correct = np.zeros(rows, np.bool_) if stats else None

    def add(self, rows: Rows, value: Any, stats: RowStats | None) -> None:
        """Take over what a chunk of rows came to."""
        if self.each is not None:
            self.each[rows] = value
        else:
            self.total += value
        if stats is not None and self._lse is not None and self._correct is not None:
            self._lse[rows], self._correct[rows] = stats.lse, stats.correct

    def value(self) -> Value:
        """Return the loss."""
        if self.each is not None:
            return self.each.reshape(self.problem.shape)
        return float("nan") if self.problem.poisoned else self.total

    @property
    def stats(self) -> RowStats | None:
        """Statistics of all rows, where they were asked for."""
        if self._lse is None or self._correct is None:
            return None
        return RowStats(self._lse.reshape(self.problem.shape), self._correct.reshape(self.problem.shape))

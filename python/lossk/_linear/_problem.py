"""The inputs of a call, checked; rows are looked at in pieces, and not copied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._arrays import FLOATS, Array, arithmetic, as_array, contiguous, floats, weights_like
from .._keywords import Reduction
from .._runtime import get_num_threads
from ..losses._targets import labels_of
from ..losses.cross_entropy import CrossEntropy

# Rows of a chunk among all rows: a slice, or their numbers where some rows do not count.
Rows: TypeAlias = "slice | NDArray[np.intp]"

PIECE = 4096  # rows that are looked at at once
GROUP = 32  # rows that lie together in a chunk
# Of how many bfloat16 the sum stands for a float32, where these are multiplied faster.
TERMS = {"highest": 3, "high": 2, "medium": 1}


def pieces(rows: int) -> Iterator[slice]:
    """Cut rows into pieces whose masks and numbers take no memory to speak of."""
    for start in range(0, rows, PIECE):
        yield slice(start, min(start + PIECE, rows))


class Problem(NamedTuple):
    """Checked inputs: x (N, D) and w (C, D), labels (N) of any integer type, factors (N) of rows; how to reduce."""

    x: Array
    w: Array
    bias: Array | None
    labels: Array
    factors: tuple[Array, ...]
    ignore_index: int | None
    shape: tuple[int, ...]
    reduction: str
    threads: int
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
                found.append(np.flatnonzero(self.counts(piece)) + piece.start)
            rows = np.concatenate(found)
            yield rows[:size]
            left = rows[size:]

    def counts(self, rows: slice) -> NDArray[np.bool_]:
        """Return which of these rows count: those that are not ignored and have no factor of 0."""
        counts = counting(self.labels[rows], self.ignore_index)
        for factor in self.factors:
            counts &= factor[rows] != 0
        return counts

    def row_weight(self, rows: Rows) -> Array | None:
        """Return the factor of each of these rows."""
        return product_of(self.factors, rows, self.wide)

    def factor(self) -> float:
        """Return what a sum over rows is multiplied with, NaN where a mean divides by 0 or by NaN."""
        if self.divisor is None:
            return 1.0
        return float("nan") if self.poisoned else 1.0 / self.divisor


def counting(labels: Array, ignore_index: int | None) -> NDArray[np.bool_]:
    """Return which labels are not ignored."""
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
    return contiguous(name, array, array.dtype)


def integer_labels(target: Any, shape: tuple[int, ...], classes: int, ignore_index: int | None) -> Array:
    """Return the labels, flat, each of them a class or ignored."""
    flat = labels_of(target, shape, classes).reshape(-1)
    for piece in pieces(flat.size):
        part = flat[piece]
        outside = (part < 0) | (part >= classes)
        if outside.any() and (bad := outside & counting(part, ignore_index)).any():
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


def make_problem(
    loss: CrossEntropy,
    x: Any,
    w: Any,
    target: Any,
    bias: Any,
    factors: dict[str, Any],
    reduction: Reduction,
    normalizer: float | None,
    threads: int | None,
    label_classes: int | None = None,
) -> Problem:
    """Check all inputs of a call; `label_classes`: how many classes there are where `w` holds some of them."""
    x, w = float_rows("x", x), float_rows("w", w)
    if w.dtype != x.dtype:
        raise TypeError(f"w: got dtype {w.dtype}, wanted {x.dtype}, the dtype of x")
    if w.ndim != 2 or w.shape[1] != x.shape[-1] or (len(w) == 0 and label_classes is None):
        raise ValueError(f"w: got shape {w.shape}, wanted (C, {x.shape[-1]}), as x has shape {x.shape}")
    bias = None if bias is None else class_bias(bias, x, len(w))
    classes = len(w) if label_classes is None else label_classes
    if loss.weight is not None and loss.weight.shape != (classes,):
        raise ValueError(f"weight: got shape {loss.weight.shape}, wanted {(classes,)}, one weight a class")
    shape, ignored = x.shape[:-1], loss.ignore_index
    labels = integer_labels(target, shape, classes, ignored)
    weights = tuple(row_factor(name, factor, shape) for name, factor in factors.items() if factor is not None)
    if not (type(reduction) is str and reduction == "mean" and normalizer is None and threads is None):
        # The kernel checks these, on no rows at all.
        options: dict[str, Any] = {"reduction": reduction, "normalizer": normalizer, "num_threads": threads}
        loss(np.empty((0, classes), x.dtype), np.empty(0, np.int64), **options)
    flat = x.reshape(labels.size, x.shape[-1])
    threads = get_num_threads() if threads is None else int(threads)
    problem = Problem(flat, w, bias, labels, weights, ignored, shape, reduction, threads, None, 0)
    counted = sum(int(np.count_nonzero(problem.counts(piece))) for piece in pieces(labels.size))
    problem = problem._replace(counted=counted)
    if reduction != "mean":
        return problem
    return problem._replace(divisor=_weight_of(problem, loss) if normalizer is None else float(normalizer))


def _weight_of(problem: Problem, loss: CrossEntropy) -> float:
    """Return the weight of the rows that count."""
    if loss.weight is None and not problem.factors:
        return float(problem.counted)
    total = 0.0
    for piece in pieces(problem.labels.size):
        labels = problem.labels[piece]
        counts = problem.counts(piece)
        weights = np.ones(int(np.count_nonzero(counts))) if loss.weight is None else loss.weight[labels[counts]]
        factor = product_of(problem.factors, piece, problem.wide)
        total += float((weights if factor is None else weights * factor[counts]).sum(dtype=np.float64))
    return total

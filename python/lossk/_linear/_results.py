"""Where a call's results go: gradients, the user's arrays or fresh ones, and the value, put together from chunks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._arrays import Array, empty, share_memory
from .._keywords import Value
from .._request import told_tuple
from ..losses import RowStats
from ._problem import Problem, Rows


class Outputs(NamedTuple):
    """Gradients, None where they are not wanted."""

    dx: Array
    dw: Array | None = None
    dbias: Array | None = None

    def plain(self) -> Outputs:
        """Return the same memory as arrays of no subclass."""
        dw, dbias = (None if a is None else np.asarray(a) for a in (self.dw, self.dbias))
        return Outputs(np.asarray(self.dx), dw, dbias)


def make_outputs(problem: Problem, wrt: str, out: Any) -> Outputs:
    """Return what gradients are written to: the user's arrays, checked, or fresh ones."""
    if wrt not in ("all", "x"):
        raise ValueError(f"wrt: got {wrt!r}, wanted 'all' or 'x'")
    x, w, bias = problem.x, problem.w, problem.bias
    x_shape = (*problem.shape, x.shape[1])
    shapes = [x_shape] if wrt == "x" else [x_shape, w.shape, None if bias is None else bias.shape]
    if out is None:
        named = zip(("dx", "dw", "dbias"), shapes, strict=False)
        fresh: list[Any] = [None if shape is None else empty(name, shape, x.dtype) for name, shape in named]
        return Outputs(*fresh)
    if wrt == "all":
        if isinstance(out, tuple) and tuple.__len__(out) == 2 and bias is None:
            out = (*out, None)
        if not isinstance(out, tuple) or tuple.__len__(out) != 3:
            wanted = "2 or 3: dx and dw, and None" if bias is None else "3: dx, dw and dbias"
            raise TypeError(f"out: got {told_tuple(out)}, wanted a tuple of {wanted}")
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
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
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

"""Chunks of rows: multiplied, turned into their gradient in place by CrossEntropy's kernel, and multiplied again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import _core
from .._arrays import Array
from .._cross_entropy import CrossEntropy
from .._families import Value
from .._rows import RowStats
from ._problem import Outputs, Problem, Results, Rows, logits_of_a_product
from ._sums import Segment, passes, plain_sums, wide_sums

# Beside arrays of the sizes below: masks of a piece, and what the kernel keeps of a row.
RESERVE, ROW_RESERVE = 128 << 10, 64


class Memory:
    """How many rows a chunk has, and classes a tile, so that everything together stays below `chunk_bytes`.

    An eighth of it is for a tile: classes of w that are widened, or of dw that are about to be added. Where float32
    sums of a 16-bit dw are kept, half of it is theirs.
    """

    def __init__(self, problem: Problem, chunk_bytes: int, into: Outputs | None) -> None:
        classes, features = problem.w.shape
        size = problem.wide.itemsize
        # Logits; copies of x, of dx and of products on their way there.
        copies = (4 if problem.narrow else 2) * features if problem.narrow or problem.drops else 0
        self.row_bytes = (classes + copies) * size + ROW_RESERVE
        fixed = RESERVE + (2 * classes * size if into is not None and into.dbias is not None else 0)
        self.tile_classes = min(classes, max(1, chunk_bytes // 8 // max(1, features * size)))
        self.rows = self._rows(problem, chunk_bytes, 7, fixed)
        self.sum_classes, self.passes = 0, 1
        if into is not None and into.dw is not None and into.dw.dtype != problem.wide and self.rows < problem.counted:
            self.rows = self._rows(problem, chunk_bytes, 3, fixed)
            self.sum_classes = max(1, chunk_bytes // 2 // max(1, features * size))
            self.passes = passes(classes, self.sum_classes)

    def _rows(self, problem: Problem, chunk_bytes: int, eighths: int, fixed: int) -> int:
        features = problem.w.shape[1]
        one_tile = features * problem.wide.itemsize
        needed = max((self.row_bytes + fixed) * 8 // eighths + 8, 8 * one_tile)
        if chunk_bytes < needed:
            raise ValueError(f"chunk_bytes: got {chunk_bytes}, wanted at least {needed} for one row")
        largest: int = (chunk_bytes // 8 * eighths - fixed) // self.row_bytes
        # With R rows a chunk moves 6 C D numbers of w and dw, and 5 R C of logits unless they stay in the cache, which
        # is worth it while R is not much smaller than D, and products are not too small.
        cached = logits_of_a_product(features, problem.wide.itemsize) // self.row_bytes
        return min(largest, cached) if cached >= features else largest


class Run:
    """One call: its memory, and the steps of a chunk."""

    def __init__(
        self, problem: Problem, loss: CrossEntropy, memory: Memory, threads: int | None, into: Outputs | None
    ) -> None:
        self.problem, self.loss, self.memory, self.threads, self.into = problem, loss, memory, threads, into
        classes, features = problem.w.shape
        self.largest = min(self.memory.rows, problem.counted)
        self.logits = np.empty(self.largest * classes, problem.wide)
        tiles = problem.narrow or (into is not None and into.dw is not None)
        self.tile = np.empty((self.memory.tile_classes if tiles else 0, features), problem.wide)
        self.dx: Array | None = into.dx.reshape(problem.x.shape) if into is not None else None
        has_bias = into is not None and into.dbias is not None
        self.dbias = np.zeros(classes, problem.wide) if has_bias else None

    def all(self, stats: bool) -> tuple[Value, RowStats | None]:
        """Return value and statistics, and fill the gradients."""
        results = Results(self.problem, stats)
        if self.into is not None:
            self._clear(self.into)
        for number, segments in enumerate(self._passes()):
            for i, rows in enumerate(self.problem.chunks(self.memory.rows)):
                self._chunk(rows, results if number == 0 else None, stats, segments, i == 0)
        self._round_bias()
        return results.value(), results.stats

    def _passes(self) -> Iterator[list[Segment]]:
        """Yield the sums of dw that a pass over the rows adds to; one pass is enough but for a dw of 16 bits."""
        dw = self.into.dw if self.into is not None else None
        if dw is None or not self.problem.counted:
            yield []
        elif self.memory.sum_classes:
            room = np.empty((min(self.memory.sum_classes, len(dw)), dw.shape[1]), self.problem.wide)
            yield from wide_sums(dw, room, self.tile, self.threads)
        else:
            yield from plain_sums(dw)

    def _clear(self, into: Outputs) -> None:
        """Zero what rows that do not count leave untouched."""
        if self.problem.drops:
            into.dx[...] = 0
        if into.dw is not None and not self.problem.counted:
            into.dw[...] = 0

    def _round_bias(self) -> None:
        if self.into is not None and self.into.dbias is not None:
            self.into.dbias[...] = self.dbias

    # ---- a chunk -------------------------------------------------------------------------------------------------

    def _chunk(self, rows: Rows, results: Results | None, stats: bool, segments: list[Segment], first: bool) -> None:
        """Work on one chunk; `results` are those of the first pass, later ones only add to dw."""
        problem = self.problem
        x = self._x(rows)
        z = self._logits(x)
        labels, row_weight = problem.labels[rows].astype(np.int64), problem.row_weight(rows)
        options = {**problem.scale(), "sample_weight": row_weight, "num_threads": self.threads, "stats": stats}
        if self.into is None:
            answer = self.loss(z, labels, **options)
            value, row_stats = answer if stats else (answer, None)
        else:
            value, _, *rest = self.loss.value_and_grad(z, labels, out=z, **options)
            row_stats = rest[0] if rest else None
            if problem.poisoned:
                z[...] = np.nan
        if results is not None:
            results.add(rows, value, row_stats)
            if self.into is not None:
                self._give_dx(rows, z)
                self._add_bias(z)
        for segment in segments:
            self._add_dw(segment, z, x, first)

    def _x(self, rows: Rows) -> Array:
        x: Array = self.problem.x[rows]
        return self._widen(x, np.empty(x.shape, self.problem.wide)) if self.problem.narrow else x

    def _widen(self, narrow: Array, wide: Array) -> Array:
        _core.convert(wide, np.ascontiguousarray(narrow), self.threads)
        return wide

    def _tiles(self) -> Iterator[tuple[slice, Array]]:
        """Yield classes, and their rows of w as products want them."""
        w = self.problem.w
        for start in range(0, len(w), self.memory.tile_classes):
            classes = slice(start, min(start + self.memory.tile_classes, len(w)))
            part = w[classes]
            yield classes, self._widen(part, self.tile[: len(part)]) if self.problem.narrow else part

    def _logits(self, x: Array) -> Array:
        """Return x @ w.T + bias, tile by tile: what BLAS keeps of w grows with the classes of a product."""
        w, bias = self.problem.w, self.problem.bias
        z = self.logits[: len(x) * len(w)].reshape(len(x), -1)
        for classes, part in self._tiles():
            np.matmul(x, part.T, out=z[:, classes])
            if bias is not None:
                z[:, classes] += bias[classes]
        return z

    def _give_dx(self, rows: Rows, dz: Array) -> None:
        """Write dz @ w to the rows of dx."""
        assert self.dx is not None, "gradients are wanted"
        if not self.problem.narrow:
            if isinstance(rows, slice):
                np.matmul(dz, self.problem.w, out=self.dx[rows])
            else:
                self.dx[rows] = np.matmul(dz, self.problem.w)
            return
        total, product = (np.empty((len(dz), self.dx.shape[1]), self.problem.wide) for _ in range(2))
        for classes, part in self._tiles():
            np.matmul(dz[:, classes], part, out=total if classes.start == 0 else product)
            if classes.start > 0:
                _core.add_to(total, product, self.threads)
        rounded = product.reshape(-1).view(self.dx.dtype)[: total.size].reshape(total.shape)
        _core.convert(rounded, total, self.threads)
        self.dx[rows] = rounded

    def _add_bias(self, dz: Array) -> None:
        if self.dbias is not None:
            self.dbias += np.matmul(np.ones(len(dz), dz.dtype), dz)

    def _add_dw(self, segment: Segment, dz: Array, x: Array, first: bool) -> None:
        """Add the part of dz.T @ x that belongs to these classes, tile by tile: dw has no second copy."""
        same = segment.sums.dtype == dz.dtype
        for start in range(0, len(segment.sums), self.memory.tile_classes):
            sums = segment.sums[start : start + self.memory.tile_classes]
            at = segment.first + start
            direct = first and same
            product = np.matmul(dz[:, at : at + len(sums)].T, x, out=sums if direct else self.tile[: len(sums)])
            if not direct:
                # A dw of 16 bits is only written to directly where there is one chunk.
                (_core.add_to if same else _core.convert)(sums, product, self.threads)

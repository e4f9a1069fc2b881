"""Tiles of classes, for layers of which a chunk holds few rows: sums of exponentials first, then gradients.

A chunk of R rows of logits reads w and adds to dw once, which costs about what a product and a softmax of 48 rows
cost, for few features and for many. Where a chunk would hold fewer, rows are taken in larger groups and classes in
tiles, so that logits, a part of w and a part of dw are in the cache together. A tile's gradient needs the log-sum-exp
of the whole row, so its logits are computed twice. With `p` the softmax of a tile and `s` one factor a row,
``dz = s p`` beside the label's own element::

    s = a exp(lse of the tile - lse)    dx = s (p @ w)    dw = p.T @ (s x)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _core
from .._arrays import Array
from .._cross_entropy import CrossEntropy
from .._families import GRAD, VALUE, Value
from .._rows import LOSS, NO_OPTIONS, SOFTMAX
from ._problem import EVEN_ROWS, Outputs, Problem, Results, Rows, logits_of_a_product
from ._run import Memory

FEW_ROWS = 48
USUAL_TILE = 4096  # classes; more where rows are so few that products would be small
VECTORS = 16 * 8  # bytes of a row in the vectors of a group

Vector = NDArray[np.float64]


class Sizes(NamedTuple):
    """Classes of a tile, rows of a block, whose logits of a tile are held, and rows of a group."""

    classes: int
    block: int
    group: int


def sizes_for(problem: Problem, chunk_bytes: int, memory: Memory) -> Sizes | None:
    """Return the sizes of tiles; None where chunks of whole rows, which `memory` is for, are as good or better.

    Tiles are for plain losses: smoothing and softcap are functions of all of a row's logits, or of each. A `dw` of 16
    bits is rounded once, so all rows must be one group.
    """
    if problem.counted <= memory.rows or (memory.rows >= FEW_ROWS and memory.passes == 1):
        return None
    one_group = memory.sum_classes > 0
    classes, features = problem.w.shape
    size = problem.wide.itemsize
    row = VECTORS + 2 * features * size
    group = min(chunk_bytes // (2 if one_group else 4) // row, problem.counted)
    # Thirds of what a group leaves: parts of w and of dw, twice where those are widened; logits; products and dbias.
    sixth = (chunk_bytes - group * row) // 6
    rows = min(sixth // (4 * features * size), problem.counted)
    logits = min(2 * sixth, logits_of_a_product(features, size))
    tile = min(classes, max(USUAL_TILE, logits // (max(1, rows) * size)), 2 * sixth // (3 * features * size))
    block = min(logits // (max(1, tile) * size), rows)
    too_long = problem.bias is not None and 2 * classes * size > sixth
    if min(tile, block) < 2 or group < block or too_long or (one_group and group < problem.counted):
        return None
    return Sizes(even_size(classes, tile), even_size(group, block), group)


def even_size(length: int, largest: int) -> int:
    """Return the size of nearly equal pieces, if need be a multiple of what registers hold: no small rest is left."""
    if length <= largest or largest < EVEN_ROWS:
        return largest
    count = -(-length // (largest // EVEN_ROWS * EVEN_ROWS))
    return -(-length // (count * EVEN_ROWS)) * EVEN_ROWS


class Group(NamedTuple):
    """Rows of a group: their inputs, labels, weights of rows and of labels' classes, and their part of dx."""

    x: Array
    labels: NDArray[np.int64]
    weight: Vector
    of_class: Vector
    dx: Array | None


def _labels_among(classes: slice, labels: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return the rows whose labels are among the classes of a tile, and where in the tile those are."""
    at = labels - classes.start
    here = np.flatnonzero((at >= 0) & (labels < classes.stop))
    return here, at[here]


class TiledRun:
    """One call by tiles."""

    def __init__(
        self, problem: Problem, loss: CrossEntropy, sizes: Sizes, threads: int | None, into: Outputs | None
    ) -> None:
        self.problem, self.loss, self.sizes, self.threads, self.into = problem, loss, sizes, threads, into
        features, wide = problem.w.shape[1], problem.wide
        self.logits = np.empty(sizes.block * sizes.classes, wide)
        self.tile, self.sums = (np.empty((sizes.classes if problem.narrow else 0, features), wide) for _ in range(2))
        self.part_of_dw = np.empty((sizes.classes, features), wide)
        self.scaled, self.product = (np.empty((sizes.block, features), wide) for _ in range(2))
        has_bias = into is not None and into.dbias is not None
        self.dbias = np.zeros(len(problem.w), wide) if has_bias else None

    def all(self) -> Value:
        """Return the value, and fill the gradients."""
        problem, results = self.problem, Results(self.problem, False)
        if self.into is not None:
            for gradient in self.into if problem.poisoned else (self.into.dx,) if problem.drops else ():
                if gradient is not None:
                    gradient[...] = np.nan if problem.poisoned else 0
        for i, rows in enumerate(problem.chunks(self.sizes.group)):
            group = self._group(rows)
            rest, own = self._sums_of_exponentials(group)
            results.add(rows, self._values(group, rest, own), None)
            if self.into is not None and not problem.poisoned:
                self._gradients(group, rest, own, i == 0)
                self._give_dx(rows, group)
        if self.into is not None and self.into.dbias is not None and not problem.poisoned:
            self.into.dbias[...] = self.dbias
        return results.value()

    def _group(self, rows: Rows) -> Group:
        problem = self.problem
        x: Array = problem.x[rows]
        if problem.narrow:
            x = self._widen(x, np.empty(x.shape, problem.wide))
        labels = problem.labels[rows].astype(np.int64)
        weight = problem.row_weight(rows)
        of_class = np.ones(len(x)) if self.loss.weight is None else self.loss.weight[labels].astype(np.float64)
        dx = None
        if self.into is not None:
            mine = self.into.dx.reshape(problem.x.shape)[rows]  # a view, or memory of its own
            dx = np.empty(x.shape, problem.wide) if mine.dtype != problem.wide else mine
            dx[...] = 0
        return Group(x, labels, np.ones(len(x)) if weight is None else weight.astype(np.float64), of_class, dx)

    def _give_dx(self, rows: Rows, group: Group) -> None:
        assert self.into is not None, "gradients are wanted"
        assert group.dx is not None, "gradients are wanted"
        dx = self.into.dx.reshape(self.problem.x.shape)
        if dx.dtype != group.dx.dtype:
            rounded = group.x.reshape(-1).view(dx.dtype)[: group.dx.size].reshape(group.dx.shape)
            _core.convert(rounded, group.dx, self.threads)
            dx[rows] = rounded
        elif not isinstance(rows, slice):
            dx[rows] = group.dx

    # ---- tiles -------------------------------------------------------------------------------------------------------

    def _tiles(self) -> Iterator[tuple[slice, Array]]:
        w = self.problem.w
        for start in range(0, len(w), self.sizes.classes):
            classes = slice(start, min(start + self.sizes.classes, len(w)))
            part = w[classes]
            yield classes, self._widen(part, self.tile[: len(part)]) if self.problem.narrow else part

    def _blocks(self, rows: int) -> Iterator[slice]:
        for start in range(0, rows, self.sizes.block):
            yield slice(start, min(start + self.sizes.block, rows))

    def _widen(self, narrow: Array, wide: Array) -> Array:
        _core.convert(wide, np.ascontiguousarray(narrow), self.threads)
        return wide

    def _others(self, group: Group, block: slice, classes: slice, part: Array, own: Vector | None) -> Array:
        """Return a block's logits of a tile, -infinity at labels; `own` takes those of the labels."""
        z = self.logits[: (block.stop - block.start) * len(part)].reshape(-1, len(part))
        np.matmul(group.x[block], part.T, out=z)
        if self.problem.bias is not None:
            z += self.problem.bias[classes]
        here, at = _labels_among(classes, group.labels[block])
        if own is not None:
            own[block][here] = z[here, at]
        z[here, at] = -np.inf
        return z

    def _softmax(self, output: int, verb: int, z: Array, out: Array | None) -> tuple[Array, Vector]:
        """Return what the kernel returns, and log-sum-exps."""
        got = _core.softmax(output, verb, z, None, NO_OPTIONS, None, -1, None, "sum", None, self.threads, out, True)
        return got[0], got[1].astype(np.float64)

    def _sums_of_exponentials(self, group: Group) -> tuple[Vector, Vector]:
        """Return the log-sum-exp of the classes that are not a row's label, and the label's logit."""
        rest, own = np.full(len(group.x), -np.inf), np.empty(len(group.x))
        for classes, part in self._tiles():
            for block in self._blocks(len(group.x)):
                _, lse = self._softmax(LOSS, VALUE, self._others(group, block, classes, part, own), None)
                with np.errstate(invalid="ignore"):
                    rest[block] = np.logaddexp(rest[block], lse)
        return rest, own

    # ---- values and gradients ----------------------------------------------------------------------------------------

    def _scale(self) -> float:
        scale = self.problem.scale()
        return 1.0 / scale["normalizer"] if "normalizer" in scale else 1.0

    def _values(self, group: Group, rest: Vector, own: Vector) -> Value:
        with np.errstate(invalid="ignore"):
            lse = np.logaddexp(rest, own)
            value = group.of_class * np.logaddexp(rest - own, 0.0)
            value[group.of_class == 0] = 0  # at a logit of -infinity, too
            value = group.weight * np.where(np.isfinite(lse), value + self.loss.z_loss * lse**2, np.nan)
        return value if self.problem.reduction == "none" else float(value.sum()) * self._scale()

    def _gradients(self, group: Group, rest: Vector, own: Vector, first: bool) -> None:
        """Add a group's part of all gradients."""
        assert self.into is not None, "gradients are wanted"
        with np.errstate(invalid="ignore", over="ignore", under="ignore"):
            lse = np.where(np.isfinite(lse := np.logaddexp(rest, own)), lse, np.nan)
            weight, z_slope = group.weight * self._scale(), 2 * self.loss.z_loss * lse
            every = weight * (group.of_class + z_slope)
            # p - 1 of the label is -exp(rest - lse): no digits are lost where p is near 1.
            at_label = weight * (z_slope * np.exp(own - lse) - group.of_class * np.exp(rest - lse))
        for classes, part in self._tiles():
            sums = self._sums_of(classes)
            for i, block in enumerate(self._blocks(len(group.x))):
                self._add_block(group, block, classes, part, (every[block], lse[block]), sums, first and i == 0)
                self._add_labels(group, block, classes, part, at_label, sums)
            dw = self.into.dw
            if dw is not None and sums is not None and dw.dtype != sums.dtype:
                _core.convert(dw[classes], sums, self.threads)

    def _sums_of(self, classes: slice) -> Array | None:
        """Return where the sums of a tile's part of dw are: there, or where they have all their digits."""
        dw = self.into.dw if self.into is not None else None
        if dw is None:
            return None
        return dw[classes] if dw.dtype == self.problem.wide else self.sums[: classes.stop - classes.start]

    def _add_block(
        self,
        group: Group,
        block: slice,
        classes: slice,
        part: Array,
        factors: tuple[Vector, Vector],
        sums: Array | None,
        first: bool,
    ) -> None:
        """Add what a block's logits of a tile give, but for labels."""
        assert group.dx is not None, "gradients are wanted"
        z = self._others(group, block, classes, part, None)
        p, lse_of_tile = self._softmax(SOFTMAX, GRAD, z, z)
        p[np.isneginf(lse_of_tile)] = 0
        every, lse = factors
        s = (every * np.exp(lse_of_tile - lse)).astype(p.dtype)[:, None]
        product = np.matmul(p, part, out=self.product[: len(p)])
        product *= s
        group.dx[block] += product
        if self.dbias is not None:
            self.dbias[classes] += np.matmul(s[:, 0], p)
        if sums is not None:
            scaled = np.multiply(group.x[block], s, out=self.scaled[: len(p)])
            added = np.matmul(p.T, scaled, out=sums if first else self.part_of_dw[: len(part)])
            if not first:
                _core.add_to(sums, added, self.threads)

    def _add_labels(
        self, group: Group, block: slice, classes: slice, part: Array, at_label: Vector, sums: Array | None
    ) -> None:
        """Add what the labels among a tile's classes give."""
        assert group.dx is not None, "gradients are wanted"
        here, at = _labels_among(classes, group.labels[block])
        rows = here + block.start
        c = at_label[rows].astype(part.dtype)
        group.dx[rows] += part[at] * c[:, None]
        if self.dbias is not None:
            np.add.at(self.dbias[classes], at, c)
        if sums is not None:
            np.add.at(sums, at, group.x[rows] * c[:, None])

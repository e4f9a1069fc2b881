"""A linear layer whose classes are split over processes, and the cross-entropy of its outputs."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core
from .._arrays import Array, is_integer
from .._keywords import Reduction, Value
from .._linear._loss import SMALLEST_CHUNK
from .._linear._problem import TERMS, Problem, float_rows, make_problem
from ..losses import RowStats
from ..losses.cross_entropy import CrossEntropy
from ._agreement import agree, digest
from ._group import Wait, as_group
from ._shards import PIECE, Shards
from ._sums import exp, in_order, typed

ROWS = 256  # of a chunk: as many as products add up in registers, so their number changes no bit of a sum
# Numbers of a row in a piece, as row_number of drivers/linear/sums.hpp has them.
MAXIMUM, OTHERS, LINEAR, OWN, TOP, OWN_TOP, IS_FIRST = range(7)
NUMBERS = 12


class VocabParallelLinearCrossEntropy:
    r"""`LinearCrossEntropy` of a layer whose classes are split over the ranks of a group.

    Each rank holds the rows of `w` (and the entries of `bias`) of consecutive classes; `x` and the labels are the same
    on all ranks. Of each row a few numbers are exchanged for a piece of 16,384 classes, never a logit; `dx` is added up
    over the ranks while the next rows are computed, `dw` and `dbias` stay where their classes are.

    Making one is collective, as are its calls.

    Parameters
    ----------
    group, classes, equal_bits, check
        As in `VocabParallelCrossEntropy`.
    weight, ignore_index, label_smoothing, z_loss, softcap, precision
        As in `LinearCrossEntropy`.
    chunk_bytes : int
        Memory for logits. Where it holds those of 256 rows and this rank's classes, they are kept for the gradient;
        else they are computed a second time, one piece after the other.

    Notes
    -----
    With `equal_bits` every piece's part of `dx` is gathered, and they are added in the order of the classes: a rank
    sends ``4 D`` bytes for a row and piece. Without it parts are added up by the engine: ``8 D`` bytes for a row,
    whatever the number of classes. A `dw` of 16 bits is summed up in an array of float32 besides.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> from lossk.distributed import SingleProcess, VocabParallelLinearCrossEntropy
    >>> rng = np.random.default_rng(0)
    >>> x, w, labels = rng.normal(size=(6, 4)), rng.normal(size=(10, 4)), np.array([1, 2, 3, -100, 5, 6])
    >>> layer = VocabParallelLinearCrossEntropy(SingleProcess(), classes=10)
    >>> loss, (dx, dw, dbias) = layer.value_and_grad(x, w, labels)
    >>> bool(np.isclose(loss, lossk.LinearCrossEntropy()(x, w, labels)))
    True
    """

    def __init__(
        self,
        group: Any,
        classes: int,
        *,
        weight: ArrayLike | None = None,
        ignore_index: int | None = -100,
        label_smoothing: float = 0.0,
        z_loss: float = 0.0,
        softcap: float | None = None,
        precision: Literal["highest", "high", "medium"] = "highest",
        chunk_bytes: int = 64 << 20,
        equal_bits: bool = True,
        check: bool = True,
    ) -> None:
        self.group, self.check, self.equal_bits = as_group(group), check, equal_bits
        self.precision, self.chunk_bytes = precision, chunk_bytes

        def prepare() -> tuple[CrossEntropy, dict[str, Any]]:
            if not is_integer(classes) or classes < 0:
                raise ValueError(f"classes: got {classes!r}, wanted how many this rank holds, 0 or more")
            if precision not in TERMS:
                raise ValueError(f"precision: got {precision!r}, wanted one of {', '.join(map(repr, TERMS))}")
            if not is_integer(chunk_bytes) or chunk_bytes < SMALLEST_CHUNK:
                raise ValueError(f"chunk_bytes: got {chunk_bytes!r}, wanted an integer, at least {SMALLEST_CHUNK}")
            loss = CrossEntropy(weight, ignore_index, label_smoothing, z_loss, softcap)
            options = {"options": repr(loss)[:400], "weight": digest(loss.weight), "precision": precision}
            return loss, {**options, "equal_bits": equal_bits}

        self.loss = agree(self.group, prepare)
        self.shards = Shards(self.group, int(classes), self.loss.weight)

    def __call__(
        self,
        x: ArrayLike,
        w: ArrayLike,
        target: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
        stats: bool = False,
    ) -> Any:
        """Return the loss, the same on all ranks.

        Parameters
        ----------
        x : array_like of float32, float64, float16 or bfloat16, shape (..., D)
            Inputs, the same on all ranks.
        w : array_like (c, D), of the dtype of `x`
            Weights of this rank's classes.
        target : array_like of integers, shape (...)
            Labels, counted over the classes of all ranks; the same on all.
        bias : array_like (c,), optional
            Of this rank's classes.
        sample_weight, reduction, normalizer, num_threads, stats
            As for `LinearCrossEntropy`.
        """
        how = sample_weight, reduction, normalizer, num_threads
        problem = self._prepare(x, w, target, bias, *how, "value")
        value, row_stats = _Call(self, problem, None, stats).run()
        return (value, row_stats) if stats else value

    def value_and_grad(
        self,
        x: ArrayLike,
        w: ArrayLike,
        target: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
        stats: bool = False,
    ) -> Any:
        """Return the loss and its gradients ``(dx, dw, dbias)``.

        `dx` is the same on all ranks, `dw` and `dbias` are those of this rank's classes; `dbias` is None without
        `bias`. With ``reduction="none"`` gradients are those of the sum. Parameters are those of calling the loss; with
        `stats` the `RowStats` come last.
        """
        how = sample_weight, reduction, normalizer, num_threads
        problem = self._prepare(x, w, target, bias, *how, "value_and_grad")
        into = Gradients(
            np.zeros((*problem.shape, problem.x.shape[1]), problem.x.dtype),
            np.zeros(problem.w.shape, problem.x.dtype),
            None if problem.bias is None else np.zeros(problem.bias.shape, problem.x.dtype),
        )
        value, row_stats = _Call(self, problem, into, stats).run()
        return (value, tuple(into), row_stats) if stats else (value, tuple(into))

    def grad(self, x: ArrayLike, w: ArrayLike, target: ArrayLike, bias: ArrayLike | None = None, **options: Any) -> Any:
        """Return the gradients of `value_and_grad`, whose keywords these are."""
        return self.value_and_grad(x, w, target, bias, **options)[1]

    def _prepare(self, *arguments: Any) -> Problem:
        return agree(self.group, lambda: self._checked(*arguments)) if self.check else self._checked(*arguments)[0]

    def _checked(
        self,
        x: ArrayLike,
        w: ArrayLike,
        target: ArrayLike,
        bias: ArrayLike | None,
        sample_weight: ArrayLike | None,
        reduction: Reduction,
        normalizer: float | None,
        num_threads: int | None,
        verb: str,
    ) -> tuple[Problem, dict[str, Any]]:
        """Return the problem, and what all ranks have to have in common."""
        own, total = self.shards.last - self.shards.first, self.shards.total
        factors = {"sample_weight": sample_weight}
        w = float_rows("w", w)
        if w.ndim != 2 or w.shape[0] != own:
            raise ValueError(f"w: got shape {w.shape}, wanted ({own}, D), the classes of this rank")
        problem = make_problem(
            self.loss, x, w, target, bias, factors, reduction, normalizer, num_threads, label_classes=total
        )
        facts = {
            "verb": verb,
            "shape of x": [*problem.shape, problem.x.shape[1]],
            "dtype": str(problem.x.dtype),
            "bias": bias is not None,
            "reduction": reduction,
            "normalizer": None if normalizer is None else float(normalizer),
            "x": digest(problem.x),
            "labels": digest(problem.labels),
            "sample_weight": digest(problem.factors[0] if problem.factors else None),
        }
        return problem, facts


class Gradients(NamedTuple):
    """Of the inputs, and of this rank's part of the layer."""

    dx: Array
    dw: Array
    dbias: Array | None


class _Call:
    """One call: its chunks of rows, and what they add up to."""

    def __init__(
        self, layer: VocabParallelLinearCrossEntropy, problem: Problem, into: Gradients | None, stats: bool
    ) -> None:
        self.layer, self.problem, self.into, self.stats = layer, problem, into, stats
        wide = self.wide = problem.wide
        own = len(problem.w)
        # A rank without classes has a part of none: the value is known there, too.
        self.pieces = [slice(first, min(own, first + PIECE)) for first in range(0, max(1, own), PIECE)]
        weights = layer.loss._weights
        self.class_weight = None if weights is None else typed(weights, wide)
        self.class_weight_sum = float(layer.shards.total if weights is None else weights[1].sum())
        self.dw = None if into is None else into.dw if into.dw.dtype == wide else np.empty(into.dw.shape, wide)
        self.dbias = None if into is None or into.dbias is None else np.zeros(own)
        self.each = np.zeros(len(problem.x), wide)
        self.lse, self.correct = np.full(len(problem.x), np.nan, wide), np.zeros(len(problem.x), np.bool_)
        self.total = 0.0
        self.keeps = self._memory() * 2 <= layer.chunk_bytes
        one = 0 if self.keeps else self._piece_bytes(PIECE)
        self.shared = np.empty(one, np.uint8)

    def _piece_bytes(self, classes: int) -> int:
        problem = self.problem
        terms = TERMS[self.layer.precision]
        fixed, each, _ = _core.linear_bytes(
            problem.x, terms, ROWS, problem.x.shape[1], min(classes, len(problem.w)), self.into is not None
        )
        return int(fixed + each * problem.threads)

    def _memory(self) -> int:
        """Bytes of a chunk whose logits are kept."""
        return sum(self._piece_bytes(piece.stop - piece.start) for piece in self.pieces)

    def run(self) -> tuple[Value, RowStats | None]:
        """Go over chunks of rows: while one's sums are on their way, and another's `dx`, others are worked on."""
        waiting: list[_Chunk] = []  # for the sums of other ranks
        sent: list[_Chunk] = []  # their dx
        counted = 0
        for rows in self.problem.chunks(ROWS) if self.problem.counted else ():
            numbers = np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows
            for first in range(0, len(numbers), ROWS):
                waiting.append(_Chunk(self, numbers[first : first + ROWS], counted == 0))
                counted += 1
                if len(waiting) > 1:
                    sent.append(waiting.pop(0).finish())
                if len(sent) > 1:
                    sent.pop(0).take_dx()
        for chunk in [*sent, *(chunk.finish() for chunk in waiting)]:
            chunk.take_dx()
        return self._results()

    def _results(self) -> tuple[Value, RowStats | None]:
        problem, into = self.problem, self.into
        if into is not None and self.dw is not None and self.dw is not into.dw and problem.counted:
            _core.convert(into.dw, self.dw, problem.threads)
        if into is not None and into.dbias is not None and self.dbias is not None:
            into.dbias[...] = self.dbias
        known = RowStats(self.lse.reshape(problem.shape), self.correct.reshape(problem.shape)) if self.stats else None
        if problem.reduction == "none":
            return self.each.reshape(problem.shape), known
        return float("nan") if problem.poisoned else self.total * problem.factor(), known


class _Chunk:
    """Some rows: their sums on their way when made; gradients at their end."""

    def __init__(self, call: _Call, rows: NDArray[np.intp], first: bool) -> None:
        self.call, self.rows = call, rows
        problem, wide = call.problem, call.wide
        shards = call.layer.shards
        self.labels = np.ascontiguousarray(problem.labels[rows], np.int64)
        self.each, self.lse = np.empty(len(rows), wide), np.empty(len(rows), wide)
        self.correct = np.empty(len(rows), np.bool_) if call.stats else None
        x, row_weight = np.ascontiguousarray(problem.x[rows]), problem.row_weight(rows)
        features = problem.x.shape[1]
        self.dx = None if call.into is None else np.empty((len(call.pieces), len(rows), features), wide)
        self.parts: list[Any] = []
        found = []
        for number, piece in enumerate(call.pieces):
            start = shards.first + piece.start
            count = piece.stop - piece.start
            local = self.labels - start
            inside = (local >= 0) & (local < count)
            memory = call.shared if not call.keeps else np.empty(call._piece_bytes(count), np.uint8)
            part = _core.LinearShard(
                x=x,
                w=problem.w[piece],
                bias=None if problem.bias is None else problem.bias[piece],
                labels=np.where(inside, local, count),
                class_weight=None if call.class_weight is None else call.class_weight[start : start + count],
                row_weight=row_weight,
                options=call.layer.loss._options,
                row_classes=shards.total,
                class_weight_sum=call.class_weight_sum,
                scale=problem.factor(),
                each=self.each,
                lse=self.lse,
                correct=self.correct,
                dx=None if self.dx is None else self.dx[number],
                dw=None if call.dw is None else call.dw[piece],
                first=first,
                dbias=None if call.dbias is None else call.dbias[piece],
                terms=TERMS[call.layer.precision],
                memory=memory,
                threads=problem.threads,
            )
            self.parts.append(part)
            found.append(part.sum_up()[: IS_FIRST + 1])
        sent = np.zeros((max(shards.pieces), IS_FIRST + 1, len(rows)))
        sent[: len(found)] = found
        self.wait: Wait = call.layer.group.all_gather(sent)

    def finish(self) -> _Chunk:
        """Take the sums of all ranks, make gradients of them, and send dx."""
        call, shards = self.call, self.call.layer.shards
        gathered = self.wait()
        pieces = np.concatenate([part[:n] for part, n in zip(gathered, shards.pieces, strict=True)])
        numbers = _of_rows(pieces, self._owner())
        for part in self.parts:
            total = part.finish(
                of_rows=numbers, labels=self.labels, class_weight=call.class_weight, again=not call.keeps
            )
        call.total += total
        call.each[self.rows], call.lse[self.rows] = self.each, self.lse
        if self.correct is not None:
            call.correct[self.rows] = self.correct
        self.parts.clear()  # and their memory
        if self.dx is not None:
            self.wait = self._send_dx(self.dx)
        return self

    def take_dx(self) -> None:
        """Write what the parts of dx of all ranks come to."""
        layer, into = self.call.layer, self.call.into
        if into is None:
            return
        whole = self.wait()
        if layer.equal_bits:
            whole = in_order([part for rank, n in zip(whole, layer.shards.pieces, strict=True) for part in rank[:n]])
        into.dx.reshape(self.call.problem.x.shape)[self.rows] = whole

    def _owner(self) -> NDArray[np.intp]:
        """Return the number of the piece that holds each row's label, over all ranks."""
        shards = self.call.layer.shards
        starts = np.concatenate(
            [first + PIECE * np.arange(n) for first, n in zip(shards.bounds, shards.pieces, strict=False)]
        )
        return np.searchsorted(starts, self.labels, side="right") - 1

    def _send_dx(self, parts: Array) -> Wait:
        layer = self.call.layer
        if not layer.equal_bits:
            return layer.group.all_reduce(in_order(list(parts)))
        most = max(layer.shards.pieces)
        sent = parts if len(parts) == most else np.concatenate([parts, np.zeros((most - len(parts), *parts.shape[1:]))])
        return layer.group.all_gather(sent.astype(parts.dtype, copy=False))


def _of_rows(pieces: Array, owner: NDArray[np.intp]) -> Array:
    """Return the numbers of whole rows (NUMBERS, rows) from those of pieces (pieces, 7, rows), in their order."""
    rows = pieces.shape[2]
    numbers = np.zeros((NUMBERS, rows))
    maximum = pieces[:, MAXIMUM].max(axis=0)
    for piece in pieces:
        with np.errstate(invalid="ignore", over="ignore"):
            numbers[OTHERS] += piece[OTHERS] * exp(piece[MAXIMUM] - maximum)
        numbers[LINEAR] += piece[LINEAR]
    numbers[MAXIMUM] = maximum
    at = np.arange(rows)
    numbers[OWN] = pieces[owner, OWN, at]
    own_top = pieces[owner, OWN_TOP, at]
    first = pieces[owner, IS_FIRST, at] != 0
    for number, piece in enumerate(pieces):
        before = number < owner
        first &= (number == owner) | np.where(before, piece[TOP] < own_top, piece[TOP] <= own_top)
    numbers[IS_FIRST] = first
    return numbers

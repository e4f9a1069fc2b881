"""Chunks of rows, one after the other: how large they are, and what each adds to value and gradients."""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _core
from .._arrays import Array, arithmetic, empty
from .._keywords import Value
from ..losses import RowStats
from ._problem import GROUP, TERMS, Problem, Rows
from ._results import Outputs, Results
from ._sums import Segment, passes, plain_sums, wide_sums

if TYPE_CHECKING:
    from ._loss import LinearCrossEntropy

BLOCK = 252  # classes whose sums are added up apart: windows hold whole blocks
# Blocks that a window holds, where they fit, before memory goes to kept ones. Threads share out a window's blocks, so
# up to as many threads find one each.
WINDOW_BLOCKS = 16
# Rows of a chunk from which on keeping its logits pays. A chunk reads w twice and reads and writes dw, 16 bytes an
# element in float32, which takes as long as 160 to 320 operations, as the CPUs of bench/machines do 10 to 20 in the
# time of a byte; computing logits a second time takes 2 operations an element and row.
WORTHWHILE_ROWS = 96
# Besides arrays of the chunk: masks of a piece of rows, labels and numbers of a chunk's rows.
RESERVE, ROW_RESERVE = 128 << 10, 40


class Plan(NamedTuple):
    """How large the parts of a call are."""

    rows: int  # of a chunk
    window: int  # classes whose logits are held at once
    bytes: int  # of everything
    threads: int
    sum_classes: int = 0  # of dw that have float32 sums
    kept: int = 0  # blocks whose exponentials are kept in the chunk's memory, after those that dw holds


class Sizes(NamedTuple):
    """All that a plan depends on."""

    isa: str
    unit: str  # what multiplies
    dtype: np.dtype[Any]
    counted: int  # rows
    features: int
    classes: int
    threads: int
    chunk_bytes: int
    terms: int
    capped: bool
    has_bias: bool
    has_class_weight: bool
    gradient: bool
    dw: np.dtype[Any] | None  # its type
    dbias: bool


def sizes_of(problem: Problem, layer: LinearCrossEntropy, into: Outputs | None) -> Sizes:
    """Return what the plan of a call depends on."""
    dw, dbias = (None, None) if into is None else (into.dw, into.dbias)
    terms = TERMS[layer.precision]
    return Sizes(
        _core.isa(),
        _core.linear_unit(problem.x, terms),
        problem.x.dtype,
        problem.counted,
        problem.x.shape[1],
        len(problem.w),
        problem.threads,
        layer.chunk_bytes,
        terms,
        bool(layer.softcap),
        problem.bias is not None,
        layer.weight is not None,
        into is not None,
        None if dw is None else dw.dtype,
        dbias is not None,
    )


class Planner:
    """Chooses sizes so that everything together stays below `chunk_bytes`, whatever the number of threads."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes, self.classes, self.features = sizes, sizes.classes, sizes.features
        self.chunk_bytes, self.counted = sizes.chunk_bytes, max(1, sizes.counted)
        self.like_x, self.wide = np.empty(0, sizes.dtype), arithmetic(sizes.dtype)
        self.thread_bytes = self._bytes(GROUP, BLOCK)[1]
        self.for_threads = max(self.chunk_bytes // 8, self.thread_bytes)
        # Sums of dbias, and numbers of classes that are copied where they have another type.
        of_class = 8 * sizes.dbias + self.wide.itemsize * (sizes.has_bias + sizes.has_class_weight)
        self.fixed = RESERVE + of_class * self.classes + self.for_threads + max(0, 4 * self.features - RESERVE // 2)

    def plan(self) -> Plan:
        """Return the sizes; ValueError where the least of them are too much."""
        budget, rows = self.chunk_bytes - self.fixed, self.counted
        narrow = self.sizes.dw is not None and self.sizes.dw != self.wide
        window = min(BLOCK, self.classes)
        if self._needed(GROUP, window) > budget:
            wanted = self.fixed + self._needed(GROUP, window)
            raise ValueError(
                f"chunk_bytes: got {self.chunk_bytes}, wanted at least {wanted}: {GROUP} rows, a window of classes, "
                "numbers of each class, memory of threads"
            )
        whole = self._rows(self.classes, budget)
        if whole >= rows or (whole >= WORTHWHILE_ROWS and not narrow):
            return self._sized(self._even(whole), self.classes)
        # Half is for the rows of a chunk: of a large one, next to the logits of a window, or to sums of dw.
        half = budget - budget // 2
        if not narrow:
            return self._windowed(max(GROUP, self._rows(window, half)), budget)
        sums = max(1, budget // 2 // max(1, 4 * self.features))
        beside_sums = self._rows(self.classes, half)
        if beside_sums >= min(rows, WORTHWHILE_ROWS) and passes(self.classes, sums) == 1:
            return self._sized(self._even(beside_sums), self.classes)._replace(sum_classes=sums)
        if self._rows(window, half) >= rows:
            return self._keeping(self._windowed(rows, budget), budget)
        if self._needed(GROUP, window) > half:
            wanted = self.fixed + 2 * self._needed(GROUP, window)
            raise ValueError(f"chunk_bytes: got {self.chunk_bytes}, wanted at least {wanted} for a 16-bit dw")
        return self._windowed(max(GROUP, beside_sums), half)._replace(sum_classes=sums)

    def _windowed(self, largest: int, budget: int) -> Plan:
        rows = self._even(largest)
        return self._sized(rows, self._window(rows, budget))

    def _keeping(self, plan: Plan, budget: int) -> Plan:
        """Return the plan with as small a window as its rows need, and kept blocks in the memory that this leaves."""
        blocks, fit = -(-self.classes // BLOCK), plan.window // BLOCK
        if self.sizes.capped or fit >= blocks or self.sizes.dtype == np.float16:
            return plan
        each = self._bytes(plan.rows, BLOCK)[2]
        in_dw = 2 * self.classes * self.features // max(each, 2 * BLOCK * self.features)
        of_window = self._needed(plan.rows, 2 * BLOCK) - self._needed(plan.rows, BLOCK)
        wanted = max(0, blocks - in_dw)
        window = max(min(fit, WINDOW_BLOCKS), fit - -(-wanted * each // of_window))
        kept = min(wanted, (fit - window) * of_window // each)
        sized = self._sized(plan.rows, window * BLOCK)
        return sized._replace(kept=kept, bytes=sized.bytes + kept * each)

    def _bytes(self, rows: int, window: int) -> tuple[int, int, int]:
        sizes = self.sizes
        return _core.linear_bytes(self.like_x, sizes.terms, rows, self.features, window, sizes.gradient)

    def _needed(self, rows: int, window: int) -> int:
        return int(self._bytes(rows, window)[0]) + rows * ROW_RESERVE

    def _rows(self, window: int, budget: int) -> int:
        """Return how many rows fit next to a window of so many classes; whole groups of them."""
        one = self._needed(GROUP, window)
        each = -(-one // GROUP)
        return 0 if one > budget else max(GROUP, (budget - RESERVE) // each // GROUP * GROUP)

    def _window(self, rows: int, budget: int) -> int:
        if self._needed(rows, self.classes) <= budget:
            return self.classes
        least, more = self._needed(rows, BLOCK), self._needed(rows, 2 * BLOCK)
        return BLOCK * max(1, (budget - least) // (more - least))

    def _even(self, largest: int) -> int:
        """Return the rows of chunks of nearly equal size."""
        count = -(-self.counted // largest)
        return min(self.counted, -(-self.counted // (count * GROUP)) * GROUP)

    def _sized(self, rows: int, window: int) -> Plan:
        threads = min(self.sizes.threads, self.for_threads // self.thread_bytes)
        return Plan(rows, window, self._bytes(rows, window)[0] + threads * self.thread_bytes, threads)


@functools.lru_cache(maxsize=64)
def plan_of(sizes: Sizes) -> Plan:
    """Return the plan for these sizes; of calls in a loop they are the same."""
    return Planner(sizes).plan()


class Run:
    """One call: its memory, and the steps of a chunk."""

    def __init__(
        self, problem: Problem, layer: LinearCrossEntropy, plan: Plan, into: Outputs | None, whole: bool
    ) -> None:
        self.problem, self.layer, self.plan, self.into, self.whole = problem, layer, plan, into, whole
        self.left_out = 0.0
        classes = len(problem.w)
        self.memory = empty("memory of a chunk (chunk_bytes)", plan.bytes, np.uint8)
        self.dx: Array | None = into.dx.reshape(problem.x.shape) if into is not None else None
        has_bias = into is not None and into.dbias is not None
        self.dbias = np.zeros(classes) if has_bias else None
        weight = layer.weight
        self.class_weight = None if weight is None else np.ascontiguousarray(weight, problem.wide)
        self.class_weight_sum = float(classes) if weight is None else float(weight.sum(dtype=np.float64))

    def all(self, stats: bool) -> tuple[Value, RowStats | None]:
        """Return value and statistics, and fill the gradients."""
        results = Results(self.problem, stats)
        if self.into is not None:
            self._clear(self.into)
        for number, segments in enumerate(self._passes()):
            for i, rows in enumerate(self.problem.chunks(self.plan.rows)):
                self._chunk(rows, results if number == 0 else None, stats, segments, i == 0)
        if self.into is not None and self.into.dbias is not None:
            self.into.dbias[...] = self.dbias
        row_stats = results.stats
        if row_stats is not None:
            row_stats.filtered = self.left_out
        return results.value(), row_stats

    def _passes(self) -> Iterator[list[Segment]]:
        """Yield the sums of dw that a pass over the rows adds to; one pass is enough but for a dw of 16 bits."""
        dw = self.into.dw if self.into is not None else None
        if dw is None or not self.problem.counted:
            yield []
        elif self.plan.sum_classes:
            buffer = empty("sums of dw", (min(self.plan.sum_classes, len(dw)), dw.shape[1]), self.problem.wide)
            tile = np.empty((max(1, min(len(dw), RESERVE // max(1, 8 * dw.shape[1]))), dw.shape[1]), np.float32)
            yield from wide_sums(dw, buffer, tile, self.plan.threads)
        else:
            yield from plain_sums(dw)

    def _clear(self, into: Outputs) -> None:
        """Zero what rows that do not count leave untouched."""
        if self.problem.drops:
            into.dx[...] = 0
        if into.dw is not None and not self.problem.counted:
            into.dw[...] = 0

    def _chunk(self, rows: Rows, results: Results | None, stats: bool, segments: list[Segment], first: bool) -> None:
        """Work on one chunk; `results` are those of the first pass, later ones only add to dw."""
        problem = self.problem
        labels = np.ascontiguousarray(problem.labels[rows], np.int64)
        each = np.empty(len(labels), problem.wide) if problem.reduction == "none" else None
        lse = np.empty(len(labels), problem.wide) if stats else None
        correct = np.empty(len(labels), np.bool_) if stats else None
        # Consecutive rows are given as such, others by their numbers.
        consecutive = isinstance(rows, slice)
        dx = self.dx if self.dx is None or not consecutive else self.dx[rows]
        total, left_out = _core.linear_chunk(
            x=problem.x[rows] if consecutive else problem.x,
            w=problem.w,
            bias=problem.bias,
            labels=labels,
            at=None if consecutive else np.ascontiguousarray(rows, np.int64),
            class_weight=self.class_weight,
            row_weight=problem.row_weight(rows),
            options=self.layer._loss._options,
            class_weight_sum=self.class_weight_sum,
            scale=problem.factor(),
            each=each,
            lse=lse,
            correct=correct,
            dx=dx,
            dw=[(segment.first, segment.sums) for segment in segments],
            first=first,
            dbias=self.dbias if results is not None else None,
            filter_eps=self.layer.filter_eps * abs(problem.factor()),
            terms=TERMS[self.layer.precision],
            window=self.plan.window,
            kept=self.plan.kept,
            memory=self.memory,
            threads=self.plan.threads,
            whole=self.whole,
        )
        if results is None:
            return
        self.left_out += left_out * len(labels) / problem.counted
        value = total * problem.factor() if each is None else each
        results.add(rows, value, None if lse is None or correct is None else RowStats(lse, correct))


def run(
    problem: Problem, layer: LinearCrossEntropy, into: Outputs | None, stats: bool, whole: bool = False
) -> tuple[Value, RowStats | None]:
    """Return the value and the statistics of a call, and fill its gradients; `whole`: no signal may interrupt it."""
    work = Run(problem, layer, plan_of(sizes_of(problem, layer, into)), into, whole)
    one_chunk = work.plan.rows >= problem.counted and not work.plan.sum_classes
    if not whole or one_chunk:
        return work.all(stats)
    context = contextvars.copy_context()  # np.errstate, filters of warnings
    result: tuple[Value, RowStats | None] = _core.uninterrupted(lambda: context.run(work.all, stats))
    return result

"""What is measured: the registry of kernels and cases, and the memory streams of each mode.

A *case* is a kernel at one shape and dtype with one goal. A goal has one or several *modes*, which differ in where
the result goes; all modes of a case and all peers are measured in the same rounds.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lossk._families import LOSSES, PointwiseLoss

Goal = Literal["value", "value+grad", "output", "step"]
Kind = Literal["rows", "row map", "pointwise", "optimizer"]

FRESH = "value+grad"
OUT = "value+grad out="
IN_PLACE = "in place"
MAP_FRESH = "output"
MAP_OUT = "output out="

MODES: dict[tuple[Kind, Goal], tuple[str, ...]] = {
    ("rows", "value"): ("value",),
    ("rows", "value+grad"): (FRESH, OUT, IN_PLACE),
    ("row map", "output"): (MAP_FRESH, MAP_OUT),
    ("pointwise", "value"): ("value",),
    ("pointwise", "value+grad"): (FRESH, OUT),
    ("optimizer", "step"): ("step",),
}

# Every pointwise loss of the package has its cases without being named here; peers that do not know it have no row.
POINTWISE = tuple(sorted(cls.__name__ for cls in LOSSES.values() if issubclass(cls, PointwiseLoss)))

QUICK_POINTWISE = ("SquaredError", "Huber", "Hinge", "BinaryCrossEntropyWithLogits")

# The arguments that each optimizer is measured with: those of its class in lossk and, by the same names, in torch.
OPTIMIZER_OPTIONS: dict[str, dict[str, float]] = {
    "SGD": {"lr": 1e-3, "momentum": 0.9},
    "Adam": {"lr": 1e-3},
    "AdamW": {"lr": 1e-3, "weight_decay": 1e-2},
    "RMSprop": {"lr": 1e-3},
    "Adagrad": {"lr": 1e-3},
    "Lion": {"lr": 1e-3},
}
# Those that read a third array.
OF_THREE = {cls.__name__ for cls in LOSSES.values() if issubclass(cls, PointwiseLoss) and cls.third}

KINDS: dict[str, Kind] = {
    "CrossEntropy": "rows",
    "softmax": "row map",
    "log_softmax": "row map",
    **dict.fromkeys(OPTIMIZER_OPTIONS, "optimizer"),
    **dict.fromkeys(POINTWISE, "pointwise"),
}

ITEMSIZE = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Streams:
    """The memory traffic of one call, in arrays of the case's size.

    `reads` arrays are read; those numbered in `over` are written back in place; `fresh` others are written.
    Small side arrays (labels, per-row sums) are left out: the twin has none, so the limit is a little optimistic.
    """

    reads: int
    over: tuple[int, ...] = ()
    fresh: int = 0

    @property
    def count(self) -> int:
        """Number of arrays moved per call, reads plus writes."""
        return self.reads + len(self.over) + self.fresh


@dataclass(frozen=True)
class Twin:
    """One bandwidth twin: these streams, with or without non-temporal stores."""

    streams: Streams
    stream: bool

    @property
    def label(self) -> str:
        """Name among the rows: ``twin 2r1w`` reads two arrays and writes one."""
        writes = len(self.streams.over) + self.streams.fresh
        place = " in place" if self.streams.over else ""
        return f"twin {self.streams.reads}r{writes}w{place}{' streaming' if self.stream else ''}"


@dataclass(frozen=True)
class Case:
    """One kernel at one shape: (rows, classes), (elements,), or (tensors, elements of each) for an optimizer."""

    kernel: str
    goal: Goal
    shape: tuple[int, ...]
    dtype: str = "float32"
    compiled: bool = field(default=True, compare=False)  # also with torch.compile, which takes long to compile

    @property
    def kind(self) -> Kind:
        """Which family of arguments the kernel takes."""
        return KINDS[self.kernel]

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes measured, the plain one first."""
        return MODES[self.kind, self.goal]

    @property
    def size(self) -> int:
        """Elements of one array of the case (of all tensors together for an optimizer)."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of one array of the case."""
        return self.size * ITEMSIZE[self.dtype]

    @property
    def shape_text(self) -> str:
        """The shape for people: ``512x128256``, ``2^25``, ``100 x 10000``."""
        if self.kind == "optimizer" and self.shape[0] > 1:
            return " x ".join(str(n) for n in self.shape)
        sizes = self.shape[1:] if self.kind == "optimizer" else self.shape
        if len(sizes) == 1 and sizes[0] >= 1024 and sizes[0] & (sizes[0] - 1) == 0:
            return f"2^{sizes[0].bit_length() - 1}"
        return "x".join(str(n) for n in sizes)

    @property
    def name(self) -> str:
        """The identity of the case: kernel, goal, shape, dtype."""
        return f"{self.kernel} {self.goal} {self.shape_text} {self.dtype}"

    def streams(self, mode: str) -> Streams:
        """Return the least memory traffic of one call in this mode."""
        if self.kind == "optimizer":
            # Parameter, gradient, and one or two arrays of state.
            return Streams(reads=4, over=(0, 2, 3)) if self.kernel.startswith("Adam") else Streams(reads=3, over=(0, 2))
        reads = 1
        if self.kind == "pointwise":
            reads = 3 if self.kernel in OF_THREE else 2
        if mode == "value":
            return Streams(reads)
        return Streams(reads, over=(0,)) if mode == IN_PLACE else Streams(reads, fresh=1)

    def twins(self, mode: str) -> tuple[Twin, ...]:
        """Return the twins of a mode; the fastest is its limit. Streaming stores only make sense for new arrays."""
        streams = self.streams(mode)
        return (Twin(streams, False), Twin(streams, True)) if streams.fresh else (Twin(streams, False),)

    def nbytes_moved(self, mode: str) -> int:
        """Bytes one call has to move at least in this mode."""
        return self.nbytes * self.streams(mode).count


FULL: tuple[Case, ...] = (
    Case("CrossEntropy", "value+grad", (512, 128256)),
    Case("CrossEntropy", "value+grad", (1024, 32000)),
    Case("CrossEntropy", "value+grad", (8192, 1000)),
    Case("CrossEntropy", "value+grad", (65536, 10)),
    Case("CrossEntropy", "value+grad", (1024, 32000), "float64", compiled=False),
    Case("CrossEntropy", "value", (512, 128256), compiled=False),
    Case("CrossEntropy", "value", (1024, 32000)),
    Case("CrossEntropy", "value", (8192, 1000), compiled=False),
    Case("CrossEntropy", "value", (65536, 10), compiled=False),
    Case("softmax", "output", (1024, 32000)),
    Case("log_softmax", "output", (1024, 32000), compiled=False),
    *(Case(kernel, "value+grad", (1 << 25,), compiled=kernel in ("Huber", "Hinge")) for kernel in POINTWISE),
    Case("Huber", "value+grad", (1 << 24,), "float64", compiled=False),
    *(Case(kernel, "value+grad", (1 << 10,), compiled=kernel == "Huber") for kernel in POINTWISE),
    Case("Huber", "value+grad", (16,), compiled=False),  # nothing but the fixed cost of a call
    *(Case(kernel, "step", (1, 1 << 25), compiled=kernel == "SGD") for kernel in OPTIMIZER_OPTIONS),
    *(Case(kernel, "step", (100, 10_000), compiled=kernel == "SGD") for kernel in OPTIMIZER_OPTIONS),
)

QUICK: tuple[Case, ...] = (
    Case("CrossEntropy", "value+grad", (512, 32000)),
    Case("CrossEntropy", "value+grad", (4096, 1000)),
    Case("CrossEntropy", "value+grad", (16384, 10)),
    Case("CrossEntropy", "value+grad", (256, 8000), "float64"),
    Case("CrossEntropy", "value", (512, 32000)),
    Case("softmax", "output", (256, 32000)),
    Case("log_softmax", "output", (256, 32000)),
    *(Case(kernel, "value+grad", (1 << 22,)) for kernel in QUICK_POINTWISE),
    Case("Huber", "value+grad", (1 << 10,)),
    Case("Huber", "value+grad", (16,)),
    Case("SGD", "step", (1, 1 << 22)),
    Case("SGD", "step", (100, 10_000)),
    Case("AdamW", "step", (100, 10_000)),
)


def _matching(cases: Sequence[Case], pattern: str) -> set[Case]:
    wanted = pattern.lower()
    globbed = {
        case
        for case in cases
        if fnmatch.fnmatchcase(case.kernel.lower(), wanted) or fnmatch.fnmatchcase(case.name.lower(), wanted)
    }
    try:
        return globbed or {case for case in cases if re.search(wanted, case.name.lower())}
    except re.error:  # a glob such as "*hinge" is no regular expression
        return globbed


def select(cases: Sequence[Case], patterns: Iterable[str]) -> tuple[Case, ...]:
    """Return the cases that match one of the patterns (all, if there are none), in their order.

    A pattern is a glob on the kernel or the whole case name; if that finds nothing, a regular expression in the name.
    """
    chosen = [_matching(cases, pattern) for pattern in patterns]
    return tuple(case for case in cases if not chosen or any(case in found for found in chosen))

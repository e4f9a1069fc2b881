"""What can be measured: kernels, shapes, modes (where results go), and their memory streams."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from lossk.activations import ACTIVATIONS
from lossk.losses import LOSSES, PAIR_LOSSES, PointwiseLoss, RowLoss
from lossk.optimizers import OPTIMIZERS as CLASSES

FRESH, OUT, IN_PLACE = "value+grad", "value+grad out=", "in place"
TO_NEW = (FRESH, "output")
TO_OUT = (OUT, "output out=")  # an array that is there already, and not the input
MODES = {"value+grad": (FRESH, OUT, IN_PLACE), "output": ("output", "output out=")}

# Every pointwise loss, and whether it has a third input; all have cases, without being named here.
THIRD = {cls.__name__: bool(cls._third) for cls in LOSSES.values() if issubclass(cls, PointwiseLoss)}
# Losses of rows, and how many arrays of their shape they read; losses of pairs, and theirs, and how many they write.
ROW_READS = {cls.__name__: 2 - cls._takes_labels for cls in LOSSES.values() if issubclass(cls, RowLoss)}
PAIRS = {cls.__name__: (len(cls._inputs) + cls._single, len(cls._inputs)) for cls in PAIR_LOSSES.values()}
# The arguments that each optimizer is measured with: those of its class in lossk and, by the same names, in torch.
OPTIMIZERS: dict[str, dict[str, float]] = {
    "SGD": {"lr": 1e-3, "momentum": 0.9},
    "AdamW": {"lr": 1e-3, "weight_decay": 1e-2},
    **{kernel: {"lr": 1e-3} for kernel in CLASSES if kernel not in ("SGD", "AdamW")},
}
ITEMSIZE = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
L1_SHARE = 24 << 10  # bytes: three quarters of the smallest L1, about


@dataclass(frozen=True)
class Twin:
    """A bandwidth twin: the memory traffic of a call, without arithmetic, in arrays that share the bytes equally."""

    reads: int
    over: tuple[int, ...] = ()  # which of them are written back
    fresh: int = 0  # others that are written
    stream: bool = False  # by non-temporal stores

    @property
    def count(self) -> int:
        """Number of arrays moved per call, reads plus writes."""
        return self.reads + len(self.over) + self.fresh

    @property
    def label(self) -> str:
        """Name among the rows: ``twin 2r1w`` reads two arrays and writes one."""
        place = " in place" if self.over else " streaming" if self.stream else ""
        return f"twin {self.reads}r{len(self.over) + self.fresh}w{place}"


@dataclass(frozen=True)
class Case:
    """One kernel at one shape: (rows, classes), (elements,), or of an optimizer (tensors, elements of each)."""

    kernel: str
    goal: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def kind(self) -> str:
        """Which family of arguments the kernel takes: an optimizer's, a map's, a row map's, or those of a loss."""
        if self.kernel in ACTIVATIONS:
            return "map"
        other = "pointwise" if self.kernel in THIRD else "pairs" if self.kernel in PAIRS else "rows"
        return {"step": "optimizer", "output": "row map"}.get(self.goal, other)

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes measured, the plain one first."""
        return MODES.get(self.goal, (self.goal,))[: 3 if self.kind == "rows" else 2]

    @property
    def size(self) -> int:
        """Elements of one array of the case; of all tensors together for an optimizer."""
        return math.prod(self.shape)

    @property
    def shape_text(self) -> str:
        """The shape for people: ``512x128256``, ``2^25``, ``100 x 10000``."""
        *first, n = self.shape
        if first and not (self.kind == "optimizer" and first == [1]):
            return f"{first[0]}{' x ' if self.kind == 'optimizer' else 'x'}{n}"
        return f"2^{n.bit_length() - 1}" if n >= 1024 and n & (n - 1) == 0 else str(n)

    @property
    def name(self) -> str:
        """The identity of the case: kernel, goal, shape, dtype."""
        return f"{self.kernel} {self.goal} {self.shape_text} {self.dtype}"

    def twins(self, mode: str) -> list[Twin]:
        """Return the twins of a mode; the fastest is its limit. Streaming stores only make sense for new arrays."""
        if self.kind == "optimizer":  # parameter, gradient, and arrays of state
            make: Any = CLASSES[self.kernel]
            slots = len(make([], **OPTIMIZERS[self.kernel])._kernel()[1])
            return [Twin(2 + slots, over=(0, *range(2, 2 + slots)))]
        reads, writes = PAIRS.get(self.kernel, (ROW_READS.get(self.kernel, 1), 1))
        if self.kind == "pointwise":
            reads = 2 + THIRD[self.kernel]
        if mode in ("value", IN_PLACE):
            return [Twin(reads, over=(0,) if mode == IN_PLACE else ())]
        return [Twin(reads, fresh=writes), Twin(reads, fresh=writes, stream=True)]

    def nbytes_moved(self, mode: str) -> int:
        """Bytes one call has to move at least in this mode."""
        item, arrays = ITEMSIZE[self.dtype], self.twins(mode)[0].count
        state = arrays - 3 if self.kind == "optimizer" else 0  # reads and writes of it, in float32 at least
        return self.size * ((arrays - state) * item + state * max(4, item))

    def in_l1(self) -> list[Case]:
        """Return the kernel on arrays that fill L1, and on a quarter of that; nothing if it is no larger itself."""
        elements = L1_SHARE * self.size // self.nbytes_moved(self.modes[:2][-1]) // 256 * 256
        *first, length = self.shape
        if self.size <= 2 * elements or not elements:
            return []
        if self.kind == "optimizer" or not first or 2 * length > elements:
            return [replace(self, shape=(*[1] * len(first), n)) for n in (elements, elements // 4)]
        rows = elements // length // 8 * 8 or 2
        return [replace(self, shape=(n, length)) for n in (rows, max(1, rows // 4))]


def select(cases: Sequence[Case], patterns: Sequence[str]) -> tuple[Case, ...]:
    """Return the cases that match a glob on kernel or name, or else a regular expression; all without patterns."""
    chosen: set[Case] = set()
    for wanted in map(str.lower, patterns):
        found = {case for case in cases for text in (case.kernel, case.name) if fnmatchcase(text.lower(), wanted)}
        with contextlib.suppress(re.error):  # a glob such as "*hinge" is no regular expression
            found = found or {case for case in cases if re.search(wanted, case.name.lower())}
        chosen |= found
    return tuple(case for case in cases if not patterns or case in chosen)


def _cases(kernels: str, goal: str, *shapes: tuple[int, ...], dtype: str = "float32") -> list[Case]:
    return [Case(kernel, goal, shape, dtype) for shape in shapes for kernel in kernels.split()]


_ROWS = ((512, 128256), (1024, 32000), (8192, 1000), (65536, 10))
SUITES: dict[str, tuple[Case, ...]] = {
    "table": (
        *_cases("CrossEntropy", "value+grad", *_ROWS, (1_000_000, 2)),
        *_cases("CrossEntropy", "value", *_ROWS),
        *_cases("CrossEntropy", "value+grad", (1024, 32000), dtype="float64"),
        *_cases("softmax log_softmax", "output", (1024, 32000)),
        *_cases(" ".join(sorted(THIRD)), "value+grad", (1 << 25,), (1 << 10,)),
        *_cases(" ".join(sorted({*ROW_READS, *PAIRS} - {"CrossEntropy"})), "value+grad", (8192, 1000)),
        *_cases("Huber", "value+grad", (16,)),  # nothing but the fixed cost of a call
        *_cases("Huber", "value+grad", (1 << 24,), dtype="float64"),
        *_cases(" ".join(OPTIMIZERS), "step", (1, 1 << 25), (100, 10_000)),
    ),
    "quick": (
        *_cases("CrossEntropy", "value+grad", (512, 32000), (4096, 1000), (16384, 10)),
        *_cases("CrossEntropy", "value", (512, 32000)),
        *_cases("CrossEntropy", "value+grad", (256, 8000), dtype="float64"),
        *_cases("softmax log_softmax", "output", (256, 32000)),
        *_cases("SquaredError Huber Hinge BinaryCrossEntropyWithLogits", "value+grad", (1 << 22,)),
        *_cases("Huber", "value+grad", (1 << 10,), (16,)),
        *_cases("SGD AdamW", "step", (1, 1 << 22), (100, 10_000)),
    ),
    "activations": (*_cases(" ".join(ACTIVATIONS), "output", (1 << 25,), (1 << 10,)),),
    "machine": (  # how near to its limits a machine runs, whatever it is: kernels of every family, out of cache
        *_cases("CrossEntropy", "value", (1024, 32000)),
        *_cases("CrossEntropy", "value+grad", *_ROWS[::-1]),
        *_cases("CrossEntropy", "value+grad", *_ROWS[::-1], dtype="bfloat16"),
        *_cases("Huber Hinge BinaryCrossEntropyWithLogits", "value+grad", (1 << 25,)),
        *_cases("softmax", "output", (1024, 32000)),
        *_cases("SGD AdamW", "step", (1, 1 << 25)),
        *_cases("SGD", "step", (100, 10_000)),
    ),
}

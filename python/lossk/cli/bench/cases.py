"""What can be measured: kernels, shapes, modes, and the memory streams of each mode.

A *case* is a kernel at one shape and dtype with one goal. A goal has one or several *modes*, which differ in where
the result goes; all modes of a case and all peers are measured in the same rounds. `suites` lists the cases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from lossk._families import LOSSES, PointwiseLoss
from lossk.activations import ACTIVATIONS as ACTIVATION_CLASSES

Goal = Literal["value", "value+grad", "autograd", "output", "vjp", "step"]
Kind = Literal["rows", "row map", "pointwise", "activation", "optimizer", "linear"]

FRESH = "value+grad"
OUT = "value+grad out="
IN_PLACE = "in place"
AUTOGRAD = "autograd"  # forward and backward in torch's graph: of lossk, by `lossk.torch`
MAP_FRESH = "output"
MAP_OUT = "output out="
VJP_FRESH = "vjp"
VJP_OUT = "vjp out="
# Modes whose result is an array that is there already, and not the input.
TO_OUT = (OUT, MAP_OUT, VJP_OUT)

MODES: dict[tuple[Kind, Goal], tuple[str, ...]] = {
    ("rows", "value"): ("value",),
    ("rows", "value+grad"): (FRESH, OUT, IN_PLACE),
    ("rows", "autograd"): (AUTOGRAD,),
    ("row map", "output"): (MAP_FRESH, MAP_OUT),
    ("pointwise", "value"): ("value",),
    ("pointwise", "value+grad"): (FRESH, OUT),
    ("pointwise", "autograd"): (AUTOGRAD,),
    ("activation", "output"): (MAP_FRESH, MAP_OUT),
    ("activation", "vjp"): (VJP_FRESH, VJP_OUT),
    ("optimizer", "step"): ("step",),
    ("linear", "value+grad"): (FRESH,),
}

# Every pointwise loss and activation of the package has its cases without being named here; peers that do not know it
# have no row.
POINTWISE = tuple(sorted(cls.__name__ for cls in LOSSES.values() if issubclass(cls, PointwiseLoss)))
ACTIVATIONS = tuple(sorted(cls.__name__ for cls in ACTIVATION_CLASSES.values()))
# Those that read a third array.
OF_THREE = {cls.__name__ for cls in LOSSES.values() if issubclass(cls, PointwiseLoss) and cls._third}

# The arguments that each optimizer is measured with: those of its class in lossk and, by the same names, in torch.
OPTIMIZER_OPTIONS: dict[str, dict[str, float]] = {
    "SGD": {"lr": 1e-3, "momentum": 0.9},
    "Adam": {"lr": 1e-3},
    "AdamW": {"lr": 1e-3, "weight_decay": 1e-2},
    "RMSprop": {"lr": 1e-3},
    "Adagrad": {"lr": 1e-3},
    "Lion": {"lr": 1e-3},
}
TWO_SLOTS = ("Adam", "AdamW")

# What CrossEntropy can be asked besides; `inputs` and `reference` say what each means.
PROBABILITIES = "probabilities"
OPTIONS = ("smoothing", "class weights", "sample weights", "ignored rows", "softcap", "z_loss", PROBABILITIES)

KINDS: dict[str, Kind] = {
    "CrossEntropy": "rows",
    "NLL": "rows",
    "MultiMargin": "rows",
    "KLDivergence": "rows",
    "LinearCrossEntropy": "linear",
    "softmax": "row map",
    "log_softmax": "row map",
    **dict.fromkeys(OPTIMIZER_OPTIONS, "optimizer"),
    **dict.fromkeys(POINTWISE, "pointwise"),
    **dict.fromkeys(ACTIVATIONS, "activation"),
}

ITEMSIZE = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}

# Families that a case may be measured against, by name in `providers`.
WITH_AUTOGRAD = ("torch", "torch.compile")
UNCOMPILED = ("numpy", "torch", "jax", "scikit-learn", "numba")
ALL_PEERS = ("numpy", "torch", "torch.compile", "jax", "scikit-learn", "numba")
NO_PEERS: tuple[str, ...] = ()


@dataclass(frozen=True)
class Streams:
    """The memory traffic of one call, in arrays of the case's size.

    `reads` arrays are read; those numbered in `over` are written back in place; `fresh` others are written.
    Small side arrays (labels, per-row sums) are left out: the twin has none, so the limit is a little optimistic.
    Where arrays have several types (state of 16-bit parameters), the twin's share the bytes equally.
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


# Labels of the two yardsticks that are no memory streams; `providers.lossk_` builds them.
ARITHMETIC = "arithmetic"  # the same kernel on data that stays in L1
PRODUCT = "matrix product"  # the case's floating-point operations at the speed of a large BLAS product


@dataclass(frozen=True)
class Case:
    """One kernel at one shape.

    (rows, classes), (elements,), (tensors, elements of each) for an optimizer, (rows, features, classes) for a linear
    layer. option: one of `OPTIONS`; the plain kernel is then measured as well. threads: a fixed count, whatever the
    run's is. peers: the families it is measured against; with an option or a fixed thread count there are none.
    choices: also measured by each instruction set, and with results streamed and not.
    """

    kernel: str
    goal: Goal
    shape: tuple[int, ...]
    dtype: str = "float32"
    option: str = ""
    threads: int | None = None
    peers: tuple[str, ...] = field(default=ALL_PEERS, compare=False)
    choices: bool = field(default=False, compare=False)

    @property
    def kind(self) -> Kind:
        """Which family of arguments the kernel takes."""
        return KINDS[self.kernel]

    @property
    def families(self) -> tuple[str, ...]:
        """The families that measure it, lossk first."""
        return ("lossk",) if self.option or self.threads else ("lossk", *self.peers)

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes measured, the plain one first."""
        return MODES[self.kind, self.goal]

    @property
    def plain(self) -> Case:
        """The same case without its option."""
        return replace(self, option="")

    @property
    def size(self) -> int:
        """Elements of one array of the case (of all tensors together for an optimizer; `x` and `w` of a layer)."""
        if self.kind == "linear":
            rows, features, classes = self.shape
            return (rows + classes) * features
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of one array of the case."""
        return self.size * ITEMSIZE[self.dtype]

    @property
    def flops(self) -> int:
        """Floating-point operations of a linear layer's products: logits, and the gradients of both factors."""
        return 6 * math.prod(self.shape) if self.kind == "linear" else 0

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
        """The identity of the case: kernel, option, goal, shape, dtype, and threads where they are fixed."""
        words = [self.kernel, self.option and f"with {self.option}", self.goal, self.shape_text, self.dtype]
        fixed = f"{self.threads} thread" if self.threads == 1 else f"{self.threads} threads" if self.threads else ""
        return " ".join(word for word in (*words, fixed) if word)

    def streams(self, mode: str) -> Streams:
        """Return the least memory traffic of one call in this mode."""
        if self.kind == "optimizer":
            # Parameter, gradient, and one or two arrays of state.
            return Streams(reads=4, over=(0, 2, 3)) if self.kernel in TWO_SLOTS else Streams(reads=3, over=(0, 2))
        reads = self._reads()
        if mode == "value":
            return Streams(reads)
        return Streams(reads, over=(0,)) if mode == IN_PLACE and reads else Streams(reads, fresh=1)

    def _reads(self) -> int:
        if self.kernel == "NLL":
            return 0  # one number a row; the gradient is 0 but at the label
        if self.kind == "pointwise":
            return 3 if self.kernel in OF_THREE else 2
        both = self.goal == "vjp" or self.kernel == "KLDivergence" or self.option == PROBABILITIES
        return 2 if both else 1

    def twins(self, mode: str) -> tuple[Twin, ...]:
        """Return the twins of a mode; the fastest is its limit. Streaming stores only make sense for new arrays."""
        streams = self.streams(mode)
        if self.kind == "linear" or not streams.count:
            return ()
        return (Twin(streams, False), Twin(streams, True)) if streams.fresh else (Twin(streams, False),)

    def nbytes_moved(self, mode: str) -> int:
        """Bytes one call has to move at least in this mode; 0 for a linear layer, which memory does not limit."""
        if self.kind == "linear":
            return 0
        if self.kind == "optimizer":
            return self.size * (3 * ITEMSIZE[self.dtype] + 2 * self._bytes_of_state)
        return self.nbytes * self.streams(mode).count

    @property
    def _bytes_of_state(self) -> int:
        """Bytes of an optimizer's state, an element."""
        return (2 if self.kernel in TWO_SLOTS else 1) * max(4, ITEMSIZE[self.dtype])

    @property
    def bytes_an_element(self) -> int:
        """Bytes of an optimizer's arrays, an element: parameter, gradient and state."""
        return 2 * ITEMSIZE[self.dtype] + self._bytes_of_state

    def in_l1(self, elements: int) -> tuple[Case, Case] | None:
        """Return the same kernel with about so many elements and with a quarter of them; None if it is no smaller."""
        if self.kind == "linear" or self.size <= 2 * elements:
            return None
        if len(self.shape) == 1:
            return replace(self, shape=(elements,)), replace(self, shape=(elements // 4,))
        rows, length = 1, elements
        if self.kind != "optimizer" and 2 * self.shape[1] <= elements:
            rows, length = elements // self.shape[1], self.shape[1]
            rows -= rows % 64 if rows >= 128 else 0
        small = (max(1, rows // 4), length) if rows > 1 else (1, length // 4)
        return replace(self, shape=(rows, length)), replace(self, shape=small)

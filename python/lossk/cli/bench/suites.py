"""Which cases are measured: the suites of ``lossk bench``, and how a part of one is chosen."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from lossk.cli.bench.cases import ALL_PEERS, NO_PEERS, OPTIMIZER_OPTIONS, POINTWISE, UNCOMPILED, Case

QUICK_POINTWISE = ("SquaredError", "Huber", "Hinge", "BinaryCrossEntropyWithLogits")

# The default: what the README's table is made from.
TABLE: tuple[Case, ...] = (
    Case("CrossEntropy", "value+grad", (512, 128256)),
    Case("CrossEntropy", "value+grad", (1024, 32000)),
    Case("CrossEntropy", "value+grad", (8192, 1000)),
    Case("CrossEntropy", "value+grad", (65536, 10)),
    Case("CrossEntropy", "value+grad", (1024, 32000), "float64", peers=UNCOMPILED),
    Case("CrossEntropy", "value", (512, 128256), peers=UNCOMPILED),
    Case("CrossEntropy", "value", (1024, 32000)),
    Case("CrossEntropy", "value", (8192, 1000), peers=UNCOMPILED),
    Case("CrossEntropy", "value", (65536, 10), peers=UNCOMPILED),
    Case("softmax", "output", (1024, 32000)),
    Case("log_softmax", "output", (1024, 32000), peers=UNCOMPILED),
    *(
        Case(kernel, "value+grad", (1 << 25,), peers=ALL_PEERS if kernel in ("Huber", "Hinge") else UNCOMPILED)
        for kernel in POINTWISE
    ),
    Case("Huber", "value+grad", (1 << 24,), "float64", peers=UNCOMPILED),
    *(
        Case(kernel, "value+grad", (1 << 10,), peers=ALL_PEERS if kernel == "Huber" else UNCOMPILED)
        for kernel in POINTWISE
    ),
    Case("Huber", "value+grad", (16,), peers=UNCOMPILED),  # nothing but the fixed cost of a call
    *(
        Case(kernel, "step", (1, 1 << 25), peers=ALL_PEERS if kernel == "SGD" else UNCOMPILED)
        for kernel in OPTIMIZER_OPTIONS
    ),
    *(
        Case(kernel, "step", (100, 10_000), peers=ALL_PEERS if kernel == "SGD" else UNCOMPILED)
        for kernel in OPTIMIZER_OPTIONS
    ),
)

# How near to its limits a machine runs, whatever it is: kernels of every family, out of cache, without peers.
MACHINE: tuple[Case, ...] = tuple(
    replace(case, peers=NO_PEERS, choices=True)
    for case in (
        Case("CrossEntropy", "value", (1024, 32000)),
        *(
            Case("CrossEntropy", "value+grad", shape, dtype)
            for dtype in ("float32", "bfloat16")
            for shape in ((65536, 10), (8192, 1000), (1024, 32000), (512, 128256))
        ),
        *(Case(kernel, "value+grad", (1 << 25,)) for kernel in ("Huber", "Hinge", "BinaryCrossEntropyWithLogits")),
        Case("softmax", "output", (1024, 32000)),
        Case("SGD", "step", (1, 1 << 25)),
        Case("AdamW", "step", (1, 1 << 25)),
        Case("SGD", "step", (100, 10_000)),
    )
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

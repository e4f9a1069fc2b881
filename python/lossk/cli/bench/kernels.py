"""The arrays of a case, the same in every process; its float64 results; lossk's calls, and its yardsticks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

import lossk
from lossk import _runtime
from lossk.cli.bench.cases import IN_PLACE, OPTIMIZERS, TO_NEW, TO_OUT, Case, Twin

Array = npt.NDArray[Any]
# Argument, then target or labels, then what else a loss takes; or parameters and gradients, a row per tensor.
Inputs = list[Array]
Outcome = tuple[Any, Any]  # the loss, and the gradient, output or first parameter; None where there is none

# Elements that are drawn, slowly, and repeated (a prime, so that rows do not repeat in step); that are held in float64.
BLOCK, REFERENCE_BLOCK = 1_000_003, 1 << 22
CHECKED_STEPS = 3  # an optimizer is compared after so many steps
LINE = 64  # bytes of a cache line
ARITHMETIC = "arithmetic"  # the same kernel on data that stays in L1


def make_inputs(case: Case, seed: int) -> Inputs:
    """Make the arrays of a case; equal seeds give equal bits. Losses draw from their own domain."""
    if case.dtype == "bfloat16":
        import ml_dtypes  # noqa: F401, makes the name known
    rng, dtype, (length, *rest) = np.random.default_rng(seed), np.dtype(case.dtype), case.shape
    if case.kind in ("rows", "pointwise", "pairs"):
        arrays = getattr(lossk, case.kernel)._draw(rng, (min(length, BLOCK // math.prod(rest) + 1), *rest), dtype)
        return [np.resize(array, (length, *array.shape[1:])) for array in arrays]
    blocks = rng.normal(scale=3.0, size=(2 if case.kind == "optimizer" else 1, BLOCK)).astype(dtype)
    return [np.resize(block, case.shape) for block in blocks]


def sampled(case: Case, array: Array) -> Array:
    """Take what is compared: 16 rows, or 4096 elements (of the first tensor), evenly spread."""
    wanted = 16 if case.kind in ("rows", "row map", "pairs") else 4096
    return array[np.unique(np.linspace(0, len(array) - 1, min(wanted, len(array))).astype(np.intp))]


def expected(case: Case, seed: int) -> Outcome:
    """Value over the whole input and array at the sampled places, in float64, by lossk's `reference`."""
    kernel, inputs = getattr(lossk, case.kernel), make_inputs(case, seed)
    if case.kind == "optimizer":
        p, g = (sampled(case, array[0]).astype(float) for array in inputs)
        return None, kernel([p], **OPTIMIZERS[case.kernel]).reference(p, [g] * CHECKED_STEPS)[0]
    parts = [sampled(case, array) for array in inputs]
    if case.kind == "map":
        return None, kernel().reference(parts[0])[0]
    if case.kind == "row map":
        x = parts[0].astype(float) - np.logaddexp.reduce(parts[0].astype(float), axis=1, keepdims=True)
        return None, np.exp(x) if case.kernel == "softmax" else x
    step = max(1, REFERENCE_BLOCK // math.prod(case.shape[1:]))
    blocks = ([array[start : start + step] for array in inputs] for start in range(0, case.shape[0], step))
    value = sum(float(kernel().reference(*block, reduction="sum")) for block in blocks) / case.shape[0]
    grad = kernel().reference(*parts, reduction="sum", derivatives=True)[1] if case.goal != "value" else None
    if case.kind == "pairs" and grad is not None:  # of all gradients the first is compared
        count = math.prod(case.shape) if kernel._single else case.shape[0]
        return value * case.shape[0] / count, grad[0] / count
    return value, None if grad is None else grad / case.shape[0]


def errors(found: Outcome, wanted: Outcome) -> list[float | None]:
    """Return the relative error of the loss, and the largest error of the array over its largest entry."""
    return [
        None if a is None or b is None else float(np.abs(np.asarray(a, float) - b).max() / max(np.abs(b).max(), 1e-300))
        for a, b in zip(found, wanted, strict=True)
    ]


@dataclass
class Runner:
    """One thing to time."""

    call: Callable[[], Any]  # returns an `Outcome`, or its only part
    prepare: Callable[[], object] | None = None  # before each call, not timed
    finish: Callable[[Any], Any] = lambda result: result  # makes of a result what others return
    warm: bool = True  # whether a call goes before each measurement


Build = Callable[[Case, str, Inputs, int], "Runner | None"]  # of a case, mode, inputs, threads; None: not offered


def writing(function: Callable[..., Any], mode: str, z: Array) -> Runner:
    """Run ``function(z, out=)``, which returns the loss, if there is one, with the destination of the mode."""
    source = z.copy() if mode == IN_PLACE else z
    out = source if mode == IN_PLACE else np.empty_like(z)

    def call() -> Outcome:
        target = np.empty_like(z) if mode in TO_NEW else out
        return function(source, out=target), target

    return Runner(call, partial(np.copyto, source, z) if mode == IN_PLACE else None)


def build(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner:
    """Build lossk's call for a case and mode. Sets the process's thread count instead of passing it."""
    lossk.set_num_threads(threads)
    function, (z, *others) = getattr(lossk, case.kernel), inputs
    if case.kind == "optimizer":
        return Runner(partial(function(list(z), **OPTIMIZERS[case.kernel]).step, list(*others)))
    if case.kind != "row map":  # others are classes
        function = function().value_and_grad if case.goal == "value+grad" else function()
    if case.kind == "pairs":
        inputs = [z, *others]
        outs = tuple(np.empty_like(z) for _ in getattr(lossk, case.kernel)._inputs) if mode in TO_OUT else None
        return Runner(lambda: function(*inputs, out=outs), finish=lambda found: (found[0], found[1][0]))
    if mode == IN_PLACE:
        work = z.copy()
        return Runner(partial(function, work, *others, out=work), partial(np.copyto, work, z))
    return Runner(partial(function, z, *others, **({"out": np.empty_like(z)} if mode in TO_OUT else {})))


def _aligned_ones(nbytes: int) -> Array:
    """Return float32 ones of at least so many bytes, at the start of a cache line, as streaming stores want."""
    elements = -(-nbytes // LINE) * LINE // 4
    raw = np.ones(elements + LINE // 4, np.float32)
    start = -raw.ctypes.data % LINE // 4
    return raw[start : start + elements]


def build_twin(twin: Twin, nbytes: int, threads: int) -> Runner:
    """Build the twin's call: streams of `nbytes` in all, without arithmetic, on arrays of its own."""
    reads, fresh = ([_aligned_ones(nbytes // twin.count) for _ in range(n)] for n in (twin.reads, twin.fresh))
    writes = [reads[i] for i in twin.over] + fresh
    return Runner(partial(_runtime.twin, reads, writes, stream=twin.stream, num_threads=threads))


def yardsticks(case: Case, threads: int) -> dict[str, Runner]:
    """Build all twins of a case, and its kernel on two sizes of data that stay in L1."""
    twins = {twin: case.nbytes_moved(mode) for mode in case.modes for twin in case.twins(mode)}
    found = {twin.label: build_twin(twin, nbytes, threads) for twin, nbytes in twins.items()}
    for one in case.in_l1():
        found[f"{ARITHMETIC} {one.size}"] = build(one, case.modes[:2][-1], make_inputs(one, seed=0), threads)
    return found


PROVIDERS: dict[str, dict[str, Build]] = {"lossk": {"lossk": build}}

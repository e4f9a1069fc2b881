"""lossk itself, and its bandwidth twins: same process, same thread pool, arrays allocated the same way."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import lossk
from lossk import _runtime
from lossk.cli.bench.cases import FRESH, IN_PLACE, MAP_FRESH, MAP_OUT, OPTIMIZER_OPTIONS, OUT, Case, Twin
from lossk.cli.bench.inputs import Array, Inputs
from lossk.cli.bench.providers import Build, Outcome, Runner
from lossk.cli.bench.reference import loss_of

ALIGNMENT = 64  # bytes


def _pair(result: Any) -> Outcome:
    value, grad = result
    return Outcome(float(value), grad)


def _loss(case: Case, mode: str, inputs: Inputs) -> Runner | None:
    loss, z, others = loss_of(case.kernel), inputs.z, (inputs.y, *inputs.more)
    if mode == "value":
        return Runner(partial(loss, z, *others), lambda value: Outcome(float(value), None))
    run = loss.value_and_grad
    if mode == FRESH:
        return Runner(partial(run, z, *others), _pair)
    if mode == OUT:
        return Runner(partial(run, z, *others, out=np.empty_like(z)), _pair)
    if mode == IN_PLACE:
        work = z.copy()
        return Runner(partial(run, work, *others, out=work), _pair, prepare=partial(np.copyto, work, z))
    return None


def _row_map(case: Case, mode: str, inputs: Inputs) -> Runner | None:
    run: Callable[..., Array] = getattr(lossk, case.kernel)
    if mode == MAP_FRESH:
        return Runner(partial(run, inputs.z), lambda array: Outcome(None, array))
    if mode == MAP_OUT:
        out = np.empty_like(inputs.z)
        return Runner(partial(run, inputs.z, out=out), lambda _: Outcome(None, out))
    return None


def _optimizer(case: Case, inputs: Inputs) -> Runner:
    optimizer = getattr(lossk, case.kernel)(inputs.params, **OPTIMIZER_OPTIONS[case.kernel])
    return Runner(partial(optimizer.step, inputs.grads), lambda _: Outcome(None, inputs.params[0]))


def build(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build lossk's call for a case and mode. Sets the process's thread count instead of passing it."""
    lossk.set_num_threads(threads)
    if case.kind == "optimizer":
        return _optimizer(case, inputs)
    return (_row_map if case.kind == "row map" else _loss)(case, mode, inputs)


def aligned_ones(size: int, dtype: str) -> Array:
    """Return ones at a multiple of 64 bytes, as streaming stores want; NumPy's allocator promises 16."""
    nbytes = size * np.dtype(dtype).itemsize
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    array = raw[start : start + nbytes].view(dtype)
    array.fill(1)
    return array


def build_twin(twin: Twin, case: Case, threads: int) -> Runner:
    """Build the twin's call: the case's streams without arithmetic, on arrays of its own."""
    reads = [aligned_ones(case.size, case.dtype) for _ in range(twin.streams.reads)]
    new = [aligned_ones(case.size, case.dtype) for _ in range(twin.streams.fresh)]
    writes = [reads[i] for i in twin.streams.over] + new
    call = partial(_runtime.twin, reads, writes, stream=twin.stream, num_threads=threads)
    return Runner(call, lambda _: Outcome(None, None))


PROVIDERS: dict[str, Build] = {"lossk": build}

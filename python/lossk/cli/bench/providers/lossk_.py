"""lossk itself, and its yardsticks: same process, same thread pool, arrays allocated the same way."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import lossk
from lossk import _profile, _runtime
from lossk._profile import NEVER, alike
from lossk.cli.bench.cases import (
    AUTOGRAD,
    FRESH,
    IN_PLACE,
    ITEMSIZE,
    MAP_FRESH,
    MAP_OUT,
    OPTIMIZER_OPTIONS,
    OUT,
    TO_OUT,
    VJP_FRESH,
    VJP_OUT,
    Case,
    Kind,
    Twin,
)
from lossk.cli.bench.inputs import HUBER_DELTA, Array, Inputs, make_inputs
from lossk.cli.bench.providers import PLAIN, STORED, STREAMED, Build, Outcome, Runner, installed
from lossk.cli.bench.reference import loss_of

ALIGNMENT = 64  # bytes
LINE = 64 // 4  # float32 of a cache line
L1_SHARE = 24 << 10  # bytes that the arithmetic yardstick touches: three quarters of the smallest L1 about
PRODUCT_SIZE = 3072  # rows and columns of the product that the peak of floating-point operations is taken from


def _pair(result: Any) -> Outcome:
    value, grad = result
    return Outcome(float(value), grad)


def _in_torch(case: Case, inputs: Inputs) -> Runner | None:
    """Forward and backward in torch's graph; torch is imported here, and nowhere else in this process."""
    if not installed("torch"):
        return None
    import lossk.torch as functional
    from lossk.cli.bench.providers.torch_eager import gradient_runner

    losses: dict[str, Callable[..., Any]] = {
        "CrossEntropy": functional.cross_entropy,
        "Huber": partial(functional.huber_loss, delta=HUBER_DELTA),
    }
    return gradient_runner(losses[case.kernel], inputs) if case.kernel in losses else None


def _loss(case: Case, mode: str, inputs: Inputs) -> Runner | None:
    if mode == AUTOGRAD:
        return _in_torch(case, inputs)
    loss, z, others, keywords = loss_of(case), inputs.z, (inputs.y, *inputs.more), inputs.keywords
    if mode == "value":
        return Runner(partial(loss, z, *others, **keywords), lambda value: Outcome(float(value), None))
    run = partial(loss.value_and_grad, **keywords)
    if mode == FRESH:
        return Runner(partial(run, z, *others), _pair)
    if mode == OUT:
        return Runner(partial(run, z, *others, out=np.empty_like(z)), _pair)
    if mode == IN_PLACE:
        work = z.copy()
        return Runner(partial(run, work, *others, out=work), _pair, prepare=partial(np.copyto, work, z))
    return None


def _linear(case: Case, mode: str, inputs: Inputs) -> Runner:
    run = partial(loss_of(case).value_and_grad, inputs.z, inputs.more[0], inputs.y)
    return Runner(run, lambda result: Outcome(float(result[0]), result[1][:2]))


def _map(case: Case, mode: str, inputs: Inputs) -> Runner | None:
    run: Callable[..., Array] = getattr(lossk, case.kernel)
    if case.kind == "activation":
        run = getattr(lossk, case.kernel)()
    arguments = [inputs.z]
    if mode in (VJP_FRESH, VJP_OUT):
        run, arguments = run.vjp, [inputs.z, inputs.y]  # type: ignore[attr-defined]
    if mode in (MAP_FRESH, VJP_FRESH):
        return Runner(partial(run, *arguments), lambda array: Outcome(None, array))
    if mode in (MAP_OUT, VJP_OUT):
        out = np.empty_like(inputs.z)
        return Runner(partial(run, *arguments, out=out), lambda _: Outcome(None, out))
    return None


def _optimizer(case: Case, mode: str, inputs: Inputs) -> Runner:
    optimizer = getattr(lossk, case.kernel)(inputs.params, **OPTIMIZER_OPTIONS[case.kernel])
    return Runner(partial(optimizer.step, inputs.grads), lambda _: Outcome(None, inputs.params[0]))


BUILDERS: dict[Kind, Callable[[Case, str, Inputs], Runner | None]] = {
    "rows": _loss,
    "pointwise": _loss,
    "linear": _linear,
    "row map": _map,
    "activation": _map,
    "optimizer": _optimizer,
}


def build(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build lossk's call for a case and mode. Sets the process's thread count instead of passing it."""
    lossk.set_num_threads(threads)
    runner = BUILDERS[case.kind](case, mode, inputs)
    if runner is not None and case.choices:
        runner.setup = _choose
    return runner


def _choose(isa: str = "", stream_from: int = 0) -> None:
    for family in _profile.choices():
        _profile.choose(family, stream_from, isa)


def build_choice(isa: str, stream_from: int, case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build the call with an instruction set, or a place of results, that lossk would not choose by itself."""
    if not case.choices or (stream_from and mode not in TO_OUT):
        return None
    runner = build(case, mode, inputs, threads)
    if runner is not None:
        runner.setup = partial(_choose, isa, stream_from)
    return runner


def build_plain(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build the call without the case's option, what the option's cost is measured by; on the same logits."""
    if not case.option:
        return None
    plain = make_inputs(case.plain, seed=0)
    runner = build(case.plain, mode, Inputs(z=inputs.z, y=plain.y), threads)
    return None if runner is None else Runner(runner.call, prepare=runner.prepare)


# ---- yardsticks that are no provider's rows ---------------------------------------------------------------------


def aligned_ones(nbytes: int) -> Array:
    """Return float32 ones of at least so many bytes, at a multiple of 64 bytes, as streaming stores want."""
    size = -(-nbytes // ALIGNMENT) * LINE
    raw = np.empty(4 * size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    array = raw[start : start + 4 * size].view(np.float32)
    array.fill(1)
    return array


def build_twin(twin: Twin, nbytes: int, threads: int) -> Runner:
    """Build the twin's call: streams of `nbytes` in all, without arithmetic, on arrays of its own."""
    each = nbytes // twin.streams.count
    reads = [aligned_ones(each) for _ in range(twin.streams.reads)]
    new = [aligned_ones(each) for _ in range(twin.streams.fresh)]
    writes = [reads[i] for i in twin.streams.over] + new
    return Runner(partial(_runtime.twin, reads, writes, stream=twin.stream, num_threads=threads))


def build_arithmetic(case: Case, threads: int) -> Runner | None:
    """Build the kernel on data that stays in L1: what the case's arithmetic takes on its threads.

    The time of an element is the difference of two calls of different size, so that the cost of a call drops out;
    both are serial, and the time is divided by the threads. None where the case is that small itself.
    """
    mode = next((mode for mode in case.modes if mode in TO_OUT), case.modes[0])
    elements = L1_SHARE // (case.streams(mode).count * ITEMSIZE[case.dtype] or 1) // 256 * 256
    pair = case.in_l1(elements)
    if pair is None:
        return None
    runners = [build(one, mode, make_inputs(one, seed=0), threads) for one in pair]
    large, small = pair
    calls = [runner.call for runner in runners if runner is not None]
    return Runner(calls[0], less=calls[1], scale=case.size / (large.size - small.size) / threads)


def build_product(case: Case) -> Runner | None:
    """Build a large product of NumPy's BLAS, scaled to the floating-point operations of a linear layer."""
    if not case.flops:
        return None
    dtype = "float64" if case.dtype == "float64" else "float32"  # 16 bits are widened
    a, b, c = (np.ones((PRODUCT_SIZE, PRODUCT_SIZE), dtype) for _ in range(3))
    return Runner(partial(np.matmul, a, b, out=c), scale=case.flops / (2 * PRODUCT_SIZE**3))


PROVIDERS: dict[str, Build] = {
    "lossk": build,
    PLAIN: build_plain,
    STREAMED: partial(build_choice, "", 1),
    STORED: partial(build_choice, "", NEVER),
    **{f"lossk {isa}": partial(build_choice, isa, 0) for isa in alike()},
}

"""Compare bits with those of another machine, whose fused multiply-add is one rounding, too.

    LOSSK_ISA=x86-64-v3 python -m tests.bits write calls.pickle
    python -m tests.bits compare calls.pickle    # elsewhere

Calls are of every loss, activation and optimizer, of functions of rows and of linear layers. Their arguments are in the
file, as NumPy draws others where its compiler is another. A NaN is a NaN: its sign is the CPU's.
"""

from __future__ import annotations

import collections
import pickle
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import lossk
from tests.support.activations import ACTIVATIONS_TRIED, draw_activation
from tests.support.arrays import DTYPES, Array, bits
from tests.support.cases import CASES, VERBS, draw, run_verb
from tests.support.linear import BFLOAT16, NARROW, draw_layer
from tests.support.optimizers import VARIANTS, draw_arrays, make

SIZES = (1, 3, 17, 65, 513, 2100)
SHAPES = ((3,), (129, 17), (2100,))


def loss(case: int, z: Array, target: Array, weight: Array | None) -> Iterator[Any]:
    """Yield what the verbs return."""
    for verb in VERBS:
        for reduction in ("sum", "none"):
            yield from run_verb(CASES[case].make(), verb, z, target, sample_weight=weight, reduction=reduction)


def activation(number: int, x: Array, c: Array) -> Iterator[Any]:
    """Yield value, derivative and gradient."""
    act = ACTIVATIONS_TRIED[number]
    yield from (act(x), act.derivative(x), act.vjp(x, c))


def optimizer(number: int, params: list[Array], grads: list[list[Array]]) -> Iterator[Any]:
    """Yield the parameters after three steps, and the state."""
    name, variant = VARIANTS[number]
    opt = make(name, params, variant)
    for g in grads:
        opt.step(g)
    yield from (*params, *opt.state_dict().values())


def row_functions(x: Array, c: Array) -> Iterator[Any]:
    """Yield softmax, log-softmax and logsumexp, with their gradients."""
    for function in (lossk.softmax, lossk.log_softmax):
        yield from (function(x), function.vjp(x, c))
    yield from (lossk.logsumexp(x), lossk.logsumexp.vjp(x, c[:, 0].copy()))


def linear(x: Array, w: Array, target: Array) -> Iterator[Any]:
    """Yield value and gradients of a layer with cross-entropy."""
    value, gradients = lossk.LinearCrossEntropy().value_and_grad(x, w, target)
    yield from (value, *gradients[:2])


KINDS: dict[str, Callable[..., Iterator[Any]]] = {
    f.__name__: f for f in (loss, activation, optimizer, row_functions, linear)
}


def drawn(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Yield the kind of each call, and its arguments."""
    for dtype in (*DTYPES, *NARROW):
        for n in SIZES:
            for i, case in enumerate(CASES):
                for shape in case.shapes(n):
                    batch = draw(case, rng, shape, dtype, n % 2 == 1)
                    yield "loss", i, batch.z, batch.target, batch.weight
            for i in range(len(ACTIVATIONS_TRIED)):
                yield "activation", i, *draw_activation(rng, n, dtype)
            yield "row_functions", *draw_activation(rng, (5, n), dtype)
        for i in range(len(VARIANTS)):
            yield "optimizer", i, draw_arrays(rng, SHAPES, dtype), [draw_arrays(rng, SHAPES, dtype) for _ in range(3)]
        if dtype != BFLOAT16:  # whose products some CPUs have a unit for
            yield "linear", *draw_layer(rng, 33, 30, 1003, dtype)


def results(kind: str, *arguments: Any) -> list[bytes]:
    """Return the bytes of what a call returns, any NaN as one."""
    arrays = [np.asarray(x) for x in KINDS[kind](*arguments)]
    return [bits(np.where(x != x, np.array(np.nan, x.dtype), x) if x.dtype.kind in "fV" else x) for x in arrays]


def label(kind: str, *arguments: Any) -> str:
    """Return the name of what is called."""
    names = {"loss": CASES, "activation": ACTIVATIONS_TRIED, "optimizer": VARIANTS}
    return f"{kind} {names[kind][arguments[0]]}" if kind in names else kind


def write(path: str) -> int:
    """Make the calls, and write them."""
    with open(path, "wb") as file:
        pickle.dump(lossk.isa(), file)
        for call in drawn(np.random.default_rng(1)):
            pickle.dump((pickle.dumps(call), results(*call)), file)
    return 0


def compare(path: str) -> int:
    """Make the calls of a file; print what has other bits and return the exit code."""
    count, others = 0, collections.Counter[str]()
    with open(path, "rb") as file:
        isa = pickle.load(file)
        while file.peek(1):
            call, want = pickle.load(file)
            count += 1
            others[label(*pickle.loads(call))] += results(*pickle.loads(call)) != want
    for name, number in others.items():
        if number:
            print(f"other bits in {number} calls of {name}")
    print(f"{count} calls: {sum(others.values())} have other bits by {lossk.isa()} than by {isa}")
    return 1 if sum(others.values()) or not count else 0


if __name__ == "__main__":
    sys.exit({"write": write, "compare": compare}[sys.argv[1]](sys.argv[2]))

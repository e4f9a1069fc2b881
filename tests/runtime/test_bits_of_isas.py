"""Instruction sets that round alike, a fused multiply-add being one rounding, give the same bits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import Array, bits, each_dtype
from tests.support.cases import VERBS, Batch, Case, draw, each_case, run_verb
from tests.support.linear import MB, draw_layer

ALIKE = [name for name in lossk.available_isas() if name in ("x86-64-v4", "x86-64-v3")]
if len(ALIKE) < 2:
    pytest.skip(f"of instruction sets that round alike this CPU has {ALIKE} alone", allow_module_level=True)


# Past whole groups of registers, blocks and batches of rows, whose lengths differ from one set to the other.
SIZES = (1, 2, 3, 9, 17, 31, 33, 64, 65, 100, 513, 1030, 2100)


@pytest.fixture(autouse=True)
def before() -> Iterator[None]:
    """Leave the instruction set as it was."""
    name = lossk.isa()
    yield
    lossk.set_isa(name)


def same_bits(run: Callable[[], tuple[Any, ...]]) -> None:
    """What run() returns is equal to the bit on all of them."""
    results = []
    for name in ALIKE:
        lossk.set_isa(name)
        results.append([bits(x) for x in run()])
    assert all(result == results[0] for result in results), ALIKE


@each_dtype
@each_case
def test_losses_have_the_same_bits(case: Case, dtype: Any, rng: np.random.Generator) -> None:
    loss = case.make()
    for n in SIZES:
        for shape in case.shapes(n):
            batch = draw(case, rng, shape, dtype, n % 2 == 0)
            for verb, reduction in itertools.product(VERBS, ("sum", "none")):
                options = {"sample_weight": batch.weight, "reduction": reduction}

                def run(verb: str = verb, batch: Batch = batch, options: Any = options) -> tuple[Any, ...]:
                    return run_verb(loss, verb, batch.z, batch.target, **options)

                same_bits(run)


@pytest.mark.parametrize("function", [lossk.softmax, lossk.log_softmax, lossk.logsumexp])
@each_dtype
def test_row_functions_have_the_same_bits(function: Any, dtype: Any, rng: np.random.Generator) -> None:
    for n in SIZES:
        x = rng.normal(size=(5, n)).astype(dtype)
        c = rng.normal(size=5 if function is lossk.logsumexp else (5, n)).astype(dtype)
        same_bits(lambda x=x, c=c: (function(x), function.vjp(x, c)))  # type: ignore[misc]


@each_dtype
def test_norms_have_the_same_bits(dtype: Any, rng: np.random.Generator) -> None:
    for n in SIZES:
        grads: list[Array] = [rng.normal(size=n).astype(dtype), rng.normal(size=7 * n).astype(dtype)]
        same_bits(lambda grads=grads: (lossk.clip_grad_norm([g.copy() for g in grads], 1.0),))  # type: ignore[misc]


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1, "softcap": 5.0}, {"filter_eps": 1e-3}], ids=str)
@each_dtype
def test_layers_have_the_same_bits(options: dict[str, Any], dtype: Any, rng: np.random.Generator) -> None:
    x, w, target = draw_layer(rng, 333, 300, 1003, dtype)
    bias, loss = rng.normal(size=1003).astype(dtype), lossk.LinearCrossEntropy(chunk_bytes=4 * MB, **options)

    def run() -> tuple[Any, ...]:
        value, gradients = loss.value_and_grad(x, w, target, bias)
        return value, *gradients

    same_bits(run)

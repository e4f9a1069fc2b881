"""Equal bits for any number of threads: losses, rows shared out by columns, row functions, layers, optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from lossk.activations import Activation
from tests.support.activations import COMPUTED, draw_activation, each_activation
from tests.support.arrays import Array, bits, each_dtype
from tests.support.cases import VERBS, Batch, Case, draw, each_case, run_verb
from tests.support.linear import BFLOAT16, MB, problem
from tests.support.optimizers import draw_arrays, each_variant, make, saved_arrays
from tests.support.row_functions import draw_with_cotangent, each_function
from tests.support.threads import same_bits


@each_dtype
@each_case
def test_losses_have_the_same_bits(case: Case, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    """Of batches so large that all threads have work: many rows, long rows, and rows shared out by columns."""
    loss = case.make()
    for shape in ((16385,), (200_003,)) if case.pointwise else ((9001, 10), (97, 1000), (1, 33_000), (3, 50_257)):
        batch = draw(case, rng, shape, dtype, True)
        # A sum is a mean but for a factor, and gradients are not summed.
        for verb, reduction in (*((verb, "mean") for verb in VERBS), ("value_and_grad", "none")):

            def run(n: int, verb: str = verb, reduction: str = reduction, batch: Batch = batch) -> tuple[Any, ...]:
                options = {"sample_weight": batch.weight, "reduction": reduction, "num_threads": n}
                return run_verb(loss, verb, batch.z, batch.target, **options)

            same_bits(run)


@pytest.mark.parametrize("shape", [(1, 16_385), (1, 33_000), (2, 50_257), (5, 40_001), (13, 32_768)])
@each_dtype
def test_long_rows_shared_out_by_columns_have_the_same_bits(
    dtype: Any, shape: tuple[int, ...], isa: str, rng: np.random.Generator
) -> None:
    """With every option, in place and not, with statistics, ignored rows and probabilities."""
    rows, classes = shape
    z = rng.normal(size=shape).astype(dtype)
    z[-1, : classes // 2] = -np.inf
    t = rng.integers(0, classes, size=rows)
    t[rows // 2] = t[rows // 2] if rows < 3 else -100
    y = rng.random(size=shape).astype(dtype)
    y /= y.sum(axis=1, keepdims=True)
    y[-1, : classes // 2] = 0
    weight = rng.random(size=classes)
    losses = (
        lossk.CrossEntropy(),
        lossk.CrossEntropy(weight=weight, label_smoothing=0.1, z_loss=1e-3),
        lossk.CrossEntropy(softcap=10.0, label_smoothing=0.1),
    )
    for loss in losses:
        for target in (t, y):

            def run(n: int) -> tuple[Any, ...]:
                value, grad, stats = loss.value_and_grad(z, target, num_threads=n, stats=True)  # noqa: B023
                own = z.copy()
                again, in_place = loss.value_and_grad(own, target, num_threads=n, out=own)  # noqa: B023
                assert in_place is own
                assert bits(own) == bits(grad)
                assert again == value or (np.isnan(again) and np.isnan(value))
                g, h = loss.grad_and_hess(z, target, num_threads=n)  # noqa: B023
                each = loss(z, target, reduction="none", num_threads=n)  # noqa: B023
                return value, grad, *stats, g, h, each

            same_bits(run)


@each_dtype
@each_function
def test_row_functions_have_the_same_bits(function: Any, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    """Values, in place too, and what is passed back."""
    for shape in ((9001, 10), (97, 1000), (1, 33_000), (3, 50_257)):
        x, c = draw_with_cotangent(function, rng, shape, dtype)

        def run(n: int, x: Array = x, c: Array = c) -> tuple[Array, ...]:
            value = function(x, num_threads=n)
            if value.shape == x.shape:
                own = x.copy()
                assert function(own, num_threads=n, out=own) is own
                assert bits(own) == bits(value)
            return value, function.vjp(x, c, num_threads=n)

        same_bits(run)


@each_dtype
@each_activation
def test_activations_have_the_same_bits(act: Activation, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    x, c = draw_activation(rng, 150_001, dtype)
    for compute in COMPUTED.values():
        same_bits(lambda n, compute=compute: (compute(act, x, c, num_threads=n),))


@pytest.mark.parametrize("dtype", [np.float32, BFLOAT16], ids=str)
def test_layers_have_the_same_bits(dtype: Any, rng: np.random.Generator) -> None:
    x, w, target, bias = problem(rng, 300, 20, 5000, dtype)
    loss = lossk.LinearCrossEntropy(chunk_bytes=2 * MB)
    first = loss.value_and_grad(x, w, target, bias, num_threads=1)
    for threads in (2, 7):
        again = loss.value_and_grad(x, w, target, bias, num_threads=threads)
        assert again[0] == first[0]
        assert all(bits(a) == bits(b) for a, b in zip(again[1], first[1], strict=True))


@each_variant
@each_dtype
def test_optimizers_have_the_same_bits(
    name: str, variant: dict[str, Any], dtype: Any, isa: str, rng: np.random.Generator
) -> None:
    """Parameters, state and norms, of parameters that all threads have work with."""
    shapes = ((3,), (), (129, 257), (0,), (2, 0, 4), (130_001,))
    start, grads = draw_arrays(rng, shapes, dtype), draw_arrays(rng, shapes, dtype)

    def run(threads: int) -> tuple[Any, ...]:
        params = [p.copy() for p in start]
        optimizer = make(name, params, variant)
        options = {"max_norm": 1.5, "grad_scale": 3.0, "num_threads": threads}
        norms = [optimizer.step(grads, **options).grad_norm for _ in range(2)]
        return (norms, [bits(p) for p in params], saved_arrays(optimizer))

    assert run(1) == run(2) == run(7)


def test_numbers_of_threads_beyond_the_cores_give_the_same_bits(rng: np.random.Generator) -> None:
    """Also where there are more threads than rows, and not."""
    z, t = rng.normal(size=(130, 33_000)).astype(np.float32), rng.integers(0, 33_000, size=130)
    want = [bits(x) for x in lossk.CrossEntropy().value_and_grad(z, t, num_threads=1)]
    for threads in (17, 64, 130, 4096):
        assert [bits(x) for x in lossk.CrossEntropy().value_and_grad(z, t, num_threads=threads)] == want

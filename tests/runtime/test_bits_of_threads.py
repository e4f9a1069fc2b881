"""Equal bits for any number of threads: losses, rows shared out by columns, row functions, layers, optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from lossk.activations import Activation
from lossk.row_functions import RowFunction
from tests.support.activations import COMPUTED, draw_activation, each_activation, each_verb
from tests.support.arrays import bits, each_dtype
from tests.support.cases import VERBS, Batch, Case, draw, each_case, run_verb
from tests.support.linear import BFLOAT16, MB, problem
from tests.support.optimizers import SHAPES, draw_arrays, each_variant, make, saved_arrays
from tests.support.row_functions import draw_with_cotangent, each_function
from tests.support.threads import same_bits


@pytest.mark.parametrize("verb", VERBS)
@each_dtype
@each_case
def test_losses_have_the_same_bits(case: Case, dtype: Any, verb: str, isa: str, rng: np.random.Generator) -> None:
    loss = case.make()
    # So large that all 7 threads have work (parallel.hpp). Row losses: many rows; rows of many classes; few rows of so
    # many classes that columns are shared out.
    shapes = ((16385,), (200_003,)) if case.pointwise else ((9001, 10), (97, 1000), (1, 33_000), (3, 50_257))
    for shape in shapes:
        batch = draw(case, rng, shape, dtype, True)
        for reduction in ("mean", "none"):  # a sum is a mean but for a factor
            options = {"sample_weight": batch.weight, "reduction": reduction}

            def run(n: int, batch: Batch = batch, options: dict[str, Any] = options) -> tuple[Any, ...]:
                return run_verb(loss, verb, batch.z, batch.target, num_threads=n, **options)

            same_bits(run)


@pytest.mark.parametrize("shape", [(1, 16_385), (1, 33_000), (2, 50_257), (5, 40_001), (13, 32_768)])
@each_dtype
def test_long_rows_shared_out_by_columns_have_the_same_bits(
    dtype: Any, shape: tuple[int, ...], isa: str, rng: np.random.Generator
) -> None:
    """Few long rows with every option, in place and not, with statistics, ignored rows and probabilities."""
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


@pytest.mark.parametrize("function", ["softmax", "log_softmax", "logsumexp"])
@each_dtype
def test_row_functions_have_the_same_bits(dtype: Any, function: str, isa: str, rng: np.random.Generator) -> None:
    for shape in ((9001, 10), (97, 1000), (1, 33_000), (3, 50_257)):
        x = rng.normal(size=shape).astype(dtype)
        same_bits(lambda n, x=x: (getattr(lossk, function)(x, num_threads=n),))
        if function != "logsumexp":
            same_bits(lambda n, x=x: (getattr(lossk, function)(own := x.copy(), num_threads=n, out=own),))


@each_dtype
def test_sgd(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    shapes = ((3,), (16385,), (), (129, 257), (0,), (140_000,))
    start = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    grads = [rng.normal(size=shape).astype(dtype) for shape in shapes]

    def run(n: int) -> tuple[Any, ...]:
        params = [p.copy() for p in start]
        sgd = lossk.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True)
        for _ in range(3):
            sgd.step(grads, num_threads=n)
        return (*params, *(v for v in sgd.state_dict().values() if isinstance(v, np.ndarray)))

    same_bits(run)


@each_dtype
@each_function
def test_what_row_functions_pass_back_has_the_same_bits(
    function: RowFunction, dtype: Any, isa: str, rng: np.random.Generator
) -> None:
    for shape in ((3000, 40), (50, 3000), (2, 60_000)):
        x, c = draw_with_cotangent(function, rng, shape, dtype)
        want = bits(function.vjp(x, c, num_threads=1))
        for threads in (2, 7):
            assert bits(function.vjp(x, c, num_threads=threads)) == want


@each_verb
@each_dtype
@each_activation
def test_activations_have_the_same_bits(
    act: Activation, dtype: Any, verb: str, isa: str, rng: np.random.Generator
) -> None:
    x, c = draw_activation(rng, 150_001, dtype)
    want = bits(COMPUTED[verb](act, x, c, num_threads=1))
    for threads in (2, 7):
        assert bits(COMPUTED[verb](act, x, c, num_threads=threads)) == want


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
    start = draw_arrays(rng, SHAPES, dtype)
    grads = [draw_arrays(rng, SHAPES, dtype) for _ in range(3)]

    def run(threads: int) -> tuple[Any, ...]:
        params = [p.copy() for p in start]
        optimizer = make(name, params, variant)
        norms = [optimizer.step(g, max_norm=1.5, grad_scale=3.0, num_threads=threads).grad_norm for g in grads]
        return (norms, [bits(p) for p in params], saved_arrays(optimizer))

    assert run(1) == run(2) == run(7)


def test_few_rows_add_up_alike_with_any_number_of_threads(rng: np.random.Generator) -> None:
    z, t = rng.normal(size=(130, 32_768)).astype(np.float32), rng.integers(0, 32_768, 130)
    values = {lossk.CrossEntropy()(z, t, num_threads=n) for n in (1, 2, 64, 130)}
    assert len(values) == 1


def test_numbers_of_threads_beyond_the_cores_give_the_same_bits(rng: np.random.Generator) -> None:
    z, t = rng.normal(size=(64, 40_000)).astype(np.float32), rng.integers(0, 40_000, size=64)
    want = [bits(x) for x in lossk.CrossEntropy().value_and_grad(z, t, num_threads=1)]
    for threads in (17, 100, 4096):
        assert [bits(x) for x in lossk.CrossEntropy().value_and_grad(z, t, num_threads=threads)] == want

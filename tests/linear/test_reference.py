"""LinearCrossEntropy against its reference: options, chunks, shapes, 16 bits, statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import bits, each_dtype
from tests.support.linear import BFLOAT16, MB, NARROW, close, draw_layer, loss_of, of_dz, problem

OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"label_smoothing": 0.2, "z_loss": 1e-2},
    {"softcap": 4.0, "ignore_index": 3},
    {"weight": "drawn"},
)


@each_dtype
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 5, 11), (100, 33, 1000), (700, 8, 1001)], ids=str)
def test_layers_match_their_reference(
    options: dict[str, Any], shape: Any, dtype: Any, rng: np.random.Generator
) -> None:
    """With 1 MB for 700 rows of 1,001 classes there are several chunks."""
    x, w, target, bias = problem(rng, *shape, dtype)
    if options.get("ignore_index") == 3:
        target[target == -100] = 3
        target = np.minimum(target, max(3, shape[2] - 1))
        if shape[2] <= 3:
            target[:] = 3
    loss = loss_of(options, shape[2], rng, chunk_bytes=MB)
    weights = rng.uniform(0.5, 2, shape[0]).astype(dtype)
    for b, weight, reduction in (
        (None, None, "mean"),
        (bias, weights, "mean"),
        (None, weights, "none"),
        (bias, None, "none"),
    ):
        given: dict[str, Any] = {"sample_weight": weight, "reduction": reduction}
        value, *want = loss.reference(x, w, target, b, derivatives=True, **given)
        what = f"{loss} {shape} {reduction}"
        close(loss(x, w, target, b, **given), value, dtype, what)
        got, gradients = loss.value_and_grad(x, w, target, b, **given)
        close(got, value, dtype, what)
        for gradient, wanted in zip(gradients, want, strict=True):
            assert (gradient is None) == (wanted is None)
            if gradient is not None:
                assert gradient.dtype == dtype
                close(gradient, wanted, dtype, what)
        _, dx = loss.value_and_grad(x, w, target, b, wrt="x", **given)
        assert bits(dx) == bits(gradients[0])


@each_dtype
def test_leading_axes_statistics_and_vjp_are_those_of_rows(dtype: Any, rng: np.random.Generator) -> None:
    x, w, target, bias = problem(rng, 24, 6, 40, dtype)
    x, target = x.reshape(4, 6, 6), target.reshape(4, 6)
    loss = lossk.LinearCrossEntropy()
    _, gradients, stats = loss.value_and_grad(x, w, target, bias, stats=True)
    z = x @ w.T + bias
    _, wanted = lossk.CrossEntropy()(z, target, stats=True)
    counts = target != -100
    np.testing.assert_array_equal(stats.correct, wanted.correct)
    np.testing.assert_allclose(stats.lse[counts], wanted.lse[counts], rtol=1e-5)
    assert np.isnan(stats.lse[~counts]).all()
    assert gradients[0].shape == x.shape
    assert loss(x, w, target, bias, reduction="none").shape == target.shape
    cotangent = rng.normal(size=target.shape).astype(dtype)
    dx, dw, _ = loss.vjp(x, w, target, cotangent, bias)
    _, want_x, want_w, _ = loss.reference(
        x, w, target, bias, sample_weight=cotangent, reduction="sum", derivatives=True
    )
    close(dx, want_x, dtype, "dx")
    close(dw, want_w, dtype, "dw")


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 5, 11), (60, 33, 1000), (300, 64, 3001)], ids=str)
def test_16_bits_are_rounded_once(options: dict[str, Any], shape: Any, dtype: Any, rng: np.random.Generator) -> None:
    """Sums in float32. Where the CPU multiplies pairs of bf16, dz is rounded to bf16 for the products, too."""
    x, w, target, bias = problem(rng, *shape, dtype)
    if options.get("ignore_index") == 3:
        target = np.minimum(np.abs(target), max(3, shape[2] - 1)) if shape[2] > 3 else np.full_like(target, 3)
    loss = loss_of(options, shape[2], rng, chunk_bytes=MB)
    ulp = float(np.finfo(np.float32).eps) * (2**16 if dtype == BFLOAT16 else 2**13)
    weight = rng.uniform(0.5, 2, shape[0])
    for b in (None, bias):
        value, *want = loss.reference(x, w, target, b, sample_weight=weight, derivatives=True)
        got, gradients = loss.value_and_grad(x, w, target, b, sample_weight=weight)
        close(got, value, np.float32, "value")
        wide = None if b is None else np.empty(b.shape, np.float32)
        sums = (np.empty_like(x), np.empty(w.shape, np.float32), wide)
        loss.value_and_grad(x, w, target, b, sample_weight=weight, out=sums)
        for total, wanted in zip(sums[1:], want[1:], strict=True):
            if total is not None:
                tolerance = max(3e-5, of_dz(x))
                np.testing.assert_allclose(
                    total, wanted, rtol=tolerance, atol=tolerance * max(1e-3, np.abs(wanted).max())
                )
        for gradient, wanted in zip(gradients, want, strict=True):
            assert (gradient is None) == (wanted is None)
            if gradient is not None:
                assert gradient.dtype == dtype
                error = np.abs(gradient.astype(np.float64) - wanted)
                size = np.abs(wanted)
                smallest = 2.0**-24 if dtype == np.float16 else 0.0
                assert (error <= ulp * size + (3e-6 + of_dz(x)) * size.max(initial=0) + smallest).all() or np.isnan(
                    wanted
                ).all()


def test_a_layer_without_rows_that_count_has_a_mean_of_nan(rng: np.random.Generator) -> None:
    x, w, target, _ = problem(rng, 5, 3, 4, np.float64)
    target[:] = -100
    value, (dx, dw, _) = lossk.LinearCrossEntropy().value_and_grad(x, w, target)
    assert np.isnan(value)
    assert not dx.any()
    assert not dw.any()
    assert lossk.LinearCrossEntropy()(x, w, target, reduction="sum") == 0
    empty = lossk.LinearCrossEntropy().value_and_grad(x[:0], w, target[:0], reduction="sum")
    assert empty[0] == 0
    assert not empty[1][1].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, BFLOAT16], ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("shape", [(1, 1, 2), (17, 96, 1003), (33, 257, 253), (65, 13, 505), (31, 512, 12)], ids=str)
def test_shapes_that_fill_no_tile_match_the_reference(
    shape: tuple[int, int, int], dtype: Any, rng: np.random.Generator
) -> None:
    x, w, target = draw_layer(rng, *shape, dtype)
    loss = lossk.LinearCrossEntropy()
    value, *want = loss.reference(x, w, target, derivatives=True)
    wide = np.float64 if dtype == np.float64 else np.float32
    out = (np.empty_like(x), np.empty(w.shape, wide), None)
    got, _ = loss.value_and_grad(x, w, target, out=out)
    close(got, value, wide, "value")
    tolerance = max(of_dz(x), 1e-11 if dtype == np.float64 else 1e-5)
    np.testing.assert_allclose(out[1], want[1], rtol=tolerance, atol=tolerance * np.abs(want[1]).max())
    if dtype == wide:
        close(out[0], want[0], dtype, "dx")


def test_without_features_logits_are_the_bias(rng: np.random.Generator) -> None:
    x, w, bias, target = np.zeros((5, 0)), np.zeros((7, 0)), np.arange(7.0), rng.integers(0, 7, 5)
    loss = lossk.LinearCrossEntropy()
    value, *want = loss.reference(x, w, target, bias, derivatives=True)
    got, gradients = loss.value_and_grad(x, w, target, bias)
    np.testing.assert_allclose(got, value)
    np.testing.assert_allclose(gradients[2], want[2])
    assert gradients[0].shape == (5, 0)
    assert gradients[1].shape == (7, 0)


def test_no_row_need_count_of_more_classes_than_a_chunk_holds() -> None:
    loss = lossk.LinearCrossEntropy(chunk_bytes=MB)
    w = np.zeros((50_000, 4), np.float32)
    assert loss(np.zeros((3, 4), np.float32), w, np.full(3, -100), reduction="sum") == 0
    assert loss(np.zeros((0, 4), np.float32), w, np.zeros(0, int), reduction="sum") == 0


def test_statistics_and_means_are_those_of_cross_entropy(rng: np.random.Generator) -> None:
    """Weights that are negative, rows that are -infinity throughout, equal logits."""
    x, w, target = draw_layer(rng, 6, 3, 9, np.float64)
    w[4] = w[2]
    bias = np.zeros(9)
    for shut in (False, True):
        bias[:] = -np.inf if shut else 0
        weight = -np.ones(6)
        z = x @ w.T + bias
        want, row_stats = lossk.CrossEntropy()(z, target, sample_weight=weight, stats=True)
        got, own = lossk.LinearCrossEntropy()(x, w, target, bias, sample_weight=weight, stats=True)
        np.testing.assert_allclose(got, want, rtol=1e-12)
        np.testing.assert_array_equal(own.correct, row_stats.correct)


def test_rows_that_do_not_count_have_gradients_of_0_whatever_the_weights_hold(rng: np.random.Generator) -> None:
    x, w, target, _ = problem(rng, 6, 3, 4, np.float64)
    w[0, 0] = np.nan
    target[2] = -100
    _, dx, _, _ = lossk.LinearCrossEntropy().reference(x, w, target, derivatives=True)
    assert not dx[2].any()
    assert not lossk.LinearCrossEntropy().grad(x, w, target)[0][2].any()

"""LinearCrossEntropy against its reference: options, chunks, 16 bits, ignored rows, outputs, errors."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from support import bits, each_dtype
from support_linear import BFLOAT16, MB, NARROW, close, loss_of, of_dz, problem

import lossk
from lossk._linear._sums import passes, wide_sums

OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"label_smoothing": 0.2, "z_loss": 1e-2},
    {"softcap": 4.0, "ignore_index": 3},
    {"weight": "drawn"},
)


@each_dtype
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 5, 11), (100, 33, 1000), (700, 8, 1001)], ids=str)
def test_matches_reference(options: dict[str, Any], shape: Any, dtype: Any, rng: np.random.Generator) -> None:
    """With 1 MB for 700 rows of 1,001 classes there are several chunks."""
    x, w, target, bias = problem(rng, *shape, dtype)
    if options.get("ignore_index") == 3:
        target[target == -100] = 3
        target = np.minimum(target, max(3, shape[2] - 1))
        if shape[2] <= 3:
            target[:] = 3
    loss = loss_of(options, shape[2], rng, chunk_bytes=MB)
    for b in (None, bias):
        for weight in (None, rng.uniform(0.5, 2, shape[0]).astype(dtype)):
            for reduction in ("mean", "none"):
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
def test_leading_dimensions_stats_and_vjp(dtype: Any, rng: np.random.Generator) -> None:
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


@pytest.mark.parametrize("dtype", [np.float32, BFLOAT16], ids=str)
def test_threads_do_not_change_the_bits(dtype: Any, rng: np.random.Generator) -> None:
    x, w, target, bias = problem(rng, 300, 20, 5000, dtype)
    loss = lossk.LinearCrossEntropy(chunk_bytes=2 * MB)
    first = loss.value_and_grad(x, w, target, bias, num_threads=1)
    for threads in (2, 7):
        again = loss.value_and_grad(x, w, target, bias, num_threads=threads)
        assert again[0] == first[0]
        assert all(bits(a) == bits(b) for a, b in zip(again[1], first[1], strict=True))


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


def test_a_16_bit_dw_need_not_be_aligned_for_float32(rng: np.random.Generator) -> None:
    x, w, target, _ = problem(rng, 100, 64, 3001, BFLOAT16)
    loss = lossk.LinearCrossEntropy(chunk_bytes=MB)
    _, (dx, dw, _) = loss.value_and_grad(x, w, target)
    odd = np.empty(w.size + 1, BFLOAT16)[1:].reshape(w.shape)
    loss.value_and_grad(x, w, target, out=(dx, odd, None))
    assert bits(odd) == bits(dw)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 64, 65])
@pytest.mark.parametrize("room_rows", [1, 2, 5, 64])
def test_sums_in_the_memory_of_16_bits_are_rounded_before_they_are_lost(rows: int, room_rows: int) -> None:
    dw = np.zeros((rows, 6), np.float16)
    tile = np.empty((2, 6), np.float32)
    wanted = np.arange(rows * 6, dtype=np.float32).reshape(rows, 6)
    done = np.zeros(rows, bool)
    count = 0
    for segments in wide_sums(dw, np.empty((room_rows, 6), np.float32), tile, 1):
        count += 1
        for segment in segments:
            classes = slice(segment.first, segment.first + len(segment.sums))
            assert not done[classes].any()
            segment.sums[...] = wanted[classes]
            done[classes] = True
    assert done.all()
    assert count == passes(rows, room_rows)
    np.testing.assert_array_equal(dw, wanted.astype(np.float16))


def test_no_row_counts(rng: np.random.Generator) -> None:
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


def test_out_is_filled_and_checked_before_anything_is_written(rng: np.random.Generator) -> None:
    x, w, target, bias = problem(rng, 9, 4, 6, np.float32)
    loss = lossk.LinearCrossEntropy()
    _, fresh = loss.value_and_grad(x, w, target, bias)
    out = (np.empty_like(x), np.empty_like(w), np.empty_like(bias))
    _, returned = loss.value_and_grad(x, w, target, bias, out=out)
    assert all(a is b for a, b in zip(returned, out, strict=True))
    assert all(bits(a) == bits(b) for a, b in zip(fresh, out, strict=True))
    before = [a.copy() for a in out]
    wrong: tuple[tuple[type[Exception], str, Any], ...] = (
        (TypeError, "out: got ndarray, wanted a tuple of three", out[0]),
        (ValueError, r"out\[0\]: got memory that overlaps x", (x, out[1], out[2])),
        (ValueError, r"out\[1\]: got shape \(4, 6\)", (out[0], out[1].T.copy(), out[2])),
        (TypeError, r"out\[2\]: got dtype float64, wanted float32", (out[0], out[1], out[2].astype(np.float64))),
        (ValueError, r"out\[0\]: got a strided", (np.empty((18, 4), np.float32)[::2], out[1], out[2])),
    )
    for error, message, given in wrong:
        with pytest.raises(error, match=message):
            loss.value_and_grad(x, w, target, bias, out=given)
    assert all(bits(a) == bits(b) for a, b in zip(before, out, strict=True))


def test_wrong_arguments_say_what_was_got_and_wanted(rng: np.random.Generator) -> None:
    x, w, target, bias = problem(rng, 9, 4, 6, np.float32)
    bad = target.copy()
    bad[5] = 6
    calls: tuple[tuple[type[Exception], str, tuple[Any, ...], dict[str, Any]], ...] = (
        (IndexError, r"target\[5\]: got 6, wanted a label in \[0, 6\)", (x, w, bad), {}),
        (ValueError, r"target\[0\]: got .*, wanted an integer", (x, w, target * 1.0 + 0.5), {}),
        (ValueError, r"w: got shape \(4, 6\), wanted \(C, 4\)", (x, w.T, target), {}),
        (TypeError, "w: got dtype float64, wanted float32", (x, w.astype(np.float64), target), {}),
        (TypeError, "w: got dtype float32, wanted float16", (x.astype(np.float16), w, target), {}),
        (ValueError, r"bias: got shape \(4,\)", (x, w, target, bias[:4]), {}),
        (ValueError, r"sample_weight: got shape \(2,\)", (x, w, target), {"sample_weight": [1, 2]}),
        (ValueError, "reduction: got 'avg'", (x, w, target), {"reduction": "avg"}),
        (ValueError, "normalizer: got 0", (x, w, target), {"normalizer": 0}),
    )
    for error, message, args, kwargs in calls:
        with pytest.raises(error, match=message):
            lossk.LinearCrossEntropy().value_and_grad(*args, **kwargs)
    with pytest.raises(ValueError, match="chunk_bytes: got 1000, wanted at least 1048576"):
        lossk.LinearCrossEntropy(chunk_bytes=1000)
    x, w = np.zeros((9, 40_000), np.float32), np.zeros((6, 40_000), np.float32)
    with pytest.raises(ValueError, match=r"chunk_bytes: got 1048576, wanted at least \d+: 32 rows"):
        lossk.LinearCrossEntropy(chunk_bytes=MB)(x, w, target)


def test_is_a_value() -> None:
    loss = lossk.LinearCrossEntropy(weight=[1, 2], label_smoothing=0.1)
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert hash(loss) == hash(lossk.LinearCrossEntropy(weight=[1, 2], label_smoothing=0.1))
    assert repr(lossk.LinearCrossEntropy()).endswith("chunk_bytes=67108864, precision='highest', filter_eps=0.0)")

"""Losses of pairs and triplets: reference, derivatives, reductions, in place, bits, special values, errors."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import lossk
from lossk.losses import PAIR_LOSSES
from tests.support.arrays import Array, bits, each_dtype, in_turn
from tests.support.layouts import LAYOUTS

LOSSES = [cls(**kwargs) for cls in PAIR_LOSSES.values() for kwargs in cls._variants]
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)
SHAPES = ((1, 1), (5, 3), (33, 16), (7, 65), (3, 513), (2, 3, 40), (4, 1025), (70, 300))
NARROW = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


def draw(loss: Any, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[list[Array], Array]:
    """Inputs, with the target if there is one, and weights."""
    inputs = list(type(loss)._draw(rng, shape, dtype))
    weight = rng.uniform(0.25, 2.0, size=shape if loss._single else shape[:-1])
    return inputs, weight.astype(np.float64 if dtype == np.float64 else np.float32)


def wide(arrays: list[Array]) -> list[Array]:
    return [a.astype(np.float64) for a in arrays]


@each_dtype
@each_loss
def test_pairs_match_their_reference(loss: Any, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    rtol, atol = (1e-12, 1e-14) if dtype == np.float64 else (1e-5, 2e-6)
    for shape in SHAPES:
        inputs, weight = draw(loss, rng, shape, dtype)
        for w in (None, weight):
            for reduction in ("mean", "sum", "none"):
                options = {"sample_weight": w, "reduction": reduction}
                want, gradients = loss.reference(*wide(inputs), **options, derivatives=True)
                value, got = loss.value_and_grad(*inputs, **options)
                largest = float(np.max(np.abs(want), initial=1.0))
                np.testing.assert_allclose(value, want, rtol=rtol, atol=atol * largest)
                assert bits(loss(*inputs, **options)) == bits(value)
                for a, b, c in zip(got, loss.grad(*inputs, **options), gradients, strict=True):
                    assert a.dtype == dtype
                    assert bits(a) == bits(b)
                    np.testing.assert_allclose(a, c, rtol=rtol, atol=atol * float(np.abs(c).max(initial=1.0)))


@in_turn("dtype", NARROW)
@each_loss
def test_16_bits_are_rounded_once(loss: Any, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    for shape in ((5, 3), (7, 65), (3, 513)):
        inputs, weight = draw(loss, rng, shape, dtype)
        value, got = loss.value_and_grad(*inputs, sample_weight=weight, reduction="sum")
        widened = [a.astype(np.float32) for a in inputs]
        want, gradients = loss.value_and_grad(*widened, sample_weight=weight, reduction="sum")
        assert value == want
        for a, b in zip(got, gradients, strict=True):
            assert a.dtype == dtype
            assert bits(a) == bits(b.astype(dtype))


@each_loss
def test_gradients_are_those_of_the_values(loss: Any, rng: np.random.Generator) -> None:
    inputs, _ = draw(loss, rng, (6, 5), np.float64)
    gradients, step = loss.grad(*inputs, reduction="sum"), 1e-6
    for i, gradient in enumerate(gradients):
        for at in np.ndindex(gradient.shape):
            moved = []
            for sign in (1, -1):
                arrays = [a.copy() for a in inputs]
                arrays[i][at] += sign * step
                moved.append(loss(*arrays, reduction="sum"))
            assert (moved[0] - moved[1]) / (2 * step) == pytest.approx(gradient[at], rel=1e-6, abs=1e-8)


@each_loss
def test_vjp_is_gradient_times_cotangent(loss: Any, rng: np.random.Generator) -> None:
    inputs, cotangent = draw(loss, rng, (6, 5), np.float64)
    factor = cotangent if loss._single else cotangent[..., None]
    for a, b in zip(loss.vjp(*inputs, cotangent), loss.grad(*inputs, reduction="none"), strict=True):
        np.testing.assert_allclose(a, b * factor, rtol=1e-14)


@each_loss
def test_gradients_may_overwrite_their_inputs(loss: Any, isa: str, rng: np.random.Generator) -> None:
    for dtype in (np.float32, np.float64, *NARROW):
        inputs, weight = draw(loss, rng, (9, 700), dtype)
        value, want = loss.value_and_grad(*inputs, sample_weight=weight)
        work = [a.copy() for a in inputs]
        own = tuple(work[: len(want)])
        again, got = loss.value_and_grad(*work, sample_weight=weight, out=own)
        assert again == value
        for a, b, c in zip(got, own, want, strict=True):
            assert a is b
            assert bits(a) == bits(c)


@each_loss
def test_bits_do_not_depend_on_threads_or_layout(loss: Any, isa: str, rng: np.random.Generator) -> None:
    inputs, weight = draw(loss, rng, (300, 500), np.float32)
    value, want = loss.value_and_grad(*inputs, sample_weight=weight, num_threads=1)
    for threads in (2, 7):
        again, got = loss.value_and_grad(*inputs, sample_weight=weight, num_threads=threads)
        assert again == value
        assert [bits(g) for g in got] == [bits(g) for g in want]
    for layout in LAYOUTS.values():
        moved, out = [layout(a) for a in inputs], tuple(layout(g) for g in want)
        again, got = loss.value_and_grad(*moved, sample_weight=weight, out=out)
        assert again == value
        for a, b, c in zip(got, out, want, strict=True):
            assert a is b
            np.testing.assert_array_equal(a, c)


@each_loss
def test_samples_of_weight_0_do_not_count(loss: Any, isa: str, rng: np.random.Generator) -> None:
    inputs, weight = draw(loss, rng, (8, 20), np.float32)
    weight[3] = 0
    kept = np.arange(8) != 3
    want = loss(*(a[kept] for a in inputs), sample_weight=weight[kept])
    for a in inputs:
        a[3] = np.nan
    value, gradients = loss.value_and_grad(*inputs, sample_weight=weight)
    assert value == pytest.approx(want, rel=1e-6)
    for g in gradients:
        assert not g[3].any()
        assert np.isfinite(g).all()


@each_loss
def test_nan_is_never_lost_and_empty_batches_have_no_mean(loss: Any, isa: str, rng: np.random.Generator) -> None:
    for i in range(len(loss._inputs)):
        inputs, _ = draw(loss, rng, (4, 70), np.float32)
        inputs[i][2, 69] = np.nan
        assert np.isnan(loss(*inputs))
    inputs, _ = draw(loss, rng, (0, 7), np.float32)
    assert np.isnan(loss(*inputs))
    assert loss(*inputs, reduction="sum") == 0
    assert [g.shape for g in loss.grad(*inputs)] == [(0, 7)] * len(loss._inputs)


def test_the_cosine_of_zeros_is_0_with_the_gradient_that_the_formula_has() -> None:
    zeros, other = np.zeros((1, 3)), np.array([[3.0, 0.0, 4.0]])
    value, (g1, g2) = lossk.CosineEmbedding().value_and_grad(zeros, other, 1)
    assert value == 1
    np.testing.assert_allclose(g1, -other / (5 * 1e-6), rtol=1e-12)
    assert not g2.any()
    assert lossk.CosineEmbedding().value_and_grad(zeros, zeros, 1)[0] == 1


def test_a_number_is_the_target_of_every_pair(rng: np.random.Generator) -> None:
    x1, x2 = rng.normal(size=(2, 4, 3)).astype(np.float32)
    for loss, shape in ((lossk.CosineEmbedding(), (4,)), (lossk.MarginRanking(), (4, 3))):
        value, want = loss.value_and_grad(x1, x2, np.full(shape, -1, np.float32))
        for number in (-1, -1.0, np.int8(-1), np.array(-1), np.array(-1, np.float32)):
            again, got = loss.value_and_grad(x1, x2, number)
            assert again == value == pytest.approx(loss.reference(x1, x2, number), rel=1e-6)
            assert [*map(bits, got)] == [*map(bits, want)]
        weight = np.array(np.ones(shape), np.float32)
        assert loss(x1, x2, np.array(-1, np.float32), sample_weight=weight) == value
        for wrong in (np.array(0.5, np.float32), np.array(2)):
            with pytest.raises(ValueError, match=r"y: got .*, wanted -1 or 1"):
                loss(x1, x2, wrong)
            assert loss(x1, x2, wrong, sample_weight=0 * weight, reduction="sum") == 0


def test_a_distance_whose_powers_vanish_may_be_0(isa: str) -> None:
    near, far = np.array([[1e-25, 1e-25]], np.float32), np.array([[0.5, 0.0]], np.float32)
    loss = lossk.TripletMargin(eps=0.0, margin=2.0)
    value, (anchor, positive, negative) = loss.value_and_grad(0 * near, near, far)
    assert value == pytest.approx(1.5)
    assert not positive.any()
    np.testing.assert_array_equal(anchor, -negative)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_a_distance_of_0_has_the_gradient_0(p: float, isa: str) -> None:
    one, other = np.ones((1, 4)), np.zeros((1, 4))
    loss = lossk.TripletMargin(p=p, eps=0.0, margin=10.0)
    value, (g1, g2, g3) = loss.value_and_grad(one, one, other)
    assert value == pytest.approx(10 - 4 ** (1 / p))
    assert not g2.any()
    np.testing.assert_array_equal(g1, -g3)
    value, gradients = loss.value_and_grad(one, one, one)
    assert value == 10
    assert not np.any(gradients)


def test_an_infinite_distance_leaves_the_other_numbers_of_its_row_alone(isa: str) -> None:
    anchor, negative = np.zeros((2, 5)), np.ones((2, 5))
    negative[1, 3] = np.inf
    for p in (1.5, 2.0):
        value, gradients = lossk.TripletMargin(p=p, margin=3.0).value_and_grad(
            anchor, anchor, negative, reduction="none"
        )
        np.testing.assert_array_equal(value > 0, [True, False])
        for g in gradients:
            assert np.isfinite(np.delete(g, 3, axis=1)).all()


@each_loss
def test_the_reference_of_weights_of_0_has_gradients_of_0(loss: Any, rng: np.random.Generator) -> None:
    inputs, weight = draw(loss, rng, (4, 3), np.float64)
    for gradients in (
        loss.grad(*inputs, sample_weight=0 * weight),
        loss.reference(*inputs, sample_weight=0 * weight, derivatives=True)[1],
    ):
        assert not np.any(gradients)


def test_targets_of_weight_0_may_be_anything_however_weights_are_given(rng: np.random.Generator) -> None:
    inputs, y = rng.normal(size=(2, 2, 3)), np.array([np.inf, 1.0])
    want = lossk.CosineEmbedding()(*inputs, y, sample_weight=np.array([0.0, 1.0]))
    assert lossk.CosineEmbedding()(*inputs, y, sample_weight=[0, 1]) == want
    with pytest.raises(TypeError, match=r"sample_weight: got dtype .*, wanted real numbers"):
        lossk.CosineEmbedding()(*inputs, y, sample_weight=np.zeros(2, [("a", "f4")]))


def test_wrong_arguments_are_named_before_anything_is_written(rng: np.random.Generator) -> None:
    a, b, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), np.array([1.0, -1, 1, 1])
    cosine, out = lossk.CosineEmbedding(), (np.full((4, 3), 7.0), np.full((4, 3), 7.0))
    wrong: list[tuple[Any, Any, str]] = [
        (ValueError, lambda: cosine.grad(a, b[:3], y, out=out), r"x2: got shape \(3, 3\), wanted \(4, 3\)"),
        (ValueError, lambda: cosine.grad(a, b, y[:3], out=out), r"y: got shape \(3,\), wanted \(4,\)"),
        (ValueError, lambda: cosine.grad(a, b, 0 * y, out=out), r"y: got 0\.0 at flat index 0, wanted -1 or 1"),
        (ValueError, lambda: cosine.grad(a, b, [1, 2, 1, 1], out=out), r"y: got 2\.0 at flat index 1"),
        (
            ValueError,
            lambda: cosine.grad(a, b, y, out=(out[0], out[0])),
            r"out\[1\]: got memory that overlaps out\[0\]",
        ),
        (ValueError, lambda: cosine.grad(a, b, y, out=(b, out[1])), r"out\[0\]: got memory that overlaps x2"),
        (TypeError, lambda: cosine.grad(a, b, y, out=out[0]), r"out: got ndarray, wanted a tuple of 2 arrays"),
        (TypeError, lambda: cosine.grad(a, b, y, out=(out[0], None)), r"out\[1\]: got NoneType, wanted a NumPy array"),
        (ValueError, lambda: cosine(np.array(1.0), np.array(1.0), 1), r"x1: got shape \(\), wanted \(\.\.\., D\)"),
        (TypeError, lambda: lossk.TripletMargin(swap=1), r"swap: got 1, wanted True or False"),  # type: ignore[arg-type]
        (ValueError, lambda: lossk.TripletMargin(p=0.5), r"p: got 0\.5, wanted a number from 1 to 100"),
        (ValueError, lambda: lossk.TripletMargin(eps=-1.0), r"eps: got -1\.0"),
        (ValueError, lambda: lossk.TripletMargin(margin=np.inf), r"margin: got inf"),
        (ValueError, lambda: lossk.CosineEmbedding(margin=2.0), r"margin: got 2\.0, wanted a number in \[-1, 1\]"),
        (ValueError, lambda: lossk.MarginRanking(margin=np.nan), r"margin: got nan"),
    ]
    for error, call, message in wrong:
        with pytest.raises(error, match=message):
            call()
    assert all((o == 7).all() for o in out)


def test_targets_are_not_looked_at_where_that_is_not_asked_for() -> None:
    rng = np.random.default_rng(0)
    a, b, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), np.ones(4)
    for loss in (lossk.CosineEmbedding(), lossk.MarginRanking()):
        inputs = (a, b) if isinstance(loss, lossk.CosineEmbedding) else (a[:, 0], b[:, 0])
        for verb in (loss, loss.grad, loss.value_and_grad, loss.reference):
            for targets in (0.5 * y, 0.5 * y.astype(np.float32), 0.5, [0.5] * 4):
                with pytest.raises(ValueError, match=r"y: got 0\.5 at flat index 0, wanted -1 or 1"):
                    verb(*inputs, targets)
                verb(*inputs, targets, check=False)
        loss.vjp(*inputs, 0.5 * y, np.ones(4), check=False)


@each_loss
def test_a_loss_of_pairs_is_a_value(loss: Any) -> None:
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert eval(repr(loss), dict(vars(lossk))) == loss
    assert hash(loss) == hash(type(loss)(**{f.name: getattr(loss, f.name) for f in dataclasses.fields(loss)}))

"""Properties that hold for all inputs: symmetries, bounds, and what reductions and weights mean (hypothesis)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import DTYPES, Array, Case, bits, draw, each_case

import lossk
from lossk.losses import LOSSES

settings.register_profile("lossk", deadline=None, derandomize=True, database=None, print_blob=True, max_examples=60)
settings.load_profile("lossk")

seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(DTYPES)
lengths = st.one_of(st.integers(1, 40), st.integers(1, 1100))
classes = st.one_of(st.integers(2, 20), st.integers(60, 70), st.integers(2, 1100))
row_counts = st.integers(1, 40)


@st.composite
def logits_and_labels(draw_: Any) -> tuple[Array, Array]:
    """Logits on a grid of sixteenths, so that sums with whole numbers are exact, and labels."""
    rng = np.random.default_rng(draw_(seeds))
    rows, count = draw_(row_counts), draw_(classes)
    z = rng.integers(-200, 201, size=(rows, count)) / 16
    return z.astype(draw_(dtypes)), rng.integers(0, count, size=rows)


@st.composite
def pairs(draw_: Any) -> tuple[Array, Array]:
    """Predictions and targets of one shape."""
    rng = np.random.default_rng(draw_(seeds))
    n, dtype = draw_(lengths), draw_(dtypes)
    scale = draw_(st.sampled_from([1e-3, 1.0, 100.0]))
    return (rng.normal(size=n) * scale).astype(dtype), (rng.normal(size=n) * scale).astype(dtype)


def eps(a: Array) -> float:
    return float(np.finfo(a.dtype).eps)


# ---- cross-entropy and the row functions --------------------------------------------------------------------------


@given(logits_and_labels(), st.sampled_from([0.0, 0.1, 1.0]))
def test_gradient_sums_to_0_over_classes(batch: tuple[Array, Array], smoothing: float) -> None:
    z, t = batch
    grad = lossk.CrossEntropy(label_smoothing=smoothing).grad(z, t, reduction="none")
    assert (np.abs(grad.sum(axis=1, dtype=np.float64)) <= 8 * eps(z)).all()


@given(logits_and_labels(), st.integers(-1000, 1000), st.sampled_from([0.0, 0.1]))
def test_a_shift_of_all_logits_changes_nothing(batch: tuple[Array, Array], shift: int, smoothing: float) -> None:
    """Nothing but last places: only differences of logits enter, and here they are exact.

    Cross-entropy with labels takes its reference to the nearest multiple of ln 2, so that the differences are from
    another number after a shift: its results may move by the error of exp. The row functions' do not.
    """
    z, t = batch
    loss = lossk.CrossEntropy(label_smoothing=smoothing)
    value, grad, stats = loss.value_and_grad(z, t, stats=True)
    moved = z + z.dtype.type(shift)
    moved_value, moved_grad, moved_stats = loss.value_and_grad(moved, t, stats=True)
    np.testing.assert_allclose(moved_value, value, rtol=8 * eps(z))
    np.testing.assert_allclose(moved_grad, grad, rtol=16 * eps(z), atol=eps(z))
    np.testing.assert_array_equal(moved_stats.correct, stats.correct)
    np.testing.assert_allclose(moved_stats.lse - shift, stats.lse, atol=4 * eps(z) * (1020 + abs(shift)))
    assert bits(lossk.softmax(moved)) == bits(lossk.softmax(z))
    assert bits(lossk.log_softmax(moved)) == bits(lossk.log_softmax(z))


@given(logits_and_labels(), seeds)
def test_permuted_rows_permute_results(batch: tuple[Array, Array], seed: int) -> None:
    z, t = batch
    order = np.random.default_rng(seed).permutation(len(t))
    loss = lossk.CrossEntropy(label_smoothing=0.1, z_loss=1e-3)
    value, grad = loss.value_and_grad(z, t, reduction="none")
    _, hess = loss.grad_and_hess(z, t, reduction="none")
    moved_value, moved_grad = loss.value_and_grad(z[order], t[order], reduction="none")
    _, moved_hess = loss.grad_and_hess(z[order], t[order], reduction="none")
    assert bits(moved_value) == bits(value[order])
    assert bits(moved_grad) == bits(grad[order])
    assert bits(moved_hess) == bits(hess[order])


@given(logits_and_labels(), seeds)
def test_permuted_classes_permute_gradients(batch: tuple[Array, Array], seed: int) -> None:
    z, t = batch
    order = np.random.default_rng(seed).permutation(z.shape[1])
    place = np.argsort(order)
    loss = lossk.CrossEntropy(label_smoothing=0.1)
    value, grad = loss.value_and_grad(z, t)
    moved_value, moved_grad = loss.value_and_grad(z[:, order], place[t])
    np.testing.assert_allclose(moved_value, value, rtol=16 * eps(z))
    np.testing.assert_allclose(moved_grad, grad[:, order], rtol=16 * eps(z), atol=8 * eps(z) / len(t))


@given(logits_and_labels(), st.floats(0, 1))
def test_value_is_not_negative(batch: tuple[Array, Array], smoothing: float) -> None:
    z, t = batch
    each = lossk.CrossEntropy(label_smoothing=smoothing, z_loss=0.01)(z, t, reduction="none")
    assert (each >= 0).all()


@given(logits_and_labels())
def test_labels_are_certain_probabilities(batch: tuple[Array, Array]) -> None:
    z, t = batch
    y = (np.arange(z.shape[1]) == t[:, None]).astype(z.dtype)
    loss = lossk.CrossEntropy(label_smoothing=0.2)
    value, grad = loss.value_and_grad(z, t)
    other_value, other_grad = loss.value_and_grad(z, y)
    np.testing.assert_allclose(other_value, value, rtol=16 * eps(z))
    np.testing.assert_allclose(other_grad, grad, rtol=16 * eps(z), atol=4 * eps(z) / len(t))


@given(logits_and_labels())
def test_cross_entropy_is_convex_in_the_logits(batch: tuple[Array, Array]) -> None:
    z, t = batch
    z = z.astype(np.float64)
    loss = lossk.CrossEntropy(label_smoothing=0.1)
    other = z[:, ::-1].copy()
    value, grad = loss.value_and_grad(z, t, reduction="none")
    beyond = loss(other, t, reduction="none")
    tangent = value + (grad * (other - z)).sum(axis=1)
    assert (beyond >= tangent - 1e-10).all()


@given(logits_and_labels())
def test_row_functions_fit_together(batch: tuple[Array, Array]) -> None:
    z, t = batch
    p, lp, lse = lossk.softmax(z), lossk.log_softmax(z), lossk.logsumexp(z)
    assert ((p >= 0) & (p <= 1)).all()
    np.testing.assert_allclose(p.sum(axis=1, dtype=np.float64), 1, atol=8 * eps(z))
    assert (lp <= 0).all()
    np.testing.assert_allclose(np.exp(lp.astype(np.float64)), p, rtol=64 * eps(z))
    largest = z.max(axis=1)
    assert (lse >= largest).all()
    assert (lse <= (largest + np.log(z.shape[1])) * (1 + np.sign(largest) * 4 * eps(z)) + 4 * eps(z)).all()
    each = lossk.CrossEntropy()(z, t, reduction="none")
    np.testing.assert_allclose(each, -lp[np.arange(len(t)), t], atol=64 * eps(z), rtol=8 * eps(z))


# ---- reductions and weights, for every loss -----------------------------------------------------------------------


@st.composite
def problems(draw_: Any, case: Case) -> tuple[Any, Array, Array, np.random.Generator]:
    rng = np.random.default_rng(draw_(seeds))
    shape = (draw_(lengths),) if case.pointwise else (draw_(row_counts), draw_(classes))
    batch = draw(case, rng, shape, draw_(dtypes))
    return case.make(), batch.z, batch.target, rng


def counted(case: Case, loss: Any, z: Array, target: Array) -> Array:
    """Samples that count: labels that are not ignored."""
    ignored = getattr(loss, "ignore_index", None)
    return (
        np.ones(case.sample_shape(z.shape), bool) if ignored is None or target.dtype.kind != "i" else target != ignored
    )


@each_case
@given(data=st.data())
@settings(max_examples=20)
def test_reductions_agree(case: Case, data: Any) -> None:
    loss, z, target, _ = data.draw(problems(case))
    each, own = loss.value_and_grad(z, target, reduction="none")
    total, grad = loss.value_and_grad(z, target, reduction="sum")
    mean, mean_grad = loss.value_and_grad(z, target)
    n = int(counted(case, loss, z, target).sum())
    np.testing.assert_allclose(each.sum(dtype=np.float64), total, atol=4 * eps(z) * np.abs(each).sum(dtype=np.float64))
    assert bits(own) == bits(grad)
    if n:
        assert mean == total / n
        np.testing.assert_allclose(mean_grad, grad / z.dtype.type(n), rtol=4 * eps(z), atol=2 * eps(z) / n)
    else:
        assert np.isnan(mean)


@each_case
@given(data=st.data())
@settings(max_examples=20)
def test_weight_2_is_a_sample_twice_and_weight_0_none(case: Case, data: Any) -> None:
    loss, z, target, rng = data.draw(problems(case))
    times = rng.integers(0, 3, size=case.sample_shape(z.shape))
    weight = times.astype(z.dtype)
    order = np.repeat(np.arange(len(target)), times)
    if not counted(case, loss, z, target)[order].any():
        return
    for reduction in ("mean", "sum"):
        value, grad = loss.value_and_grad(z, target, sample_weight=weight, reduction=reduction)
        want, own = loss.value_and_grad(z[order], target[order], reduction=reduction)
        np.testing.assert_allclose(value, want, rtol=8 * eps(z))
        summed = np.zeros(z.shape)
        np.add.at(summed, order, own.astype(np.float64))
        np.testing.assert_allclose(grad, summed, rtol=8 * eps(z), atol=8 * eps(z) * np.abs(summed).max())


@each_case
@given(data=st.data())
@settings(max_examples=15)
def test_doubling_all_weights_leaves_the_mean(case: Case, data: Any) -> None:
    """To the bit, as 2 is a power of two; the sum doubles."""
    loss, z, target, rng = data.draw(problems(case))
    weight = rng.uniform(0.5, 2, size=case.sample_shape(z.shape)).astype(z.dtype)
    mean, total = (loss(z, target, sample_weight=weight, reduction=r) for r in ("mean", "sum"))
    np.testing.assert_equal(loss(z, target, sample_weight=2 * weight), mean)
    assert loss(z, target, sample_weight=2 * weight, reduction="sum") == 2 * total


@each_case
@given(data=st.data())
@settings(max_examples=15)
def test_samples_do_not_touch_each_other(case: Case, data: Any) -> None:
    """A part of a batch gives that part of the results, to the bit."""
    loss, z, target, rng = data.draw(problems(case))
    a, b = sorted(rng.integers(0, len(target) + 1, size=2))
    each, grad = loss.value_and_grad(z, target, reduction="none")
    _, hess = loss.grad_and_hess(z, target, reduction="none")
    part_each, part_grad = loss.value_and_grad(z[a:b], target[a:b], reduction="none")
    _, part_hess = loss.grad_and_hess(z[a:b], target[a:b], reduction="none")
    assert bits(part_each) == bits(each[a:b])
    assert bits(part_grad) == bits(grad[a:b])
    assert bits(part_hess) == bits(hess[a:b])


@each_case
@given(data=st.data())
@settings(max_examples=15)
def test_vjp_is_linear_in_the_cotangent(case: Case, data: Any) -> None:
    loss, z, target, rng = data.draw(problems(case))
    cotangent = rng.normal(size=case.sample_shape(z.shape)).astype(z.dtype)
    once = loss.vjp(z, target, cotangent)
    assert bits(loss.vjp(z, target, 4 * cotangent)) == bits(4 * once)
    np.testing.assert_array_equal(loss.vjp(z, target, -cotangent), -once)
    np.testing.assert_array_equal(loss.vjp(z, target, np.ones_like(cotangent)), loss.grad(z, target, reduction="none"))


# ---- pointwise losses ---------------------------------------------------------------------------------------------


SYMMETRIC = (
    lossk.SquaredError(),
    lossk.AbsoluteError(),
    lossk.Huber(0.5),
    lossk.SmoothL1(0.5),
    lossk.PseudoHuber(0.5),
    lossk.LogCosh(),
)


@pytest.mark.parametrize("loss", SYMMETRIC, ids=str)
@given(pair=pairs())
def test_regression_losses_are_symmetric(loss: Any, pair: tuple[Array, Array]) -> None:
    z, y = pair
    value, grad = loss.value_and_grad(z, y, reduction="none")
    swapped_value, swapped_grad = loss.value_and_grad(y, z, reduction="none")
    np.testing.assert_array_equal(swapped_value, value)
    np.testing.assert_array_equal(swapped_grad, -grad)
    np.testing.assert_array_equal(loss(z, z, reduction="none"), 0)


@given(pairs(), st.floats(0.01, 100))
def test_huber_lies_below_both_its_branches(pair: tuple[Array, Array], delta: float) -> None:
    z, y = pair
    delta = float(z.dtype.type(delta))
    huber = lossk.Huber(delta)(z, y, reduction="none").astype(np.float64)
    slack = 1 + 8 * eps(z)
    assert (huber <= lossk.SquaredError()(z, y, reduction="none") / 2 * slack).all()
    assert (huber <= delta * lossk.AbsoluteError()(z, y, reduction="none").astype(np.float64) * slack).all()
    grad, hess = lossk.Huber(delta).grad_and_hess(z, y, reduction="none")
    assert (np.abs(grad) <= delta).all()
    assert set(np.unique(hess)) <= {0.0, 1.0}
    wide = lossk.Huber(1e6)(z, y, reduction="none")
    np.testing.assert_allclose(wide, lossk.SquaredError()(z, y, reduction="none") / 2, rtol=8 * eps(z))


@given(pairs())
def test_margin_losses_depend_on_the_product(pair: tuple[Array, Array]) -> None:
    z, y = pair[0], np.where(pair[1] < 0, -1, 1).astype(pair[1].dtype)
    for loss in (lossk.Hinge(), lossk.SquaredHinge(0.5)):
        value, grad = loss.value_and_grad(z, y, reduction="none")
        other_value, other_grad = loss.value_and_grad(-z, -y, reduction="none")
        assert bits(other_value) == bits(value)
        np.testing.assert_array_equal(other_grad, -grad)
        assert (value >= 0).all()
        assert (grad * y <= 0).all()
    np.testing.assert_allclose(
        lossk.SquaredHinge()(z, y, reduction="none"), lossk.Hinge()(z, y, reduction="none") ** 2, rtol=4 * eps(z)
    )


CONVEX = (
    "squared_error",
    "absolute_error",
    "huber",
    "smooth_l1",
    "pseudo_huber",
    "log_cosh",
    "quantile",
    "hinge",
    "squared_hinge",
    "logistic",
    "binary_cross_entropy_with_logits",
)


@pytest.mark.parametrize(
    "case", [c for name in CONVEX for c in (Case(name, i) for i in range(len(LOSSES[name]._variants)))], ids=str
)
@given(seed=seeds)
@settings(max_examples=30)
def test_tangents_lie_below(case: Case, seed: int) -> None:
    loss, rng = case.make(), np.random.default_rng(seed)
    batch = draw(case, rng, (200,), np.float64)
    value, grad = loss.value_and_grad(batch.z, batch.target, reduction="none")
    elsewhere = batch.z + rng.normal(scale=3, size=200)
    assert (loss(elsewhere, batch.target, reduction="none") >= value + grad * (elsewhere - batch.z) - 1e-12).all()
    _, hess = loss.grad_and_hess(batch.z, batch.target)
    assert (hess >= 0).all()


# ---- optimizers ---------------------------------------------------------------------------------------------------


@given(pairs(), st.sampled_from(["torch", "keras"]), st.booleans())
def test_sgd_does_not_care_how_parameters_are_cut(pair: tuple[Array, Array], style: str, nesterov: bool) -> None:
    start, grad = pair
    options: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "style": style, "nesterov": nesterov}
    whole = start.copy()
    cut = len(start) // 3
    parts = [start[:cut].copy(), start[cut:].copy()]
    one, two = lossk.SGD([whole], **options), lossk.SGD(parts, **options)
    for _ in range(3):
        one.step([grad])
        two.step([grad[:cut], grad[cut:]])
    assert bits(whole) == bits(np.concatenate(parts))


@given(pairs(), st.integers(-8, 8), st.sampled_from(["torch", "keras"]))
def test_sgd_is_linear(pair: tuple[Array, Array], power: int, style: str) -> None:
    """Scaling parameter and gradient by a power of two scales the result, to the bit."""
    start, grad = pair
    factor = start.dtype.type(2.0**power)
    plain, scaled = start.copy(), factor * start
    for p, f in ((plain, start.dtype.type(1)), (scaled, factor)):
        sgd = lossk.SGD([p], lr=0.1, momentum=0.9, weight_decay=0.01, style=style)
        for _ in range(3):
            sgd.step([f * grad])
    assert bits(scaled) == bits(factor * plain)

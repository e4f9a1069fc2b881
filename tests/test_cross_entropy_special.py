"""Special values in cross-entropy: infinities, NaN, huge logits, rows that do not count, confident predictions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from support import REDUCTIONS, TOLERANCE, Array, assert_close, bits, each_dtype, grad_atol, value_atol
from support_rows import IGNORED, each_count, log_sum_exp

import lossk


def rows_around(row: Array, dtype: Any, rng: np.random.Generator) -> tuple[Array, Array]:
    """The row among ordinary ones, so that a value that leaks into its neighbours shows. Row 1 is the special one."""
    z = rng.normal(size=(3, row.size)).astype(dtype)
    z[1] = row
    return z, np.zeros(3, int)


def run_rows(loss: lossk.CrossEntropy, z: Array, t: Array) -> tuple[Array, Array]:
    """Per-row losses and gradients; the neighbours must be what they are on their own."""
    value, grad = loss.value_and_grad(z, t, reduction="none")
    own_value, own_grad = loss.value_and_grad(z[[0, 2]], t[[0, 2]], reduction="none")
    np.testing.assert_allclose(value[[0, 2]], own_value, rtol=1e-6)
    np.testing.assert_allclose(grad[[0, 2]], own_grad, rtol=1e-5, atol=1e-7)
    in_place = z.copy()
    value_again, _ = loss.value_and_grad(in_place, t, reduction="none", out=in_place)
    np.testing.assert_array_equal(value_again, value)
    np.testing.assert_array_equal(in_place, grad)
    return value, grad


# ---- infinities, NaN, huge logits ---------------------------------------------------------------------------------


@each_count
@each_dtype
def test_minus_infinity_elsewhere(dtype: Any, classes: int, isa: str, rng: np.random.Generator) -> None:
    """Finite loss, gradient 0 there; with smoothing the loss is infinite and gradients stay finite."""
    row = rng.normal(size=classes).astype(dtype)
    for at in {1, 2, classes - 1}:
        z, t = rows_around(row, dtype, rng)
        z[1, at] = -np.inf
        value, grad = run_rows(lossk.CrossEntropy(), z, t)
        others = np.delete(z[1].astype(np.float64), at)
        want = log_sum_exp(others[None])[0] - float(z[1, 0])
        assert value[1] == pytest.approx(want, rel=1e-6)
        assert grad[1, at] == 0.0
        assert np.isfinite(grad).all()
        value, grad = run_rows(lossk.CrossEntropy(label_smoothing=0.1), z, t)
        assert value[1] == np.inf
        assert np.isfinite(grad).all()
        assert grad[1, at] == pytest.approx(-0.1 / classes, rel=1e-6)


@each_count
@each_dtype
def test_zero_times_infinity_is_zero(dtype: Any, classes: int, isa: str, rng: np.random.Generator) -> None:
    """A class of weight 0, or of probability 0, costs nothing even at -infinity."""
    z, t = rows_around(rng.normal(size=classes), dtype, rng)
    z[1, 2] = -np.inf
    weight = np.ones(classes)
    weight[2] = 0
    loss = lossk.CrossEntropy(weight=weight, label_smoothing=0.1)
    value, grad = run_rows(loss, z, t)
    assert_close(value, loss.reference(z, t, reduction="none"), 1e-6, 0, "weighted")
    assert np.isfinite(value).all()
    assert np.isfinite(grad).all()
    value, grad = run_rows(lossk.CrossEntropy(weight=weight), z, np.full_like(t, 2))
    assert not value.any(), "the label's own term"
    assert not grad.any(), "the label's own term"
    y = np.zeros((3, classes), dtype)
    y[:, 0] = 1
    value, grad = run_rows(lossk.CrossEntropy(), z, y)
    assert_close(value, lossk.CrossEntropy()(z, t, reduction="none"), 1e-6, 1e-7, "probabilities")
    assert np.isfinite(value).all()
    assert np.isfinite(grad).all()
    assert grad[1, 2] == 0


@each_count
@each_dtype
def test_minus_infinity_at_the_target(dtype: Any, classes: int, isa: str, rng: np.random.Generator) -> None:
    """Loss +infinity, gradient -1 at the target and the softmax elsewhere."""
    z, t = rows_around(rng.normal(size=classes), dtype, rng)
    for at in {0, 2, classes - 1}:
        t[1] = at
        z[1, at] = -np.inf
        value, grad = run_rows(lossk.CrossEntropy(), z, t)
        assert value[1] == np.inf
        assert grad[1, at] == pytest.approx(-1, rel=float(np.finfo(dtype).eps))
        p = np.exp(z[1].astype(np.float64) - log_sum_exp(z[1][None])[0])
        p[at] = -1
        np.testing.assert_allclose(grad[1], p, rtol=1e-5, atol=1e-9)
        z[1, at] = 0.5
        assert (
            lossk.CrossEntropy()(np.where(np.arange(classes) == at, -np.inf, z).astype(dtype), np.full(3, at)) == np.inf
        )


@pytest.mark.parametrize("poison", ["all -inf", "+inf", "+inf at the target", "nan", "nan at the target", "both inf"])
@each_count
@each_dtype
def test_poisoned_rows_are_nan_and_only_they(
    dtype: Any, classes: int, poison: str, isa: str, rng: np.random.Generator
) -> None:
    row = rng.normal(size=classes).astype(dtype)
    if poison == "all -inf":
        row[:] = -np.inf
    elif poison == "both inf":
        row[[1, -1]] = -np.inf, np.inf
    else:
        row[0 if "target" in poison else -1] = np.inf if "inf" in poison else np.nan
    z, t = rows_around(row, dtype, rng)
    y = np.full((3, classes), 1 / classes, dtype)
    for loss in (lossk.CrossEntropy(), lossk.CrossEntropy(label_smoothing=0.1, z_loss=1e-3)):
        for target in (t, y):
            value, grad = run_rows(loss, z, target)
            assert np.isnan(value[1])
            assert np.isnan(grad[1]).all()
            assert np.isnan(loss(z, target))
            _, hess = loss.grad_and_hess(z, target)
            assert np.isnan(hess[1]).all()
            assert np.isfinite(hess[[0, 2]]).all()
            _, want, _ = loss.reference(z, target, reduction="none", derivatives=True)
            assert np.isnan(want[1]).all(), "the reference agrees"


@each_count
@each_dtype
def test_huge_logits_do_not_overflow(dtype: Any, classes: int, isa: str, rng: np.random.Generator) -> None:
    for big in (1e4, 3.4e38, float(np.finfo(dtype).max)):
        row = np.zeros(classes, dtype)
        row[0] = big
        z, t = rows_around(row, dtype, rng)
        value, grad = run_rows(lossk.CrossEntropy(), z, t)
        assert value[1] == 0.0
        assert not grad[1].any()
        t[1] = 1
        value, grad = run_rows(lossk.CrossEntropy(), z, t)
        assert value[1] == dtype.type(big)
        assert lossk.CrossEntropy()(z[1:2], t[1:2]) == float(dtype.type(big))
        assert grad[1, 0] == 1.0
        assert grad[1, 1] == -1.0
        assert not grad[1, 2:].any()
        z[1] = -dtype.type(big)
        z[1, 1] = 0
        value, grad = run_rows(lossk.CrossEntropy(), z, t)
        assert value[1] == 0.0
        assert not grad[1].any()
        z[1] = dtype.type(big)
        value, grad = run_rows(lossk.CrossEntropy(), z, t)
        np.testing.assert_allclose(value[1], np.log(classes), rtol=1e-6)
        np.testing.assert_allclose(grad[1, 2:], 1 / classes, rtol=1e-5)
        z[1] = -dtype.type(big)
        value, _ = run_rows(lossk.CrossEntropy(label_smoothing=0.5), z, t)
        np.testing.assert_allclose(value[1], np.log(classes), rtol=1e-6)
        np.testing.assert_array_equal(lossk.logsumexp(z)[1:2], [-dtype.type(big) + dtype.type(np.log(classes))])


@pytest.mark.parametrize("classes", [2, 3, 10, 64, 100])
def test_losses_as_large_as_numbers_have_a_finite_mean(classes: int, isa: str) -> None:
    z = np.zeros((600, classes), np.float32)
    z[:, 1] = -3e38
    assert lossk.CrossEntropy()(z, np.ones(600, int)) == pytest.approx(3e38, rel=1e-6)


@each_dtype
def test_leading_run_of_minus_infinity(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    """A running maximum that starts at -infinity must not poison what follows."""
    for classes, run in itertools.product(
        (10, 64, 70, 600, 1300, 40_000), (1, 9, 63, 69, 512, 599, 1025, 17_000, 39_999)
    ):
        if run >= classes:
            continue
        z, t = rows_around(rng.normal(size=classes), dtype, rng)
        z[1, :run] = -np.inf
        t[:] = classes - 1
        value, grad = run_rows(lossk.CrossEntropy(), z, t)
        want = log_sum_exp(z[1:2, run:])[0] - float(z[1, -1])
        assert value[1] == pytest.approx(want, rel=1e-6, abs=1e-7)
        assert not grad[1, :run].any()
        assert np.isfinite(grad).all()
        np.testing.assert_allclose(lossk.logsumexp(z)[1], log_sum_exp(z[1:2, run:])[0], rtol=1e-6, atol=1e-6)


@each_dtype
def test_confident_predictions_keep_their_digits(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    """p[t] - 1 and the loss are relatively accurate where p[t] is all but 1."""
    rtol = TOLERANCE[np.dtype(dtype)].grad
    for classes in (2, 5, 64, 65, 700, 17_000):
        for gap in (2.0, 10.0, 20.0, 40.0, 60.0):
            z, t = rows_around(rng.normal(size=classes), dtype, rng)
            for at in {0, 1, classes - 1}:
                row = np.where(np.arange(classes) == at, gap + 3, rng.normal(size=classes)).astype(dtype)
                z[1], t[1] = row, at
                d = row.astype(np.float64) - float(row[at])
                others = np.delete(np.exp(d), at).sum()
                value, grad = lossk.CrossEntropy().value_and_grad(z, t, reduction="none")
                _, hess = lossk.CrossEntropy().grad_and_hess(z, t, reduction="none")
                miss = others / (1 + others)
                np.testing.assert_allclose(grad[1, at], -miss, rtol=rtol, err_msg=f"{classes} {gap} {at}")
                np.testing.assert_allclose(hess[1, at], miss / (1 + others), rtol=rtol)
                np.testing.assert_allclose(value[1], np.log1p(others), rtol=rtol, err_msg=f"{classes} {gap} {at}")
                total = lossk.CrossEntropy()(z[1:2], t[1:2])
                np.testing.assert_allclose(total, np.log1p(others), rtol=rtol)


# ---- soft capping -------------------------------------------------------------------------------------------------


@each_dtype
def test_softcap_saturates(dtype: Any, isa: str) -> None:
    """Logits far beyond the cap: finite loss, gradients 0."""
    for classes in (3, 100, 1100):
        z, t = np.zeros((2, classes), dtype), np.array([0, 1])
        z[:, 0] = np.finfo(dtype).max
        loss = lossk.CrossEntropy(softcap=20.0)
        value, grad = loss.value_and_grad(z, t, reduction="none")
        total = np.exp(20.0) + classes - 1
        np.testing.assert_allclose(value, [np.log1p((classes - 1) * np.exp(-20.0)), np.log(total)], rtol=2e-5)
        np.testing.assert_array_equal(grad[:, 0], 0.0)
        assert grad[1, 1] == pytest.approx(1 / total - 1, rel=1e-6)


@each_dtype
def test_softcap_of_infinities(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    """tanh(infinity) is 1: capped logits are finite, wherever the infinities lie."""
    loss, tolerance = lossk.CrossEntropy(softcap=5.0), TOLERANCE[np.dtype(dtype)]
    for classes in (3, 64, 70, 600, 1300, 20_000, 40_000):
        for sign, run in itertools.product((-1, 1), (1, classes // 2, classes - 1, classes)):
            for at_the_end in (False, True):
                z, t = rows_around(rng.normal(size=classes), dtype, rng)
                z[1, classes - run if at_the_end else 0 :][:run] = sign * np.inf
                value, grad = run_rows(loss, z, t)
                want, want_grad, _ = loss.reference(z, t, reduction="none", derivatives=True)
                assert np.isfinite(want).all()
                assert_close(value, want, tolerance.value, value_atol(loss, dtype), f"{classes} {sign} {run}")
                assert_close(grad, want_grad, tolerance.grad, grad_atol(loss, dtype), f"{classes} {sign} {run}")


# ---- rows and classes that do not count ---------------------------------------------------------------------------


@each_count
@each_dtype
def test_ignored_rows_are_exactly_0_whatever_they_hold(
    dtype: Any, classes: int, isa: str, rng: np.random.Generator
) -> None:
    z = rng.normal(size=(9, classes)).astype(dtype)
    for i, poison in ((1, np.nan), (3, np.inf), (5, -np.inf), (7, np.finfo(dtype).max)):
        z[i] = poison
    t = np.zeros(9, int)
    t[1::2] = IGNORED
    weight = np.ones(9, dtype)
    weight[1::2] = np.nan
    for loss in (
        lossk.CrossEntropy(),
        lossk.CrossEntropy(label_smoothing=0.2, z_loss=0.1),
        lossk.CrossEntropy(softcap=5.0, weight=rng.uniform(0.5, 1, size=classes)),
    ):
        for reduction, sample_weight in itertools.product(REDUCTIONS, (None, weight)):
            arguments: dict[str, Any] = {"reduction": reduction, "sample_weight": sample_weight}
            value, grad = loss.value_and_grad(z, t, **arguments)
            _, hess = loss.grad_and_hess(z, t, **arguments)
            assert bits(grad[1::2]) == bits(np.zeros((4, classes), dtype)), "exact 0, not -0"
            assert bits(hess[1::2]) == bits(np.zeros((4, classes), dtype))
            assert np.isfinite(grad).all()
            own = None if sample_weight is None else weight[::2]
            want = loss(z[::2], t[::2], reduction=reduction, sample_weight=own)
            if reduction == "none":
                np.testing.assert_array_equal(value[1::2], 0.0)
                value = value[::2]
            np.testing.assert_allclose(value, want, rtol=1e-6)
            _, grad_of_stats, stats = loss.value_and_grad(z, t, stats=True, **arguments)
            assert bits(grad_of_stats[1::2]) == bits(grad[1::2])
            assert not stats.correct[1::2].any()


@each_count
@each_dtype
def test_all_rows_ignored(dtype: Any, classes: int, isa: str, rng: np.random.Generator) -> None:
    z, t = rng.normal(size=(7, classes)).astype(dtype), np.full(7, IGNORED)
    for loss in (lossk.CrossEntropy(), lossk.CrossEntropy(weight=np.ones(classes), label_smoothing=0.1)):
        for run in (loss.value_and_grad, lambda *a, loss=loss, **k: loss.reference(*a, derivatives=True, **k)[:2]):
            mean, grad = run(z, t)
            assert np.isnan(mean)
            np.testing.assert_array_equal(grad, 0.0)
            total, grad = run(z, t, reduction="sum")
            assert total == 0.0
            np.testing.assert_array_equal(grad, 0.0)
            each, grad = run(z, t, reduction="none")
            np.testing.assert_array_equal(each, np.zeros(7))
            np.testing.assert_array_equal(grad, 0.0)
        _, hess = loss.grad_and_hess(z, t)
        np.testing.assert_array_equal(hess, 0.0)


@each_count
@each_dtype
def test_all_weights_zero(dtype: Any, classes: int, isa: str, rng: np.random.Generator) -> None:
    z, t = rng.normal(size=(5, classes)).astype(dtype), np.array([0, 0, IGNORED, 0, 0])
    weight = np.ones(classes)
    weight[0] = 0
    for loss, sample_weight in (
        (lossk.CrossEntropy(weight=weight), None),
        (lossk.CrossEntropy(), np.zeros(5, dtype)),
    ):
        value, grad = loss.value_and_grad(z, t, sample_weight=sample_weight)
        assert np.isnan(value)
        assert np.isnan(grad[[0, 1, 3, 4]]).all()
        np.testing.assert_array_equal(grad[2], 0.0)
        assert loss(z, t, sample_weight=sample_weight, reduction="sum") == 0.0
        np.testing.assert_array_equal(loss.grad(z, t, sample_weight=sample_weight, reduction="sum"), 0.0)
        want, want_grad, _ = loss.reference(z, t, sample_weight=sample_weight, derivatives=True)
        assert np.isnan(want)
        np.testing.assert_array_equal(np.isnan(want_grad), np.isnan(grad))


@each_dtype
def test_one_class(dtype: Any, isa: str) -> None:
    z = np.array([[3.0], [-700.0], [0.0], [np.finfo(dtype).max]], dtype)
    for loss in (lossk.CrossEntropy(), lossk.CrossEntropy(label_smoothing=0.4)):
        for target in (np.zeros(4, int), np.ones((4, 1), dtype)):
            value, grad, stats = loss.value_and_grad(z, target, stats=True)
            assert value == 0.0
            # With smoothing the shares .6 and .4 are rounded before they are added.
            assert (np.abs(grad) <= (np.finfo(dtype).eps if loss.label_smoothing else 0.0)).all()
            np.testing.assert_array_equal(stats.lse, z[:, 0])
            assert stats.correct.all()
            np.testing.assert_array_equal(loss.grad_and_hess(z, target)[1], 0.0)
    np.testing.assert_array_equal(lossk.softmax(z), 1.0)
    np.testing.assert_array_equal(lossk.log_softmax(z), 0.0)


def test_no_class_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"z: got shape \(4, 0\), wanted at least one class"):
        lossk.CrossEntropy()(np.zeros((4, 0)), np.zeros(4, int))


@each_dtype
def test_smoothing_of_huge_logits_does_not_overflow(dtype: Any, isa: str) -> None:
    loss, big = lossk.CrossEntropy(label_smoothing=0.1), 0.9 * float(np.finfo(dtype).max)
    for classes in (2, 3, 4, 10, 64):
        z, t = np.full((5, classes), -big, dtype), np.zeros(5, np.int64)
        z[:, 0] = 0
        value, grad = loss.value_and_grad(z, t)
        np.testing.assert_allclose(value, loss.reference(z, t), rtol=1e-6, err_msg=str(classes))
        assert np.isfinite(grad).all(), classes


@each_dtype
def test_infinite_weights_of_rows(dtype: Any, isa: str) -> None:
    weight, smoothed = np.array([np.inf], dtype), lossk.CrossEntropy(label_smoothing=0.1)
    z = np.array([[0, 1, 2]], dtype)
    for target in (np.array([0]), np.array([[1, 0, 0]], dtype)):
        grad = smoothed.grad(z, target, sample_weight=weight, reduction="sum")
        np.testing.assert_array_equal(grad, [[-np.inf, np.inf, np.inf]])

"""Special values in cross-entropy: infinities, NaN, huge logits, confident predictions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import each_dtype
from tests.support.rows import each_count, log_sum_exp, rows_around, run_rows
from tests.support.tolerances import TOLERANCE, assert_close


@each_count
@each_dtype
def test_minus_infinity_beside_the_label_costs_nothing(
    dtype: Any, classes: int, isa: str, rng: np.random.Generator
) -> None:
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
def test_minus_infinity_at_the_label_costs_infinity(
    dtype: Any, classes: int, isa: str, rng: np.random.Generator
) -> None:
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
def test_a_leading_run_of_minus_infinity_does_not_poison_the_row(
    dtype: Any, isa: str, rng: np.random.Generator
) -> None:
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
def test_infinite_weights_give_infinite_gradients(dtype: Any, isa: str) -> None:
    weight, smoothed = np.array([np.inf], dtype), lossk.CrossEntropy(label_smoothing=0.1)
    z = np.array([[0, 1, 2]], dtype)
    for target in (np.array([0]), np.array([[1, 0, 0]], dtype)):
        grad = smoothed.grad(z, target, sample_weight=weight, reduction="sum")
        np.testing.assert_array_equal(grad, [[-np.inf, np.inf, np.inf]])

"""Rows and classes that do not count: ignored labels, weights of 0, one class or none."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import INF, NAN, bits, each_dtype
from tests.support.cases import REDUCTIONS
from tests.support.rows import IGNORED, draw_rows, each_count


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
def test_a_batch_of_ignored_rows_has_a_mean_of_nan(
    dtype: Any, classes: int, isa: str, rng: np.random.Generator
) -> None:
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
def test_a_batch_of_weights_0_has_a_mean_of_nan(dtype: Any, classes: int, isa: str, rng: np.random.Generator) -> None:
    z, t = rng.normal(size=(5, classes)).astype(dtype), np.array([0, 0, IGNORED, 0, 0])
    weight = np.ones(classes)
    weight[0] = 0
    for loss, sample_weight in (
        (lossk.CrossEntropy(weight=weight), None),
        (lossk.CrossEntropy(), np.zeros(5, dtype)),
    ):
        value, grad = loss.value_and_grad(z, t, sample_weight=sample_weight)
        assert np.isnan(value)
        counts = (
            [0, 1, 3, 4] if sample_weight is None else []
        )  # a class may weigh 0, a sample of weight 0 has no gradient
        assert np.isnan(grad[counts]).all()
        np.testing.assert_array_equal(np.delete(grad, counts, 0), 0.0)
        assert loss(z, t, sample_weight=sample_weight, reduction="sum") == 0.0
        np.testing.assert_array_equal(loss.grad(z, t, sample_weight=sample_weight, reduction="sum"), 0.0)
        want, want_grad, _ = loss.reference(z, t, sample_weight=sample_weight, derivatives=True)
        assert np.isnan(want)
        np.testing.assert_array_equal(np.isnan(want_grad), np.isnan(grad))


@each_dtype
def test_one_class_is_certain(dtype: Any, isa: str) -> None:
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
def test_ignored_rows_of_nll_have_zero_gradients(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    batch = draw_rows("NLL", rng, (5, 70), dtype)
    t = batch.target.copy()
    t[[1, 3]] = -100
    z = batch.z.copy()
    z[1], z[3] = NAN, INF
    value, grad = lossk.NLL().value_and_grad(z, t)
    counted = [0, 2, 4]
    assert value == lossk.NLL()(z[counted], t[counted])
    assert bits(grad[[1, 3]]) == bits(np.zeros((2, 70), dtype))
    assert bits(lossk.NLL()(z, t, reduction="none")[[1, 3]]) == bits(np.zeros(2, dtype))
    nothing, zeros = lossk.NLL().value_and_grad(z, np.full(5, -100))
    assert np.isnan(nothing)
    assert bits(zeros) == bits(np.zeros((5, 70), dtype))
    assert lossk.NLL()(z, np.full(5, -100), reduction="sum") == 0

"""Reductions, weights of samples and normalizers of every loss, and what one sample has to do with another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.arrays import bits, each_dtype
from tests.support.cases import Case, draw, each_case
from tests.support.properties import counted, eps, problems
from tests.support.tolerances import assert_close


@each_dtype
@each_case
def test_normalizer_replaces_the_divisor(case: Case, dtype: Any, rng: np.random.Generator) -> None:
    loss = case.make()
    for shape in ((1000,), (17, 3)) if case.pointwise else ((17, 3), (6, 100)):
        for weighted in (False, True):
            batch = draw(case, rng, shape, dtype, weighted)
            total, grad = loss.value_and_grad(batch.z, batch.target, sample_weight=batch.weight, reduction="sum")
            for normalizer in (7, 0.3, np.float32(2.5)):
                value, scaled = loss.value_and_grad(
                    batch.z, batch.target, sample_weight=batch.weight, normalizer=normalizer
                )
                assert value == pytest.approx(total / float(normalizer), rel=1e-15)
                rtol = 4 * np.finfo(dtype).eps
                assert_close(scaled, grad.astype(np.float64) / float(normalizer), rtol, rtol, "gradient")
    for call in (loss, loss.reference):
        for wrong in (0, -1.0, np.inf, np.nan, "many"):
            with pytest.raises((TypeError, ValueError), match=r"normalizer: got .*, wanted a finite number above 0"):
                call(batch.z, batch.target, normalizer=wrong)
        for reduction in ("sum", "none"):
            with pytest.raises(ValueError, match=r"normalizer: got 3.*, wanted None"):
                call(batch.z, batch.target, normalizer=3, reduction=reduction)


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

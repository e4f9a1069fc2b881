"""Derivatives of losses: differences of values, and products with a cotangent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.arrays import Array, bits, each_dtype
from tests.support.cases import Case, draw, each_case, each_pointwise_case, each_row_case
from tests.support.properties import problems
from tests.support.tolerances import TOLERANCE, assert_close, grad_atol

STEP = 1e-3


def central_difference(f: Any, x: Array) -> Array:
    """Derivative of 4th order, error about STEP**4."""
    near = f(x + STEP) - f(x - STEP)
    far = f(x + 2 * STEP) - f(x - 2 * STEP)
    result: Array = (8 * near - far) / (12 * STEP)
    return result


def smooth(case: Case, z: Array, target: Array) -> Array:
    """Samples whose reference has no kink within reach of the difference."""
    loss = case.make()
    reach = 2 * STEP

    def derivatives(at: Array) -> tuple[Array, Array]:
        _, grad, hess = loss.reference(at, target, reduction="none", derivatives=True)
        return grad, hess

    (before, hess_before), (_, hess), (after, hess_after) = (derivatives(z + d) for d in (-reach, 0.0, reach))
    straight = np.abs(after - before - 2 * reach * hess) < 1e-6
    result: Array = straight & (np.abs(hess_before - hess) < 0.5) & (np.abs(hess_after - hess) < 0.5)
    return result


@each_pointwise_case
def test_derivatives_are_those_of_the_values(case: Case, isa: str, rng: np.random.Generator) -> None:
    loss = case.make()
    batch = draw(case, rng, (500,), np.float64)
    z, target = batch.z, batch.target
    chosen = smooth(case, z, target)
    steep = case.kernel in ("binary_cross_entropy", "poisson_nll", "tweedie")  # near 0, or far from it
    assert chosen.mean() > (0.3 if steep else 0.95), "the test must look at most samples"
    grad, hess = loss.grad_and_hess(z, target, reduction="sum")
    by_value = central_difference(lambda x: loss(x, target, reduction="none"), z)
    by_grad = central_difference(lambda x: loss.grad(x, target, reduction="none"), z)
    rtol = 1e-8 if steep else 1e-9
    np.testing.assert_allclose(grad[chosen], by_value[chosen], rtol=rtol, atol=1e-10)
    np.testing.assert_allclose(hess[chosen], by_grad[chosen], rtol=rtol, atol=1e-10)


@pytest.mark.parametrize("classes", [1, 2, 10, 64, 65, 130])
@each_row_case
def test_derivatives_of_rows_are_those_of_the_values(
    case: Case, classes: int, isa: str, rng: np.random.Generator
) -> None:
    loss = case.make()
    batch = draw(case, rng, (3, classes), np.float64)
    z, target = batch.z, batch.target
    grad, hess = loss.grad_and_hess(z, target, reduction="sum")
    for k in range(classes):

        def shifted(x: Array, k: int = k) -> Array:
            moved = z.copy()
            moved[:, k] = x
            return moved

        by_value = central_difference(lambda x: loss(shifted(x), target, reduction="none"), z[:, k])
        by_grad = central_difference(lambda x, k=k: loss.grad(shifted(x), target, reduction="none")[:, k], z[:, k])
        np.testing.assert_allclose(grad[:, k], by_value, rtol=1e-8, atol=3e-11)
        np.testing.assert_allclose(hess[:, k], by_grad, rtol=1e-8, atol=3e-11)


@each_dtype
@each_case
def test_vjp_is_gradient_times_cotangent(case: Case, dtype: Any, rng: np.random.Generator) -> None:
    loss = case.make()
    for shape in ((257,), (31, 9)) if case.pointwise else ((31, 9), (5, 257), (2, 3, 70)):
        batch = draw(case, rng, shape, dtype, True)
        cotangent = rng.normal(size=case.sample_shape(shape)).astype(dtype)
        factor = cotangent if case.pointwise else cotangent[..., None]
        _, plain, _ = loss.reference(batch.z, batch.target, reduction="none", derivatives=True)
        _, weighted, _ = loss.reference(
            batch.z, batch.target, sample_weight=batch.weight, reduction="none", derivatives=True
        )
        rtol, atol = TOLERANCE[np.dtype(dtype)].grad, 8 * grad_atol(loss, dtype)
        assert_close(loss.vjp(batch.z, batch.target, cotangent), plain * factor, rtol, atol, "vjp")
        out = np.empty_like(batch.z)
        result = loss.vjp(batch.z, batch.target, cotangent, sample_weight=batch.weight, out=out)
        assert result is out
        assert_close(out, weighted * factor, rtol, atol, "weighted vjp")
        with pytest.raises(ValueError, match=r"cotangent: got shape .*, wanted"):
            loss.vjp(batch.z, batch.target, cotangent[1:])


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

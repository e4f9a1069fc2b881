"""What formulas of losses have in common: symmetry, bounds, convexity (hypothesis)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lossk
from lossk.losses import LOSSES
from tests.support.arrays import Array, bits
from tests.support.cases import Case, draw
from tests.support.properties import eps, pairs, seeds

SYMMETRIC = (
    lossk.SquaredError(),
    lossk.AbsoluteError(),
    lossk.Huber(0.5),
    lossk.SmoothL1(0.5),
    lossk.PseudoHuber(0.5),
    lossk.LogCosh(),
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
    "modified_huber",
    "perceptron",
    "epsilon_insensitive",
    "squared_epsilon_insensitive",
    "absolute_percentage_error",
    "binary_cross_entropy_with_logits",
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

"""NLL, MultiMargin and KLDivergence: class weights, special values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import INF, NAN, each_dtype
from tests.support.cases import Batch
from tests.support.rows import draw_rows, each_labelled
from tests.support.tolerances import assert_matches_reference


@each_dtype
@each_labelled
def test_class_weights_match_the_reference(
    name: str, kwargs: dict[str, Any], dtype: Any, isa: str, rng: np.random.Generator
) -> None:
    for shape in ((40, 3), (7, 65), (3, 1030), (2, 3, 17)):
        weight = rng.uniform(0.1, 2.0, size=shape[-1]).astype(np.float32)
        loss = getattr(lossk, name)(weight=weight, **kwargs)
        batch = draw_rows(name, rng, shape, dtype)
        assert_matches_reference(loss, batch, dtype)
        assert_matches_reference(loss, Batch(batch.z, batch.target, None), dtype)


def test_class_weights_enter_the_divisor_of_nll_alone() -> None:
    z, t = np.array([[0.5, -1.0], [0.25, 2.0]]), np.array([0, 1])
    assert lossk.NLL(weight=[1.0, 3.0])(z, t) == pytest.approx((-0.5 - 6.0) / 4)
    assert lossk.MultiMargin(weight=[1.0, 3.0], margin=2.0)(z, t) == pytest.approx((0.5 + 3 * 0.25) / 2 / 2)


@each_dtype
def test_kl_divergence_takes_0_times_infinity_as_0(dtype: Any, isa: str) -> None:
    def kl(z: list[float], p: list[float], log_target: bool = False, check: bool = True) -> float:
        loss = lossk.KLDivergence(log_target=log_target)
        value: float = loss(np.array([z], dtype), np.array([p], dtype), check=check)
        return value

    assert kl([-INF, 0.0], [0.0, 1.0]) == 0
    assert kl([-INF, 0.0], [0.5, 0.5]) == INF
    assert np.isnan(kl([0.0, 0.0], [-0.5, 1.5], check=False))
    assert np.isnan(kl([NAN, 0.0], [0.0, 1.0]))
    assert np.isnan(kl([-1.0, 0.0], [NAN, 1.0]))
    assert kl([-INF, 0.0], [-INF, 0.0], log_target=True) == 0
    assert kl([-1.0, 0.0], [-1e4, 0.0], log_target=True) == 0


@each_dtype
def test_hinges_of_special_values_are_those_of_the_formula(dtype: Any, isa: str) -> None:
    t = np.array([0])
    for p in (1, 2):
        loss = lossk.MultiMargin(p=p)
        value, grad = loss.value_and_grad(np.array([[0.0, -INF, -1.0]], dtype), t)
        assert value == 0, "a hinge at its corner counts as closed"
        assert not grad.any()
        assert loss(np.array([[0.0, INF, -1.0]], dtype), t) == INF
        assert np.isnan(loss(np.array([[0.0, NAN, -1.0]], dtype), t))
        assert np.isnan(loss(np.array([[NAN, 1.0, -1.0]], dtype), t))
        assert loss.value_and_grad(np.ones((1, 1), dtype), t) == (0.0, np.zeros((1, 1)))

"""Losses of ratios: Keras' definitions, digits of small differences, predictions below the clip."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import each_dtype


def test_means_are_keras_definitions(rng: np.random.Generator) -> None:
    z, y = rng.normal(size=(2, 500))
    clipped = [np.maximum(x, 1e-7) for x in (z, y)]
    want = np.mean((np.log(clipped[0] + 1) - np.log(clipped[1] + 1)) ** 2)
    assert lossk.SquaredLogarithmicError()(z, y) == pytest.approx(want, rel=1e-10)
    want = 100 * np.mean(np.abs((y - z) / np.maximum(np.abs(y), 1e-7)))
    assert lossk.AbsolutePercentageError()(z, y) == pytest.approx(want, rel=1e-12)


@each_dtype
def test_small_differences_of_logarithms_keep_their_digits(dtype: Any, isa: str) -> None:
    y = np.geomspace(1e-3, 1e6, 100).astype(dtype)
    z = np.nextafter(y, np.inf, dtype=dtype)
    step = z.astype(np.float64) - y
    want = (step / (1 + y.astype(np.float64))) ** 2
    value, grad = lossk.SquaredLogarithmicError().value_and_grad(z, y, reduction="none")
    rtol = 1e-6
    np.testing.assert_allclose(value, want, rtol=rtol)
    np.testing.assert_allclose(grad, 2 * step / (1 + y.astype(np.float64)) ** 2, rtol=rtol)


@each_dtype
def test_predictions_below_the_clip_cost_as_the_clip_and_have_no_gradient(dtype: Any, isa: str) -> None:
    loss = lossk.SquaredLogarithmicError(eps=0.5)
    z, y = np.array([-3.0, 0.25, 0.5, -np.inf], dtype), np.full(4, 2.0, dtype)
    value, grad = loss.value_and_grad(z, y, reduction="none")
    np.testing.assert_allclose(value, np.log(2) ** 2, rtol=1e-6)
    assert (grad != 0).tolist() == [False, False, True, False]

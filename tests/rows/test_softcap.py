"""Soft capping of logits: saturated and infinite ones."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import each_dtype
from tests.support.rows import rows_around, run_rows
from tests.support.tolerances import TOLERANCE, assert_close, grad_atol, value_atol


@each_dtype
def test_capped_logits_saturate(dtype: Any, isa: str) -> None:
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
def test_infinite_logits_are_capped(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    """tanh(infinity) is 1: capped logits are finite, wherever the infinities lie."""
    loss, tolerance = lossk.CrossEntropy(softcap=5.0), TOLERANCE[np.dtype(dtype)]
    for classes in (3, 64, 70, 600, 1300, 20_000):
        for sign, run in itertools.product((-1, 1), (1, classes // 2, classes - 1, classes)):
            for at_the_end in (False, True):
                z, t = rows_around(rng.normal(size=classes), dtype, rng)
                z[1, classes - run if at_the_end else 0 :][:run] = sign * np.inf
                value, grad = run_rows(loss, z, t)
                want, want_grad, _ = loss.reference(z, t, reduction="none", derivatives=True)
                assert np.isfinite(want).all()
                assert_close(value, want, tolerance.value, value_atol(loss, dtype), f"{classes} {sign} {run}")
                assert_close(grad, want_grad, tolerance.grad, grad_atol(loss, dtype), f"{classes} {sign} {run}")

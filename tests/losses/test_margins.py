"""ModifiedHuber and Perceptron: targets that are refused, and corners."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import each_dtype


@each_dtype
@pytest.mark.parametrize("loss", [lossk.ModifiedHuber(), lossk.Perceptron()], ids=repr)
def test_targets_other_than_minus_1_and_1_are_refused(loss: Any, dtype: Any, isa: str) -> None:
    for n in (1, 17, 600):
        for wrong in (0.0, 0.999, -1.001, 2.0, np.inf):
            y, out = np.ones(n, dtype), np.full(n, 7, dtype)
            y[n // 2] = wrong
            for call in (loss.grad, loss.value_and_grad):
                with pytest.raises(ValueError, match=rf"at flat index {n // 2}, wanted y of -1 or 1"):
                    call(np.zeros(n, dtype), y, out=out)
            assert (out == 7).all()
            weight = np.ones(n, dtype)
            weight[n // 2] = 0
            assert np.isfinite(loss(np.zeros(n, dtype), y, sample_weight=weight, reduction="sum"))


@each_dtype
def test_corners(dtype: Any, isa: str) -> None:
    z, y = np.array([0.0, 0.0, 1.0, -1.0, -1.5], dtype), np.array([1.0, -1.0, 1.0, 1.0, 1.0], dtype)
    assert lossk.Perceptron()(z, y, reduction="none").tolist() == [0, 0, 0, 1, 1.5]
    assert lossk.Perceptron().grad(z, y, reduction="none").tolist() == [-1, 1, 0, -1, -1]
    value, grad = lossk.ModifiedHuber().value_and_grad(z, y, reduction="none")
    assert value.tolist() == [1, 1, 0, 4, 6]
    assert grad.tolist() == [-2, 2, 0, -4, -4]
    assert lossk.ModifiedHuber().grad_and_hess(z, y, reduction="none")[1].tolist() == [2, 2, 0, 2, 0]

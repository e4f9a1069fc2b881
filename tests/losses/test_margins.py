"""ModifiedHuber and Perceptron: corners."""

from __future__ import annotations

from typing import Any

import numpy as np

import lossk
from tests.support.arrays import each_dtype


@each_dtype
def test_corners(dtype: Any, isa: str) -> None:
    z, y = np.array([0.0, 0.0, 1.0, -1.0, -1.5], dtype), np.array([1.0, -1.0, 1.0, 1.0, 1.0], dtype)
    assert lossk.Perceptron()(z, y, reduction="none").tolist() == [0, 0, 0, 1, 1.5]
    assert lossk.Perceptron().grad(z, y, reduction="none").tolist() == [-1, 1, 0, -1, -1]
    value, grad = lossk.ModifiedHuber().value_and_grad(z, y, reduction="none")
    assert value.tolist() == [1, 1, 0, 4, 6]
    assert grad.tolist() == [-2, 2, 0, -4, -4]
    assert lossk.ModifiedHuber().grad_and_hess(z, y, reduction="none")[1].tolist() == [2, 2, 0, 2, 0]

"""Label smoothing of binary cross-entropy: what it makes of targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import each_dtype


@each_dtype
@pytest.mark.parametrize("smoothing", [0.0, 0.125, 0.5, 1.0])
def test_smoothed_targets_are_targets_in_between(smoothing: float, dtype: Any, isa: str) -> None:
    z, y = np.linspace(-4, 4, 1001).astype(dtype), (np.arange(1001) % 2).astype(dtype)
    p, between = (1 / (1 + np.exp(-z.astype(np.float64)))).astype(dtype), y * (1 - smoothing) + smoothing / 2
    for plain, smoothed, at in (
        (lossk.BinaryCrossEntropy(), lossk.BinaryCrossEntropy(label_smoothing=smoothing), p),
        *(
            (
                lossk.BinaryCrossEntropyWithLogits(weight),
                lossk.BinaryCrossEntropyWithLogits(weight, label_smoothing=smoothing),
                z,
            )
            for weight in (1.0, 3.0, np.linspace(0.5, 2, 1001))
        ),
    ):
        np.testing.assert_array_equal(
            smoothed(at, y, reduction="none"), plain(at, between.astype(dtype), reduction="none")
        )
        wanted = plain.grad_and_hess(at, between.astype(dtype))
        for got, want in zip(smoothed.grad_and_hess(at, y), wanted, strict=True):
            np.testing.assert_array_equal(got, want)


def test_targets_outside_0_and_1_are_refused_before_they_are_smoothed() -> None:
    loss = lossk.BinaryCrossEntropy(label_smoothing=0.5)
    with pytest.raises(ValueError, match=r"y = 1\.25 at flat index 1, wanted z and y in \[0, 1\]"):
        loss(np.full(2, 0.5), np.array([1.0, 1.25]))

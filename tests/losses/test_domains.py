"""Losses with a domain: inputs outside it are refused, and named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import each_dtype


@each_dtype
def test_probabilities_outside_0_and_1_are_refused_before_anything_is_written(dtype: Any, isa: str) -> None:
    loss = lossk.BinaryCrossEntropy()
    for n in (1, 17, 513, 40_000):
        for at in sorted({0, n // 3, n - 1}):
            for wrong, argument in ((-1e-3, "z"), (1.001, "z"), (np.nan, "z"), (np.inf, "z"), (-1e-3, "y"), (1.5, "y")):
                arrays = {"z": np.full(n, 0.5, dtype), "y": np.full(n, 0.25, dtype)}
                arrays[argument][at] = wrong
                out = np.full(n, 7, dtype)
                shown = str(float(dtype.type(wrong)))
                with pytest.raises(
                    ValueError, match=rf"{argument} = {shown}\b.* at flat index {at}, wanted z and y in"
                ):
                    loss.grad(arrays["z"], arrays["y"], out=out)
                assert (out == 7).all()
    ends = np.array([0, 0, 1, 1], dtype)
    np.testing.assert_array_equal(loss(ends, np.array([0, 1, 0, 1], dtype), reduction="none"), [0, 100, 100, 0])
    assert np.isnan(loss(ends, np.array([0, 1, np.nan, 1], dtype)))


@each_dtype
def test_new_results_of_inputs_outside_the_domain_are_not_returned(dtype: Any, isa: str) -> None:
    """Where nothing of the user's is written, kernels look for such inputs themselves."""
    for n in (1, 17, 513, 40_000):
        y, weight = np.full(n, 0.25, dtype), np.ones(n, dtype)
        for at in sorted({0, n // 3, n - 1}):
            z, var = np.full(n, 0.5, dtype), np.ones(n, dtype)
            z[at], var[at] = 2, -1
            for given in (None, weight):
                for call in (lossk.BinaryCrossEntropy(), lossk.BinaryCrossEntropy().grad):
                    with pytest.raises(ValueError, match=rf"z = 2\.0\b.* at flat index {at}, wanted z and y in"):
                        call(z, y, sample_weight=given)
                with pytest.raises(ValueError, match=rf"z = 2\.0\b.* at flat index {at}, wanted z and y in"):
                    lossk.BinaryCrossEntropy().grad_and_hess(z, y, sample_weight=given)
                with pytest.raises(ValueError, match=rf"at flat index {at}, wanted var of at least 0"):
                    lossk.GaussianNLL()(y, y, var, sample_weight=given)

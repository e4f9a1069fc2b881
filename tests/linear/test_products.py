"""The products inside LinearCrossEntropy: their precision, and what filter_eps leaves out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import Array, bits
from tests.support.linear import BFLOAT16, MB, draw_layer, root_mean_square

Arrays = tuple[Array, ...]


def learned(rng: np.random.Generator) -> Arrays:
    """Return a layer that is nearly sure of most labels: rows are near the weights of theirs."""
    w = rng.normal(size=(3000, 64)).astype(np.float32)
    target = rng.integers(0, 3000, 200)
    return 0.3 * w[target] + rng.normal(scale=0.02, size=(200, 64)).astype(np.float32), w, target


@pytest.mark.parametrize(("precision", "largest"), [("highest", 1e-6), ("high", 1e-5), ("medium", 5e-3)])
def test_precision_is_what_it_says(precision: Any, largest: float, rng: np.random.Generator) -> None:
    """Root mean square errors of gradients, against float64, where 1,024 products are added up."""
    x, w, target = draw_layer(rng, 100, 1024, 700)
    loss = lossk.LinearCrossEntropy(precision=precision)
    value, (dx, dw, _) = loss.value_and_grad(x, w, target)
    wanted, want_x, want_w, _ = loss.reference(x, w, target, derivatives=True)
    assert abs(value - wanted) <= largest / 10 * abs(wanted)
    assert root_mean_square(dx - want_x, want_x) < largest
    assert root_mean_square(dw - want_w, want_w) < largest


def test_medium_is_what_bfloat16_inputs_give(rng: np.random.Generator) -> None:
    x, w, target = draw_layer(rng, 70, 33, 500)
    x, w = (a.astype(BFLOAT16).astype(np.float32) for a in (x, w))
    if lossk._core.linear_unit(x, 1) == "FMA":
        pytest.skip("this CPU has no fast unit for bfloat16: medium is highest")
    value, (_, dw, _) = lossk.LinearCrossEntropy(precision="medium").value_and_grad(x, w, target)
    narrow = (x.astype(BFLOAT16), w.astype(BFLOAT16), target)
    sums = (np.empty_like(narrow[0]), np.empty_like(dw), None)
    assert lossk.LinearCrossEntropy().value_and_grad(*narrow, out=sums)[0] == value
    assert bits(sums[1]) == bits(dw)


def test_the_value_of_16_bits_is_that_of_their_numbers(rng: np.random.Generator) -> None:
    x, w, target = draw_layer(rng, 300, 512, 2000, BFLOAT16)
    loss = lossk.LinearCrossEntropy()
    np.testing.assert_allclose(loss(x, w, target), loss.reference(x, w, target), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, BFLOAT16], ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("eps", [2.0**-20, 2.0**-12, 0.1])
def test_filtered_gradients_differ_by_no_more_than_the_bound(dtype: Any, eps: float, rng: np.random.Generator) -> None:
    x, w, target = (a.astype(dtype) if a.dtype.kind == "f" else a for a in learned(rng))
    value, (dx, dw, _), stats = lossk.LinearCrossEntropy(filter_eps=eps).value_and_grad(x, w, target, stats=True)
    full, (full_dx, full_dw, _), unfiltered = lossk.LinearCrossEntropy().value_and_grad(x, w, target, stats=True)
    assert value == full
    assert unfiltered.filtered == 0
    assert stats.filtered <= 1
    assert (stats.filtered > 0.5) == (eps >= 2.0**-12)
    wide = [a.astype(np.float64) for a in (x, w, dx, dw, full_dx, full_dw)]
    ulp = 2.0**-7 if dtype == BFLOAT16 else 1e-6
    assert (np.abs(wide[2] - wide[4]) <= eps / 200 * np.abs(wide[1]).sum(axis=0) + ulp * np.abs(wide[4]) + 1e-9).all()
    assert (np.abs(wide[3] - wide[5]) <= eps / 200 * np.abs(wide[0]).sum(axis=0) + ulp * np.abs(wide[5]) + 1e-9).all()


def test_filtering_keeps_what_is_not_a_number(rng: np.random.Generator) -> None:
    x, w, target = draw_layer(rng, 64, 8, 600)
    x[40] = np.nan
    dx = lossk.LinearCrossEntropy(filter_eps=1e3).grad(x, w, target, wrt="x")
    assert np.isnan(dx[40]).all()
    assert not dx[:32].any()


def test_what_was_filtered_is_told_of_all_windows(rng: np.random.Generator) -> None:
    x, w, target = np.zeros((64, 4), np.float32), np.zeros((5001, 4), np.float32), rng.integers(4900, 5001, 64)
    x[:, 0], w[4900:, 0] = 5, 5
    large, small = (
        lossk.LinearCrossEntropy(filter_eps=2.0**-12, chunk_bytes=n)
        .value_and_grad(x, w, target, stats=True)[2]
        .filtered
        for n in (64 * MB, MB)
    )
    assert large == small > 0.9

"""Every loss of the registry against its reference: each verb and reduction, sizes, chunks, shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.arrays import each_dtype
from tests.support.cases import LARGE_SIZES, REDUCTIONS, SIZES, Case, draw, each_case
from tests.support.tolerances import assert_matches_reference


@each_dtype
@each_case
def test_losses_match_their_reference_at_every_size(case: Case, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    loss = case.make()
    for n in SIZES:
        for shape in case.shapes(n):
            for weighted in (False, True) if case.pointwise else (n % 2 == 1,):
                assert_matches_reference(loss, draw(case, rng, shape, dtype, weighted), dtype, note=isa)


@each_dtype
@each_case
def test_losses_match_their_reference_across_chunks(case: Case, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    loss = case.make()
    for n in LARGE_SIZES:
        for shape in case.shapes(n):
            assert_matches_reference(loss, draw(case, rng, shape, dtype, n % 2 == 1), dtype, note=isa)


@each_dtype
@each_case
def test_arrays_of_several_axes_match_the_reference(case: Case, dtype: Any, rng: np.random.Generator) -> None:
    loss = case.make()
    for shape in ((4, 3, 5), (2, 1, 7, 3), (1, 1, 1), (3, 2, 129)):
        assert_matches_reference(loss, draw(case, rng, shape, dtype, True), dtype)


@each_dtype
@each_case
def test_arrays_of_no_axes_are_one_sample(case: Case, dtype: Any, rng: np.random.Generator) -> None:
    if case.pointwise:
        assert_matches_reference(case.make(), draw(case, rng, (), dtype, True), dtype)
        return
    # One row: labels of dimension 0.
    assert_matches_reference(case.make(), draw(case, rng, (5,), dtype, True), dtype)
    with pytest.raises(ValueError, match=r"z: got a 0-dimensional array"):
        case.make()(np.array(1.0, dtype), np.array(0))


@each_dtype
@each_case
def test_empty_batches_have_a_mean_of_nan_and_a_sum_of_0(case: Case, dtype: Any, rng: np.random.Generator) -> None:
    loss = case.make()
    for shape in ((0,), (0, 3), (3, 0, 4)) if case.pointwise else ((0, 3), (0, 100), (3, 0, 4)):
        for weighted in (False, True):
            batch = draw(case, rng, shape, dtype, weighted)
            arrays = (batch.z, batch.target)
            assert np.isnan(loss(*arrays, sample_weight=batch.weight))
            assert loss(*arrays, sample_weight=batch.weight, reduction="sum") == 0.0
            none = loss(*arrays, sample_weight=batch.weight, reduction="none")
            assert none.shape == case.sample_shape(shape)
            for reduction in REDUCTIONS:
                grad, hess = loss.grad_and_hess(*arrays, sample_weight=batch.weight, reduction=reduction)
                assert grad.shape == hess.shape == shape
                assert grad.dtype == hess.dtype == dtype

"""Streaming stores: the bits of ordinary ones, at any alignment, and nothing written around results."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import numpy as np
import pytest

from tests.support.arrays import bits, each_dtype
from tests.support.cases import LARGE_SIZES, VERBS, Batch, Case, draw, each_case, each_loss
from tests.support.memory import assert_surroundings_kept, at_offset, outputs, run_into
from tests.support.narrow import each_narrow, narrow_batch
from tests.support.streaming import stored_results, streamed_results
from tests.support.tolerances import assert_matches_reference


@each_case
def test_streamed_results_match_the_reference(case: Case, isa: str, rng: np.random.Generator) -> None:
    loss = case.make()
    for shape in case.shapes(LARGE_SIZES[-1]):
        batch = draw(case, rng, shape, np.float32, weighted=True)
        with streamed_results():
            assert_matches_reference(loss, batch, np.float32, note=isa)
            streamed = loss.grad_and_hess(batch.z, batch.target, sample_weight=batch.weight)
        with stored_results():
            stored = loss.grad_and_hess(batch.z, batch.target, sample_weight=batch.weight)
        assert [bits(a) for a in streamed] == [bits(a) for a in stored]


@pytest.mark.parametrize("streamed", [False, True], ids=["stored", "streamed"])
@each_dtype
@each_loss
def test_bits_do_not_depend_on_alignment(
    case: Case, dtype: Any, streamed: bool, isa: str, rng: np.random.Generator
) -> None:
    """The same bits, with weights and without, stored and streamed, and nothing written around results."""
    loss = case.make()
    per_line = 64 // dtype.itemsize
    for shape in ((77,), (1091,)) if case.pointwise else ((9, 5), (3, 71), (2, 515)):
        weighted = draw(case, rng, shape, dtype, True)
        assert weighted.weight is not None
        for verb, batch in itertools.product(VERBS, (weighted, Batch(weighted.z, weighted.target, None))):
            want = run_into(loss, verb, batch, outputs(verb, batch.z, np.zeros_like))
            for offset in range(per_line):
                weight = None if batch.weight is None else at_offset(batch.weight, (offset * 3) % per_line)
                moved = Batch(at_offset(batch.z, offset), batch.target, weight)
                out = outputs(verb, batch.z, lambda a, offset=offset: at_offset(a, (offset * 5 + 1) % per_line))
                with streamed_results() if streamed else contextlib.nullcontext():
                    assert run_into(loss, verb, moved, out) == want, (verb, offset)
                for written in () if out is None else out if isinstance(out, tuple) else (out,):
                    assert_surroundings_kept(written)
        if case.pointwise:
            moved = Batch(weighted.z, at_offset(weighted.target, 3), weighted.weight)
            assert run_into(loss, "value", moved, None) == run_into(loss, "value", weighted, None)


@each_narrow
@each_loss
def test_streamed_results_of_16_bits_have_the_same_bits(
    isa: str, case: Case, dtype: Any, rng: np.random.Generator
) -> None:
    loss = case.make()
    for n in (7, 33, 1091, 20_001):
        z, target, _ = narrow_batch(case, rng, n, dtype, False)
        value, grad = loss.value_and_grad(z, target)
        for offset in range(32) if n < 2000 else (0, 3):
            out = at_offset(z, offset)
            with streamed_results():
                again = loss.value_and_grad(z, target, out=out)
            assert (again[0], bits(out)) == (value, bits(grad)), (n, offset)
            assert_surroundings_kept(out)

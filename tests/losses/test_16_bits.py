"""Losses in f16 and bf16: exact conversions over all bit patterns, results within one unit in the last place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import Array, bits
from tests.support.cases import Case, each_loss, run_verb
from tests.support.narrow import each_narrow, ml_dtypes, narrow_batch, steps_apart
from tests.support.tolerances import rounding

SIZES = (1, 7, 16, 33, 511, 513, 1025, 16385)


def patterns(dtype: Any) -> Array:
    return np.arange(2**16, dtype=np.uint16).view(dtype)


@each_narrow
def test_every_bit_pattern_is_widened_exactly(isa: str, dtype: Any) -> None:
    z = patterns(dtype)
    values = lossk.AbsoluteError()(z, np.zeros_like(z), reduction="none")
    assert values.dtype == np.float32
    with np.errstate(invalid="ignore"):  # NumPy's own, of signaling NaN on some CPUs
        want = np.abs(z.astype(np.float32))
    np.testing.assert_array_equal(values, want)


@each_narrow
@pytest.mark.parametrize("factor", [1.0, 1 / 3, 2.5, 1e-3])
def test_results_are_rounded_once_to_nearest_even(isa: str, dtype: Any, factor: float) -> None:
    """The gradient of z's own square, scaled: subnormal, overflowing and halfway results of every number."""
    z = patterns(dtype)
    weight = np.full(z.shape, np.float32(factor))
    got = lossk.SquaredError().grad(z, np.zeros_like(z), sample_weight=weight, reduction="none")
    with np.errstate(over="ignore", invalid="ignore"):
        want = (2 * z.astype(np.float32) * weight).astype(dtype)
    finite = ~np.isnan(want)
    assert bits(got[finite]) == bits(want[finite])
    assert np.isnan(got[~finite]).all()


@each_narrow
@each_loss
def test_losses_of_16_bits_are_within_one_unit(isa: str, case: Case, dtype: Any, rng: np.random.Generator) -> None:
    """Values at f32's tolerance, derivatives within one unit in the last place, of float64 on the same inputs."""
    loss = case.make()
    for n in SIZES:
        for weighted in (False, True):
            z, target, weight = narrow_batch(case, rng, n, dtype, weighted)
            wide_target = target if target.dtype.kind in "iu" else target.astype(np.float64)
            # Where terms cancel, the arithmetic's rounding may be more than a unit of the small difference.
            v_slack, *slack = rounding(loss, z.astype(np.float64), wide_target, weight, np.float32)
            for reduction in ("sum", "mean", "none"):
                options = {"sample_weight": weight, "reduction": reduction}
                value, *want = loss.reference(z.astype(np.float64), wide_target, derivatives=True, **options)
                scale = np.maximum(np.abs(value), 1e-2 * np.abs(value).max(initial=0)) + 1e-30
                for verb in ("value", "grad", "value_and_grad", "grad_and_hess"):
                    parts = run_verb(loss, verb, z, target, **options)
                    if verb.startswith("value"):
                        error = np.max(
                            (np.abs(parts[0] - value) - (v_slack if reduction == "none" else 0)) / scale, initial=0
                        )
                        assert error <= 2e-6, f"{loss} {verb} {reduction} {n}: value {error}"
                    got = parts[1:] if verb == "value_and_grad" else parts if verb != "value" else ()
                    for part, wanted, excess in zip(got, want, slack, strict=False):
                        assert part.dtype == dtype
                        divisor = (z.size if weight is None else weight.sum()) if reduction == "mean" else 1
                        excused = np.abs(part.astype(np.float64) - wanted) < excess / divisor
                        assert steps_apart(part[~excused], wanted[~excused]) <= 1, f"{loss} {verb} {reduction} {n}"


@each_narrow
@each_loss
def test_threads_strides_and_places_do_not_change_the_bits(
    isa: str, case: Case, dtype: Any, rng: np.random.Generator
) -> None:
    loss = case.make()
    z, target, weight = narrow_batch(case, rng, 40001, dtype, True)
    value, grad = loss.value_and_grad(z, target, sample_weight=weight, num_threads=1)
    for threads in (2, 7):
        again = loss.value_and_grad(z, target, sample_weight=weight, num_threads=threads)
        assert (again[0], bits(again[1])) == (value, bits(grad))
    spread = np.repeat(z, 2, axis=-1)[..., ::2]
    assert bits(loss.grad(spread, target, sample_weight=weight)) == bits(grad)
    here = z.copy()
    returned = loss.value_and_grad(here, target, sample_weight=weight, out=here)
    assert returned[1] is here
    assert (returned[0], bits(here)) == (value, bits(grad))


def test_confident_rows_keep_their_digits_in_bf16(isa: str) -> None:
    """A row whose label leads by 15: the loss is 3e-7, where bf16 arithmetic has only 0."""
    z = np.zeros((1, 2), ml_dtypes.bfloat16)
    z[0, 0] = 15
    value, grad = lossk.CrossEntropy().value_and_grad(z, np.array([0]))
    assert value == pytest.approx(np.log1p(np.exp(-15.0)), rel=1e-6)
    assert float(grad[0, 0]) == pytest.approx(-np.exp(-15.0), rel=2**-8)

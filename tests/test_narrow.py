"""f16 and bf16: exact conversions over all bit patterns, and every loss within one unit of the output's last place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support import (
    Array,
    Case,
    assert_surroundings_kept,
    at_offset,
    bits,
    draw,
    each_loss,
    guarded,
    results_past_caches,
    rounding,
    run_verb,
)

import lossk

ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 arrays need ml_dtypes")

NARROW = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
SIZES = (1, 7, 16, 33, 511, 513, 1025, 16385)
each_narrow = pytest.mark.parametrize("dtype", NARROW, ids=lambda d: d.name)


def patterns(dtype: Any) -> Array:
    return np.arange(2**16, dtype=np.uint16).view(dtype)


def steps_apart(got: Array, want: NDArray[np.float64]) -> int:
    """How many numbers of got's type the two are apart at most; NaN must meet NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = want.astype(np.float32).astype(got.dtype)
    assert np.array_equal(np.isnan(got), np.isnan(rounded))
    a, b = (np.where(np.isnan(got), 0, x.view(np.int16).astype(np.int64)) for x in (got, rounded))
    a, b = (np.where(x < 0, -(2**15) - x, x) for x in (a, b))
    return int(np.abs(a - b).max(initial=0))


@each_narrow
def test_every_bit_pattern_is_widened_exactly(isa: str, dtype: Any) -> None:
    z = patterns(dtype)
    values = lossk.AbsoluteError()(z, np.zeros_like(z), reduction="none")
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, np.abs(z.astype(np.float32)))


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


def narrow_batch(case: Case, rng: np.random.Generator, n: int, dtype: Any, weighted: bool) -> Any:
    shape = (n,) if case.pointwise else (3, n)
    batch = draw(case, rng, shape, np.float32, weighted)
    target = batch.target if batch.target.dtype.kind in "iu" else batch.target.astype(dtype)
    return batch.z.astype(dtype), target, batch.weight


@each_narrow
@each_loss
@pytest.mark.parametrize("n", SIZES)
def test_losses_in_16_bits(isa: str, case: Case, dtype: Any, n: int, rng: np.random.Generator) -> None:
    """Values at f32's tolerance, derivatives within one unit in the last place, of float64 on the same inputs."""
    loss = case.make()
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
                for part, name, room in zip(got, want, slack, strict=False):
                    assert part.dtype == dtype
                    divisor = (z.size if weight is None else weight.sum()) if reduction == "mean" else 1
                    excused = np.abs(part.astype(np.float64) - name) < room / divisor
                    assert steps_apart(part[~excused], name[~excused]) <= 1, f"{loss} {verb} {reduction} {n}"


@each_narrow
@each_loss
def test_in_place_threads_and_strides(isa: str, case: Case, dtype: Any, rng: np.random.Generator) -> None:
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


@each_narrow
@each_loss
@pytest.mark.parametrize("end", ["start", "end"])
def test_nothing_is_touched_beyond_the_arrays(isa: str, case: Case, dtype: Any, end: str) -> None:
    rng = np.random.default_rng(0)
    for n in (1, 5, 15, 17, 31, 513):
        z, target, _ = narrow_batch(case, rng, n, dtype, False)
        out = guarded(z, end)
        case.make().value_and_grad(guarded(z, end), guarded(target, end), out=out)


@each_narrow
@pytest.mark.parametrize("classes", [2, 10, 65, 1000])
def test_softmax_functions_in_16_bits(isa: str, dtype: Any, classes: int, rng: np.random.Generator) -> None:
    x = (3 * rng.normal(size=(9, classes))).astype(dtype)
    wide = x.astype(np.float64)
    lse = np.log(np.exp(wide - wide.max(-1, keepdims=True)).sum(-1, keepdims=True)) + wide.max(-1, keepdims=True)
    assert steps_apart(lossk.softmax(x), np.exp(wide - lse)) <= 1
    assert steps_apart(lossk.log_softmax(x), wide - lse) <= 1
    np.testing.assert_allclose(lossk.logsumexp(x), lse[:, 0], rtol=1e-6, atol=3e-7)
    assert lossk.logsumexp(x).dtype == np.float32


@each_narrow
@each_loss
def test_results_past_the_caches_have_the_same_bits(isa: str, case: Case, dtype: Any, rng: np.random.Generator) -> None:
    loss = case.make()
    for n in (7, 33, 1091, 20_001):
        z, target, _ = narrow_batch(case, rng, n, dtype, False)
        value, grad = loss.value_and_grad(z, target)
        for offset in range(32) if n < 2000 else (0, 3):
            out = at_offset(z, offset)
            with results_past_caches():
                again = loss.value_and_grad(z, target, out=out)
            assert (again[0], bits(out)) == (value, bits(grad)), (n, offset)
            assert_surroundings_kept(out)


def test_confident_rows_keep_their_digits_in_bf16(isa: str) -> None:
    """A row whose label leads by 15: the loss is 3e-7, where bf16 arithmetic has only 0."""
    z = np.zeros((1, 2), ml_dtypes.bfloat16)
    z[0, 0] = 15
    value, grad = lossk.CrossEntropy().value_and_grad(z, np.array([0]))
    assert value == pytest.approx(np.log1p(np.exp(-15.0)), rel=1e-6)
    assert float(grad[0, 0]) == pytest.approx(-np.exp(-15.0), rel=2**-8)

"""``ignore_nan=True``: samples whose target is NaN do not count, whatever else they hold."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

import lossk
from tests.support.arrays import Array, bits, in_turn
from tests.support.cases import REDUCTIONS, VERBS, Case, draw, draw_gaussian, each_pointwise_case, run_verb
from tests.support.streaming import streamed_results

DTYPES = (np.float64, np.float32, np.float16, ml_dtypes.bfloat16)
BAD = (np.nan, np.inf, -np.inf, 7.0)

each_type = in_turn("dtype", DTYPES)


def changed(array: Array, at: Array, value: float) -> Array:
    new = array.copy()
    new[at] = value
    return new


def without(weight: Array | None, at: Array, z: Array) -> Array:
    """Weights that leave these samples out."""
    wide = np.float64 if z.dtype == np.float64 else np.float32
    return changed(np.ones(z.shape, wide) if weight is None else weight.astype(wide), at, 0)


def outputs(verb: str, z: Array) -> dict[str, Any]:
    return {"value": {}, "grad_and_hess": {"out": (z, np.empty_like(z))}}.get(verb, {"out": z})


@each_type
@each_pointwise_case
def test_they_are_left_out_as_if_they_weighed_0(case: Case, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    loss = case.make()
    for n in (1, 75, 1300, 17_000):
        batch = draw(case, rng, (n,), np.float32, weighted=True)
        z, y, weight = batch.z.astype(dtype), batch.target.astype(dtype), batch.weight
        at = rng.permutation(n)[: 1 + n // 7]
        missing = changed(y, at, np.nan)
        for w in (None, weight):
            left = without(w, at, z)
            for verb in VERBS:
                for reduction in REDUCTIONS if n < 1000 else ("mean",):
                    want = run_verb(loss, verb, z, y, sample_weight=left, reduction=reduction)
                    for bad in BAD if n < 1000 else BAD[:1]:
                        given = changed(z, at, bad)
                        options = {"sample_weight": w, "reduction": reduction, "ignore_nan": True}
                        got = run_verb(loss, verb, given, missing, **options)
                        assert [*map(bits, got)] == [*map(bits, want)], (n, verb, reduction, bad)
                        got = run_verb(loss, verb, given, missing, **options, **outputs(verb, given))
                        assert [*map(bits, got)] == [*map(bits, want)], (n, verb, reduction, bad, "in place")
            up = rng.normal(size=n).astype(left.dtype)
            want = loss.vjp(z, y, up, sample_weight=left)
            assert bits(loss.vjp(z, missing, up, sample_weight=w, ignore_nan=True)) == bits(want)
            _, grad = loss.value_and_grad(z, missing, sample_weight=w, ignore_nan=True)
            assert not np.asarray(grad, np.float64)[at].any()
            reference, *parts = loss.reference(z, missing, sample_weight=w, ignore_nan=True, derivatives=True)
            assert all((part[at] == 0).all() for part in parts)
            value = loss(z, missing, sample_weight=w, ignore_nan=True)
            np.testing.assert_allclose(value, reference, rtol=2e-5, atol=1e-6)


@each_pointwise_case
def test_without_nan_it_changes_no_more_than_weights_of_1_do(case: Case, isa: str, rng: np.random.Generator) -> None:
    loss = case.make()
    for dtype in DTYPES:
        batch = draw(case, rng, (1300,), np.float32, weighted=True)
        z, y = batch.z.astype(dtype), batch.target.astype(dtype)
        for w in (None, batch.weight):
            ones = without(w, np.array([], int), z)
            for verb in VERBS:
                want = run_verb(loss, verb, z, y, sample_weight=ones)
                got = run_verb(loss, verb, z, y, sample_weight=w, ignore_nan=True)
                assert [*map(bits, got)] == [*map(bits, want)], (dtype, verb)


@each_pointwise_case
def test_otherwise_nan_targets_give_nan_and_where_all_are_ignored_the_gradient_is_0(case: Case, isa: str) -> None:
    loss, z, y = case.make(), np.full(40, 0.5), np.full(40, np.nan)
    value, grad = loss.value_and_grad(z, y)
    assert np.isnan(value)
    # A gradient that does not look at its target has nothing to be NaN of.
    assert np.isnan(grad).all() or np.isfinite(loss.grad(z, np.ones(40))).all()
    for call in (loss.value_and_grad, lambda *a, **k: loss.reference(*a, **k, derivatives=True)):
        for reduction, want in (("mean", np.nan), ("sum", 0.0), ("none", np.zeros(40))):
            value, *parts = call(z, y, reduction=reduction, ignore_nan=True)
            np.testing.assert_array_equal(value, want)
            assert all((part == 0).all() for part in parts)
        assert call(z, y, normalizer=3, ignore_nan=True)[0] == 0


@in_turn("dtype", [np.float64, np.float32])
def test_with_a_variance_and_streamed_results(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    loss = lossk.GaussianNLL()
    z, y, var = draw_gaussian(rng, (40, 33), dtype)
    at = rng.random(z.shape) < 0.2
    missing, left = changed(y, at, np.nan), without(None, at, z)
    for given in (var, var[0]):
        for wrt in ("z", "var", "both"):
            want = loss.value_and_grad(z, y, given, sample_weight=left, wrt=wrt)
            got = loss.value_and_grad(z, missing, given, ignore_nan=True, wrt=wrt)
            assert [bits(np.asarray(part)) for part in got] == [bits(np.asarray(part)) for part in want]
    big = rng.normal(size=70_001).astype(dtype)
    at = rng.permutation(big.size)[:1000]
    target, left = changed(big[::-1].copy(), at, np.nan), without(None, at, big)
    with streamed_results():
        want = lossk.Huber().value_and_grad(big, big[::-1].copy(), sample_weight=left)
        got = lossk.Huber().value_and_grad(big, target, ignore_nan=True)
    assert [*map(bits, got)] == [*map(bits, want)]

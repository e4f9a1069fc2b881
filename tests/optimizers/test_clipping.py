"""Norms of gradients: clipping, unscaling, and steps that are skipped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import DTYPES, bits, each_dtype, in_turn
from tests.support.layouts import LAYOUTS
from tests.support.narrow import NARROW
from tests.support.optimizers import SHAPES, draw_arrays, each_variant, make, norm, saved_arrays


@each_variant
@each_dtype
def test_a_step_clips_and_unscales_as_if_gradients_had_been_multiplied(
    name: str, variant: dict[str, Any], dtype: Any, rng: np.random.Generator
) -> None:
    """Exactly as if the gradients had been multiplied before, and the gradients stay."""
    shapes, scale = ((40,), (), (3, 5), (0,)), 512.0
    start, grads = draw_arrays(rng, shapes, dtype), draw_arrays(rng, shapes, dtype)
    given = [(scale * g).astype(dtype) for g in grads]
    kept = [bits(g) for g in given]
    for limit in (0.5, 1e9, 0.0, np.inf):
        a, b = [p.copy() for p in start], [p.copy() for p in start]
        result = make(name, a, variant).step(given, max_norm=limit, grad_scale=scale)
        factor = min(1.0, limit / (norm(grads) + 1e-6)) / scale
        make(name, b, variant).step([np.asarray(g * dtype.type(factor)) for g in given])
        assert [bits(p) for p in a] == [bits(p) for p in b]
        assert result.applied
        assert result.grad_norm == pytest.approx(norm(grads), rel=1e-14)
    assert [bits(g) for g in given] == kept


@each_variant
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_step_that_is_not_finite_is_skipped(
    name: str, variant: dict[str, Any], bad: float, rng: np.random.Generator
) -> None:
    for steps_before in (0, 2):
        params = [*draw_arrays(rng, ((20_000,), (5,)), np.float32), rng.normal(size=(6, 8)).astype(np.float32)[:, ::2]]
        optimizer = make(name, params, variant)
        grads = [*draw_arrays(rng, ((20_000,), (5,)), np.float32), rng.normal(size=(6, 4)).astype(np.float32)]
        for _ in range(steps_before):
            optimizer.step(grads)
        before, state = [bits(p) for p in params], saved_arrays(optimizer)
        spoilt = [g.copy() for g in grads]
        spoilt[1][4] = bad
        for options in ({"max_norm": 1.0}, {"grad_scale": 2.0}, {"max_norm": 1.0, "grad_scale": 2.0}):
            applied, n = optimizer.step(spoilt, **options)
            assert not applied
            assert not np.isfinite(n)
            assert [bits(p) for p in params] == before
            assert saved_arrays(optimizer) == state
        assert optimizer.step(grads, max_norm=1.0).applied
        assert [bits(p) for p in params] != before


def test_a_norm_beyond_f32_is_finite() -> None:
    g = np.full(1000, 3e38, np.float32)
    p = np.zeros(1000, np.float32)
    result = lossk.SGD([p], lr=1.0).step([g], max_norm=1e4)
    assert result.applied
    assert result.grad_norm == pytest.approx(norm([g]), rel=1e-14)
    np.testing.assert_allclose(p, -1e4 / np.sqrt(1000), rtol=1e-6)


@in_turn("dtype", [*DTYPES, *NARROW])
def test_clip_grad_norm_multiplies_all_gradients(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    """By one factor, in f32 where they are narrower, and alike on any number of threads."""
    start = [*draw_arrays(rng, SHAPES, dtype), np.zeros(0, dtype)]
    wide = np.dtype(np.float32) if dtype in NARROW else dtype
    for limit in (0.5, 1e9, np.inf, 0.0):
        results = []
        for threads in (1, 2, 7):
            grads: list[Any] = [*(g.copy() for g in start), None]
            n = lossk.clip_grad_norm(grads, limit, num_threads=threads)
            assert n == pytest.approx(norm(start), rel=1e-12 if dtype in NARROW else 1e-14)
            factor = wide.type(min(1.0, limit / (n + 1e-6)))
            assert [bits(g) for g in grads[:-1]] == [bits((g.astype(wide) * factor).astype(dtype)) for g in start]
            results.append(n)
        assert len(set(results)) == 1
    assert lossk.clip_grad_norm([], 1.0) == 0.0
    assert lossk.clip_grad_norm([None], 1.0) == 0.0


def test_clip_grad_norm_leaves_what_is_not_finite(rng: np.random.Generator) -> None:
    for bad in (np.nan, np.inf):
        grads = {"a": rng.normal(size=5), "b": rng.normal(size=(4, 6))[:, ::2]}
        grads["a"][2] = bad
        before = [bits(g) for g in grads.values()]
        assert not np.isfinite(lossk.clip_grad_norm(grads, 1.0))
        assert [bits(g) for g in grads.values()] == before


@pytest.mark.parametrize("layout", LAYOUTS)
def test_clip_grad_norm_takes_any_layout(layout: str, rng: np.random.Generator) -> None:
    start = rng.normal(size=(7, 33))
    plain, arranged = [start.copy()], [LAYOUTS[layout](start)]
    assert lossk.clip_grad_norm(arranged, 1.0) == lossk.clip_grad_norm(plain, 1.0)
    assert bits(arranged[0]) == bits(plain[0])


def test_clip_grad_norm_refuses_wrong_arguments() -> None:
    g, locked = np.full(6, 2.0), np.full(6, 2.0)
    locked.flags.writeable = False
    wrong: list[tuple[Any, Any, str]] = [
        (g, 1.0, r"grads: got ndarray, wanted a list or a dict"),
        ([g, [1.0]], 1.0, r"grads\[1\]: got list, wanted a NumPy array"),
        ({"w": np.arange(3)}, 1.0, r"grads\['w'\]: got dtype int64"),
        ([g, locked], 1.0, r"grads\[1\]: got a read-only array"),
        ([g[:4], None, g[3:]], 1.0, r"grads\[2\]: got memory that overlaps grads\[0\]"),
        ({"a": g[::2], "b": g[1:3]}, 1.0, r"grads\['b'\]: got memory that overlaps grads\['a'\]"),
        ([g], -1.0, r"max_norm: got -1\.0"),
        ([g], np.nan, r"max_norm: got nan"),
        ([g], "1", r"max_norm: got '1'"),
    ]
    for grads, limit, message in wrong:
        with pytest.raises((TypeError, ValueError), match=message):
            lossk.clip_grad_norm(grads, limit)
    with pytest.raises(ValueError, match="num_threads"):
        lossk.clip_grad_norm([g], 1.0, num_threads=0)
    np.testing.assert_array_equal(g, 2.0)

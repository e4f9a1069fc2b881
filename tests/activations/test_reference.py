"""Activations against their references: accuracy, derivatives, special values, 16 bits."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import pytest

import lossk
from lossk.activations import Activation
from tests.support.activations import ACTIVATIONS_TRIED, COMPUTED, draw_activation, each_activation
from tests.support.arrays import INF, NAN, Array, bits, each_dtype
from tests.support.cases import LARGE_SIZES, SIZES
from tests.support.narrow import NARROW
from tests.support.tolerances import assert_close

# Largest errors in ULP, of value and derivative, as the headers in src/cpp/activations state them.
ULPS = {
    "sigmoid": (1.9, 3.5),
    "tanh": (1.0, 3.5),
    "relu": (0.0, 0.0),
    "leaky_relu": (0.5, 0.0),
    "selu": (4.0, 4.0),
    "softplus": (2.1, 1.9),
}


def close(act: Activation, got: Any, want: Array, dtype: Any) -> None:
    """Within 5 ULP and one rounding of the argument, which a slope or beta multiplies."""
    assert_close(got, want, float(np.finfo(dtype).eps) * 45, 4 * float(np.finfo(dtype).tiny), repr(act))


@each_dtype
@each_activation
def test_activations_match_their_reference(act: Activation, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    for shape in (0, *SIZES, *LARGE_SIZES, (), (3, 5), (2, 0, 4), (1, 2, 3, 4)):
        x, c = (np.asarray(a) for a in draw_activation(rng, shape, dtype))
        value, derivative = act.reference(x.astype(np.float64))
        for verb, want in (("value", value), ("derivative", derivative), ("vjp", derivative * c)):
            got = COMPUTED[verb](act, x, c)
            assert np.asarray(got).dtype == dtype
            close(act, got, want, dtype)


@functools.cache
def swept(act: Activation) -> tuple[Array, ...]:
    """Every 2,039th float32, and value and derivative there in float64."""
    x = np.arange(0, 2**32, 2039, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = x[np.isfinite(x)]
    return x, *act.reference(x)


@pytest.mark.parametrize("act", [act for act in ACTIVATIONS_TRIED if getattr(act, "beta", 1.0) == 1.0], ids=repr)
def test_errors_are_no_larger_than_stated(act: Activation, isa: str) -> None:
    """Where results are normal numbers."""
    x, *wanted = swept(act)
    for got, want, ulps in zip((act(x), act.derivative(x)), wanted, ULPS[act._kernel], strict=True):
        with np.errstate(over="ignore"):
            normal = (np.abs(want) >= 4 * np.finfo(np.float32).tiny) & np.isfinite(want.astype(np.float32))
        unit = np.spacing(np.abs(want[normal]).astype(np.float32)).astype(np.float64)
        error = np.abs(got[normal].astype(np.float64) - want[normal]) / unit
        worst = int(error.argmax())
        assert error[worst] <= ulps + 0.5 * (act._kernel == "leaky_relu"), (x[normal][worst], error[worst])
        assert (np.abs(got[~normal & (np.abs(want) < 1)]) <= 5 * np.finfo(np.float32).tiny).all()


@each_activation
def test_the_derivative_is_that_of_the_value(act: Activation, isa: str, rng: np.random.Generator) -> None:
    x = rng.uniform(-4, 4, size=400)
    x = x[np.abs(x) > 0.01]
    h = 1e-3
    by_value = (8 * (act(x + h) - act(x - h)) - (act(x + 2 * h) - act(x - 2 * h))) / (12 * h)
    np.testing.assert_allclose(act.derivative(x), by_value, rtol=1e-8, atol=1e-9)


@each_dtype
@each_activation
def test_special_values_give_what_the_formula_gives(act: Activation, dtype: Any, isa: str) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([INF, -INF, 0.0, -0.0, tiny, -tiny, 1e30, -1e30, 500, -500], dtype)
    value, derivative = act.reference(x)
    assert not np.isnan(value).any()
    close(act, act(x), value, dtype)
    close(act, act.derivative(x), derivative, dtype)
    for n in (1, 7, 70, 600):
        for at in (0, n // 2, n - 1):
            y = np.zeros(n, dtype)
            y[at] = NAN
            for result in (act(y), act.derivative(y), act.vjp(y, np.ones_like(y)), act.vjp(np.zeros_like(y), y)):
                assert np.flatnonzero(np.isnan(result)).tolist() == [at]


def test_subnormal_numbers_are_kept() -> None:
    for dtype in (np.float32, np.float64):
        x = np.array([1, -1, 37], dtype) * np.finfo(dtype).smallest_subnormal
        assert bits(lossk.Tanh()(x)) == bits(x)
        assert bits(lossk.ReLU()(x)) == bits(np.maximum(x, 0))


@each_activation
def test_results_of_16_bits_are_rounded_once(act: Activation, isa: str, rng: np.random.Generator) -> None:
    """The f32 result of the same numbers, rounded once."""
    for dtype, n in itertools.product(NARROW, (1, 5, 511, 513, 20_001)):
        x, c = (a.astype(dtype) for a in draw_activation(rng, n, np.float32))
        for verb, compute in COMPUTED.items():
            want = compute(act, x.astype(np.float32), c.astype(np.float32)).astype(dtype)
            got = compute(act, x, c)
            assert got.dtype == dtype
            assert bits(got) == bits(want), (verb, n)
            own = x.copy()
            assert bits(compute(act, own, c, out=own)) == bits(want), (verb, n)

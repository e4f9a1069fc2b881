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
    "elu": (2.5, 2.0),
    "gelu": (7.0, 9.0),
    "gelu_tanh": (3.5, 5.0),
    "silu": (2.8, 5.0),
    "mish": (5.0, 9.0),
    "hardswish": (2.5, 3.0),
    "hardtanh": (1.5, 0.0),
    "shrink": (0.5, 0.0),
    "softsign": (1.5, 3.5),
    "tanhshrink": (5.0, 3.0),
}
# Where parameters that are no powers of two are rounded to float32, by so much more.
ROUNDED = {"leaky_relu": 0.5, "shrink": 0.5, "hardtanh": 0.5}
# Where a derivative changes its sign: errors are in units of the larger of the derivative and 1/8 within 3/4 of there.
ZEROS = {"gelu": -0.75, "gelu_tanh": -0.75, "silu": -1.28, "mish": -1.19, "hardswish": -1.5}

# Products of x and of what an exponential far to the left has become 0 in.
FLUSHING = {"gelu", "gelu_tanh", "silu", "mish"}


def in_exponent(act: Activation, x: Array) -> Array:
    """What the rounding of an exponential's argument adds, in ULP: its size, to the left of 0."""
    wide = np.minimum(x.astype(np.float64), 0.0)
    if act._kernel_of() == "gelu_tanh":
        wide = np.maximum(wide, -40.0)
        return -3 * (1.5957691216057308 * wide + 0.0713548162726 * wide**3)
    return np.zeros(x.shape)


def size_of(act: Activation, x: Array, derivative: Array) -> Array:
    """What an error of the derivative is compared with."""
    near = np.abs(x - ZEROS[act._kernel_of()]) < 0.75 if act._kernel_of() in ZEROS else np.zeros(x.shape, bool)
    return np.where(near, np.maximum(np.abs(derivative), 0.125), np.abs(derivative))


def close(act: Activation, got: Any, want: Array, dtype: Any, x: Array, size: Array) -> None:
    """Within a few ULP, a rounding of the argument, which a slope or beta multiplies, and what an exponential adds."""
    eps = float(np.finfo(dtype).eps)
    about = np.where(np.isfinite(size), size, 0.0)
    allowed = flushed(act, dtype) + eps * about * (45 + in_exponent(act, x))
    assert_close(got, want, eps * 45, allowed, repr(act))


def flushed(act: Activation, dtype: Any) -> float:
    """Below what size results may be 0, as the headers state it."""
    tiny = float(np.finfo(dtype).tiny)
    return tiny * (256 if dtype == np.float32 else 2048) if act._kernel_of() in FLUSHING else 4 * tiny


@each_dtype
@each_activation
def test_activations_match_their_reference(act: Activation, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    for shape in (0, *SIZES, *LARGE_SIZES, (), (3, 5), (2, 0, 4), (1, 2, 3, 4)):
        x, c = (np.asarray(a) for a in draw_activation(rng, shape, dtype))
        value, derivative = act.reference(x.astype(np.float64))
        size = size_of(act, x, derivative)
        for verb, want, about in (
            ("value", value, np.abs(value)),
            ("derivative", derivative, size),
            ("vjp", derivative * c, size * np.abs(c)),
        ):
            got = COMPUTED[verb](act, x, c)
            assert np.asarray(got).dtype == dtype
            close(act, got, want, dtype, x, about)


@functools.cache
def swept(act: Activation) -> tuple[Array, ...]:
    """Every 2,039th float32, and value and derivative there in float64."""
    x = np.arange(0, 2**32, 2039, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = x[np.isfinite(x)]
    return x, *act.reference(x)


# Whose arguments are multiplied by nothing that rounds.
UNSCALED = [act for act in ACTIVATIONS_TRIED if getattr(act, "beta", 1.0) == 1.0]


@pytest.mark.parametrize("act", UNSCALED, ids=repr)
def test_errors_are_no_larger_than_stated(act: Activation, isa: str) -> None:
    """Where results are normal numbers."""
    x, value, derivative = swept(act)
    sizes = np.abs(value), size_of(act, x, derivative)
    kernel = act._kernel_of()
    results = zip((act(x), act.derivative(x)), (value, derivative), sizes, ULPS[kernel], strict=True)
    for got, want, size, ulps in results:
        tiny = flushed(act, np.dtype(np.float32))
        with np.errstate(over="ignore"):
            normal = (np.abs(want) >= tiny) & np.isfinite(want.astype(np.float32))
        assert (np.abs(got[~normal & (np.abs(want) < 1)]) <= 1.25 * tiny).all()
        normal &= ~at_a_kink(act, x)
        unit = np.spacing(size[normal].astype(np.float32)).astype(np.float64)
        error = np.abs(got[normal].astype(np.float64) - want[normal]) / unit
        allowed = ulps + ROUNDED.get(kernel, 0.0) + in_exponent(act, x[normal])
        worst = int((error - allowed).argmax())
        assert error[worst] <= allowed[worst], (x[normal][worst], error[worst])


def at_a_kink(act: Activation, x: Array, width: float = 1e-6) -> Array:
    """Where a slope changes at once: parameters are rounded to float32."""
    found = np.zeros(x.shape, bool)
    for kink in kinks(act):
        found |= np.abs(x - kink) < width * max(1.0, abs(kink))
    return found


def kinks(act: Activation) -> tuple[float, ...]:
    return {
        "Hardtanh": lambda: (act.min_val, act.max_val),  # type: ignore[attr-defined]
        "ReLU6": lambda: (6.0,),
        "Hardsigmoid": lambda: (-3.0, 3.0),
        "Hardswish": lambda: (-3.0, 3.0),
        "Softshrink": lambda: (-act.lambd, act.lambd),  # type: ignore[attr-defined]
        "Hardshrink": lambda: (-act.lambd, act.lambd),  # type: ignore[attr-defined]
    }.get(type(act).__name__, lambda: ())()


@each_activation
def test_the_derivative_is_that_of_the_value(act: Activation, isa: str, rng: np.random.Generator) -> None:
    x = rng.uniform(-4, 4, size=400)
    x = x[~at_a_kink(act, x, 0.01) & (np.abs(x) > 0.01)]
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
    close(act, act(x), value, dtype, x, np.abs(value))
    close(act, act.derivative(x), derivative, dtype, x, np.abs(derivative))
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

"""Elementary functions of the SIMD layer: sweeps over bit patterns against the errors that their comments state."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lossk import _core
from tests.support.arrays import Array, bits
from tests.support.functions import DOMAINS, FAR_BELOW, FUNCTIONS, QUICK, each_function, evaluate
from tests.support.sources import CPP

SIMD = CPP / "simd"


# Every one of so many bit patterns; 1 would be all 2^32.
STRIDE = 997


# This is promised whatever the comments say.
PROMISED = {"exp": 1.0, "log": 1.0, "log1p": 1.0, "tanh": 1.0}


def sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    result: Array = np.where(x < 0, e, x.dtype.type(1)) / (1 + e)
    return result


def softplus(x: Array) -> Array:
    result: Array = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    return result


def upper_tail(a: Array) -> Array:
    """1 - cdf(a) of long doubles >= 0: a series near 0, further out a continued fraction."""
    upper = a.astype(np.float32).astype(np.longdouble)  # whose square is exact
    density = (
        np.exp(-upper * upper / 2) * np.exp(-(a - upper) * (a + upper) / 2) / np.sqrt(2 * np.arccos(np.longdouble(-1)))
    )
    near = a < 2
    term = total = a[near]
    for k in range(1, 40):
        term = term * a[near] * a[near] / (2 * k + 1)
        total = total + term
    fraction = a[~near] + 60
    for k in range(400, 0, -1):
        fraction = a[~near] + k / fraction
    density[near] = np.longdouble(0.5) - density[near] * total
    density[~near] /= fraction
    return density


def normal_cdf(x: Array) -> Array:
    """In long double. Below 2^-70 results are one half, and past 45 what they are at 45: below any double."""
    a, place = np.unique(np.clip(np.abs(x), 2.0**-70, 45), return_inverse=True)
    tail = upper_tail(a.astype(np.longdouble))[place.reshape(x.shape)]
    result: Array = np.where(x < 0, tail, 1 - tail)
    return result if x.dtype == np.longdouble else result.astype(np.float64)


REFERENCE: dict[str, Callable[[Array], Array]] = {
    "exp": np.exp,
    "exp_flush": np.exp,
    "exp_over": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "log1p_positive": np.log1p,
    "log1p_unit": np.log1p,
    "log_probability": np.log,
    "log_other_probability": lambda x: np.log1p(-x),
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "normal_cdf": normal_cdf,
}


# Functions whose results may be 0 below so many times the smallest normal number.
FLUSHING = {"exp_flush": 1, "exp_over": 2, "sigmoid": 1, "softplus": 1, "normal_cdf": 4}


@functools.cache
def stated_bounds() -> dict[str, dict[np.dtype[Any], float]]:
    """The largest error in ULP that the comment above each function states, per dtype."""
    bounds: dict[str, dict[np.dtype[Any], float]] = {}
    for file in sorted(SIMD.glob("*.hpp")):
        text = file.read_text(encoding="utf-8")
        for match in re.finditer(r"((?://[^\n]*\n)+)template <class V>\ninline V (\w+)\(V x\)", text):
            comment = match[1].replace("\n//", " ")
            stated = re.search(r"f32: ([\d.]+) ULP, f64: ([\d.]+?)(?: ULP)?\.(?:\s|$)", comment)
            if stated:
                bounds[match[2]] = {
                    np.dtype(np.float32): float(stated[1]),
                    np.dtype(np.float64): float(stated[2]),
                }
    return bounds


def domain(name: str, x: Array) -> Array:
    """What the function promises to take, and to be accurate at."""
    if name == "exp_flush":
        return x[~(x > (88 if x.dtype == np.float32 else 709))]
    if name not in DOMAINS:
        return x
    low, high = DOMAINS[name]
    return x[(x >= low) & (x <= high) & ~np.isin(x, FAR_BELOW.get(name, ()))]


def ulps(got: Array, want: Array, name: str) -> Array:
    """Errors in units of the spacing at the rounded wanted value; infinite where infinity or NaN are misplaced.

    `want` is of a wider type. At the largest number the spacing is that below, as infinity has none.
    """
    dtype = got.dtype
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        rounded = want.astype(dtype)
        spacing = np.spacing(np.minimum(np.abs(rounded), np.finfo(dtype).max)).astype(want.dtype)
        error = np.abs(got.astype(want.dtype) - want) / spacing
    special = ~np.isfinite(rounded) | ~np.isfinite(got)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    error[special] = np.where(same[special], 0.0, np.inf)
    if name in FLUSHING:
        tiny = FLUSHING[name] * np.finfo(dtype).smallest_normal
        flushed = (want < tiny) & (got >= 0) & (got <= tiny)
        error[flushed] = 0.0
    return error


def assert_within(name: str, x: Array, want: Array, bound: float, isa: str) -> None:
    got = evaluate(name, x)
    error = ulps(got, want, name)
    worst = int(np.argmax(error))
    assert error[worst] <= bound, (
        f"{name} on {isa}: {float(error[worst]):.3f} ULP at x = {x[worst]!r} ({float(x[worst]).hex()}): "
        f"got {got[worst]!r}, wanted {float(want[worst])!r}; stated {bound}"
    )


@functools.cache
def f32_patterns() -> Array:
    """Bit patterns over the whole range, and all those around points where a function changes its ways."""
    sweep = np.arange(0, 2**32, STRIDE, dtype=np.uint64).astype(np.uint32)
    points = [0.0, 1.0, -1.0, 0.25, 0.5, 0.75, 1.5, 2.0, np.sqrt(2), np.sqrt(0.5), np.log(2), np.log(2) / 2]
    points += [2.0**64, 88.0, 88.72284, 87.33655, 103.97208, 127.0, 9.0, 18.0, 17.3, 1e-20, 1.1754944e-38, 3.4028235e38]
    points += [k * np.log(2) for k in (1.5, 2.5, 60.5, 126.5)]
    near = np.array([*points, *(-p for p in points)], np.float32).view(np.uint32).astype(np.int64)
    around = (near[:, None] + np.arange(-3000, 3001)).clip(0, 2**32 - 1).astype(np.uint32)
    return np.concatenate([sweep, around.reshape(-1)]).view(np.float32)


@functools.cache
def f32_expected(name: str) -> tuple[Array, Array]:
    x = domain(name, f32_patterns())
    with np.errstate(all="ignore"):
        return x, REFERENCE[name](x.astype(np.float64))


@functools.cache
def f64_points() -> Array:
    rng = np.random.default_rng(5)
    exponents = rng.uniform(-1074, 1024, size=60_000)
    spread = np.ldexp(rng.uniform(1, 2, size=exponents.size), np.floor(exponents).astype(int) - 1)
    middle = rng.uniform(-750, 750, size=100_000)
    small = rng.uniform(-3, 3, size=140_000)
    with np.errstate(over="ignore"):
        x = np.concatenate([spread, -spread, middle, small, 1 + small * 1e-3, small * 1e-8])
    return x


@functools.cache
def f64_expected(name: str) -> tuple[Array, Array]:
    x = domain(name, f64_points())
    with np.errstate(all="ignore"):
        return x, REFERENCE[name](x.astype(np.longdouble))


@functools.cache
def mpmath_expected(name: str) -> tuple[Array, list[Any]]:
    mpmath = pytest.importorskip("mpmath", reason="mpmath is not installed")
    functions: dict[str, Callable[[Any], Any]] = {
        "exp": mpmath.exp,
        "exp_flush": mpmath.exp,
        "exp_over": mpmath.exp,
        "expm1": mpmath.expm1,
        "log": lambda x: mpmath.log(x) if x > 0 else mpmath.nan,
        "log1p": lambda x: mpmath.log1p(x) if x > -1 else mpmath.nan,
        "log1p_positive": mpmath.log1p,
        "log1p_unit": mpmath.log1p,
        "log_probability": mpmath.log,
        "log_other_probability": lambda x: mpmath.log1p(-x),
        "tanh": mpmath.tanh,
        "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
        "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
        "normal_cdf": lambda x: mpmath.erfc(-x / mpmath.sqrt(2)) / 2,
    }
    x = np.concatenate([domain(name, f64_points())[::301], domain(name, np.linspace(-30, 30, 500))])
    x = x[np.abs(x) < 700]
    with mpmath.workprec(240):
        return x, [functions[name](mpmath.mpf(float(v))) for v in x]


def test_every_function_states_its_error() -> None:
    missing = [name for name in FUNCTIONS if name not in stated_bounds()]
    assert not missing, f"the comment above these does not say 'f32: x ULP, f64: y.': {missing}"
    for name, bound in PROMISED.items():
        assert stated_bounds()[name][np.dtype(np.float32)] <= bound, name


def test_every_function_has_a_reference() -> None:
    assert set(FUNCTIONS) == set(REFERENCE)


@pytest.mark.skipif(QUICK not in _core.functions(), reason="there is no exp_quick")
def test_the_quick_exponential_is_within_its_stated_error(isa: str) -> None:
    """Within the relative error that its comment states, for all x <= 0; in f64 it is exp_flush."""
    stated = re.search(
        r"relative error below 2\^-(\d+) \+ \|x\| 2\^-(\d+)", (SIMD / "exp.hpp").read_text(encoding="utf-8")
    )
    assert stated is not None, "the comment above exp_quick does not say 'relative error below 2^-a + |x| 2^-b'"
    x = f32_patterns()
    x = x[x <= 0]
    got, want = evaluate(QUICK, x).astype(np.float64), np.exp(x.astype(np.float64))
    normal = want >= 2.0**-126
    error = np.abs(got[normal] / want[normal] - 1)
    allowed = 2.0 ** -int(stated[1]) - x[normal].astype(np.float64) * 2.0 ** -int(stated[2])
    worst = int(np.argmax(error / allowed))
    assert error[worst] < allowed[worst], f"{error[worst]} at {x[normal][worst]!r} on {isa}, stated {allowed[worst]}"
    assert ((got[~normal] >= 0) & (got[~normal] <= 2.0**-126)).all()
    for n in (1, 17):
        assert (evaluate(QUICK, np.zeros(n, np.float32)) == 1).all()
        assert (evaluate(QUICK, np.full(n, -np.inf, np.float32)) == 0).all()
        assert np.isnan(evaluate(QUICK, np.full(n, np.nan, np.float32))).all()
    x64 = f64_points()
    assert bits(evaluate(QUICK, x64[x64 <= 0])) == bits(evaluate("exp_flush", x64[x64 <= 0]))


@each_function
def test_bit_patterns_of_f32_are_within_the_stated_error(name: str, isa: str) -> None:
    x, want = f32_expected(name)
    bound = stated_bounds()[name][np.dtype(np.float32)]
    # The reference in f64 is itself off by 1e-8 of an f32 ULP.
    assert_within(name, x, want, min(bound, PROMISED.get(name, np.inf)) + 1e-6, isa)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="long double is no wider than double here")
@each_function
def test_f64_is_within_the_stated_error_of_long_double(name: str, isa: str) -> None:
    x, want = f64_expected(name)
    assert_within(name, x, want, stated_bounds()[name][np.dtype(np.float64)] + 0.002, isa)


@each_function
def test_f64_is_within_the_stated_error_of_mpmath(name: str, isa: str) -> None:
    """Few points, but a reference beyond doubt; it also checks the long double reference."""
    x, exact = mpmath_expected(name)
    got = evaluate(name, x)
    bound = stated_bounds()[name][np.dtype(np.float64)]
    for at, have, want in zip(x, got, exact, strict=True):
        rounded = float(want)
        if np.isnan(rounded):
            assert np.isnan(have), at
        elif name in FLUSHING and rounded < np.finfo(np.float64).smallest_normal:
            assert 0 <= have <= np.finfo(np.float64).smallest_normal, at
        else:
            error = abs(float((want - float(have)) / float(np.spacing(abs(rounded)))))
            assert error <= bound, f"{name}({float(at)!r}): {error} ULP, stated {bound}"

"""Elementary functions of the SIMD layer: ULP sweeps over bit patterns against the bounds that their comments state."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import Array, bits, each_dtype

from lossk import _core

SIMD = Path(__file__).parent.parent / "src" / "cpp" / "simd"
# exp_quick has a test of its own: its error is not stated in ULP, as it grows with x.
QUICK = "exp_quick"
FUNCTIONS = tuple(name for name in _core.functions() if name != QUICK)
each_function = pytest.mark.parametrize("name", FUNCTIONS)

# Every one of so many bit patterns; 1 would be all 2^32.
STRIDE = 997

# DESIGN.md and SEMANTICS.md promise this whatever the comments say.
PROMISED = {"exp": 1.0, "log": 1.0, "log1p": 1.0, "tanh": 1.0}


def run(name: str, x: Array) -> Array:
    out = np.empty_like(x)
    _core.function(name, x, out)
    return out


def sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    result: Array = np.where(x < 0, e, x.dtype.type(1)) / (1 + e)
    return result


def softplus(x: Array) -> Array:
    result: Array = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    return result


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
}

# Functions whose results may be 0 below so many times the smallest normal number.
FLUSHING = {"exp_flush": 1, "exp_over": 2, "sigmoid": 1, "softplus": 1}


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


def test_every_function_states_its_error() -> None:
    missing = [name for name in FUNCTIONS if name not in stated_bounds()]
    assert not missing, f"the comment above these does not say 'f32: x ULP, f64: y.': {missing}"
    for name, bound in PROMISED.items():
        assert stated_bounds()[name][np.dtype(np.float32)] <= bound, name


def test_every_function_has_a_reference() -> None:
    assert set(FUNCTIONS) == set(REFERENCE)


# From where to where a function takes numbers, if it does not take all.
DOMAINS = {
    "log1p_positive": (0.0, 2.0**64),
    "log1p_unit": (-0.5, 1.0),
    "log_probability": (0.0, 1.0),
    "log_other_probability": (0.0, 1.0),
}
# Where it gives anything below -100, as binary cross-entropy goes no further.
FAR_BELOW = {"log_probability": (0.0, -0.0), "log_other_probability": (1.0,)}


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
    got = run(name, x)
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


@pytest.mark.skipif(QUICK not in _core.functions(), reason="there is no exp_quick")
def test_quick_exponential(isa: str) -> None:
    """Within the relative error that its comment states, for all x <= 0; in f64 it is exp_flush."""
    stated = re.search(
        r"relative error below 2\^-(\d+) \+ \|x\| 2\^-(\d+)", (SIMD / "exp.hpp").read_text(encoding="utf-8")
    )
    assert stated is not None, "the comment above exp_quick does not say 'relative error below 2^-a + |x| 2^-b'"
    x = f32_patterns()
    x = x[x <= 0]
    got, want = run(QUICK, x).astype(np.float64), np.exp(x.astype(np.float64))
    normal = want >= 2.0**-126
    error = np.abs(got[normal] / want[normal] - 1)
    allowed = 2.0 ** -int(stated[1]) - x[normal].astype(np.float64) * 2.0 ** -int(stated[2])
    worst = int(np.argmax(error / allowed))
    assert error[worst] < allowed[worst], f"{error[worst]} at {x[normal][worst]!r} on {isa}, stated {allowed[worst]}"
    assert ((got[~normal] >= 0) & (got[~normal] <= 2.0**-126)).all()
    for n in (1, 17):
        assert (run(QUICK, np.zeros(n, np.float32)) == 1).all()
        assert (run(QUICK, np.full(n, -np.inf, np.float32)) == 0).all()
        assert np.isnan(run(QUICK, np.full(n, np.nan, np.float32))).all()
    x64 = f64_points()
    assert bits(run(QUICK, x64[x64 <= 0])) == bits(run("exp_flush", x64[x64 <= 0]))


@each_function
def test_f32_sweep_over_bit_patterns(name: str, isa: str) -> None:
    x, want = f32_expected(name)
    bound = stated_bounds()[name][np.dtype(np.float32)]
    # The reference in f64 is itself off by 1e-8 of an f32 ULP.
    assert_within(name, x, want, min(bound, PROMISED.get(name, np.inf)) + 1e-6, isa)


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


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="long double is no wider than double here")
@each_function
def test_f64_against_long_double(name: str, isa: str) -> None:
    x, want = f64_expected(name)
    assert_within(name, x, want, stated_bounds()[name][np.dtype(np.float64)] + 0.002, isa)


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
    }
    x = np.concatenate([domain(name, f64_points())[::301], domain(name, np.linspace(-30, 30, 500))])
    x = x[np.abs(x) < 700]
    with mpmath.workprec(240):
        return x, [functions[name](mpmath.mpf(float(v))) for v in x]


@each_function
def test_f64_against_mpmath(name: str, isa: str) -> None:
    """Few points, but a reference beyond doubt; it also checks the long double reference."""
    x, exact = mpmath_expected(name)
    got = run(name, x)
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


# ---- special values -----------------------------------------------------------------------------------------------

INF, NAN = np.inf, np.nan
SPECIAL: dict[str, list[tuple[float, float]]] = {
    "exp": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (NAN, NAN), (1e30, INF), (-1e30, 0.0)],
    "exp_over": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (NAN, NAN), (1e30, INF), (-1e30, 0.0)],
    "exp_flush": [(0.0, 1.0), (-0.0, 1.0), (-INF, 0.0), (NAN, NAN), (-1e30, 0.0)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1.0), (NAN, NAN), (1e-30, 1e-30), (-1e30, -1.0)],
    "log": [(1.0, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-1.0, NAN), (-INF, NAN), (NAN, NAN)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (INF, INF), (-1.5, NAN), (-INF, NAN), (NAN, NAN), (1e-30, 1e-30)],
    "tanh": [
        (0.0, 0.0),
        (-0.0, -0.0),
        (INF, 1.0),
        (-INF, -1.0),
        (NAN, NAN),
        (100.0, 1.0),
        (1e-30, 1e-30),
        (-1e30, -1.0),
    ],
    "log1p_positive": [(0.0, 0.0), (1e-30, 1e-30), (NAN, NAN)],
    "log1p_unit": [(0.0, 0.0), (-0.0, -0.0), (1e-30, 1e-30), (-1e-30, -1e-30), (NAN, NAN)],
    "log_probability": [(1.0, 0.0)],
    "log_other_probability": [(0.0, 0.0), (1e-30, -1e-30)],
    "sigmoid": [(0.0, 0.5), (-0.0, 0.5), (INF, 1.0), (-INF, 0.0), (NAN, NAN), (1e30, 1.0), (-1e30, 0.0)],
    "softplus": [(INF, INF), (-INF, 0.0), (NAN, NAN), (1e30, 1e30), (-1e30, 0.0)],
}


@each_function
@each_dtype
def test_special_values(dtype: Any, name: str, isa: str) -> None:
    for x, want in SPECIAL[name]:
        for n in (1, 3, 16, 17):  # in every lane, and in the tail
            got = run(name, np.full(n, x, dtype))
            expected = np.full(n, want, dtype)
            np.testing.assert_array_equal(got, expected, err_msg=f"{name}({x})")
            if want == 0:
                assert (np.signbit(got) == np.signbit(expected)).all(), f"sign of {name}({x})"


@pytest.mark.parametrize("name", FAR_BELOW)
@each_dtype
def test_far_below_at_the_edge(dtype: Any, name: str, isa: str) -> None:
    for at, n in itertools.product(FAR_BELOW[name], (1, 16, 17)):
        got = run(name, np.full(n, at, dtype))
        assert ((got < -100) & np.isfinite(got)).all()


@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh", "exp", "log"])
@each_dtype
def test_subnormal_numbers(dtype: Any, name: str, isa: str) -> None:
    """They come and go gradually: nothing in this process is set to flush them to zero."""
    info = np.finfo(dtype)
    x = np.array([info.smallest_subnormal, info.smallest_subnormal * 37, info.smallest_normal / 2], dtype)
    if name in ("expm1", "log1p", "tanh"):  # x itself
        for sign in (1, -1):
            assert bits(run(name, sign * x)) == bits(sign * x)
    elif name == "log":
        np.testing.assert_allclose(run("log", x), np.log(x.astype(np.longdouble)).astype(dtype), rtol=1e-6)
    else:
        y = np.array([-88.0, -100.0, -103.0] if dtype == np.float32 else [-709.0, -730.0, -744.0], dtype)
        with np.errstate(under="ignore"):
            want = np.exp(y.astype(np.longdouble)).astype(dtype)
        assert (np.abs(run("exp", y) - want) <= info.smallest_subnormal).all()
        assert (run("exp", y) > 0).all()


@each_function
@each_dtype
def test_results_do_not_depend_on_the_lane(dtype: Any, name: str, isa: str, rng: np.random.Generator) -> None:
    low, high = DOMAINS.get(name, (-9.0, 9.0))
    x = rng.uniform(low, min(high, 9.0), size=67).astype(dtype)
    whole = run(name, x)
    for start in (1, 2, 5, 16, 33, 66):
        assert bits(run(name, x[start:].copy())) == bits(whole[start:])


@pytest.mark.parametrize("name", ["exp", "exp_flush", "sigmoid", "softplus", "tanh", "log"])
@each_dtype
def test_monotonous_around_its_seams(dtype: Any, name: str, isa: str) -> None:
    """Where pieces of an approximation meet, errors below 1 ULP cannot turn a rise into a fall of more than that."""
    for at in (0.0, 0.7071067811865476, 1.0, 1.4142135623730951, 0.34657359, 9.0):
        x = dtype.type(at)
        around = x + np.arange(-400, 401).astype(dtype) * np.spacing(np.maximum(np.abs(x), dtype.type(0.1)))
        around = around[around > 0] if name == "log" else around
        y = run(name, around)
        assert (np.diff(y) >= -2 * np.spacing(np.abs(y[:-1]))).all(), f"{name} around {at}"


def test_wrong_arguments() -> None:
    x = np.zeros(4)
    for name, a, out in (
        ("exp", x, np.zeros(3)),
        ("exp", x, np.zeros(4, np.float32)),
        ("exp", x[::2], x),
        ("sinh", x, x),
    ):
        with pytest.raises(ValueError, match=r"function: "):
            _core.function(name, a, out)

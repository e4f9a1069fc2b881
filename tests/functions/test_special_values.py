"""Elementary functions of the SIMD layer: special values, subnormal numbers, lanes, seams, wrong arguments."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from lossk import _core
from tests.support.arrays import bits, each_dtype
from tests.support.functions import DOMAINS, FAR_BELOW, each_function, evaluate

INF, NAN = np.inf, np.nan


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
    "normal_cdf": [(INF, 1.0), (-INF, 0.0), (NAN, NAN), (1e30, 1.0), (-1e30, 0.0)],
}


@each_function
@each_dtype
def test_special_values_are_exact_in_every_lane(dtype: Any, name: str, isa: str) -> None:
    for x, want in SPECIAL[name]:
        for n in (1, 3, 16, 17):  # in every lane, and in the tail
            got = evaluate(name, np.full(n, x, dtype))
            expected = np.full(n, want, dtype)
            np.testing.assert_array_equal(got, expected, err_msg=f"{name}({x})")
            if want == 0:
                assert (np.signbit(got) == np.signbit(expected)).all(), f"sign of {name}({x})"


@pytest.mark.parametrize("name", FAR_BELOW)
@each_dtype
def test_logarithms_are_far_below_at_the_edge(dtype: Any, name: str, isa: str) -> None:
    for at, n in itertools.product(FAR_BELOW[name], (1, 16, 17)):
        got = evaluate(name, np.full(n, at, dtype))
        assert ((got < -100) & np.isfinite(got)).all()


@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh", "exp", "log"])
@each_dtype
def test_subnormal_numbers_come_and_go_gradually(dtype: Any, name: str, isa: str) -> None:
    """They come and go gradually: nothing in this process is set to flush them to zero."""
    info = np.finfo(dtype)
    x = np.array([info.smallest_subnormal, info.smallest_subnormal * 37, info.smallest_normal / 2], dtype)
    if name in ("expm1", "log1p", "tanh"):  # x itself
        for sign in (1, -1):
            assert bits(evaluate(name, sign * x)) == bits(sign * x)
    elif name == "log":
        np.testing.assert_allclose(evaluate("log", x), np.log(x.astype(np.longdouble)).astype(dtype), rtol=1e-6)
    else:
        y = np.array([-88.0, -100.0, -103.0] if dtype == np.float32 else [-709.0, -730.0, -744.0], dtype)
        with np.errstate(under="ignore"):
            want = np.exp(y.astype(np.longdouble)).astype(dtype)
        assert (np.abs(evaluate("exp", y) - want) <= info.smallest_subnormal).all()
        assert (evaluate("exp", y) > 0).all()


@each_function
@each_dtype
def test_results_do_not_depend_on_the_lane(dtype: Any, name: str, isa: str, rng: np.random.Generator) -> None:
    low, high = DOMAINS.get(name, (-9.0, 9.0))
    x = rng.uniform(low, min(high, 9.0), size=67).astype(dtype)
    whole = evaluate(name, x)
    for start in (1, 2, 5, 16, 33, 66):
        assert bits(evaluate(name, x[start:].copy())) == bits(whole[start:])


@pytest.mark.parametrize("name", ["exp", "exp_flush", "sigmoid", "softplus", "tanh", "log", "normal_cdf"])
@each_dtype
def test_functions_are_monotonous_around_their_seams(dtype: Any, name: str, isa: str) -> None:
    """Where pieces of an approximation meet, errors below 1 ULP cannot turn a rise into a fall of more than that."""
    for at in (0.0, 0.7071067811865476, 1.0, 1.4142135623730951, 0.34657359, 9.0):
        x = dtype.type(at)
        around = x + np.arange(-400, 401).astype(dtype) * np.spacing(np.maximum(np.abs(x), dtype.type(0.1)))
        around = around[around > 0] if name == "log" else around
        y = evaluate(name, around)
        assert (np.diff(y) >= -2 * np.spacing(np.abs(y[:-1]))).all(), f"{name} around {at}"


def test_wrong_arguments_are_refused() -> None:
    x = np.zeros(4)
    for name, a, out in (
        ("exp", x, np.zeros(3)),
        ("exp", x, np.zeros(4, np.float32)),
        ("exp", x[::2], x),
        ("sinh", x, x),
    ):
        with pytest.raises(ValueError, match=r"function: "):
            _core.function(name, a, out)

"""What softmax, log_softmax and logsumexp pass back: formula, layouts, memory, types, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lossk
from lossk.row_functions import RowFunction
from tests.support.arrays import INF, NAN, Array, bits, each_dtype
from tests.support.layouts import LAYOUTS
from tests.support.row_functions import FUNCTIONS, draw_with_cotangent, each_function
from tests.support.rows import softmax64

SHAPES = ((1, 1), (5, 2), (3, 64), (4, 65), (2, 513), (3, 2000), (2, 3, 7), (200, 10), (17,), (1, 40_000))


def passed_back(function: RowFunction, x: Array, c: Array) -> Array:
    """The formula in float64, over the last axis."""
    p, c = softmax64(x), c.astype(np.float64)
    if function is lossk.softmax:
        return np.asarray(p * (c - (p * c).sum(axis=-1, keepdims=True)))
    return np.asarray(c - p * c.sum(axis=-1, keepdims=True) if function is lossk.log_softmax else p * c[..., None])


@each_dtype
@each_function
def test_what_is_passed_back_is_the_formula(
    function: RowFunction, dtype: Any, isa: str, rng: np.random.Generator
) -> None:
    for shape in SHAPES:
        x, c = draw_with_cotangent(function, rng, shape, dtype)
        got, want = function.vjp(x, c), passed_back(function, x, c)
        assert got.dtype == dtype
        eps = float(np.finfo(dtype).eps)
        scale = max(1.0, float(np.abs(c).sum(axis=-1).max(initial=0)) if function is lossk.log_softmax else 1.0)
        np.testing.assert_allclose(got, want, rtol=20 * eps, atol=4 * eps * scale, err_msg=f"{function} {shape}")


@each_function
def test_what_is_passed_back_is_the_derivative_of_the_value(
    function: RowFunction, isa: str, rng: np.random.Generator
) -> None:
    x, c = draw_with_cotangent(function, rng, (3, 9), np.float64)
    h = 1e-3
    for k in range(9):
        step = h * (np.arange(9) == k)
        f = [function(x + m * step) * c for m in (1, -1, 2, -2)]
        by_value = (8 * (f[0] - f[1]) - (f[2] - f[3])) / (12 * h)
        by_value = by_value if function is lossk.logsumexp else by_value.sum(axis=-1)
        np.testing.assert_allclose(function.vjp(x, c)[:, k], by_value, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("layout", LAYOUTS)
@each_function
def test_bits_do_not_depend_on_layout(function: RowFunction, layout: str, isa: str, rng: np.random.Generator) -> None:
    x, c = draw_with_cotangent(function, rng, (6, 70), np.float32)
    want = bits(function.vjp(x, c))
    y, d, out = (LAYOUTS[layout](a) for a in (x, c, np.zeros_like(x)))
    assert bits(function.vjp(y, d)) == want
    assert function.vjp(y, d, out=out) is out
    assert bits(out) == want
    assert function.vjp(y, d, out=y) is y
    assert bits(y) == want


@each_function
def test_results_of_16_bits_are_rounded_once(function: RowFunction, isa: str, rng: np.random.Generator) -> None:
    x, c = draw_with_cotangent(function, rng, (5, 70), np.float32)
    x, c = x.astype(np.float16), c.astype(np.float16)
    want = function.vjp(x.astype(np.float32), c.astype(np.float32)).astype(np.float16)
    assert bits(function.vjp(x, c)) == bits(want)
    assert function.vjp(x, c, out=x) is x
    assert bits(x) == bits(want)


@each_dtype
def test_special_values_are_passed_back_as_nan(dtype: Any, isa: str) -> None:
    x = np.array([[0, -INF, 0], [0, NAN, 0], [0, 0, INF], [-INF, -INF, -INF]], dtype)
    for function in FUNCTIONS:
        got = function.vjp(x, np.ones(function(x).shape, dtype))
        assert got[0, 1] == (0 if function is not lossk.log_softmax else 1)
        assert np.isnan(got[1:]).all()


@each_function
def test_wrong_arguments_are_refused_and_nothing_written(function: RowFunction) -> None:
    x = np.ones((3, 4))
    c = np.ones(function(x).shape)
    out = np.full((3, 4), 7.0)
    flat = np.full(13, 7.0)
    here, shifted = flat[:12].reshape(3, 4), flat[1:].reshape(3, 4)
    wrong: list[tuple[type[Exception], str, Callable[[], Any]]] = [
        (ValueError, r"cotangent: got shape \(5,\), wanted \(3,", lambda: function.vjp(x, np.ones(5), out=out)),
        (TypeError, r"cotangent: got dtype complex128", lambda: function.vjp(x, c * 1j, out=out)),
        (TypeError, r"x: got dtype int64, wanted", lambda: function.vjp(np.ones((3, 4), int), c)),
        (ValueError, r"axis: got 2, wanted", lambda: function.vjp(x, c, axis=2, out=out)),
        (ValueError, r"num_threads: got 0", lambda: function.vjp(x, c, num_threads=0, out=out)),
        (TypeError, r"out: got dtype float32", lambda: function.vjp(x, c, out=x.astype(np.float32))),
        (
            ValueError,
            r"out: got memory that overlaps x",
            lambda: function.vjp(here, c, out=shifted),
        ),
    ]
    if c.shape == x.shape:
        wrong.append((ValueError, r"out: got memory that overlaps cotangent", lambda: function.vjp(x, out, out=out)))
    for error, message, call in wrong:
        with pytest.raises(error, match=message):
            call()
        assert (out == 7).all()
        assert (flat == 7).all()

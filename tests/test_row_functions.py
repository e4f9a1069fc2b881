"""softmax, log_softmax, logsumexp: their values, and what they pass back: layouts, memory, threads, errors, PyTorch."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import LAYOUTS, TOLERANCE, Array, assert_close, bits, each_dtype, guarded
from support_rows import FEW, MANY, each_count, log_sum_exp, rows_for

import lossk
from lossk.row_functions import RowFunction

INF, NAN = np.inf, np.nan
FUNCTIONS = (lossk.softmax, lossk.log_softmax, lossk.logsumexp)
each_function = pytest.mark.parametrize("function", FUNCTIONS, ids=repr)
SHAPES = ((1, 1), (5, 2), (3, 64), (4, 65), (2, 513), (3, 2000), (2, 3, 7), (200, 10), (17,), (1, 40_000))


def softmax64(x: Array) -> Array:
    """In float64, over the last axis."""
    result: Array = np.exp(x.astype(np.float64) - log_sum_exp(x)[..., None])
    return result


# ---- values -------------------------------------------------------------------------------------------------------


@each_dtype
def test_values(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    tolerance = TOLERANCE[np.dtype(dtype)]
    for classes in (*FEW, *MANY, 16385, 33000):
        x = rng.normal(scale=5.0, size=(rows_for(classes), classes)).astype(dtype)
        lse = log_sum_exp(x)
        assert_close(lossk.softmax(x), softmax64(x), tolerance.grad, 0, f"softmax of {classes}")
        # x - max - log(sum): roundings of numbers as large as the logits
        atol = float(4 * np.finfo(dtype).eps * np.abs(x).max())
        assert_close(lossk.log_softmax(x), x.astype(np.float64) - lse[:, None], 0, atol, f"log_softmax of {classes}")
        assert_close(lossk.logsumexp(x), lse, 0, atol, f"logsumexp of {classes}")
        assert lossk.softmax(x).dtype == lossk.log_softmax(x).dtype == lossk.logsumexp(x).dtype == dtype


@each_dtype
def test_values_on_any_axis_into_any_output(dtype: Any, rng: np.random.Generator) -> None:
    for shape in ((3, 4, 5), (2, 70, 3), (6,)):
        x = rng.normal(size=shape).astype(dtype)
        for axis in range(-len(shape), len(shape)):
            moved = np.moveaxis(x, axis, -1)
            for function in (lossk.softmax, lossk.log_softmax):
                want = np.moveaxis(function(np.ascontiguousarray(moved)), -1, axis)
                np.testing.assert_array_equal(function(x, axis=axis), want)
                for out in (np.zeros_like(x), np.zeros(shape, dtype, order="F"), np.zeros((*shape, 2), dtype)[..., 0]):
                    assert function(x, axis=axis, out=out) is out
                    np.testing.assert_array_equal(out, want)
                own = x.copy()
                assert function(own, axis=axis, out=own) is own
                np.testing.assert_array_equal(own, want)
                strided = np.zeros((*shape, 2), dtype)[..., 0]
                strided[...] = x
                assert function(strided, axis=axis, out=strided) is strided
                np.testing.assert_array_equal(strided, want)
            assert_close(lossk.logsumexp(x, axis=axis), log_sum_exp(moved), 1e-5, 1e-6, "logsumexp")
    with pytest.raises(ValueError, match=r"axis: got 3, wanted an integer in \[-1, 1\)"):
        lossk.softmax(np.zeros(4), axis=3)


@pytest.mark.parametrize("function", ["softmax", "log_softmax"])
@each_dtype
def test_values_in_place_large(dtype: Any, function: str, isa: str, rng: np.random.Generator) -> None:
    for shape in ((1000, 7), (3, 700), (2, 40_000)):
        x = rng.normal(size=shape).astype(dtype)
        want = getattr(lossk, function)(x)
        assert getattr(lossk, function)(x, out=x) is x
        assert bits(x) == bits(want)


@each_count
@each_dtype
def test_values_of_special_rows(dtype: Any, classes: int, isa: str) -> None:
    rows: dict[str, Array] = {}
    for name, at_0, elsewhere in (
        ("all -inf", -np.inf, -np.inf),
        ("one +inf", np.inf, 0.0),
        ("one nan", np.nan, 0.0),
        ("one finite", 2.0, -np.inf),
        ("huge", 1e4, -1e4),
        ("largest", 3.4e38, -3.4e38),
        ("all largest", 3.4e38, 3.4e38),
    ):
        row = np.full(classes, elsewhere, dtype)
        row[0] = at_0
        rows[name] = row
    x = np.array(list(rows.values()), dtype)
    p, lp, lse = (dict(zip(rows, f(x), strict=True)) for f in (lossk.softmax, lossk.log_softmax, lossk.logsumexp))
    for name in ("all -inf", "one +inf", "one nan"):
        assert np.isnan(p[name]).all(), name
        assert np.isnan(lp[name]).all(), name
    assert lse["all -inf"] == -np.inf
    assert np.isnan(lse["one nan"])
    assert lse["one +inf"] == np.inf or np.isnan(lse["one +inf"])
    for name in ("one finite", "huge", "largest"):
        assert p[name][0] == 1.0, name
        assert not p[name][1:].any(), name
        assert lp[name][0] == 0.0, name
        assert lse[name] == rows[name][0], name
    assert (lp["one finite"][1:] == -np.inf).all()
    assert (lp["huge"][1:] == -2e4).all()
    np.testing.assert_allclose(p["all largest"], 1 / classes, rtol=1e-6)
    np.testing.assert_allclose(lp["all largest"], -np.log(classes), rtol=1e-6)


def test_nothing_and_wrong_arguments() -> None:
    for function in (lossk.softmax, lossk.log_softmax):
        assert function(np.zeros((0, 3))).shape == (0, 3)
        with pytest.raises(ValueError, match=r"got a 0-dimensional array"):
            function(np.array(1.0))
        with pytest.raises(TypeError, match=r"x: got dtype int64"):
            function(np.zeros(3, np.int64))
        with pytest.raises(TypeError, match=r"out: got dtype float32, wanted float64"):
            function(np.zeros(3), out=np.zeros(3, np.float32))
        x = np.zeros(10)
        with pytest.raises(ValueError, match=r"out: got memory that overlaps"):
            function(x[:-1], out=x[1:])
    assert lossk.logsumexp(np.zeros((0, 3))).shape == (0,)


# ---- what is passed back ------------------------------------------------------------------------------------------


def drawn(function: RowFunction, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
    x = rng.normal(scale=2, size=shape).astype(dtype)
    return x, np.asarray(rng.normal(size=function(x).shape)).astype(dtype)


def passed_back(function: RowFunction, x: Array, c: Array) -> Array:
    """The formula in float64, over the last axis."""
    p, c = softmax64(x), c.astype(np.float64)
    if function is lossk.softmax:
        return np.asarray(p * (c - (p * c).sum(axis=-1, keepdims=True)))
    return np.asarray(c - p * c.sum(axis=-1, keepdims=True) if function is lossk.log_softmax else p * c[..., None])


@each_dtype
@each_function
def test_formula(function: RowFunction, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    for shape in SHAPES:
        x, c = drawn(function, rng, shape, dtype)
        got, want = function.vjp(x, c), passed_back(function, x, c)
        assert got.dtype == dtype
        eps = float(np.finfo(dtype).eps)
        scale = max(1.0, float(np.abs(c).sum(axis=-1).max(initial=0)) if function is lossk.log_softmax else 1.0)
        np.testing.assert_allclose(got, want, rtol=20 * eps, atol=4 * eps * scale, err_msg=f"{function} {shape}")


@each_function
def test_derivative_is_that_of_the_value(function: RowFunction, isa: str, rng: np.random.Generator) -> None:
    x, c = drawn(function, rng, (3, 9), np.float64)
    h = 1e-3
    for k in range(9):
        step = h * (np.arange(9) == k)
        f = [function(x + m * step) * c for m in (1, -1, 2, -2)]
        by_value = (8 * (f[0] - f[1]) - (f[2] - f[3])) / (12 * h)
        by_value = by_value if function is lossk.logsumexp else by_value.sum(axis=-1)
        np.testing.assert_allclose(function.vjp(x, c)[:, k], by_value, rtol=1e-8, atol=1e-10)


@each_function
def test_any_axis(function: RowFunction, isa: str, rng: np.random.Generator) -> None:
    x, c = drawn(function, rng, (4, 5, 6), np.float32)
    want = function.vjp(x, c)
    whole = function is not lossk.logsumexp
    for at in (0, 1):
        y, d = np.moveaxis(x, -1, at), np.moveaxis(c, -1, at) if whole else c
        for axis in (at, at - 3):
            np.testing.assert_array_equal(function.vjp(y, d, axis=axis), np.moveaxis(want, -1, at))
        out = np.zeros(y.shape, np.float32)
        assert function.vjp(y, d, axis=at, out=out) is out
        np.testing.assert_array_equal(out, np.moveaxis(want, -1, at))


@pytest.mark.parametrize("layout", LAYOUTS)
@each_function
def test_layouts(function: RowFunction, layout: str, isa: str, rng: np.random.Generator) -> None:
    x, c = drawn(function, rng, (6, 70), np.float32)
    want = bits(function.vjp(x, c))
    y, d, out = (LAYOUTS[layout](a) for a in (x, c, np.zeros_like(x)))
    assert bits(function.vjp(y, d)) == want
    assert function.vjp(y, d, out=out) is out
    assert bits(out) == want
    assert function.vjp(y, d, out=y) is y
    assert bits(y) == want


@pytest.mark.parametrize("at", ["start", "end"])
@each_dtype
@each_function
def test_they_stay_inside(function: RowFunction, dtype: Any, at: str, isa: str, rng: np.random.Generator) -> None:
    for shape in ((1, 1), (3, 7), (7, 65), (2, 513), (2, 16_385)):
        x, c = drawn(function, rng, shape, dtype)
        want = bits(function.vjp(x, c))
        y, d, out = guarded(x, at), guarded(c, at), guarded(np.zeros_like(x), at)
        assert bits(function.vjp(y, d, out=out)) == want
        assert bits(function.vjp(y, d, out=y)) == want


@each_dtype
@each_function
def test_threads_do_not_change_a_bit(function: RowFunction, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    for shape in ((3000, 40), (50, 3000), (2, 60_000)):
        x, c = drawn(function, rng, shape, dtype)
        want = bits(function.vjp(x, c, num_threads=1))
        for threads in (2, 7):
            assert bits(function.vjp(x, c, num_threads=threads)) == want


@each_function
def test_narrow_types(function: RowFunction, isa: str, rng: np.random.Generator) -> None:
    x, c = drawn(function, rng, (5, 70), np.float32)
    x, c = x.astype(np.float16), c.astype(np.float16)
    want = function.vjp(x.astype(np.float32), c.astype(np.float32)).astype(np.float16)
    assert bits(function.vjp(x, c)) == bits(want)
    assert function.vjp(x, c, out=x) is x
    assert bits(x) == bits(want)


@each_dtype
def test_special_values_of_vjp(dtype: Any, isa: str) -> None:
    x = np.array([[0, -INF, 0], [0, NAN, 0], [0, 0, INF], [-INF, -INF, -INF]], dtype)
    for function in FUNCTIONS:
        got = function.vjp(x, np.ones(function(x).shape, dtype))
        assert got[0, 1] == (0 if function is not lossk.log_softmax else 1)
        assert np.isnan(got[1:]).all()


def test_out_of_logsumexp(rng: np.random.Generator) -> None:
    x, out = rng.normal(size=(3, 4, 5)), np.zeros((3, 5))
    assert lossk.logsumexp(x, axis=1, out=out) is out
    np.testing.assert_array_equal(out, lossk.logsumexp(x, axis=1))
    with pytest.raises(ValueError, match=r"out: got shape \(3, 5\), wanted \(3, 4\)"):
        lossk.logsumexp(x, out=out)


@each_function
def test_wrong_arguments_of_vjp(function: RowFunction) -> None:
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


@each_function
def test_they_are_values(function: RowFunction) -> None:
    assert pickle.loads(pickle.dumps(function)) is function
    assert eval(repr(function)) is function
    assert function.__doc__


@each_function
def test_agreement_with_torch(function: RowFunction, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: parity with it was not tested")
    for axis in (-1, 0, 1):
        x = rng.normal(scale=3, size=(4, 30, 7))
        z = torch.from_numpy(x.copy()).requires_grad_()
        value = getattr(torch, function._name)(z, axis)
        c = rng.normal(size=value.shape)
        value.backward(torch.from_numpy(c.copy()))
        np.testing.assert_allclose(function(x, axis=axis), value.detach().numpy(), rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(function.vjp(x, c, axis=axis), z.grad.numpy(), rtol=1e-12, atol=1e-14)

"""softmax, log_softmax, logsumexp: values, special rows, outputs, errors."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import lossk
from lossk.row_functions import RowFunction
from tests.support.arrays import Array, each_dtype
from tests.support.narrow import each_narrow, steps_apart
from tests.support.row_functions import each_function
from tests.support.rows import LONG, SHORT, each_count, log_sum_exp, rows_for, softmax64
from tests.support.tolerances import TOLERANCE, assert_close


@each_dtype
def test_values_are_those_of_numpy(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    tolerance = TOLERANCE[np.dtype(dtype)]
    for classes in (*SHORT, *LONG, 16385, 33000):
        x = rng.normal(scale=5.0, size=(rows_for(classes), classes)).astype(dtype)
        lse = log_sum_exp(x)
        assert_close(lossk.softmax(x), softmax64(x), tolerance.grad, 0, f"softmax of {classes}")
        # x - max - log(sum): roundings of numbers as large as the logits
        atol = float(4 * np.finfo(dtype).eps * np.abs(x).max())
        assert_close(lossk.log_softmax(x), x.astype(np.float64) - lse[:, None], 0, atol, f"log_softmax of {classes}")
        assert_close(lossk.logsumexp(x), lse, 0, atol, f"logsumexp of {classes}")
        assert lossk.softmax(x).dtype == lossk.log_softmax(x).dtype == lossk.logsumexp(x).dtype == dtype


@each_count
@each_dtype
def test_special_rows_give_what_the_formula_gives(dtype: Any, classes: int, isa: str) -> None:
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


def test_wrong_arguments_are_refused_and_nothing_is_taken() -> None:
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


def test_logsumexp_writes_into_an_output(rng: np.random.Generator) -> None:
    x, out = rng.normal(size=(3, 4, 5)), np.zeros((3, 5))
    assert lossk.logsumexp(x, axis=1, out=out) is out
    np.testing.assert_array_equal(out, lossk.logsumexp(x, axis=1))
    with pytest.raises(ValueError, match=r"out: got shape \(3, 5\), wanted \(3, 4\)"):
        lossk.logsumexp(x, out=out)


@each_function
def test_row_functions_are_values(function: RowFunction) -> None:
    assert pickle.loads(pickle.dumps(function)) is function
    assert eval(repr(function)) is function
    assert function.__doc__


@each_narrow
@pytest.mark.parametrize("classes", [2, 10, 65, 1000])
def test_values_of_16_bits_are_within_one_unit(isa: str, dtype: Any, classes: int, rng: np.random.Generator) -> None:
    x = (3 * rng.normal(size=(9, classes))).astype(dtype)
    wide = x.astype(np.float64)
    lse = np.log(np.exp(wide - wide.max(-1, keepdims=True)).sum(-1, keepdims=True)) + wide.max(-1, keepdims=True)
    assert steps_apart(lossk.softmax(x), np.exp(wide - lse)) <= 1
    assert steps_apart(lossk.log_softmax(x), wide - lse) <= 1
    np.testing.assert_allclose(lossk.logsumexp(x), lse[:, 0], rtol=1e-6, atol=3e-7)
    assert lossk.logsumexp(x).dtype == np.float32

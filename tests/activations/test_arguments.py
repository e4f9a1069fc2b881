"""Activations are values; wrong parameters and arguments are refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lossk
from lossk.activations import Activation
from tests.support.activations import each_activation
from tests.support.arrays import INF, NAN, bits


@each_activation
def test_activations_are_values(act: Activation) -> None:
    again = pickle.loads(pickle.dumps(act))
    assert again == act
    assert hash(again) == hash(act)
    assert again is not act
    assert eval(repr(act), dict(vars(lossk))) == act
    with pytest.raises(AttributeError):
        act.beta = 3.0  # type: ignore[attr-defined]
    assert bits(again(np.ones(3))) == bits(act(np.ones(3)))
    assert act != object()
    assert lossk.LeakyReLU(0.1) != lossk.LeakyReLU(0.2)


def test_lists_and_numbers_are_read() -> None:
    assert lossk.ReLU()([1, -2, 3.5]).tolist() == [1.0, 0.0, 3.5]
    assert lossk.ReLU().vjp([1, -2], [5, 6]).tolist() == [5.0, 0.0]
    assert lossk.Tanh()(0.5) == pytest.approx(np.tanh(0.5))


def test_wrong_parameters_are_refused() -> None:
    for cls, name, wrong in (
        (lossk.LeakyReLU, "negative_slope", INF),
        (lossk.LeakyReLU, "negative_slope", NAN),
        (lossk.Softplus, "beta", 0.0),
        (lossk.Softplus, "beta", -1.0),
    ):
        with pytest.raises(ValueError, match=rf"{name}: got .*, wanted a finite number"):
            cls(**{name: wrong})
    with pytest.raises(TypeError, match=r"beta: got '1', wanted"):
        lossk.Softplus(beta="1")  # type: ignore[arg-type]


@each_activation
def test_wrong_arguments_are_refused_and_nothing_written(act: Activation) -> None:
    x, out = np.ones((3, 4)), np.full((3, 4), 7.0)
    wrong: list[tuple[type[Exception], str, Callable[[], Any]]] = [
        (TypeError, r"x: got dtype int64, wanted", lambda: act(np.ones(3, int))),
        (TypeError, r"x: got dtype complex128, wanted", lambda: act(np.ones(3, complex))),
        (ValueError, r"num_threads: got 0, wanted", lambda: act(x, num_threads=0, out=out)),
        (ValueError, r"cotangent: got shape \(3,\), wanted \(3, 4\)", lambda: act.vjp(x, np.ones(3), out=out)),
        (TypeError, r"cotangent: got .*, wanted", lambda: act.vjp(x, np.ones((3, 4), complex), out=out)),
        (ValueError, r"out: got shape \(4, 3\), wanted \(3, 4\)", lambda: act(x, out=np.ones((4, 3)))),
        (TypeError, r"out: got dtype float32, wanted float64", lambda: act(x, out=x.astype(np.float32))),
        (TypeError, r"out: got list, wanted a NumPy array", lambda: act(x, out=[1.0])),  # type: ignore[arg-type]
        (ValueError, r"out: got memory that overlaps x", lambda: act(out.ravel()[:8], out=out.ravel()[1:9])),
        (
            ValueError,
            r"out: got memory that overlaps cot",
            lambda: act.vjp(x[0], out[0], out=out.ravel()[1:5]),
        ),
    ]
    for error, message, call in wrong:
        with pytest.raises(error, match=message):
            call()
        assert (out == 7).all()

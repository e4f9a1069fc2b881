"""Wrong arguments of optimizers: nothing changes, and the error says what was got and wanted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from lossk.optimizers import OPTIMIZERS
from tests.support.arrays import bits
from tests.support.narrow import BF16
from tests.support.optimizers import each_optimizer, follow, make, saved_arrays


@each_optimizer
def test_wrong_arguments_of_a_step_change_nothing(name: str, rng: np.random.Generator) -> None:
    params = {"a": rng.normal(size=(4, 3)), "b": rng.normal(size=(5, 2))[:, 0]}
    optimizer = make(name, params, {})
    good = {"a": rng.normal(size=(4, 3)), "b": rng.normal(size=5)}
    optimizer.step(good)
    before, state = [bits(p) for p in params.values()], saved_arrays(optimizer)
    wrong: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"b": good["b"].astype(np.float32)}, {}, r"grads\['b'\]: got dtype float32, wanted float64"),
        ({"b": good["b"][:4]}, {}, r"grads\['b'\]: got shape \(4,\), wanted \(5,\)"),
        ({"a": good["a"].T}, {}, r"grads\['a'\]: got shape \(3, 4\), wanted \(4, 3\)"),
        ({"a": good["a"].tolist()}, {}, r"grads\['a'\]: got list, wanted a NumPy array or None"),
        ({"a": np.ma.masked_array(good["a"])}, {}, r"grads\['a'\]: got a masked array"),
        ({"a": params["a"]}, {}, r"grads\['a'\]: got memory that overlaps params\['a'\]"),
        ({"b": params["b"]}, {}, r"grads\['b'\]: got memory that overlaps params\['b'\]"),
        ({"b": params["b"].base[:, 1][::-1]}, {"max_norm": -1}, r"max_norm: got -1"),
        ({}, {"max_norm": True}, r"max_norm: got True"),
        ({}, {"grad_scale": 0.0}, r"grad_scale: got 0\.0, wanted a finite number above 0"),
        ({}, {"grad_scale": np.inf}, r"grad_scale: got inf"),
        ({}, {"num_threads": 0}, r"num_threads: got 0"),
    ]
    for grads, options, message in wrong:
        with pytest.raises((TypeError, ValueError), match=message):
            optimizer.step({**good, **grads}, **options)
        assert ([bits(p) for p in params.values()], saved_arrays(optimizer)) == (before, state)


@each_optimizer
def test_wrong_options_are_refused(name: str) -> None:
    cls = OPTIMIZERS[name]
    p = [np.ones(3, np.float32)]
    shown = repr(cls(p))
    wrong: dict[str, tuple[Any, ...]] = {
        "lr": (-1.0, np.inf, np.nan, "1", True),
        "betas": (0.9, (0.9,), (0.9, 1.0), (-0.1, 0.9), (0.9, "x")),
        "eps": (-1e-8, np.nan),
        "weight_decay": (-0.1, np.inf, "no"),
        "momentum": (-0.1, np.nan),
        "alpha": (1.0, -0.1) if name == "RMSprop" else (-0.1,),
        "lr_decay": (-0.1,),
        "initial_accumulator_value": (-0.1,),
        **dict.fromkeys(("amsgrad", "centered", "nesterov", "maximize", "master_weights"), ("no", 1, None)),
        "stochastic_rounding": (True, 1.5, -1, 2**64, "seed"),
    }
    for option, values in wrong.items():
        if f" {option}=" in shown:
            for value in values:
                with pytest.raises((TypeError, ValueError), match=rf"{option}.*: got .*, wanted"):
                    cls(p, **{option: value})
    for option in ({"master_weights": True}, {"stochastic_rounding": 1}):
        with pytest.raises(TypeError, match=r"params\[0\]: got dtype float32, wanted float16 or bfloat16 with"):
            cls(p, **option)


def test_wrong_lists_of_gradients_change_nothing(rng: np.random.Generator) -> None:
    params = [rng.normal(size=(4, 3)), rng.normal(size=5)]
    sgd = lossk.SGD(params, lr=0.1, momentum=0.9)
    good = [rng.normal(size=(4, 3)), rng.normal(size=5)]
    sgd.step(good)
    before, state = [bits(p) for p in params], sgd.state_dict()
    wrong: list[tuple[Any, str]] = [
        ([good[0]], r"grads: got 1 arrays, wanted 2"),
        ([*good, good[1]], r"grads: got 3 arrays, wanted 2"),
        ([good[0], 0.0], r"grads\[1\]: got float, wanted a NumPy array or None"),
        (good[1], r"grads: got ndarray, wanted a list"),
        ({"0": good[0], "1": good[1]}, r"grads: got dict, wanted a list"),
        (None, r"grads: got NoneType, wanted a list"),
    ]
    for grads, message in wrong:
        with pytest.raises((TypeError, ValueError), match=message):
            sgd.step(grads)
        assert [bits(p) for p in params] == before
        after = sgd.state_dict()
        assert all(bits(after[k]) == bits(state[k]) for k in state)
    for threads in (0, -1, 1.5):
        with pytest.raises(ValueError, match=r"num_threads: got .*, wanted an integer"):
            sgd.step(good, num_threads=threads)
        assert [bits(p) for p in params] == before
    sgd.step(good)
    want, _ = follow(np.zeros(5), [good[1]] * 2, {"lr": 0.1, "momentum": 0.9})
    np.testing.assert_allclose(params[1] - want, np.frombuffer(before[1]) + 0.1 * good[1], rtol=1e-12, atol=1e-12)


def test_wrong_parameters_are_refused() -> None:
    locked = np.zeros(3)
    locked.flags.writeable = False
    p = np.zeros(6)
    wrong: list[tuple[Any, str]] = [
        (np.zeros(3), r"params: got ndarray, wanted a list or a dict of arrays"),
        (3, r"params: got int, wanted"),
        ([[1.0]], r"params\[0\]: got list, wanted a NumPy array to update in place"),
        ([p, np.zeros(3, int)], r"params\[1\]: got dtype int64, wanted float32, float64, float16"),
        ({"w": np.zeros(3, np.longdouble)}, r"params\['w'\]: got dtype (float128|longdouble)"),
        ([locked], r"params\[0\]: got a read-only array, wanted a writeable one"),
        ([p, p], r"params\[1\]: got memory that overlaps params\[0\]"),
        ({"a": p[:4], "b": p[3:]}, r"params\['b'\]: got memory that overlaps params\['a'\]"),
    ]
    for params, message in wrong:
        with pytest.raises((TypeError, ValueError), match=message):
            lossk.SGD(params, lr=0.1)
    assert lossk.SGD([], lr=0.1).step([]) == (True, None)


def test_options_of_sgd_that_do_not_go_together_are_refused() -> None:
    p = [np.zeros(3)]
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"dampening": np.inf}, ValueError, "dampening: got inf"),
        ({"style": "jax"}, ValueError, "style: got 'jax', wanted 'torch' or 'keras'"),
        ({"nesterov": True}, ValueError, "nesterov: got momentum 0"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, ValueError, "nesterov: .*dampening 0.1"),
        ({"style": "keras", "dampening": 0.1}, ValueError, "dampening: got 0.1, wanted 0"),
    ]
    for options, error, message in wrong:
        with pytest.raises(error, match=message):
            lossk.SGD(p, **options)


def test_repr_names_the_options() -> None:
    text = repr(lossk.SGD([np.zeros(3)], lr=0.25, momentum=0.5, style="keras"))
    for part in ("SGD(", "lr=0.25", "momentum=0.5", "style='keras'", "nesterov=False"):
        assert part in text


def test_options_of_16_bits_are_refused_elsewhere() -> None:
    both = {"master_weights": True, "stochastic_rounding": 1}
    with pytest.raises(ValueError, match="stochastic_rounding: got a seed, wanted None with master_weights"):
        lossk.SGD([np.ones(3, np.float16)], **both)
    with pytest.raises(TypeError, match=r"params\['b'\]: got dtype float64, wanted float16 or bfloat16 with master"):
        lossk.SGD({"a": np.ones(3, np.float16), "b": np.ones(3)}, master_weights=True)


def test_dtypes_may_mix() -> None:
    params = [np.ones(3, dtype) for dtype in (np.float32, np.float16, np.float64, BF16)]
    grads = [np.full(3, 0.5, p.dtype) for p in params]
    result = lossk.SGD(params, lr=1.0).step(grads, max_norm=100.0)
    assert result == (True, pytest.approx(np.sqrt(3.0)))
    for p in params:
        np.testing.assert_array_equal(p.astype(np.float64), 0.5)
    with pytest.raises(TypeError, match=r"grads\[1\]: got dtype bfloat16, wanted float16"):
        lossk.SGD([params[0], params[1]], lr=1.0).step([grads[0], grads[3]])

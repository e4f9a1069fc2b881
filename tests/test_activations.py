"""Activations against their references: accuracy, special values, layouts, memory, threads, errors, PyTorch."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import (
    LARGE_SIZES,
    LAYOUTS,
    SIZES,
    Array,
    assert_surroundings_kept,
    at_offset,
    bits,
    each_dtype,
    guarded,
    results_past_caches,
)

import lossk
from lossk.activations import ACTIVATIONS, Activation

INF, NAN = np.inf, np.nan
ALL = [cls(**kwargs) for cls in ACTIVATIONS.values() for kwargs in cls._variants]
each_activation = pytest.mark.parametrize("act", ALL, ids=repr)

# Largest errors in ULP, of value and derivative, as the headers in src/cpp/activations state them.
ULPS = {
    "sigmoid": (1.9, 3.5),
    "tanh": (1.0, 3.5),
    "relu": (0.0, 0.0),
    "leaky_relu": (0.5, 0.0),
    "selu": (4.0, 4.0),
    "softplus": (2.1, 1.9),
}

VERBS: dict[str, Callable[..., Array]] = {
    "value": lambda act, x, c, **options: act(x, **options),
    "derivative": lambda act, x, c, **options: act.derivative(x, **options),
    "vjp": lambda act, x, c, **options: act.vjp(x, c, **options),
}
each_verb = pytest.mark.parametrize("verb", VERBS)


def drawn(rng: np.random.Generator, shape: Any, dtype: Any) -> tuple[Array, Array]:
    return rng.normal(scale=3, size=shape).astype(dtype), rng.normal(size=shape).astype(dtype)


def exact(act: Activation, verb: str, x: Array, c: Array) -> Array:
    value, derivative = act.reference(x.astype(np.float64))
    return value if verb == "value" else derivative if verb == "derivative" else derivative * c


def close(act: Activation, got: Array, want: Array, dtype: Any) -> None:
    """Within 5 ULP and one rounding of the argument, which a slope or beta multiplies."""
    rtol = float(np.finfo(dtype).eps) * 45
    np.testing.assert_allclose(got, want.astype(dtype), rtol=rtol, atol=4 * np.finfo(dtype).tiny, err_msg=repr(act))


# ---- numbers ------------------------------------------------------------------------------------------------------


@each_verb
@each_dtype
@each_activation
def test_reference(act: Activation, dtype: Any, verb: str, isa: str, rng: np.random.Generator) -> None:
    for n in (0, *SIZES, *LARGE_SIZES):
        x, c = drawn(rng, n, dtype)
        got = VERBS[verb](act, x, c)
        assert got.dtype == dtype
        close(act, got, exact(act, verb, x, c), dtype)
    for shape in ((), (3, 5), (2, 0, 4), (1, 2, 3, 4)):
        x, c = drawn(rng, shape, dtype)
        close(act, VERBS[verb](act, np.asarray(x), np.asarray(c)), exact(act, verb, np.asarray(x), c), dtype)


@each_activation
def test_stated_accuracy(act: Activation, isa: str) -> None:
    """Every 2,039th float32, against float64; where results are normal numbers."""
    if getattr(act, "beta", 1.0) != 1.0:
        return
    x = np.arange(0, 2**32, 2039, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = x[np.isfinite(x)]
    for got, want, ulps in zip((act(x), act.derivative(x)), act.reference(x), ULPS[act._kernel], strict=True):
        with np.errstate(over="ignore"):
            normal = (np.abs(want) >= 4 * np.finfo(np.float32).tiny) & np.isfinite(want.astype(np.float32))
        unit = np.spacing(np.abs(want[normal]).astype(np.float32)).astype(np.float64)
        error = np.abs(got[normal].astype(np.float64) - want[normal]) / unit
        worst = int(error.argmax())
        assert error[worst] <= ulps + 0.5 * (act._kernel == "leaky_relu"), (x[normal][worst], error[worst])
        assert (np.abs(got[~normal & (np.abs(want) < 1)]) <= 5 * np.finfo(np.float32).tiny).all()


@each_activation
def test_derivative_is_that_of_the_value(act: Activation, isa: str, rng: np.random.Generator) -> None:
    x = rng.uniform(-4, 4, size=400)
    x = x[np.abs(x) > 0.01]
    h = 1e-3
    by_value = (8 * (act(x + h) - act(x - h)) - (act(x + 2 * h) - act(x - 2 * h))) / (12 * h)
    np.testing.assert_allclose(act.derivative(x), by_value, rtol=1e-8, atol=1e-9)


@each_dtype
@each_activation
def test_special_values(act: Activation, dtype: Any, isa: str) -> None:
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


# ---- memory -------------------------------------------------------------------------------------------------------


@each_verb
@each_dtype
@each_activation
def test_out(act: Activation, dtype: Any, verb: str, isa: str, rng: np.random.Generator) -> None:
    for shape in ((5,), (700,), (3, 7), (40_001,)):
        x, c = drawn(rng, shape, dtype)
        want = bits(VERBS[verb](act, x, c))
        out = np.empty_like(x)
        assert VERBS[verb](act, x, c, out=out) is out
        assert bits(out) == want
        y = x.copy()
        assert VERBS[verb](act, y, c, out=y) is y
        assert bits(y) == want
        if verb == "vjp":
            d = c.copy()
            assert act.vjp(x, d, out=d) is d
            assert bits(d) == want


@pytest.mark.parametrize("layout", LAYOUTS)
@each_verb
@each_activation
def test_layouts(act: Activation, verb: str, layout: str, isa: str, rng: np.random.Generator) -> None:
    arranged = LAYOUTS[layout]
    x, c = drawn(rng, (6, 70), np.float32)
    want = bits(VERBS[verb](act, x, c))
    y, d = arranged(x), arranged(c)
    assert bits(VERBS[verb](act, y, d)) == want
    out = arranged(np.zeros_like(x))
    assert VERBS[verb](act, y, d, out=out) is out
    assert bits(out) == want
    assert VERBS[verb](act, y, d, out=y) is y
    assert bits(y) == want
    if verb == "vjp":
        assert act.vjp(x, d, out=d) is d
        assert bits(d) == want


@pytest.mark.parametrize("at", ["start", "end"])
@each_verb
@each_dtype
@each_activation
def test_activations_stay_inside(
    act: Activation, dtype: Any, verb: str, at: str, isa: str, rng: np.random.Generator
) -> None:
    for n in (1, 3, 7, 17, 65, 511, 513, 16_385):
        x, c = drawn(rng, n, dtype)
        want = bits(VERBS[verb](act, x, c))
        y, d, out = guarded(x, at), guarded(c, at), guarded(np.zeros_like(x), at)
        assert bits(VERBS[verb](act, y, d, out=out)) == want
        assert bits(VERBS[verb](act, y, d, out=y)) == want


@each_verb
@each_dtype
@each_activation
def test_results_past_the_caches_have_the_same_bits(
    act: Activation, dtype: Any, verb: str, isa: str, rng: np.random.Generator
) -> None:
    for n in (1, 15, 16, 37, 1091, 20_001):
        x, c = drawn(rng, n, dtype)
        want = bits(VERBS[verb](act, x, c))
        for offset in range(64 // dtype.itemsize) if n < 2000 else (0, 1):
            out = at_offset(np.zeros_like(x), offset)
            with results_past_caches():
                assert bits(VERBS[verb](act, x, c)) == want
                assert bits(VERBS[verb](act, x, c, out=out)) == want
                in_place = x.copy()
                assert bits(VERBS[verb](act, in_place, c, out=in_place)) == want
            assert_surroundings_kept(out)


@each_verb
@each_dtype
@each_activation
def test_threads_do_not_change_a_bit(
    act: Activation, dtype: Any, verb: str, isa: str, rng: np.random.Generator
) -> None:
    x, c = drawn(rng, 150_001, dtype)
    want = bits(VERBS[verb](act, x, c, num_threads=1))
    for threads in (2, 7):
        assert bits(VERBS[verb](act, x, c, num_threads=threads)) == want


@each_verb
@each_activation
def test_narrow_types(act: Activation, verb: str, isa: str, rng: np.random.Generator) -> None:
    """f16 and bf16: the f32 result of the same numbers, rounded once."""
    types = [np.dtype(np.float16)]
    try:
        import ml_dtypes

        types.append(np.dtype(ml_dtypes.bfloat16))
    except ImportError:
        pass
    for dtype in types:
        for n in (1, 5, 511, 513, 20_001):
            x, c = (a.astype(dtype) for a in drawn(rng, n, np.float32))
            want = VERBS[verb](act, x.astype(np.float32), c.astype(np.float32)).astype(dtype)
            got = VERBS[verb](act, x, c)
            assert got.dtype == dtype
            assert bits(got) == bits(want)
            assert bits(VERBS[verb](act, x, c, out=x)) == bits(want)


# ---- objects and errors -------------------------------------------------------------------------------------------


@each_activation
def test_they_are_values(act: Activation) -> None:
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


def test_lists_and_numbers() -> None:
    assert lossk.ReLU()([1, -2, 3.5]).tolist() == [1.0, 0.0, 3.5]
    assert lossk.ReLU().vjp([1, -2], [5, 6]).tolist() == [5.0, 0.0]
    assert lossk.Tanh()(0.5) == pytest.approx(np.tanh(0.5))


def test_wrong_parameters() -> None:
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
def test_wrong_arguments(act: Activation) -> None:
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


# ---- other programs -----------------------------------------------------------------------------------------------


def test_agreement_with_torch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: parity with it was not tested")
    functional = torch.nn.functional
    pairs: list[tuple[Activation, Any]] = [
        (lossk.Sigmoid(), torch.sigmoid),
        (lossk.Tanh(), torch.tanh),
        (lossk.ReLU(), functional.relu),
        (lossk.LeakyReLU(0.2), lambda x: functional.leaky_relu(x, 0.2)),
        (lossk.SELU(), functional.selu),
        (lossk.Softplus(), functional.softplus),
        (lossk.Softplus(beta=3.0), lambda x: functional.softplus(x, beta=3.0, threshold=50)),
    ]
    x, c = drawn(rng, 1000, np.float64)
    x[:3] = [0.0, INF, -INF]
    for act, function in pairs:
        z = torch.from_numpy(x.copy()).requires_grad_()
        value = function(z)
        value.backward(torch.from_numpy(c.copy()))
        np.testing.assert_allclose(act(x), value.detach().numpy(), rtol=1e-13, atol=1e-16, err_msg=repr(act))
        # torch's 1 - tanh^2 cancels
        np.testing.assert_allclose(act.vjp(x, c), z.grad.numpy(), rtol=1e-12, atol=1e-15, err_msg=repr(act))

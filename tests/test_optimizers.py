"""Optimizers: the formulas of SEMANTICS.md in plain NumPy, lists and dicts, state, errors with nothing changed."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import LAYOUTS, Array, bits, each_dtype, product

import lossk

# One step's error in units of the dtype's spacing; a few steps of a stable update add up.
RTOL = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-14}

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 511, 513, 16383, 16384, 16385)


def torch_step(p: Array, g: Array, b: Array | None, o: dict[str, Any]) -> tuple[Array, Array | None]:
    """One step as PyTorch defines it: the new parameter and momentum buffer."""
    d = -g if o.get("maximize") else g
    d = d + o.get("weight_decay", 0.0) * p
    mu = o.get("momentum", 0.0)
    if mu:
        b = d if b is None else mu * b + (1 - o.get("dampening", 0.0)) * d
        d = d + mu * b if o.get("nesterov") else b
    return p - o["lr"] * d, b


def keras_step(p: Array, g: Array, m: Array | None, o: dict[str, Any]) -> tuple[Array, Array | None]:
    """One step as Keras defines it, with decoupled weight decay."""
    g = -g if o.get("maximize") else g
    mu, lr = o.get("momentum", 0.0), o["lr"]
    p = p - lr * o.get("weight_decay", 0.0) * p
    m = mu * (np.zeros_like(p) if m is None else m) - lr * g
    return p + (mu * m - lr * g if o.get("nesterov") else m), m


def follow(start: Array, grads: list[Array], options: dict[str, Any]) -> tuple[Array, Array | None]:
    """Parameter and buffer after steps with these gradients, in float64."""
    options = dict(options)
    step = keras_step if options.pop("style", "torch") == "keras" else torch_step
    p, b = start.astype(np.float64), None
    for g in grads:
        p, b = step(p, g.astype(np.float64), b, options)
    return p, b


TORCH = [
    o
    for o in product(
        lr=(0.1,), momentum=(0.0, 0.9), dampening=(0.0, 0.3), weight_decay=(0.0, 0.05), nesterov=(False, True),
        maximize=(False, True),
    )
    if not o["nesterov"] or (o["momentum"] > 0 and o["dampening"] == 0)
]  # fmt: skip
KERAS = [
    {**o, "style": "keras"}
    for o in product(
        lr=(0.1,), momentum=(0.0, 0.9), weight_decay=(0.0, 0.05), nesterov=(False, True), maximize=(False, True)
    )
]


# ---- formulas -----------------------------------------------------------------------------------------------------


def test_check_values_of_semantics() -> None:
    p = np.array([1.0])
    sgd = lossk.SGD([p], lr=0.1, momentum=0.9, dampening=0.5, weight_decay=0.1, maximize=True)
    sgd.step([np.array([1.0])])
    assert p[0] == pytest.approx(1.09, rel=1e-15)
    assert sgd.state_dict()["momentum_buffer.0"][0] == pytest.approx(-0.9, rel=1e-15)
    sgd.step([np.array([1.0])])
    assert p[0] == pytest.approx(1.21555, rel=1e-15)
    assert sgd.state_dict()["momentum_buffer.0"][0] == pytest.approx(-1.2555, rel=1e-15)


@pytest.mark.parametrize("options", TORCH + KERAS, ids=lambda o: ",".join(f"{k}={v}" for k, v in o.items() if v))
@each_dtype
def test_formula(dtype: Any, options: dict[str, Any], isa: str, rng: np.random.Generator) -> None:
    for n in SIZES if options["momentum"] else SIZES[:14]:
        start = rng.normal(size=n).astype(dtype)
        grads = [rng.normal(size=n).astype(dtype) for _ in range(3)]
        p = start.copy()
        sgd = lossk.SGD([p], **options)
        for g in grads:
            sgd.step([g])
        want, buffer = follow(start, grads, options)
        # p and the buffer are sums of numbers about 1: their rounding is absolute.
        np.testing.assert_allclose(p, want, rtol=RTOL[dtype], atol=RTOL[dtype])
        state = sgd.state_dict()
        assert state["steps.0"] == 3
        if buffer is not None:
            np.testing.assert_allclose(state["momentum_buffer.0"], buffer, rtol=RTOL[dtype], atol=RTOL[dtype])


@each_dtype
def test_first_step_takes_the_gradient_as_buffer(dtype: Any, isa: str) -> None:
    """Dampening does not apply to a parameter's first step, whenever that is."""
    a, b = np.zeros(3, dtype), np.zeros(3, dtype)
    sgd = lossk.SGD([a, b], lr=1.0, momentum=0.5, dampening=0.75)
    one = np.ones(3, dtype)
    sgd.step([one, None])
    np.testing.assert_array_equal(a, -1.0)
    np.testing.assert_array_equal(b, 0.0)
    sgd.step([one, one])
    np.testing.assert_array_equal(a, -1.75)  # 0.5 + 0.25
    np.testing.assert_array_equal(b, -1.0)
    state = sgd.state_dict()
    assert (state["steps.0"], state["steps.1"]) == (2, 1)


@each_dtype
def test_special_values_propagate(dtype: Any, isa: str) -> None:
    special = np.array(
        [np.nan, np.inf, -np.inf, 0.0, np.finfo(dtype).smallest_subnormal, 1.0, np.finfo(dtype).max], dtype
    )
    p, g = (a.reshape(-1).copy() for a in np.meshgrid(special, special))
    with np.errstate(all="ignore"):
        want = p - dtype.type(0.5) * g
    lossk.SGD([p], lr=0.5).step([g])
    np.testing.assert_allclose(p, want, rtol=1e-6)


def test_learning_rate_0_changes_nothing(rng: np.random.Generator) -> None:
    p = rng.normal(size=100)
    before = p.copy()
    lossk.SGD([p], lr=0.0, momentum=0.9).step([np.ones(100)])
    np.testing.assert_array_equal(p, before)


def test_learning_rate_may_change_between_steps(rng: np.random.Generator) -> None:
    start, g = rng.normal(size=50), rng.normal(size=50)
    p = start.copy()
    sgd = lossk.SGD([p], lr=0.1)
    assert sgd.lr == 0.1
    sgd.step([g])
    sgd.lr = 1  # an integer is a number
    assert sgd.lr == 1.0
    sgd.step([g])
    np.testing.assert_allclose(p, start - 1.1 * g, rtol=1e-14, atol=1e-15)
    for wrong in (-1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match=r"lr: got .*, wanted a finite number, at least 0"):
            sgd.lr = wrong
    for wrong in ("fast", None, True):
        with pytest.raises(TypeError, match=r"lr: got .*, wanted a finite number"):
            sgd.lr = wrong  # type: ignore[assignment]
    assert sgd.lr == 1.0


# ---- lists, dicts, layouts ----------------------------------------------------------------------------------------


@each_dtype
def test_many_parameters_of_many_shapes(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    """Chunks belong to their own parameter, also around empty ones; f32 and f64 may mix."""
    shapes = ((), (0,), (3,), (16384,), (2, 0, 4), (16385,), (1,), (7, 9), (0, 3), (40_001,), (5,))
    dtypes = [np.float32 if i % 3 == 0 else dtype for i in range(len(shapes))]
    start = [np.asarray(rng.normal(size=s)).astype(d) for s, d in zip(shapes, dtypes, strict=True)]
    grads = [np.asarray(rng.normal(size=s)).astype(d) for s, d in zip(shapes, dtypes, strict=True)]
    for threads in (1, 3):
        params = [p.copy() for p in start]
        sgd = lossk.SGD(params, lr=0.1, momentum=0.9)
        for _ in range(2):
            sgd.step(grads, num_threads=threads)
        for p, p0, g in zip(params, start, grads, strict=True):
            want, _ = follow(p0, [g, g], {"lr": 0.1, "momentum": 0.9})
            np.testing.assert_allclose(p, want, rtol=RTOL[p.dtype], atol=RTOL[p.dtype])


def test_dict_of_arrays(rng: np.random.Generator) -> None:
    params = {"w": rng.normal(size=(4, 3)), "b": rng.normal(size=4)}
    start = {k: p.copy() for k, p in params.items()}
    grads = {"b": rng.normal(size=4), "w": rng.normal(size=(4, 3))}  # another order
    sgd = lossk.SGD(params, lr=0.5)
    sgd.step(grads)
    for key in params:
        np.testing.assert_allclose(params[key], start[key] - 0.5 * grads[key], rtol=1e-15, atol=1e-15)
    sgd.step({"w": None, "b": grads["b"]})
    np.testing.assert_allclose(params["w"], start["w"] - 0.5 * grads["w"], rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(params["b"], start["b"] - grads["b"], rtol=1e-15, atol=1e-15)
    for wrong in ({"w": grads["w"]}, {**grads, "c": grads["b"]}, [grads["w"], grads["b"]], {}):
        with pytest.raises((TypeError, ValueError), match=r"grads: got .*, wanted a dict with the keys \['b', 'w'\]"):
            sgd.step(wrong)


def test_none_leaves_the_parameter_and_its_state(rng: np.random.Generator) -> None:
    p = [rng.normal(size=5), rng.normal(size=5)]
    sgd = lossk.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.5)
    sgd.step([np.ones(5), np.ones(5)])
    before, state = p[1].copy(), sgd.state_dict()
    sgd.step([np.ones(5), None])
    np.testing.assert_array_equal(p[1], before)
    after = sgd.state_dict()
    assert bits(after["momentum_buffer.1"]) == bits(state["momentum_buffer.1"])
    assert bits(after["momentum_buffer.0"]) != bits(state["momentum_buffer.0"])
    sgd.step([None, None])
    np.testing.assert_array_equal(p[1], before)


@pytest.mark.parametrize("layout", LAYOUTS)
@each_dtype
def test_layouts(dtype: Any, layout: str, rng: np.random.Generator) -> None:
    """Bits do not depend on how parameters and gradients lie in memory; the caller's array is what is updated."""
    arrange = LAYOUTS[layout]
    start = rng.normal(size=(7, 33)).astype(dtype)
    grads = [rng.normal(size=(7, 33)).astype(dtype) for _ in range(3)]
    plain, arranged = start.copy(), arrange(start)
    ours, theirs = (lossk.SGD([p], lr=0.1, momentum=0.9) for p in (arranged, plain))
    for g in grads:
        theirs.step([g])
        given = arrange(g)
        given.flags.writeable = False
        ours.step([given])
    assert bits(arranged) == bits(plain)


def test_neighbours_of_a_strided_parameter_stay(rng: np.random.Generator) -> None:
    memory = np.full((6, 8), 7.0)
    p = memory[::2, ::2]
    lossk.SGD([p], lr=1.0).step([np.full((3, 4), 2.0)])
    assert (p == 5).all()
    assert (memory[1::2] == 7).all()
    assert (memory[:, 1::2] == 7).all()


# ---- state --------------------------------------------------------------------------------------------------------


def through_savez(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    with np.load(file, allow_pickle=False) as loaded:
        return dict(loaded)


def through_pickle(state: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = pickle.loads(pickle.dumps(state))
    return result


@pytest.mark.parametrize("through", [dict, through_savez, through_pickle])
@pytest.mark.parametrize("named", [False, True], ids=["list", "dict"])
@each_dtype
def test_state_round_trip(dtype: Any, named: bool, through: Any, rng: np.random.Generator) -> None:
    """Training goes on from a saved state to the bit."""
    start = [rng.normal(size=s).astype(dtype) for s in ((40,), (3, 5), ())]
    grads = [[rng.normal(size=np.shape(p)).astype(dtype) for p in start] for _ in range(6)]
    grads[0][1] = grads[1][1] = None  # type: ignore[call-overload]

    def packed(arrays: list[Any]) -> Any:
        return dict(zip("abc", arrays, strict=True)) if named else arrays

    def fresh(params: list[Array], lr: float = 0.5) -> lossk.SGD:
        return lossk.SGD(packed(params), lr=lr, momentum=0.9, dampening=0.1)

    whole = [np.array(p) for p in start]
    sgd = fresh(whole)
    for g in grads[:2]:
        sgd.step(packed(g))
    sgd.lr = 0.25
    state, params = through(sgd.state_dict()), [p.copy() for p in whole]
    for g in grads[2:]:
        sgd.step(packed(g))
    again = fresh(params, lr=9.0)
    again.load_state_dict(state)
    assert again.lr == 0.25
    for g in grads[2:]:
        again.step(packed(g))
    assert [bits(p) for p in params] == [bits(p) for p in whole]
    assert set(again.state_dict()) == set(sgd.state_dict())


def test_state_before_the_first_step(rng: np.random.Generator) -> None:
    p = rng.normal(size=5)
    sgd = lossk.SGD([p], lr=0.1, momentum=0.9)
    state = sgd.state_dict()
    other = lossk.SGD([p.copy()], lr=0.3, momentum=0.9)
    other.step([np.ones(5)])
    other.load_state_dict(state)
    assert other.lr == 0.1
    assert other.state_dict() == state


def test_state_is_a_copy(rng: np.random.Generator) -> None:
    p = rng.normal(size=5)
    sgd = lossk.SGD([p], lr=0.1, momentum=0.9)
    sgd.step([np.ones(5)])
    state = sgd.state_dict()
    kept = state["momentum_buffer.0"].copy()
    sgd.step([np.ones(5)])
    np.testing.assert_array_equal(state["momentum_buffer.0"], kept)
    sgd.load_state_dict(state)
    state["momentum_buffer.0"][:] = 99
    np.testing.assert_array_equal(sgd.state_dict()["momentum_buffer.0"], kept)


def test_wrong_state_changes_nothing(rng: np.random.Generator) -> None:
    p = rng.normal(size=5)
    sgd = lossk.SGD([p], lr=0.1, momentum=0.9)
    sgd.step([np.ones(5)])
    good = sgd.state_dict()

    def but(**changes: Any) -> dict[str, Any]:
        changed = {**good, **{k.replace("__", "."): v for k, v in changes.items()}}
        return {k: v for k, v in changed.items() if v is not None}

    wrong: list[tuple[dict[str, Any], str]] = [
        (but(steps__0=None), r"state: got no entry 'steps\.0'"),
        (
            but(momentum_buffer__0=np.zeros(4)),
            r"momentum_buffer\.0.*got float64 of shape \(4,\), wanted float64 of shape",
        ),
        (but(momentum_buffer__0=np.zeros(5, np.float32)), r"momentum_buffer\.0.*got float32"),
        (but(other__0=1), r"state: got unknown entries \['other\.0'\]"),
        (but(lr=-1.0), r"lr: got -1\.0, wanted"),
        (but(steps__1=3), r"state: got unknown entries \['steps\.1'\]"),
        ({}, r"state: got no entry"),
    ]
    for state, message in wrong:
        with pytest.raises(ValueError, match=message):
            sgd.load_state_dict(state)
        after = sgd.state_dict()
        assert after.keys() == good.keys()
        assert all(bits(after[k]) == bits(good[k]) for k in good)


# ---- errors, and nothing changed ----------------------------------------------------------------------------------


def test_wrong_gradients_change_nothing(rng: np.random.Generator) -> None:
    params = [rng.normal(size=(4, 3)), rng.normal(size=5)]
    sgd = lossk.SGD(params, lr=0.1, momentum=0.9)
    good = [rng.normal(size=(4, 3)), rng.normal(size=5)]
    sgd.step(good)
    before, state = [bits(p) for p in params], sgd.state_dict()
    wrong: list[tuple[Any, str]] = [
        ([good[0]], r"grads: got 1 arrays, wanted 2"),
        ([*good, good[1]], r"grads: got 3 arrays, wanted 2"),
        ([good[0], good[1].astype(np.float32)], r"grads\[1\]: got dtype float32, wanted float64"),
        ([good[0], good[1][:4]], r"grads\[1\]: got shape \(4,\), wanted \(5,\)"),
        ([good[0].T, good[1]], r"grads\[0\]: got shape \(3, 4\), wanted \(4, 3\)"),
        ([good[0], good[1].tolist()], r"grads\[1\]: got list, wanted a NumPy array or None"),
        ([good[0], 0.0], r"grads\[1\]: got float, wanted a NumPy array or None"),
        (good[1], r"grads: got ndarray, wanted a list"),
        ({"0": good[0], "1": good[1]}, r"grads: got dict, wanted a list"),
        (None, r"grads: got NoneType, wanted a list"),
        ([good[0], params[1]], r"grads\[1\]: got memory that overlaps params\[1\]"),
        ([params[0], good[1]], r"grads\[0\]: got memory that overlaps params\[0\]"),
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


def test_wrong_parameters() -> None:
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
        ([np.lib.stride_tricks.as_strided(np.zeros(1), (5,), (0,))], r"params\[0\]: got an array whose elements share"),
    ]
    for params, message in wrong:
        with pytest.raises((TypeError, ValueError), match=message):
            lossk.SGD(params, lr=0.1)
    assert lossk.SGD([], lr=0.1).step([]) == (True, None)


def test_wrong_options() -> None:
    p = [np.zeros(3)]
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"lr": -0.1}, ValueError, "lr: got -0.1"),
        ({"lr": np.nan}, ValueError, "lr: got nan"),
        ({"lr": "0.1"}, TypeError, "lr: got '0.1'"),
        ({"momentum": -0.9}, ValueError, "momentum: got -0.9"),
        ({"weight_decay": -1}, ValueError, "weight_decay: got -1"),
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


# ---- the kernels behind -------------------------------------------------------------------------------------------


@each_dtype
def test_torch_and_keras_agree_where_their_definitions_do(dtype: Any, rng: np.random.Generator) -> None:
    """Without weight decay and dampening, the buffers differ by the factor -lr and the parameters not at all."""
    start, grads = rng.normal(size=300).astype(dtype), [rng.normal(size=300).astype(dtype) for _ in range(4)]
    for nesterov in (False, True):
        a, b = start.copy(), start.copy()
        torch, keras = (
            lossk.SGD([p], lr=0.1, momentum=0.9, nesterov=nesterov, style=style)
            for p, style in ((a, "torch"), (b, "keras"))
        )
        for g in grads:
            torch.step([g])
            keras.step([g])
        np.testing.assert_allclose(a, b, rtol=10 * RTOL[np.dtype(dtype)], atol=10 * RTOL[np.dtype(dtype)])


def test_a_parameter_that_changed_its_size_is_refused() -> None:
    p = np.ones(4, np.float32)
    sgd = lossk.SGD([p], lr=1.0, momentum=0.9)
    sgd.step([np.ones(4, np.float32)])
    p.resize(40_000, refcheck=False)
    with pytest.raises(ValueError, match=r"state\[0\]: got shape \(4,\), wanted \(40000,\)"):
        sgd.step([np.ones(40_000, np.float32)])
    assert p[4:].max() == 0


def test_array_subclasses_are_updated(tmp_path: Path) -> None:
    p = np.memmap(tmp_path / "p", np.float32, "w+", shape=(2, 2))
    p[:] = 1
    lossk.SGD([p], lr=0.5).step([np.ones((2, 2), np.float32)])
    assert np.array_equal(p, np.full((2, 2), 0.5))


def test_nothing_is_updated_where_one_parameter_became_read_only() -> None:
    whole = np.ones((2, 2), np.float32)
    first, strided = np.ones(2, np.float32), whole[:, 0]
    sgd = lossk.SGD([first, strided], lr=1.0, momentum=0.9)
    strided.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        sgd.step([np.ones(2, np.float32), np.ones(2, np.float32)])
    assert np.array_equal(first, [1, 1])
    assert np.array_equal(whole, np.ones((2, 2)))


def test_a_state_of_another_kind_is_refused() -> None:
    def stepped(**options: Any) -> lossk.SGD:
        sgd = lossk.SGD([np.ones(3, np.float32)], lr=0.1, **options)
        sgd.step([np.ones(3, np.float32)])
        return sgd

    wanted = stepped(momentum=0.9)
    for state in (stepped(momentum=0.9, style="keras").state_dict(), stepped().state_dict()):
        with pytest.raises(ValueError, match="state"):
            wanted.load_state_dict(state)

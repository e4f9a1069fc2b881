"""What holds for every optimizer: its reference, threads, layouts, saved states, copies, norms, skipped steps."""

from __future__ import annotations

import copy
import io
import pickle
import threading
from typing import Any

import numpy as np
import pytest
from support import LAYOUTS, Array, bits, each_dtype

import lossk
from lossk import _core
from lossk.optimizers import OPTIMIZERS

CASES = [(name, variant) for name, cls in OPTIMIZERS.items() for variant in cls._variants]
each_case = pytest.mark.parametrize(
    ("name", "variant"), CASES, ids=[f"{n}({','.join(f'{k}={v}' for k, v in o.items())})" for n, o in CASES]
)
each_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)

# Five steps of sizes about 1; Lion's sign and RMSprop's variance amplify nothing, as numbers are drawn at random.
TOLERANCE = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-12}
SIZES = (1, 3, 7, 8, 16, 17, 33, 511, 1025, 16385)
SHAPES = ((3,), (), (129, 257), (0,), (2, 0, 4), (40_001,), (16_384,))


def make(name: str, params: Any, options: dict[str, Any]) -> Any:
    """An optimizer with a learning rate that shows."""
    return OPTIMIZERS[name](params, **{"lr": 0.05, **options})


def draw(rng: np.random.Generator, shapes: Any, dtype: Any) -> list[Array]:
    return [np.asarray(rng.normal(size=shape)).astype(dtype) for shape in shapes]


def arrays(optimizer: Any) -> dict[str, bytes]:
    return {key: bits(value) for key, value in optimizer.state_dict().items()}


# ---- the formula -------------------------------------------------------------------------------------------------


@each_case
@each_dtype
def test_reference(name: str, variant: dict[str, Any], dtype: Any, isa: str, rng: np.random.Generator) -> None:
    for n in SIZES:
        start, grads = rng.normal(size=n).astype(dtype), draw(rng, [(n,)] * 5, dtype)
        p = start.copy()
        optimizer = make(name, [p], variant)
        for g in grads:
            assert optimizer.step([g]) == (True, None)
        want, state = optimizer.reference(start, grads)
        tolerance = TOLERANCE[dtype]
        np.testing.assert_allclose(p, want, rtol=tolerance, atol=tolerance)
        saved = optimizer.state_dict()
        assert set(saved) == {"form", "lr", "steps.0", *(f"{slot}.0" for slot in state)}
        for slot, value in state.items():
            np.testing.assert_allclose(saved[f"{slot}.0"], value, rtol=5 * tolerance, atol=5 * tolerance)


@each_case
@each_dtype
def test_threads(name: str, variant: dict[str, Any], dtype: Any, isa: str, rng: np.random.Generator) -> None:
    start = draw(rng, SHAPES, dtype)
    grads = [draw(rng, SHAPES, dtype) for _ in range(3)]

    def run(threads: int) -> tuple[Any, ...]:
        params = [p.copy() for p in start]
        optimizer = make(name, params, variant)
        norms = [optimizer.step(g, max_norm=1.5, grad_scale=3.0, num_threads=threads).grad_norm for g in grads]
        return (norms, [bits(p) for p in params], arrays(optimizer))

    assert run(1) == run(2) == run(7)


@each_optimizer
@each_dtype
def test_every_variant_has_a_kernel_of_its_own_parameters(name: str, dtype: Any) -> None:
    for variant in OPTIMIZERS[name]._variants:
        optimizer = make(name, [np.zeros(3, dtype)], variant)
        assert all(isinstance(x, float | bool) for x in optimizer._formula(1))


def test_special_values_stay_in_their_elements(rng: np.random.Generator) -> None:
    for name, variant in CASES:
        start, g = rng.normal(size=40), rng.normal(size=40)
        clean, dirty = start.copy(), start.copy()
        g_dirty = g.copy()
        g_dirty[[3, 17]] = np.nan, np.inf
        make(name, [clean], variant).step([g])
        make(name, [dirty], variant).step([g_dirty])
        same = np.delete(np.arange(40), [3, 17])
        assert bits(clean[same]) == bits(dirty[same]), name
        assert np.isnan(dirty[3]), name


# ---- lists, dicts, layouts ---------------------------------------------------------------------------------------


@each_optimizer
@pytest.mark.parametrize("layout", LAYOUTS)
@each_dtype
def test_layouts(name: str, dtype: Any, layout: str, rng: np.random.Generator) -> None:
    arrange, start = LAYOUTS[layout], rng.normal(size=(7, 33)).astype(dtype)
    plain, arranged = start.copy(), arrange(start)
    theirs, ours = make(name, [plain], {}), make(name, [arranged], {})
    for g in draw(rng, [(7, 33)] * 3, dtype):
        given = arrange(g)
        given.flags.writeable = False
        assert ours.step([given], max_norm=5.0) == theirs.step([g], max_norm=5.0)
    assert bits(arranged) == bits(plain)


@each_optimizer
def test_other_byte_order(name: str, rng: np.random.Generator) -> None:
    start, g = rng.normal(size=9), rng.normal(size=9)
    plain, swapped = start.copy(), start.astype(">f8")
    make(name, [plain], {}).step([g])
    make(name, [swapped], {}).step([g.astype(">f8")])
    assert bits(swapped.astype("<f8")) == bits(plain)


@each_optimizer
def test_a_dict_is_a_list_with_names(name: str, rng: np.random.Generator) -> None:
    shapes = ((4, 3), (), (0,))
    start = draw(rng, shapes, np.float32)
    listed, named = [p.copy() for p in start], {k: p.copy() for k, p in zip("cab", start, strict=True)}
    ours, theirs = make(name, named, {}), make(name, listed, {})
    for _ in range(2):
        g = draw(rng, shapes, np.float32)
        ours.step({"a": g[1], "b": g[2], "c": g[0]})
        theirs.step(g)
    assert [bits(p) for p in named.values()] == [bits(p) for p in listed]


def test_interleaved_arrays_are_apart(rng: np.random.Generator) -> None:
    memory = rng.normal(size=(50, 4))
    a, b, ga, gb = (memory[:, i] for i in range(4))
    want = [a - 0.5 * ga, b - 0.5 * gb]
    lossk.SGD([a, b], lr=0.5).step([ga, gb])
    np.testing.assert_array_equal([a, b], want)
    rows = rng.normal(size=(6, 5))
    p, g = rows[::2], rows[1:4:2]
    whole = rows[4:].copy()
    lossk.SGD([p[:2]], lr=0.5).step([g])
    np.testing.assert_array_equal(rows[4:], whole)


def test_a_parameter_that_overlaps_itself_is_refused() -> None:
    def strided(shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
        return np.lib.stride_tricks.as_strided(np.zeros(64), shape, tuple(8 * s for s in strides))

    for shape, strides in (((5,), (0,)), ((4, 4), (1, 1)), ((3, 4), (2, 1)), ((2, 3, 4), (20, 3, 1))):
        with pytest.raises(ValueError, match=r"params\[0\]: got an array whose elements share memory"):
            lossk.SGD([strided(shape, strides)], lr=1.0)
    for shape, strides in (((3, 2), (2, 3)), ((4, 4), (1, 4)), ((1, 5), (0, 2)), ((0, 3), (0, 0)), ((2, 2), (3, 2))):
        p = strided(shape, strides)
        lossk.SGD([p], lr=1.0).step([np.ones(shape)])
        np.testing.assert_array_equal(p, np.full(shape, -1.0))


# ---- state -------------------------------------------------------------------------------------------------------


def through_savez(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    with np.load(file, allow_pickle=False) as loaded:
        return dict(loaded)


def through_pickle(state: Any) -> Any:
    return pickle.loads(pickle.dumps(state))


@each_case
@pytest.mark.parametrize("through", [through_savez, through_pickle])
@each_dtype
def test_saved_state(name: str, variant: dict[str, Any], dtype: Any, through: Any, rng: np.random.Generator) -> None:
    shapes = ((40,), (), (3, 5))
    whole, grads = draw(rng, shapes, dtype), [draw(rng, shapes, dtype) for _ in range(6)]
    grads[0][1] = None  # type: ignore[call-overload]
    first = make(name, whole, variant)
    for g in grads[:3]:
        first.step(g)
    state, params = through(first.state_dict()), [p.copy() for p in whole]
    second = make(name, params, {**variant, "lr": 9.0})
    second.load_state_dict(state)
    for g in grads[3:]:
        first.step(g)
        second.step(g)
    assert [bits(p) for p in params] == [bits(p) for p in whole]
    assert arrays(first) == arrays(second)


def test_states_of_others_are_refused() -> None:
    made = [make(name, [np.ones(3)], variant) for name, variant in CASES]
    for own in made:
        own.step([np.ones(3)])
    for own in made:
        for other in made:
            before, state = arrays(own), other.state_dict()
            if own._form() == other._form() and own._kernel()[1] == other._kernel()[1]:
                continue
            with pytest.raises(ValueError, match="state"):
                own.load_state_dict(state)
            assert arrays(own) == before


@each_case
def test_copies(name: str, variant: dict[str, Any], rng: np.random.Generator) -> None:
    """copy: the same parameters with a state of its own; deepcopy and pickle: parameters of its own too."""
    p, g = rng.normal(size=20), rng.normal(size=20)
    optimizer = make(name, {"p": p}, variant)
    optimizer.step({"p": g})
    state, before = arrays(optimizer), bits(p)
    for apart in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        apart.step({"p": g})
        assert (arrays(optimizer), bits(p)) == (state, before)
        assert arrays(apart) != state
    shallow = copy.copy(optimizer)
    shallow.step({"p": g})
    assert bits(p) != before
    assert arrays(optimizer) == state
    both = copy.deepcopy({"p": p, "optimizer": optimizer})
    kept = bits(both["p"])
    both["optimizer"].step({"p": g})
    assert bits(both["p"]) != kept


# ---- norms, and steps that are skipped --------------------------------------------------------------------------


def norm(grads: Any) -> float:
    return float(np.sqrt(sum(np.sum(np.square(g.astype(np.float64))) for g in grads if g is not None)))


@each_case
@each_dtype
def test_clipped_and_unscaled(name: str, variant: dict[str, Any], dtype: Any, rng: np.random.Generator) -> None:
    """Exactly as if the gradients had been multiplied before, and the gradients stay."""
    shapes, scale = ((40,), (), (3, 5), (0,)), 512.0
    start, grads = draw(rng, shapes, dtype), draw(rng, shapes, dtype)
    given = [(scale * g).astype(dtype) for g in grads]
    kept = [bits(g) for g in given]
    for limit in (0.5, 1e9, 0.0, np.inf):
        a, b = [p.copy() for p in start], [p.copy() for p in start]
        result = make(name, a, variant).step(given, max_norm=limit, grad_scale=scale)
        factor = min(1.0, limit / (norm(grads) + 1e-6)) / scale
        make(name, b, variant).step([np.asarray(g * dtype.type(factor)) for g in given])
        assert [bits(p) for p in a] == [bits(p) for p in b]
        assert result.applied
        assert result.grad_norm == pytest.approx(norm(grads), rel=1e-14)
    assert [bits(g) for g in given] == kept


@each_case
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_step_that_is_not_finite_is_skipped(
    name: str, variant: dict[str, Any], bad: float, isa: str, rng: np.random.Generator
) -> None:
    for steps_before in (0, 2):
        params = [*draw(rng, ((20_000,), (5,)), np.float32), rng.normal(size=(6, 8)).astype(np.float32)[:, ::2]]
        optimizer = make(name, params, variant)
        grads = [*draw(rng, ((20_000,), (5,)), np.float32), rng.normal(size=(6, 4)).astype(np.float32)]
        for _ in range(steps_before):
            optimizer.step(grads)
        before, state = [bits(p) for p in params], arrays(optimizer)
        spoilt = [g.copy() for g in grads]
        spoilt[1][4] = bad
        for options in ({"max_norm": 1.0}, {"grad_scale": 2.0}, {"max_norm": 1.0, "grad_scale": 2.0}):
            applied, n = optimizer.step(spoilt, **options)
            assert not applied
            assert not np.isfinite(n)
            assert [bits(p) for p in params] == before
            assert arrays(optimizer) == state
        assert optimizer.step(grads, max_norm=1.0).applied
        assert [bits(p) for p in params] != before


def test_a_norm_beyond_f32_is_finite(rng: np.random.Generator) -> None:
    g = np.full(1000, 3e38, np.float32)
    p = np.zeros(1000, np.float32)
    result = lossk.SGD([p], lr=1.0).step([g], max_norm=1e4)
    assert result.applied
    assert result.grad_norm == pytest.approx(norm([g]), rel=1e-14)
    np.testing.assert_allclose(p, -1e4 / np.sqrt(1000), rtol=1e-6)


@each_dtype
def test_clip_grad_norm(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    start = [*draw(rng, SHAPES, dtype), np.zeros(0, dtype)]
    for limit in (0.5, 1e9, np.inf, 0.0):
        results = []
        for threads in (1, 2, 7):
            grads: list[Any] = [*(g.copy() for g in start), None]
            n = lossk.clip_grad_norm(grads, limit, num_threads=threads)
            assert n == pytest.approx(norm(start), rel=1e-14)
            factor = dtype.type(min(1.0, limit / (n + 1e-6)))
            assert [bits(g) for g in grads[:-1]] == [bits(g * factor) for g in start]
            results.append(n)
        assert len(set(results)) == 1
    assert lossk.clip_grad_norm([], 1.0) == 0.0
    assert lossk.clip_grad_norm([None], 1.0) == 0.0


def test_clip_grad_norm_leaves_what_is_not_finite(rng: np.random.Generator) -> None:
    for bad in (np.nan, np.inf):
        grads = {"a": rng.normal(size=5), "b": rng.normal(size=(4, 6))[:, ::2]}
        grads["a"][2] = bad
        before = [bits(g) for g in grads.values()]
        assert not np.isfinite(lossk.clip_grad_norm(grads, 1.0))
        assert [bits(g) for g in grads.values()] == before


@pytest.mark.parametrize("layout", LAYOUTS)
def test_clip_grad_norm_of_any_layout(layout: str, rng: np.random.Generator) -> None:
    start = rng.normal(size=(7, 33))
    plain, arranged = [start.copy()], [LAYOUTS[layout](start)]
    assert lossk.clip_grad_norm(arranged, 1.0) == lossk.clip_grad_norm(plain, 1.0)
    assert bits(arranged[0]) == bits(plain[0])


def test_clip_grad_norm_errors() -> None:
    g, locked = np.full(6, 2.0), np.full(6, 2.0)
    locked.flags.writeable = False
    wrong: list[tuple[Any, Any, str]] = [
        (g, 1.0, r"grads: got ndarray, wanted a list or a dict"),
        ([g, [1.0]], 1.0, r"grads\[1\]: got list, wanted a NumPy array"),
        ({"w": np.arange(3)}, 1.0, r"grads\['w'\]: got dtype int64"),
        ([g, locked], 1.0, r"grads\[1\]: got a read-only array"),
        ([g[:4], None, g[3:]], 1.0, r"grads\[2\]: got memory that overlaps grads\[0\]"),
        ({"a": g[::2], "b": g[1:3]}, 1.0, r"grads\['b'\]: got memory that overlaps grads\['a'\]"),
        ([g], -1.0, r"max_norm: got -1\.0"),
        ([g], np.nan, r"max_norm: got nan"),
        ([g], "1", r"max_norm: got '1'"),
    ]
    for grads, limit, message in wrong:
        with pytest.raises((TypeError, ValueError), match=message):
            lossk.clip_grad_norm(grads, limit)
    with pytest.raises(ValueError, match="num_threads"):
        lossk.clip_grad_norm([g], 1.0, num_threads=0)
    np.testing.assert_array_equal(g, 2.0)


# ---- errors -----------------------------------------------------------------------------------------------------


@each_optimizer
def test_wrong_arguments_of_a_step_change_nothing(name: str, rng: np.random.Generator) -> None:
    params = {"a": rng.normal(size=(4, 3)), "b": rng.normal(size=(5, 2))[:, 0]}
    optimizer = make(name, params, {})
    good = {"a": rng.normal(size=(4, 3)), "b": rng.normal(size=5)}
    optimizer.step(good)
    before, state = [bits(p) for p in params.values()], arrays(optimizer)
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
        assert ([bits(p) for p in params.values()], arrays(optimizer)) == (before, state)


@each_optimizer
def test_options_are_checked(name: str) -> None:
    cls = OPTIMIZERS[name]
    p = [np.ones(3, np.float32)]
    shown = repr(cls(p))
    wrong: dict[str, tuple[Any, ...]] = {
        "lr": (-1.0, np.inf, "1", True),
        "betas": (0.9, (0.9,), (0.9, 1.0), (-0.1, 0.9), (0.9, "x")),
        "eps": (-1e-8, np.nan),
        "weight_decay": (-0.1, np.inf, "no"),
        "momentum": (-0.1, np.nan),
        "alpha": (1.0, -0.1),
        "lr_decay": (-0.1,),
        "initial_accumulator_value": (-0.1,),
        **dict.fromkeys(("amsgrad", "centered", "nesterov", "maximize", "master_weights"), ("no", 1, None)),
        "stochastic_rounding": (True, 1.5, -1, 2**64, "seed"),
    }
    for option, values in wrong.items():
        if f"{option}=" in shown:
            for value in values:
                with pytest.raises((TypeError, ValueError), match=rf"{option}.*: got .*, wanted"):
                    cls(p, **{option: value})
    for option in ({"master_weights": True}, {"stochastic_rounding": 1}):
        with pytest.raises(TypeError, match=r"params\[0\]: got dtype float32, wanted float16 or bfloat16 with"):
            cls(p, **option)


@each_optimizer
def test_an_optimizer_is_documented(name: str) -> None:
    cls = OPTIMIZERS[name]
    assert name in lossk.__all__
    assert cls._variants[0] == {}
    assert cls.__doc__
    assert "References\n" in cls.__doc__
    assert cls._reference is not lossk.optimizers.Optimizer._reference


@each_case
def test_what_a_step_remembers_is_never_old(name: str, variant: dict[str, Any], rng: np.random.Generator) -> None:
    """Learning rates, tensors that begin later, copies, loaded states: as if every step looked at all of it anew."""
    ways = [[make(name, [np.ones(9), np.ones(5)], variant)] for _ in range(2)]
    for t in range(12):
        grads = [rng.normal(size=9), rng.normal(size=5) if t > 3 else None]
        for way, anew in zip(ways, (False, True), strict=True):
            if t == 6:
                way.append(copy.copy(way[0]))
                way[1].lr = 0.5
            way[0].lr = 0.05 * (1 + t // 3)
            if t == 9:
                way[0].load_state_dict({**way[0].state_dict(), "lr": 0.25})
            for optimizer in way:
                if anew:
                    optimizer._plan = None
                optimizer.step(grads)
    for optimizer, other in zip(*ways, strict=True):
        assert [bits(p) for p in optimizer._params] == [bits(p) for p in other._params]
        assert arrays(optimizer) == arrays(other)


def test_one_step_at_a_time() -> None:
    """A second step of the same optimizer, while the first runs without the interpreter lock, is refused."""
    p = np.zeros(1 << 22, np.float32)
    adam, g = lossk.Adam([p]), np.ones(1 << 22, np.float32)
    adam.step([g])
    applied, refused = [], []

    def one_step() -> None:
        try:
            rule = (adam._formula, adam._lr_version, adam._independent_from)
            applied.append(_core.step(adam._plan, [g], adam._steps, *rule, 1.0, False, None, 1))
        except RuntimeError as error:
            refused.append(str(error))

    def work() -> None:
        for _ in range(20):
            one_step()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(applied) + len(refused) == 40
    assert len(applied) == adam._steps[0] - 1
    assert all(message.startswith("step: got a call while another thread") for message in refused)
    assert adam.step([g]).applied

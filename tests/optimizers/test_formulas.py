"""Steps of optimizers against their formulas: references, SGD of PyTorch and Keras, special values, learning rates."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import lossk
from lossk.optimizers import OPTIMIZERS
from tests.support.arrays import bits, each_dtype, in_turn, product
from tests.support.optimizers import VARIANTS, draw_arrays, each_optimizer, each_variant, follow, make, saved_arrays

# Five steps of sizes about 1; Lion's sign and RMSprop's variance amplify nothing, as numbers are drawn at random.
TOLERANCE = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-12}
SIZES = (1, 3, 7, 8, 16, 17, 33, 511, 1025, 16385)


@each_variant
@each_dtype
def test_steps_match_the_reference(
    name: str, variant: dict[str, Any], dtype: Any, isa: str, rng: np.random.Generator
) -> None:
    for n in SIZES:
        start, grads = rng.normal(size=n).astype(dtype), draw_arrays(rng, [(n,)] * 5, dtype)
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


@each_optimizer
@each_dtype
def test_every_variant_has_a_kernel_of_its_own_parameters(name: str, dtype: Any) -> None:
    for variant in OPTIMIZERS[name]._variants:
        optimizer = make(name, [np.zeros(3, dtype)], variant)
        assert all(isinstance(x, float | bool) for x in optimizer._formula(1))


def test_special_values_stay_in_their_elements(rng: np.random.Generator) -> None:
    for name, variant in VARIANTS:
        if name == "LAMB":  # its norms are of all elements
            continue
        start, g = rng.normal(size=40), rng.normal(size=40)
        clean, dirty = start.copy(), start.copy()
        g_dirty = g.copy()
        g_dirty[[3, 17]] = np.nan, np.inf
        make(name, [clean], variant).step([g])
        make(name, [dirty], variant).step([g_dirty])
        same = np.delete(np.arange(40), [3, 17])
        assert bits(clean[same]) == bits(dirty[same]), name
        assert np.isnan(dirty[3]), name


@each_variant
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
        assert saved_arrays(optimizer) == saved_arrays(other)


# One step's error in units of the dtype's spacing; a few steps of a stable update add up.
RTOL = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-14}


SIZES_OF_SGD = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 511, 513, 16383, 16384, 16385)


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


def test_sgd_gives_the_numbers_worked_out_by_hand() -> None:
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
def test_sgd_follows_the_formulas_of_torch_and_keras(
    dtype: Any, options: dict[str, Any], isa: str, rng: np.random.Generator
) -> None:
    for n in SIZES_OF_SGD if options["momentum"] else SIZES_OF_SGD[:14]:
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
def test_the_first_step_takes_the_gradient_as_buffer(dtype: Any, isa: str) -> None:
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


def test_a_learning_rate_of_0_changes_nothing(rng: np.random.Generator) -> None:
    p = rng.normal(size=100)
    before = p.copy()
    lossk.SGD([p], lr=0.0, momentum=0.9).step([np.ones(100)])
    np.testing.assert_array_equal(p, before)


def test_the_learning_rate_may_change_between_steps(rng: np.random.Generator) -> None:
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


@each_dtype
def test_parameters_may_have_many_shapes(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    """Chunks belong to their own parameter, also around empty ones; f32 and f64 may mix."""
    shapes = ((), (0,), (3,), (16384,), (2, 0, 4), (16385,), (1,), (7, 9), (0, 3), (40_001,), (5,))
    dtypes = [np.float32 if i % 3 == 0 else dtype for i in range(len(shapes))]
    start = [np.asarray(rng.normal(size=s)).astype(d) for s, d in zip(shapes, dtypes, strict=True)]
    grads = [np.asarray(rng.normal(size=s)).astype(d) for s, d in zip(shapes, dtypes, strict=True)]
    for threads in (1, 3):
        params = [p.copy() for p in start]
        sgd = lossk.SGD(params, lr=0.1, momentum=0.9)
        for _ in range(3):
            sgd.step(grads, num_threads=threads)
        for p, p0, g in zip(params, start, grads, strict=True):
            want, _ = follow(p0, [g, g, g], {"lr": 0.1, "momentum": 0.9})
            np.testing.assert_allclose(p, want, rtol=RTOL[p.dtype], atol=RTOL[p.dtype])


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


@in_turn("dtype", [np.float32, np.float64])
def test_radam_without_a_share_of_the_root_takes_gradients_whose_squares_are_infinite(dtype: Any, isa: str) -> None:
    large = dtype(3e19 if dtype == np.float32 else 3e160)
    p = np.zeros(70, dtype)
    radam = lossk.RAdam([p], lr=0.01)
    with np.errstate(over="ignore"):
        radam.step([np.full(70, large)])
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p, -0.01 * large, rtol=1e-5)

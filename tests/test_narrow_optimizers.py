"""Parameters of 16 bits: rounded once a step, f32 state, master weights, stochastic rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import Array, bits

import lossk
from lossk.optimizers import OPTIMIZERS

ml_dtypes = pytest.importorskip("ml_dtypes")

F16, BF16 = np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)
CASES = [(name, variant) for name, cls in OPTIMIZERS.items() for variant in cls._variants]
each_case = pytest.mark.parametrize(
    ("name", "variant"), CASES, ids=[f"{n}({','.join(f'{k}={v}' for k, v in o.items())})" for n, o in CASES]
)
each_narrow = pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
SIZES = (1, 7, 17, 511, 513, 16_385, 40_001)


def make(name: str, params: Any, options: dict[str, Any]) -> Any:
    return OPTIMIZERS[name](params, **{"lr": 0.05, **options})


def draw(rng: np.random.Generator, n: int, dtype: Any) -> Array:
    return rng.normal(size=n).astype(dtype)


def neighbours(x: Array, dtype: Any) -> tuple[Array, Array]:
    """The numbers of a 16-bit type on both sides of x, or x twice."""
    near = x.astype(dtype)
    wide = near.astype(np.float64)
    words = near.view(np.int16)
    further = np.where((wide < x) == (x > 0), words + 1, words - 1).astype(np.int16).view(dtype).astype(np.float64)
    other = np.where(wide == x, wide, further)
    return np.minimum(wide, other), np.maximum(wide, other)


@each_case
@each_narrow
def test_one_step_is_rounded_once(name: str, variant: dict[str, Any], dtype: Any, isa: str) -> None:
    """Within one unit of the f64 result of the same inputs; f32 arithmetic may only decide ties otherwise."""
    rng = np.random.default_rng(1)
    for n in SIZES:
        start, g = draw(rng, n, dtype), draw(rng, n, dtype)
        p = start.copy()
        optimizer = make(name, [p], {**variant, "lr": 0.0517})  # not such that results lie between two numbers
        assert optimizer.step([g]).applied
        want, state = optimizer.reference(start.astype(np.float64), [g.astype(np.float64)])
        nearest = want.astype(dtype)
        apart = np.abs(p.view(np.int16).astype(int) - nearest.view(np.int16))
        large = np.abs(want) > 1e-3  # below, f32's rounding of a difference of numbers about 1 shows in small numbers
        assert apart[large].max(initial=0) <= 1
        assert (apart[large] > 0).mean() <= 0.01 if large.sum() > 100 else True
        np.testing.assert_allclose(p.astype(np.float64), want, rtol=0.01, atol=1e-5)
        for slot, value in state.items():
            saved = optimizer.state_dict()[f"{slot}.0"]
            assert saved.dtype == np.float32
            np.testing.assert_allclose(saved, value, rtol=1e-6, atol=1e-6)


@each_case
@each_narrow
def test_master_weights(name: str, variant: dict[str, Any], dtype: Any, isa: str) -> None:
    """The steps of f32 parameters to the bit; what is told to be the parameter is their rounding."""
    rng = np.random.default_rng(2)
    for n in (17, 513, 16_385):
        start = draw(rng, n, dtype)
        p, wide = start.copy(), start.astype(np.float32)
        ours, theirs = make(name, [p], {**variant, "master_weights": True}), make(name, [wide], variant)
        for _ in range(5):
            g = draw(rng, n, dtype)
            assert ours.step([g], max_norm=3.0) == theirs.step([g.astype(np.float32)], max_norm=3.0)
            assert bits(ours.state_dict()["master_weight.0"]) == bits(wide)
            assert bits(p) == bits(wide.astype(dtype))


@each_narrow
def test_small_updates_are_not_lost(dtype: Any) -> None:
    """A thousand steps of a tenth of half a unit: rounding to nearest stays where it is, the options do not."""
    unit = float(np.spacing(np.ones(1, dtype))[0]) if dtype == F16 else 2.0**-7
    g = np.full(4096, unit / 20, dtype)

    def after(**options: Any) -> Array:
        p = np.ones(4096, dtype)
        sgd = lossk.SGD([p], lr=1.0, maximize=True, **options)
        for _ in range(1000):
            sgd.step([g])
        return p.astype(np.float64)

    want = 1 + 1000 * float(g[0])
    np.testing.assert_array_equal(after(), 1.0)
    np.testing.assert_allclose(after(master_weights=True), want, atol=unit)
    random = after(stochastic_rounding=3)
    # A sum of 1000 roundings has a standard deviation of less than unit * sqrt(1000) / 2; the mean one 64 times less.
    assert abs(random.mean() - want) < 4 * unit * np.sqrt(1000) / 2 / 64
    assert random.std() > unit


@each_narrow
def test_stochastic_rounding_is_unbiased(dtype: Any, isa: str) -> None:
    """Each number goes to one of its neighbours, up with the probability of its share of the way."""
    n = 200_000
    tiny, largest = (2.0**-24, 6e4) if dtype == F16 else (1e-30, 1e30)
    for value in (1.003, -0.7001, 3.3e-5, 0.37 * 2.0**-14, 0.3 * tiny, 5.7 * tiny, largest * 0.77, -(2.0**-13.3)):
        # The update 0 - 1 * g, with g exact in f32 arithmetic: the gradient is scaled to the value.
        g = np.full(n, 1.0, dtype)
        p = np.zeros(n, dtype)
        lossk.SGD([p], lr=float(np.float32(abs(value))), maximize=value > 0, stochastic_rounding=11).step([g])
        exact = float(np.copysign(np.float32(abs(value)), value))
        low, high = (float(x[0]) for x in neighbours(np.array([exact]), dtype))
        got = p.astype(np.float64)
        assert set(np.unique(got)) <= {low, high}, value
        share = (exact - low) / (high - low) if high > low else 0.0
        deviation = np.sqrt(max(share * (1 - share), 1e-12) / n)
        assert abs((got == high).mean() - share) < 5 * deviation + 2.0**-12, value


@each_narrow
def test_stochastic_rounding_of_special_values(dtype: Any, isa: str) -> None:
    exact = np.array([0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan, 2.0**-14, 2.0**-24 * 3], dtype)
    p = np.tile(exact, 100)
    lossk.SGD([p], lr=1.0, stochastic_rounding=0).step([np.zeros_like(p)])
    np.testing.assert_array_equal(p.astype(np.float64), np.tile(exact, 100).astype(np.float64))
    assert np.signbit(p[1].astype(np.float32))


@each_narrow
def test_stochastic_rounding_is_seeded_and_knows_no_threads(dtype: Any, isa: str) -> None:
    rng = np.random.default_rng(4)
    shapes = ((100_000,), (513,), (100_000,), ())
    start = [np.full(shape, 1.0, dtype) for shape in shapes]
    grads = [np.asarray(rng.normal(size=shape)).astype(dtype) for shape in shapes]
    grads[2] = grads[0]

    def run(seed: int, threads: int = 1) -> list[bytes]:
        params = [p.copy() for p in start]
        adam = lossk.Adam(params, lr=1e-3, stochastic_rounding=seed)
        for _ in range(3):
            adam.step(grads, num_threads=threads)
        return [bits(p) for p in params]

    first = run(5)
    assert first == run(5, 2) == run(5, 7)
    assert first != run(6)
    assert first[0] != first[2], "parameters with equal numbers are rounded alike"
    before = lossk.isa()
    results = set()
    for name in lossk.available_isas():
        lossk.set_isa(name)
        p = np.full(40_001, 1.0, dtype)
        lossk.SGD([p], lr=0.001, stochastic_rounding=9).step([np.ones(40_001, dtype)])
        results.add(bits(p))
    lossk.set_isa(before)
    assert len(results) == 1


def test_random_bits_of_neighbours_and_steps_are_independent() -> None:
    """Which way elements go: no correlation with the next element, the same place of the next tile, the next step."""
    p = np.full(1 << 19, 1.0, BF16)
    sgd = lossk.SGD([p], lr=2.0**-9, stochastic_rounding=1)  # half of the unit below 1
    ways = []
    for _ in range(2):
        p[...] = 1.0
        sgd.step([np.ones(p.size, BF16)])
        ways.append(np.sign(p.astype(np.float64) - (1 - 2.0**-9)))
    first, second = ways
    bound = 5 / np.sqrt(p.size)
    assert abs(first.mean()) < bound
    assert abs((first * second).mean()) < bound
    for distance in (1, 2, 4, 8, 16, 32, 256, 512, 1024, 16_384):
        assert abs((first[distance:] * first[:-distance]).mean()) < 1.2 * bound, distance


@each_narrow
@pytest.mark.parametrize("options", [{}, {"master_weights": True}, {"stochastic_rounding": 7}], ids=str)
def test_saved_state(dtype: Any, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(5)
    whole = [draw(rng, 600, dtype), draw(rng, 40, dtype).reshape(5, 8)]
    grads = [[draw(rng, 600, dtype), draw(rng, 40, dtype).reshape(5, 8)] for _ in range(6)]
    first = lossk.AdamW(whole, lr=0.01, **options)
    for g in grads[:3]:
        first.step(g)
    state, params = first.state_dict(), [p.copy() for p in whole]
    second = lossk.AdamW(params, lr=0.01, **options)
    second.load_state_dict(state)
    for g in grads[3:]:
        first.step(g)
        second.step(g)
    assert [bits(p) for p in params] == [bits(p) for p in whole]
    if "master_weights" in options:
        with pytest.raises(ValueError, match="state: got unknown entries"):
            lossk.AdamW(params).load_state_dict(state)
        with pytest.raises(ValueError, match=r"state: got no entry 'master_weight\.0'"):
            second.load_state_dict({k: v for k, v in state.items() if not k.startswith("master")})


@each_narrow
def test_strided_parameters(dtype: Any) -> None:
    rng = np.random.default_rng(6)
    start, g = draw(rng, 700, dtype).reshape(7, 100), draw(rng, 700, dtype).reshape(7, 100)
    for options in ({}, {"master_weights": True}, {"stochastic_rounding": 7}):
        plain, strided = start.copy(), np.asfortranarray(start)
        for p in (plain, strided):
            adam = lossk.Adam([p], lr=0.01, **options)
            for _ in range(3):
                adam.step([g])
        assert bits(plain) == bits(strided)


@each_narrow
def test_clip_grad_norm(dtype: Any, isa: str) -> None:
    rng = np.random.default_rng(7)
    g = draw(rng, 40_001, dtype)
    wide = g.astype(np.float64)
    clipped = [g.copy() for _ in range(3)]
    norms = {lossk.clip_grad_norm([c], 1.0, num_threads=n) for c, n in zip(clipped, (1, 2, 7), strict=True)}
    assert len(norms) == 1
    norm = norms.pop()
    assert norm == pytest.approx(np.sqrt((wide**2).sum()), rel=1e-12)
    want = (g.astype(np.float32) * np.float32(1 / (norm + 1e-6))).astype(dtype)
    assert {bits(c) for c in clipped} == {bits(want)}


def test_options_belong_to_16_bits() -> None:
    both = {"master_weights": True, "stochastic_rounding": 1}
    with pytest.raises(ValueError, match="stochastic_rounding: got a seed, wanted None beside master_weights"):
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

"""Stochastic rounding of parameters of 16 bits: unbiased, seeded, independent."""

from __future__ import annotations

from typing import Any

import numpy as np

import lossk
from tests.support.arrays import Array, bits
from tests.support.narrow import BF16, F16, each_narrow


def neighbours(x: Array, dtype: Any) -> tuple[Array, Array]:
    """The numbers of a 16-bit type on both sides of x, or x twice."""
    near = x.astype(dtype)
    wide = near.astype(np.float64)
    words = near.view(np.int16)
    further = np.where((wide < x) == (x > 0), words + 1, words - 1).astype(np.int16).view(dtype).astype(np.float64)
    other = np.where(wide == x, wide, further)
    return np.minimum(wide, other), np.maximum(wide, other)


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
def test_exact_numbers_are_not_rounded(dtype: Any, isa: str) -> None:
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

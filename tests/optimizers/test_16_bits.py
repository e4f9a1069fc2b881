"""Parameters of 16 bits: rounded once a step, state in f32, master weights, strides."""

from __future__ import annotations

from typing import Any

import numpy as np

import lossk
from tests.support.arrays import Array, bits
from tests.support.narrow import F16, each_narrow
from tests.support.optimizers import draw_vector, each_variant, make

SIZES = (1, 7, 17, 511, 513, 16_385, 40_001)


@each_variant
@each_narrow
def test_one_step_is_rounded_once(name: str, variant: dict[str, Any], dtype: Any, isa: str) -> None:
    """Within one unit of the f64 result of the same inputs; f32 arithmetic may only decide ties otherwise."""
    rng = np.random.default_rng(1)
    for n in SIZES:
        start, g = draw_vector(rng, n, dtype), draw_vector(rng, n, dtype)
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


@each_variant
@each_narrow
def test_master_weights_are_the_steps_of_f32_parameters(
    name: str, variant: dict[str, Any], dtype: Any, isa: str
) -> None:
    """The steps of f32 parameters to the bit; what is told to be the parameter is their rounding."""
    rng = np.random.default_rng(2)
    for n in (17, 513, 16_385):
        start = draw_vector(rng, n, dtype)
        p, wide = start.copy(), start.astype(np.float32)
        ours, theirs = make(name, [p], {**variant, "master_weights": True}), make(name, [wide], variant)
        for _ in range(5):
            g = draw_vector(rng, n, dtype)
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
def test_strides_do_not_change_the_bits(dtype: Any) -> None:
    rng = np.random.default_rng(6)
    start, g = draw_vector(rng, 700, dtype).reshape(7, 100), draw_vector(rng, 700, dtype).reshape(7, 100)
    for options in ({}, {"master_weights": True}, {"stochastic_rounding": 7}):
        plain, strided = start.copy(), np.asfortranarray(start)
        for p in (plain, strided):
            adam = lossk.Adam([p], lr=0.01, **options)
            for _ in range(3):
                adam.step([g])
        assert bits(plain) == bits(strided)

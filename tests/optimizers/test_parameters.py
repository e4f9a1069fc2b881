"""Parameters and gradients of optimizers: layouts, byte orders, dicts, memory that is shared or changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lossk
from lossk.optimizers import OPTIMIZERS
from tests.support.arrays import Array, bits, each_dtype
from tests.support.layouts import LAYOUTS
from tests.support.optimizers import draw_arrays, each_optimizer, make


@each_optimizer
@each_dtype
def test_bits_do_not_depend_on_layout(name: str, dtype: Any, rng: np.random.Generator) -> None:
    """Of parameters and gradients, which need not be writeable; with all the state that the optimizer may have."""
    start, grads = rng.normal(size=(7, 33)).astype(dtype), draw_arrays(rng, [(7, 33)] * 3, dtype)
    for layout, arrange in LAYOUTS.items():
        plain, arranged = start.copy(), arrange(start)
        theirs, ours = (make(name, [p], OPTIMIZERS[name]._variants[-1]) for p in (plain, arranged))
        for g in grads:
            given = arrange(g)
            given.flags.writeable = False
            assert ours.step([given], max_norm=5.0) == theirs.step([g], max_norm=5.0)
        assert bits(arranged) == bits(plain), layout


@each_optimizer
def test_parameters_may_have_another_byte_order(name: str, rng: np.random.Generator) -> None:
    start, g = rng.normal(size=9), rng.normal(size=9)
    plain, swapped = start.copy(), start.astype(">f8")
    make(name, [plain], {}).step([g])
    make(name, [swapped], {}).step([g.astype(">f8")])
    assert bits(swapped.astype("<f8")) == bits(plain)


@each_optimizer
def test_a_dict_is_a_list_with_names(name: str, rng: np.random.Generator) -> None:
    """Whose gradients come in any order, and may be None."""
    shapes = ((4, 3), (), (0,))
    start = draw_arrays(rng, shapes, np.float32)
    listed, named = [p.copy() for p in start], {k: p.copy() for k, p in zip("cab", start, strict=True)}
    ours, theirs = make(name, named, {}), make(name, listed, {})
    for step in range(3):
        g: list[Any] = draw_arrays(rng, shapes, np.float32)
        if step == 1:
            g[0] = None
        ours.step({"a": g[1], "b": g[2], "c": g[0]})
        theirs.step(g)
    assert [bits(p) for p in named.values()] == [bits(p) for p in listed]
    for wrong in ({"a": g[1], "b": g[2]}, dict(zip("abcd", [*g, g[0]], strict=True)), g, {}):
        with pytest.raises(
            (TypeError, ValueError), match=r"grads: got .*, wanted a dict with the keys \['a', 'b', 'c'\]"
        ):
            ours.step(wrong)


def test_interleaved_arrays_are_apart(rng: np.random.Generator) -> None:
    """Parameters and gradients that lie between one another, and whatever else lies there."""
    memory = rng.normal(size=(50, 5))
    a, b, ga, gb, padding = (memory[:, i] for i in range(5))
    want = [a - 0.5 * ga, b - 0.5 * gb, ga.copy(), gb.copy(), padding.copy()]
    lossk.SGD([a, b], lr=0.5).step([ga, gb])
    np.testing.assert_array_equal([a, b, ga, gb, padding], want)
    rows = rng.normal(size=(6, 8))
    p, g = rows[:3:2, ::2], rows[1:4:2, ::2]
    want_rows = rows.copy()
    want_rows[:3:2, ::2] -= 0.5 * g
    lossk.SGD([p], lr=0.5).step([g])
    np.testing.assert_array_equal(rows, want_rows)


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

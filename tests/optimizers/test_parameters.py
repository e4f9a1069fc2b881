"""Parameters and gradients of optimizers: layouts, byte orders, dicts, memory that is shared or changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import Array, bits, each_dtype
from tests.support.layouts import LAYOUTS
from tests.support.optimizers import draw_arrays, each_optimizer, make


@each_optimizer
@pytest.mark.parametrize("layout", LAYOUTS)
@each_dtype
def test_bits_do_not_depend_on_layout(name: str, dtype: Any, layout: str, rng: np.random.Generator) -> None:
    arrange, start = LAYOUTS[layout], rng.normal(size=(7, 33)).astype(dtype)
    plain, arranged = start.copy(), arrange(start)
    theirs, ours = make(name, [plain], {}), make(name, [arranged], {})
    for g in draw_arrays(rng, [(7, 33)] * 3, dtype):
        given = arrange(g)
        given.flags.writeable = False
        assert ours.step([given], max_norm=5.0) == theirs.step([g], max_norm=5.0)
    assert bits(arranged) == bits(plain)


@each_optimizer
def test_parameters_may_have_another_byte_order(name: str, rng: np.random.Generator) -> None:
    start, g = rng.normal(size=9), rng.normal(size=9)
    plain, swapped = start.copy(), start.astype(">f8")
    make(name, [plain], {}).step([g])
    make(name, [swapped], {}).step([g.astype(">f8")])
    assert bits(swapped.astype("<f8")) == bits(plain)


@each_optimizer
def test_a_dict_is_a_list_with_names(name: str, rng: np.random.Generator) -> None:
    shapes = ((4, 3), (), (0,))
    start = draw_arrays(rng, shapes, np.float32)
    listed, named = [p.copy() for p in start], {k: p.copy() for k, p in zip("cab", start, strict=True)}
    ours, theirs = make(name, named, {}), make(name, listed, {})
    for _ in range(2):
        g = draw_arrays(rng, shapes, np.float32)
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


@pytest.mark.parametrize("layout", LAYOUTS)
@each_dtype
def test_layouts_of_sgd(dtype: Any, layout: str, rng: np.random.Generator) -> None:
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


def test_parameters_of_no_axes_are_watched() -> None:
    p = np.array(1.0)
    sgd = lossk.SGD([p], lr=0.5)
    for _ in range(3):
        sgd.step([np.array(1.0)])
    assert p == -0.5

"""GLU, SwiGLU and PReLU against their references: shapes, types, stated errors, threads, wrong arguments."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lossk
from lossk.activations import GATED
from tests.support.arrays import NAN, Array, bits, each_dtype
from tests.support.narrow import NARROW

SHAPES = ((2,), (6,), (2, 4), (4, 6, 2), (2, 0, 4), (6, 514), (1030, 2), (4, 20_000), (40_002,))
MADE = [cls(**variant) for cls in GATED.values() for variant in cls._variants]
each_gated = pytest.mark.parametrize("act", MADE, ids=repr)


def cases(act: Any, rng: np.random.Generator, shape: Any, dtype: Any) -> list[tuple[Array, ...]]:
    """Arguments of the activation, the cotangent last."""

    def draw(shape: Any) -> Array:
        return np.asarray(rng.normal(scale=2, size=shape)).astype(dtype)

    x = draw(shape)
    if isinstance(act, lossk.GLU):
        half = list(shape)
        half[act.axis] //= 2
        return [(x, draw(half))]
    if isinstance(act, lossk.SwiGLU):
        return [(x, draw(shape), draw(shape))]
    slopes = [draw(()), draw((1,))]
    if len(shape) > act.axis and shape[act.axis]:
        slopes.append(draw((shape[act.axis],)))
    return [(x, slope, draw(shape)) for slope in slopes]


def all_results(act: Any, arguments: tuple[Array, ...], **options: Any) -> list[Array]:
    found = act.vjp(*arguments, **options)
    return [act(*arguments[:-1], **options), *(found if isinstance(found, tuple) else (found,))]


@each_dtype
@each_gated
def test_results_match_the_reference(act: Any, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    for shape in SHAPES:
        for arguments in cases(act, rng, shape, dtype):
            wide = [a.astype(np.float64) for a in arguments]
            wanted = act.reference(*wide[:-1], cotangent=wide[-1])
            for got, want in zip(all_results(act, arguments), wanted, strict=True):
                assert got.dtype == dtype
                assert got.shape == want.shape
                eps = float(np.finfo(dtype).eps)
                # A derivative of SiLU changes its sign; a slope's gradient is a sum.
                scale = np.sqrt(arguments[0].size) if got.size <= 1 else 1.0
                np.testing.assert_allclose(got, want, rtol=20 * eps, atol=10 * eps * scale, err_msg=f"{shape}")


ULPS: dict[type, tuple[float, ...]] = {
    lossk.GLU: (2.5, 3.0, 5.0),
    lossk.SwiGLU: (3.0, 6.0, 3.0),
    lossk.PReLU: (0.5, 0.5),
}


@pytest.mark.parametrize("cls", ULPS)
def test_errors_are_no_larger_than_stated(cls: Any, isa: str, rng: np.random.Generator) -> None:
    """Of random pairs with cotangents of 1; near the zero of SiLU's derivative in units of 1/8 of the gate."""
    a = (rng.normal(size=200_000) * 8).astype(np.float32)
    b = rng.normal(size=a.size).astype(np.float32)
    b = b if cls is not lossk.GLU else 8 * b
    ones = np.ones_like(a)
    act = cls()
    if cls is lossk.GLU:
        x = np.concatenate([a, b])
        got = [act(x), *np.split(act.vjp(x, ones), 2)]
        value, gradient = act.reference(x)
        wanted = [value, *np.split(gradient, 2)]
    elif cls is lossk.SwiGLU:
        got, wanted = [act(a, b), *act.vjp(a, b, ones)], list(act.reference(a, b))
    else:
        x, slopes = a.reshape(1000, 200), b[:200]
        got, wanted = [act(x, slopes), act.vjp(x, slopes, ones.reshape(x.shape))[0]], list(act.reference(x, slopes)[:2])
    for have, want, ulps in zip(got, wanted, ULPS[cls], strict=True):
        size = np.abs(want)
        if cls is lossk.SwiGLU and want is wanted[1]:
            size = np.where(np.abs(a + 1.28) < 0.75, np.maximum(size, np.abs(b) / 8), size)
        normal = np.abs(want) > 1e-36
        error = np.abs(have.astype(np.float64) - want)[normal] / np.spacing(size[normal].astype(np.float32))
        assert error.max() <= ulps, error.max()


@each_gated
def test_bits_depend_neither_on_threads_nor_on_layout(act: Any, isa: str, rng: np.random.Generator) -> None:
    for dtype in (np.float32, *NARROW):
        for arguments in cases(act, rng, (6, 34_000), np.float32):
            given = [a.astype(dtype) for a in arguments]
            want = [bits(r) for r in all_results(act, tuple(given), num_threads=1)]
            assert [bits(r) for r in all_results(act, tuple(given), num_threads=3)] == want
            strided = [np.asfortranarray(a) for a in given]
            assert [bits(r) for r in all_results(act, tuple(strided))] == want


@each_gated
def test_results_of_16_bits_are_rounded_once(act: Any, isa: str, rng: np.random.Generator) -> None:
    for dtype in NARROW:
        for arguments in cases(act, rng, (4, 1030), np.float32):
            narrow = tuple(a.astype(dtype) for a in arguments)
            wide = tuple(a.astype(np.float32) for a in narrow)
            for got, want in zip(all_results(act, narrow), all_results(act, wide), strict=True):
                assert got.dtype == dtype
                assert bits(got) == bits(want.astype(dtype))


def test_no_channels_have_no_gradients() -> None:
    x, slope = np.zeros((2, 0, 3), np.float32), np.zeros(0, np.float32)
    assert [a.shape for a in lossk.PReLU().vjp(x, slope, x)] == [(2, 0, 3), (0,)]
    assert [a.shape for a in lossk.PReLU().reference(x, slope, x)] == [(2, 0, 3), (2, 0, 3), (0,)]


def test_nan_stays_in_its_element() -> None:
    for act in MADE:
        x = np.full((2, 40), 0.5)
        x[1, 7] = NAN
        rest = (np.ones((2, 20)),) if isinstance(act, lossk.GLU) else (np.full((2, 40), 2.0), np.ones((2, 40)))
        if isinstance(act, lossk.GLU):
            value = lossk.GLU(-1)(x)
            assert np.flatnonzero(np.isnan(value)).tolist() == [27]
            continue
        if isinstance(act, lossk.PReLU):
            rest = (np.full(1, 2.0), np.ones((2, 40)))
        value, of_x = all_results(act, (x, *rest))[:2]
        assert np.flatnonzero(np.isnan(value)).tolist() == [47]
        assert np.flatnonzero(np.isnan(of_x)).tolist() == [47]


def test_gated_activations_are_values() -> None:
    for act in MADE:
        assert copy.deepcopy(act) == act
        assert eval(repr(act), dict(vars(lossk))) == act


def test_wrong_arguments_are_refused() -> None:
    x = np.ones((3, 4))
    wrong: list[tuple[type[Exception], str, Callable[[], Any]]] = [
        (TypeError, r"axis: got 0.5, wanted an integer", lambda: lossk.GLU(0.5)),  # type: ignore[arg-type]
        (TypeError, r"axis: got 'a', wanted an integer", lambda: lossk.PReLU("a")),  # type: ignore[arg-type]
        (ValueError, r"axis: got 2, wanted", lambda: lossk.GLU(2)(x)),
        (ValueError, r"x: got shape \(3, 4\), wanted an even length of axis 0", lambda: lossk.GLU(0)(x)),
        (TypeError, r"x: got dtype int64, wanted", lambda: lossk.GLU()(np.ones(4, int))),
        (ValueError, r"cotangent: got shape \(3, 4\), wanted \(3, 2\)", lambda: lossk.GLU().vjp(x, x)),
        (ValueError, r"gate: got shape \(4,\), wanted \(3, 4\)", lambda: lossk.SwiGLU()(x, x[0])),
        (ValueError, r"slope: got shape \(3,\), wanted one number, or \(4,\)", lambda: lossk.PReLU()(x, np.ones(3))),
        (ValueError, r"num_threads: got 0, wanted", lambda: lossk.SwiGLU()(x, x, num_threads=0)),
    ]
    for error, message, call in wrong:
        with pytest.raises(error, match=message):
            call()

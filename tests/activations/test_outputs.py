"""Memory of activations: outputs, layouts, guarded and streamed results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lossk.activations import Activation
from tests.support.activations import COMPUTED, draw_activation, each_activation, each_verb
from tests.support.arrays import bits, each_dtype
from tests.support.layouts import LAYOUTS
from tests.support.memory import assert_surroundings_kept, at_offset, guarded
from tests.support.streaming import streamed_results


@each_verb
@each_dtype
@each_activation
def test_results_are_written_into_outputs(
    act: Activation, dtype: Any, verb: str, isa: str, rng: np.random.Generator
) -> None:
    for shape in ((5,), (700,), (3, 7), (40_001,)):
        x, c = draw_activation(rng, shape, dtype)
        want = bits(COMPUTED[verb](act, x, c))
        out = np.empty_like(x)
        assert COMPUTED[verb](act, x, c, out=out) is out
        assert bits(out) == want
        y = x.copy()
        assert COMPUTED[verb](act, y, c, out=y) is y
        assert bits(y) == want
        if verb == "vjp":
            d = c.copy()
            assert act.vjp(x, d, out=d) is d
            assert bits(d) == want


@pytest.mark.parametrize("layout", LAYOUTS)
@each_verb
@each_activation
def test_bits_do_not_depend_on_layout(
    act: Activation, verb: str, layout: str, isa: str, rng: np.random.Generator
) -> None:
    arranged = LAYOUTS[layout]
    x, c = draw_activation(rng, (6, 70), np.float32)
    want = bits(COMPUTED[verb](act, x, c))
    y, d = arranged(x), arranged(c)
    assert bits(COMPUTED[verb](act, y, d)) == want
    out = arranged(np.zeros_like(x))
    assert COMPUTED[verb](act, y, d, out=out) is out
    assert bits(out) == want
    assert COMPUTED[verb](act, y, d, out=y) is y
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
        x, c = draw_activation(rng, n, dtype)
        want = bits(COMPUTED[verb](act, x, c))
        y, d, out = guarded(x, at), guarded(c, at), guarded(np.zeros_like(x), at)
        assert bits(COMPUTED[verb](act, y, d, out=out)) == want
        assert bits(COMPUTED[verb](act, y, d, out=y)) == want


@each_verb
@each_dtype
@each_activation
def test_streamed_results_have_the_same_bits(
    act: Activation, dtype: Any, verb: str, isa: str, rng: np.random.Generator
) -> None:
    for n in (1, 15, 16, 37, 1091, 20_001):
        x, c = draw_activation(rng, n, dtype)
        want = bits(COMPUTED[verb](act, x, c))
        for offset in range(64 // dtype.itemsize) if n < 2000 else (0, 1):
            out = at_offset(np.zeros_like(x), offset)
            with streamed_results():
                assert bits(COMPUTED[verb](act, x, c)) == want
                assert bits(COMPUTED[verb](act, x, c, out=out)) == want
                in_place = x.copy()
                assert bits(COMPUTED[verb](act, in_place, c, out=in_place)) == want
            assert_surroundings_kept(out)

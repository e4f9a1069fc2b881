"""Memory of activations: outputs, layouts, guarded and streamed results."""

from __future__ import annotations

from typing import Any

import numpy as np

from lossk.activations import Activation
from tests.support.activations import COMPUTED, draw_activation, each_activation
from tests.support.arrays import bits, each_dtype, in_turn
from tests.support.layouts import LAYOUTS
from tests.support.memory import ENDS, assert_surroundings_kept, at_offset, guarded
from tests.support.streaming import streamed_results


@each_activation
def test_bits_do_not_depend_on_layout(act: Activation, isa: str, rng: np.random.Generator) -> None:
    x, c = draw_activation(rng, (6, 70), np.float32)
    for verb, compute in COMPUTED.items():
        want = bits(compute(act, x, c))
        for layout, arrange in LAYOUTS.items():
            y, d, out = arrange(x), arrange(c), arrange(np.zeros_like(x))
            assert bits(compute(act, y, d)) == want, (verb, layout)
            for into in (out, y):  # elsewhere, and in place
                assert compute(act, y, d, out=into) is into
                assert bits(into) == want, (verb, layout)
            if verb == "vjp":
                assert act.vjp(x, d, out=d) is d
                assert bits(d) == want, layout


@in_turn("at", ENDS)
@each_dtype
@each_activation
def test_activations_stay_inside(act: Activation, dtype: Any, at: str, isa: str, rng: np.random.Generator) -> None:
    for n in (1, 3, 7, 17, 65, 511, 513, 40_001):
        x, c = draw_activation(rng, n, dtype)
        y, d, out = guarded(x, at), guarded(c, at), guarded(x, at)
        for verb, compute in COMPUTED.items():
            want = bits(compute(act, x, c))
            y[...], d[...] = x, c
            assert bits(compute(act, y, d, out=out)) == want, (verb, n)
            assert bits(compute(act, y, d, out=y)) == want, (verb, n)
            if verb == "vjp":
                assert bits(compute(act, x, d, out=d)) == want, n


@each_dtype
@each_activation
def test_streamed_results_have_the_same_bits(act: Activation, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    for verb in COMPUTED:
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

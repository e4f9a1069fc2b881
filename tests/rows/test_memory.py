"""Guarded and streamed memory: options of cross-entropy, row functions, what they pass back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from lossk.row_functions import RowFunction
from tests.support.arrays import Array, bits, each_dtype, in_turn
from tests.support.cases import VERBS, run_verb
from tests.support.memory import ENDS, ODD_SIZES, assert_surroundings_kept, at_offset, guarded
from tests.support.narrow import NARROW
from tests.support.row_functions import draw_with_cotangent, each_function
from tests.support.streaming import streamed_results


@in_turn("at", ENDS)
@each_dtype
def test_options_of_cross_entropy_stay_inside(dtype: Any, at: str, isa: str, rng: np.random.Generator) -> None:
    """Class weights, probabilities, label types, and the statistics' own arrays."""
    for classes in (1, 3, 7, 63, 65, 129, 513, 1025, 16_385):
        rows = 5
        z = guarded(rng.normal(size=(rows, classes)).astype(dtype), at)
        y = guarded(np.full((rows, classes), 1 / classes, dtype), at)
        loss = lossk.CrossEntropy(weight=rng.random(size=classes), label_smoothing=0.1)
        # The loss keeps its weights in arrays of its own: put them where a read past their end shows.
        inside = lossk.CrossEntropy(weight=loss.weight, label_smoothing=0.1)
        object.__setattr__(inside, "_weights", tuple(guarded(w, at) for w in loss._weights or ()))
        object.__setattr__(inside, "_bound", inside._bind())
        for target in (
            y,
            *(guarded(rng.integers(0, min(classes, 100), size=rows).astype(i), at) for i in ("i1", "u2", "i8")),
        ):
            for verb in VERBS:
                got = run_verb(inside, verb, z, target, stats=True)
                want = run_verb(loss, verb, z.copy(), np.array(target), stats=True)
                assert [bits(x) for x in got] == [bits(x) for x in want]


@pytest.mark.parametrize("function", ["CrossEntropy", "softmax", "log_softmax"])
@in_turn("dtype", (np.float32, np.float64, *NARROW))
def test_streamed_long_rows_stay_inside(dtype: Any, function: str, isa: str, rng: np.random.Generator) -> None:
    """Rows of several blocks, whose last one ends before a cache line does, in it, or behind it; and of one block."""
    for classes in (1023, 1025, 1039, 2048, 2049, 2050, 2054, 2063, 2065, 3079, 3100):
        z, labels = rng.normal(size=(5, classes)).astype(dtype), np.array([0, classes - 1, -100, 1, 1024 % classes])

        def call(out: Array | None, z: Array = z, labels: Array = labels) -> Array:
            if function == "CrossEntropy":
                return lossk.CrossEntropy().grad(z, labels, out=out)
            result: Array = getattr(lossk, function)(z, out=out)
            return result

        want = call(None)
        for offset in range(64 // z.itemsize):
            out = at_offset(z, offset)
            with streamed_results():
                call(out)
            assert bits(out) == bits(want), (classes, offset)
            assert_surroundings_kept(out)


@in_turn("at", ENDS)
@each_dtype
def test_results_of_row_functions_stay_inside(dtype: Any, at: str, isa: str, rng: np.random.Generator) -> None:
    for n in (*ODD_SIZES, 16_385):
        for shape in ((3, n), (n, 3)):
            x = guarded(rng.normal(size=shape).astype(dtype), at)
            for function in (lossk.softmax, lossk.log_softmax):
                want = function(x.copy())
                out = guarded(np.zeros_like(x), at)
                assert bits(function(x, out=out)) == bits(want)
                own = guarded(x, at)
                assert bits(function(own, out=own)) == bits(want)
            assert bits(lossk.logsumexp(x)) == bits(lossk.logsumexp(x.copy()))


@in_turn("at", ["start", "end"])
@each_dtype
@each_function
def test_what_row_functions_pass_back_stays_inside(
    function: RowFunction, dtype: Any, at: str, isa: str, rng: np.random.Generator
) -> None:
    for shape in ((1, 1), (3, 7), (7, 65), (2, 513), (2, 16_385)):
        x, c = draw_with_cotangent(function, rng, shape, dtype)
        want = bits(function.vjp(x, c))
        y, d, out = guarded(x, at), guarded(c, at), guarded(np.zeros_like(x), at)
        assert bits(function.vjp(y, d, out=out)) == want
        assert bits(function.vjp(y, d, out=y)) == want

"""Guarded memory: optimizers and clipping touch nothing outside parameters, gradients and state."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import lossk
from lossk.optimizers import OPTIMIZERS
from tests.support.arrays import bits, in_turn
from tests.support.memory import ENDS, ODD_SIZES, guarded
from tests.support.narrow import BF16


@in_turn("at", ENDS)
@in_turn("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_stay_inside(name: str, dtype: str, at: str, isa: str, rng: np.random.Generator) -> None:
    kind = BF16 if dtype == "bfloat16" else np.dtype(dtype)
    options = [OPTIMIZERS[name]._variants[-1]]
    if dtype.endswith("16"):
        options += [{"master_weights": True}, {"stochastic_rounding": 1}]
    for option, n in itertools.product(options, (*ODD_SIZES, 16_385)):
        start, grad = rng.normal(size=n).astype(kind), rng.normal(size=n).astype(kind)
        plain, inside = start.copy(), guarded(start, at)
        ours, theirs = (OPTIMIZERS[name]([p], **option) for p in (inside, plain))
        theirs.step([grad], max_norm=1.0)
        ours.step([guarded(grad, at)], max_norm=1.0)
        ours._state, ours._plan = [[guarded(s, at) for s in own] for own in ours._state], None
        theirs.step([grad], max_norm=1.0)
        ours.step([guarded(grad, at)], max_norm=1.0)
        assert bits(inside) == bits(plain)
        assert [bits(s) for s in ours._state[0]] == [bits(s) for s in theirs._state[0]]
        clipped, clipped_inside = grad.copy(), guarded(grad, at)
        assert lossk.clip_grad_norm([clipped_inside], 0.5) == lossk.clip_grad_norm([clipped], 0.5)
        assert bits(clipped_inside) == bits(clipped)

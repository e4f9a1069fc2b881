"""Properties of SGD that hold for all parameters and gradients (hypothesis)."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import lossk
from tests.support.arrays import Array, bits
from tests.support.properties import pairs


@given(pairs(), st.sampled_from(["torch", "keras"]), st.booleans())
def test_sgd_does_not_care_how_parameters_are_cut(pair: tuple[Array, Array], style: str, nesterov: bool) -> None:
    start, grad = pair
    options: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "style": style, "nesterov": nesterov}
    whole = start.copy()
    cut = len(start) // 3
    parts = [start[:cut].copy(), start[cut:].copy()]
    one, two = lossk.SGD([whole], **options), lossk.SGD(parts, **options)
    for _ in range(3):
        one.step([grad])
        two.step([grad[:cut], grad[cut:]])
    assert bits(whole) == bits(np.concatenate(parts))


@given(pairs(), st.integers(-8, 8), st.sampled_from(["torch", "keras"]))
def test_sgd_is_linear(pair: tuple[Array, Array], power: int, style: str) -> None:
    """Scaling parameter and gradient by a power of two scales the result, to the bit."""
    start, grad = pair
    factor = start.dtype.type(2.0**power)
    plain, scaled = start.copy(), factor * start
    for p, f in ((plain, start.dtype.type(1)), (scaled, factor)):
        sgd = lossk.SGD([p], lr=0.1, momentum=0.9, weight_decay=0.01, style=style)
        for _ in range(3):
            sgd.step([f * grad])
    assert bits(scaled) == bits(factor * plain)

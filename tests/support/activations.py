"""Activations: every variant, what is computed of it, and arrays with a cotangent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lossk.activations import ACTIVATIONS
from tests.support.arrays import Array

ACTIVATIONS_TRIED = [cls(**kwargs) for cls in ACTIVATIONS.values() for kwargs in cls._variants]
each_activation = pytest.mark.parametrize("act", ACTIVATIONS_TRIED, ids=repr)

COMPUTED: dict[str, Callable[..., Array]] = {
    "value": lambda act, x, c, **options: act(x, **options),
    "derivative": lambda act, x, c, **options: act.derivative(x, **options),
    "vjp": lambda act, x, c, **options: act.vjp(x, c, **options),
}


def draw_activation(rng: np.random.Generator, shape: Any, dtype: Any) -> tuple[Array, Array]:
    return rng.normal(scale=3, size=shape).astype(dtype), rng.normal(size=shape).astype(dtype)

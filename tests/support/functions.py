"""Elementary functions of the SIMD layer: which there are, and what numbers they take."""

from __future__ import annotations

import numpy as np
import pytest

from lossk import _core
from tests.support.arrays import Array

# exp_quick has a test of its own: its error is not stated in ULP, as it grows with x.
QUICK = "exp_quick"
FUNCTIONS = tuple(name for name in _core.functions() if name != QUICK)
each_function = pytest.mark.parametrize("name", FUNCTIONS)


def evaluate(name: str, x: Array) -> Array:
    out = np.empty_like(x)
    _core.function(name, x, out)
    return out


# From where to where a function takes numbers, if it does not take all.
DOMAINS = {
    "log1p_positive": (0.0, 2.0**64),
    "log1p_unit": (-0.5, 1.0),
    "log_probability": (0.0, 1.0),
    "log_other_probability": (0.0, 1.0),
}
# Where it gives anything below -100, as binary cross-entropy goes no further.
FAR_BELOW = {"log_probability": (0.0, -0.0), "log_other_probability": (1.0,)}

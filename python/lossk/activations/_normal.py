"""The logistic and the normal distribution function in float64, for references."""

from __future__ import annotations

import math

import numpy as np

from ._base import Float64

# The square root of 1/2: 29 bits, whose products with float32 are exact, and the rest.
ROOT_HALF = (float.fromhex("0x1.6a09e66p-1"), float.fromhex("0x1.fcef32422cbecp-31"))
_erfc = np.frompyfunc(math.erfc, 1, 1)


def logistic(x: Float64) -> Float64:
    """Return ``1 / (1 + exp(-x))``."""
    small = np.exp(-np.abs(x))
    value: Float64 = np.where(x < 0, small, 1.0) / (1 + small)
    return value


def normal_cdf(x: Float64) -> Float64:
    """Return the probability that a standard normal number is below `x`, as accurate in its left tail."""
    inside = np.clip(x, -40.0, 40.0)
    scaled = -inside * math.sqrt(0.5)
    # What the product has lost, which the tail would magnify: its derivative takes it in.
    upper = (inside.astype(np.float32)).astype(np.float64)
    lost = (-upper * ROOT_HALF[0] - scaled) - (inside - upper) * ROOT_HALF[0] - inside * ROOT_HALF[1]
    correction = lost * (2 / math.sqrt(math.pi)) * np.exp(-scaled * scaled)
    tail: Float64 = (np.asarray(_erfc(scaled), np.float64) - correction) / 2
    return tail

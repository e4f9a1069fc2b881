"""Linear layers: drawn ones, losses of an option, closeness, plans by windows of classes."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

import lossk
from tests.support.arrays import Array

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
NARROW = (BFLOAT16, np.dtype(np.float16))
MB = 1 << 20


def problem(rng: np.random.Generator, rows: int, features: int, classes: int, dtype: Any) -> tuple[Array, ...]:
    x, w = rng.normal(size=(rows, features)).astype(dtype), (rng.normal(size=(classes, features)) / 4).astype(dtype)
    target = rng.integers(0, classes, rows)
    target[:: max(2, rows // 5)] = -100
    return x, w, target, rng.normal(size=classes).astype(dtype)


def loss_of(options: dict[str, Any], classes: int, rng: np.random.Generator, **more: Any) -> lossk.LinearCrossEntropy:
    given = {**options, "weight": rng.uniform(0.5, 2, classes)} if "weight" in options else options
    return lossk.LinearCrossEntropy(**given, **more)


def of_dz(x: Array) -> float:
    """Return the relative error of dz of bf16: rounded to it, or made of exponentials that 16 bits kept."""
    if x.dtype != BFLOAT16:
        return 0.0
    return 2.0**-11 if lossk._core.linear_unit(x, 3) == "FMA" else 2.0**-8


def close(got: Any, want: Any, dtype: Any, what: str) -> None:
    tolerance = 1e-11 if dtype == np.float64 else 3e-5
    scale = max(1e-3, float(np.abs(want).max(initial=0)))
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * scale, equal_nan=True, err_msg=what)


def draw_layer(
    rng: np.random.Generator, rows: int, features: int, classes: int, dtype: Any = np.float32
) -> tuple[Array, ...]:
    x = rng.normal(size=(rows, features)).astype(dtype)
    return x, (rng.normal(size=(classes, features)) / features**0.5).astype(dtype), rng.integers(0, classes, rows)


def root_mean_square(error: Array, size: Array) -> float:
    """Return the root mean square of errors, relative to that of what they are errors of."""
    return float(np.sqrt(np.mean(error.astype(np.float64) ** 2) / np.mean(size.astype(np.float64) ** 2)))

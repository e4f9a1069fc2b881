"""What tests of softmax rows share: class counts, drawn labels and probabilities, the log of a sum of exponentials."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import Array

IGNORED = -100

# Around few_classes (64), row_block (1024) and row_chunk (16384).
FEW = (1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 31, 32, 33, 63, 64)
MANY = (65, 66, 100, 127, 128, 129, 511, 512, 513, 1000, 1023, 1024, 1025, 1537, 5003)
HUGE = (16383, 16384, 16385, 33000, 50257)

# Few classes; many; several blocks; several chunks. In all of them classes 0, 1 and 2 exist.
SPECIAL_CLASSES = (3, 17, 64, 65, 700, 17_000)
each_count = pytest.mark.parametrize("classes", SPECIAL_CLASSES)


def rows_for(classes: int) -> int:
    """So many rows that registers of rows are full, partly full and several, yet the whole is quick."""
    return 37 if classes <= 129 else 5 if classes <= 5003 else 2


def draw_labels(rng: np.random.Generator, rows: tuple[int, ...], classes: int, ignored: float = 0.2) -> Array:
    """Draw labels, a share of them ignored, but never all."""
    t = rng.integers(0, classes, size=rows)
    t[rng.random(size=rows) < ignored] = IGNORED
    t.reshape(-1)[0] = 0
    return t


def draw_probabilities(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """Draw rows that sum to 1, with exact zeros."""
    y = rng.exponential(size=shape) * (rng.random(size=shape) < 0.7)
    y[..., 0] += 0.1
    return (y / y.sum(axis=-1, keepdims=True)).astype(dtype)


def log_sum_exp(z: Array) -> Array:
    z = z.astype(np.float64)
    largest = z.max(axis=-1, keepdims=True)
    result: Array = (largest + np.log(np.exp(z - largest).sum(axis=-1, keepdims=True)))[..., 0]
    return result

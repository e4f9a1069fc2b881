"""Rows of logits: numbers of classes, drawn labels and probabilities, the log of a sum of exponentials."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import Array
from tests.support.cases import Batch

IGNORED = -100

# Classes of short rows (up to 64), of long rows around blocks (1024), and of rows around chunks (16384).
SHORT = (1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 31, 32, 33, 63, 64)
LONG = (65, 66, 100, 127, 128, 129, 511, 512, 513, 1000, 1023, 1024, 1025, 1537, 5003)
VERY_LONG = (16383, 16384, 16385, 33000, 50257)

# Short rows; long ones; several blocks; several chunks. In all of them classes 0, 1 and 2 exist.
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


def softmax64(x: Array) -> Array:
    """In float64, over the last axis."""
    result: Array = np.exp(x.astype(np.float64) - log_sum_exp(x)[..., None])
    return result


LABELLED: list[tuple[str, dict[str, Any]]] = [
    ("NLL", {}),
    ("NLL", {"ignore_index": 2}),
    ("MultiMargin", {}),
    ("MultiMargin", {"p": 2, "margin": 0.25}),
]
each_labelled = pytest.mark.parametrize(("name", "kwargs"), LABELLED, ids=str)


def draw_rows(name: str, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Batch:
    z, t = getattr(lossk, name)._draw(rng, shape, dtype)
    return Batch(z, t, rng.uniform(0.25, 2.0, size=shape[:-1]).astype(dtype))


LOGITS = np.random.default_rng(0).normal(size=(3, 4))

LABEL_LOSSES = (lossk.CrossEntropy(), lossk.NLL(), lossk.MultiMargin())


def rows_around(row: Array, dtype: Any, rng: np.random.Generator) -> tuple[Array, Array]:
    """The row among ordinary ones, so that a value that leaks into its neighbours shows. Row 1 is the special one."""
    z = rng.normal(size=(3, row.size)).astype(dtype)
    z[1] = row
    return z, np.zeros(3, int)


def run_rows(loss: lossk.CrossEntropy, z: Array, t: Array) -> tuple[Array, Array]:
    """Per-row losses and gradients; the neighbours must be what they are on their own."""
    value, grad = loss.value_and_grad(z, t, reduction="none")
    own_value, own_grad = loss.value_and_grad(z[[0, 2]], t[[0, 2]], reduction="none")
    np.testing.assert_allclose(value[[0, 2]], own_value, rtol=1e-6)
    np.testing.assert_allclose(grad[[0, 2]], own_grad, rtol=1e-5, atol=1e-7)
    in_place = z.copy()
    value_again, _ = loss.value_and_grad(in_place, t, reduction="none", out=in_place)
    np.testing.assert_array_equal(value_again, value)
    np.testing.assert_array_equal(in_place, grad)
    return value, grad

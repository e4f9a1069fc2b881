"""Strategies of hypothesis: logits and labels, pairs of arrays, batches of any loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from tests.support.arrays import DTYPES, Array
from tests.support.cases import Case, draw

settings.register_profile("lossk", deadline=None, derandomize=True, database=None, print_blob=True, max_examples=60)
settings.load_profile("lossk")

seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(DTYPES)
lengths = st.one_of(st.integers(1, 40), st.integers(1, 1100))
classes = st.one_of(st.integers(2, 20), st.integers(60, 70), st.integers(2, 1100))
row_counts = st.integers(1, 40)


@st.composite
def logits_and_labels(draw_: Any) -> tuple[Array, Array]:
    """Logits on a grid of sixteenths, so that sums with whole numbers are exact, and labels."""
    rng = np.random.default_rng(draw_(seeds))
    rows, count = draw_(row_counts), draw_(classes)
    z = rng.integers(-200, 201, size=(rows, count)) / 16
    return z.astype(draw_(dtypes)), rng.integers(0, count, size=rows)


@st.composite
def pairs(draw_: Any) -> tuple[Array, Array]:
    """Predictions and targets of one shape."""
    rng = np.random.default_rng(draw_(seeds))
    n, dtype = draw_(lengths), draw_(dtypes)
    scale = draw_(st.sampled_from([1e-3, 1.0, 100.0]))
    return (rng.normal(size=n) * scale).astype(dtype), (rng.normal(size=n) * scale).astype(dtype)


def eps(a: Array) -> float:
    return float(np.finfo(a.dtype).eps)


@st.composite
def problems(draw_: Any, case: Case) -> tuple[Any, Array, Array, np.random.Generator]:
    rng = np.random.default_rng(draw_(seeds))
    shape = (draw_(lengths),) if case.pointwise else (draw_(row_counts), draw_(classes))
    batch = draw(case, rng, shape, draw_(dtypes))
    return case.make(), batch.z, batch.target, rng


def counted(case: Case, loss: Any, z: Array, target: Array) -> Array:
    """Samples that count: labels that are not ignored."""
    ignored = getattr(loss, "ignore_index", None)
    return (
        np.ones(case.sample_shape(z.shape), bool) if ignored is None or target.dtype.kind != "i" else target != ignored
    )

"""Types of 16 bits: batches of them, and how far apart two of their numbers are."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from tests.support.arrays import Array, in_turn
from tests.support.cases import Case, draw

NARROW = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))

each_narrow = in_turn("dtype", NARROW)


def steps_apart(got: Array, want: NDArray[np.float64]) -> int:
    """How many numbers of got's type the two are apart at most; NaN must meet NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = want.astype(np.float32).astype(got.dtype)
    assert np.array_equal(np.isnan(got), np.isnan(rounded))
    a, b = (np.where(np.isnan(got), 0, x.view(np.int16).astype(np.int64)) for x in (got, rounded))
    a, b = (np.where(x < 0, -(2**15) - x, x) for x in (a, b))
    return int(np.abs(a - b).max(initial=0))


def narrow_batch(case: Case, rng: np.random.Generator, n: int, dtype: Any, weighted: bool) -> Any:
    shape = (n,) if case.pointwise else (3, n)
    batch = draw(case, rng, shape, np.float32, weighted)
    target = batch.target if batch.target.dtype.kind in "iu" else batch.target.astype(dtype)
    return batch.z.astype(dtype), target, batch.weight


F16, BF16 = np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)

F16, BF16 = np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)

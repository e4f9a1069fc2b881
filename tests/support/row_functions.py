"""softmax, log_softmax, logsumexp: the functions, and rows with a cotangent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from lossk.row_functions import RowFunction
from tests.support.arrays import Array

FUNCTIONS = (lossk.softmax, lossk.log_softmax, lossk.logsumexp)
each_function = pytest.mark.parametrize("function", FUNCTIONS, ids=repr)


def draw_with_cotangent(
    function: RowFunction, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any
) -> tuple[Array, Array]:
    x = rng.normal(scale=2, size=shape).astype(dtype)
    return x, np.asarray(rng.normal(size=function(x).shape)).astype(dtype)

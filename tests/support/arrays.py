"""Arrays in tests: their types, their bytes, combinations of choices."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Array = NDArray[Any]

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def bits(a: Any) -> bytes:
    """The bytes of an array or a number, to compare to the bit."""
    return np.ascontiguousarray(np.asarray(a)).tobytes()


def product(**choices: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    """All combinations of the choices, as dicts."""
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


INF, NAN = np.inf, np.nan

INF, NAN = np.inf, np.nan

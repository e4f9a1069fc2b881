"""Entries of a state dict, checked as they are taken out of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._arrays import Array, is_integer


def take(state: dict[str, Any], name: str) -> Any:
    """Take an entry that must be there."""
    if name not in state:
        raise ValueError(f"state: got no entry {name!r}")
    return state.pop(name)


def number(value: Any) -> Any:
    """Return a number out of the 0-dimensional array that ``numpy.load`` made of it."""
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value


def step_count(name: str, state: dict[str, Any]) -> int:
    """Take a number of steps."""
    n = number(take(state, name))
    if not is_integer(n) or not 0 <= n < 2**63 - 1:
        raise ValueError(f"state[{name!r}]: got {n!r}, wanted a number of steps")
    return int(n)


def take_arrays(
    state: dict[str, Any],
    slots: Sequence[str],
    labels: Sequence[str],
    wanted: Sequence[tuple[tuple[int, ...], np.dtype[Any]]],
    has_stepped: bool,
) -> list[list[Array]]:
    """Take copies of all arrays of state; none where there was no step yet and the dict has none."""
    names = [[f"{slot}.{label}" for slot in slots] for label in labels]
    if not has_stepped and not any(name in state for own in names for name in own):
        return []
    arrays = [[np.array(take(state, name), order="C") for name in own] for own in names]
    for own_names, own, (shape, dtype) in zip(names, arrays, wanted, strict=True):
        for name, array in zip(own_names, own, strict=True):
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"state[{name!r}]: got {array.dtype} of shape {array.shape}, wanted {dtype} of shape {shape}"
                )
    return arrays

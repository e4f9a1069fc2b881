"""The reduction, which arguments of older versions of torch override."""

from __future__ import annotations

import torch
from torch.nn import _reduction as legacy


def chosen(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """Return the reduction, which `size_average` and `reduce` override."""
    if size_average is None and reduce is None:
        return reduction
    if torch.compiler.is_compiling():  # which does not put functions that return no tensor into a graph
        mean, reduced = size_average is None or size_average, reduce is None or reduce
        return "none" if not reduced else "mean" if mean else "sum"
    return str(legacy.legacy_get_string(size_average, reduce))

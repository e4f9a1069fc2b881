"""Says which calls went to torch, and why."""

from __future__ import annotations

import logging
from typing import Any

import torch

_log = logging.getLogger("lossk.torch")
_counts: dict[str, int] = {}


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # compilers call it while they trace
def stand_aside(name: str, why: str, detail: Any = None) -> None:
    """Count and log a call that torch computes; `why` is one of a few sentences, `detail` goes to the log alone."""
    key = f"{name}: {why}"
    _counts[key] = _counts.get(key, 0) + 1
    _log.debug(key if detail is None else f"{key} ({detail})")


def explain(*, reset: bool = False) -> dict[str, int]:
    """Return how many calls of lossk.torch were torch's to compute, by function and reason.

    The logger ``lossk.torch`` says the same at level DEBUG, call by call. Of compiled functions each is counted once,
    when it is traced.

    Parameters
    ----------
    reset : bool
        Count from 0 again.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> _ = lossk.torch.explain(reset=True)
    >>> loss = lossk.torch.mse_loss(torch.ones(3), torch.zeros(3, dtype=torch.float64))
    >>> lossk.torch.explain()
    {'mse_loss: types or shapes that do not go together without conversion, or a reduction of torch alone': 1}
    """
    counts = dict(_counts)
    if reset:
        _counts.clear()
    return counts

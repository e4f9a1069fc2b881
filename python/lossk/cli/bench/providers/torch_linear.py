"""PyTorch's cross-entropy of a linear layer: all logits at once, and in chunks of as many rows as are fastest."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from lossk.cli.bench.cases import Case
from lossk.cli.bench.inputs import Inputs
from lossk.cli.bench.memory import refuse_beyond_memory
from lossk.cli.bench.providers import Outcome, Runner
from lossk.cli.bench.providers.torch_tensors import tensor, to_numpy

Loss = Callable[..., Any]

LOGITS_HELD = 3  # arrays of logits' size that torch holds in forward and backward
CHUNKS = (128, 256, 512)  # rows of a chunk that are tried
LONGEST = 60.0  # seconds of a call that is measured; without instructions for 16 bits torch takes minutes


def build_plain(case: Case, inputs: Inputs) -> Runner:
    """Build the call with all logits at once. Raises MemoryError or TimeoutError where that is too much."""
    rows, _, classes = case.shape
    refuse_beyond_memory(LOGITS_HELD * rows * classes * inputs.z.itemsize, "the logits")
    _refuse_beyond_time(_seconds(_plain, inputs, max(1, rows // 32)))
    return _runner(_plain, inputs)


def build_chunked(inputs: Inputs) -> Runner | None:
    """Build the call in chunks, where this torch has it; the best size is found on the rows of the largest chunk."""
    if not hasattr(torch.nn, "LinearCrossEntropyOptions"):
        return None
    rows = min(len(inputs.z), max(CHUNKS))
    tried = {size: _seconds(partial(_chunked, min(size, rows)), inputs, rows) for size in CHUNKS}
    best = min(tried, key=tried.__getitem__)
    _refuse_beyond_time(tried[best])
    return _runner(partial(_chunked, min(best, rows)), inputs)


def _plain(x: Any, w: Any, y: Any) -> Any:
    return functional.cross_entropy(functional.linear(x, w), y)


def _chunked(rows: int, x: Any, w: Any, y: Any) -> Any:
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=rows)
    return functional.linear_cross_entropy(x, w, y, options=options)


def _runner(loss: Loss, inputs: Inputs) -> Runner:
    """Compute ``loss(x, w, labels)`` and the gradients of both factors by autograd."""
    x, w, y = tensor(inputs.z).requires_grad_(), tensor(inputs.more[0]).requires_grad_(), tensor(inputs.y)

    def call() -> Any:
        x.grad = w.grad = None
        value = loss(x, w, y)
        value.backward()
        return value.item(), x.grad, w.grad

    return Runner(call, lambda r: Outcome(r[0], (to_numpy(r[1]), to_numpy(r[2]))))


def _seconds(loss: Loss, inputs: Inputs, rows: int) -> float:
    """Estimate the seconds of a call from one on the first rows."""
    part = _runner(loss, replace(inputs, z=inputs.z[:rows], y=inputs.y[:rows]))
    part.call()  # what only the first call does
    start = time.perf_counter()
    part.call()
    return (time.perf_counter() - start) * len(inputs.z) / rows


def _refuse_beyond_time(seconds: float) -> None:
    if seconds > LONGEST:
        raise TimeoutError(f"takes about {seconds:.0f} s a call, and {LONGEST:.0f} s are waited for")

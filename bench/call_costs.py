"""Where results go, measured: the table of docs/speed.md, of one first call and medians of interleaved ones."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import lossk


def medians(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds of each call."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def places_of_results(rng: np.random.Generator) -> None:
    """Time the first result of its size, which needs new pages, and later ones, which use those of dropped results."""
    table = Table("loss", "of", "first call", "new result", "out=", "in place")
    for loss, shape in ((lossk.Huber(), (1 << 24,)), (lossk.CrossEntropy(), (1024, 32_000))):
        z = rng.standard_normal(shape, dtype=np.float32)
        y = np.zeros_like(z) if len(shape) == 1 else rng.integers(0, shape[1], shape[0])
        out, own = np.empty_like(z), z.copy()
        call = partial(loss.value_and_grad, reduction="sum")  # a gradient of the size of its input: so in place, too
        call(z, y, out=out)
        start = time.perf_counter()
        call(z, y)
        first = time.perf_counter() - start
        calls: dict[str, Callable[[], Any]] = {
            "new result": partial(call, z, y),
            "out=": partial(call, z, y, out=out),
            "in place": partial(call, own, y, out=own),
        }
        took = [first, *medians(calls, rounds=15).values()]
        what = type(loss).__name__, " x ".join(f"{n:,}" for n in shape)
        table.add_row(*what, *(f"{seconds * 1e3:.1f} ms" for seconds in took))
    Console().print(table)


if __name__ == "__main__":
    places_of_results(np.random.default_rng(0))

"""What a caller can choose, measured: where results go, and from which size on a second thread pays.

Prints the two tables of docs/speed.md: one first call, and medians of calls that are interleaved.
"""

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

Call = Callable[[], Any]
console = Console(width=110)


def medians(calls: dict[str, Call], rounds: int, repeat: int = 1) -> dict[str, float]:
    """Seconds of each call."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(repeat):
                call()
            seconds[name].append((time.perf_counter() - start) / repeat)
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
        calls: dict[str, Call] = {
            "new result": partial(call, z, y),
            "out=": partial(call, z, y, out=out),
            "in place": partial(call, own, y, out=own),
        }
        took = [first, *medians(calls, rounds=15).values()]
        table.add_row(
            type(loss).__name__, " x ".join(map(str, shape)), *(f"{seconds * 1e3:.1f} ms" for seconds in took)
        )
    console.print(table)


def threads_by_size(rng: np.random.Generator) -> None:
    """Time calls around 49,152 elements, below which they stay on their thread, whatever num_threads says."""
    table = Table("loss", "elements", "one thread", "as many as pay")
    for loss in (lossk.Huber(), lossk.LogCosh()):
        for size in (16_384, 32_768, 49_151, 49_152, 65_536, 131_072):
            z, y = rng.standard_normal((2, size), dtype=np.float32)
            out = np.empty_like(z)

            call = partial(loss.value_and_grad, z, y, out=out)
            took = medians({"one": partial(call, num_threads=1), "choice": call}, rounds=101, repeat=10)
            table.add_row(type(loss).__name__, f"{size:,}", *(f"{seconds * 1e6:.1f} us" for seconds in took.values()))
    console.print(table)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    places_of_results(rng)
    threads_by_size(rng)

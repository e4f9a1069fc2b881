"""What a caller can choose, measured: where results go, and from which size on a second thread pays.

Prints the two tables of docs/speed.md. Calls of a row are interleaved, and medians are shown.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
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
    """Results that stay alive need new pages in each call; pages of dropped ones are used again."""
    table = Table("loss", "of", "kept results", "dropped results", "out=", "in place")
    for loss, shape in ((lossk.Huber(), (1 << 24,)), (lossk.CrossEntropy(), (1024, 32_000))):
        z = rng.standard_normal(shape, dtype=np.float32)
        y = np.zeros_like(z) if len(shape) == 1 else rng.integers(0, shape[1], shape[0])
        out, own, held = np.empty_like(z), z.copy(), list[Any]()

        def keep(loss: Any = loss, z: Any = z, y: Any = y, held: list[Any] = held) -> None:
            held.append(loss.value_and_grad(z, y))

        calls = {
            "kept results": keep,
            "dropped results": lambda loss=loss, z=z, y=y: loss.value_and_grad(z, y),
            "out=": lambda loss=loss, z=z, y=y, out=out: loss.value_and_grad(z, y, out=out),
            "in place": lambda loss=loss, y=y, own=own: loss.value_and_grad(own, y, out=own),
        }
        took = medians(calls, rounds=15)
        table.add_row(type(loss).__name__, " x ".join(map(str, shape)), *(f"{took[c] * 1e3:.1f} ms" for c in calls))
    console.print(table)


def threads_by_size(rng: np.random.Generator) -> None:
    """Below 49,152 elements a call stays on its thread, whatever num_threads says."""
    table = Table("loss", "elements", "one thread", "as many as pay")
    for loss in (lossk.Huber(), lossk.LogCosh()):
        for size in (16_384, 32_768, 49_151, 49_152, 65_536, 131_072):
            z, y = rng.standard_normal((2, size), dtype=np.float32)
            out = np.empty_like(z)

            def call(threads: int | None, loss: Any = loss, z: Any = z, y: Any = y, out: Any = out) -> Any:
                return loss.value_and_grad(z, y, out=out, num_threads=threads)

            took = medians({"one": lambda call=call: call(1), "choice": lambda call=call: call(None)}, 101, repeat=10)
            table.add_row(type(loss).__name__, f"{size:,}", *(f"{seconds * 1e6:.1f} us" for seconds in took.values()))
    console.print(table)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    places_of_results(rng)
    threads_by_size(rng)

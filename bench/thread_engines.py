"""OpenMP's threads against the team's: ``python bench/thread_engines.py [ROUNDS]`` prints one table.

A process an engine, asked in turn, so that the machine's moods meet all alike. Each call is timed alone, after a step
of PyTorch and after a matrix product of NumPy's BLAS, whose threads may still be awake.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

ENGINES = ("auto", "openmp", "team")
BEFORE = ("alone", "torch", "BLAS")
CALLS = 20  # of a measurement, of which the median counts


def calls() -> dict[str, Callable[[], object]]:
    """Return what is timed."""
    import lossk

    rng = np.random.default_rng(0)
    z = rng.normal(size=(1024, 32_000)).astype(np.float32)
    labels = rng.integers(0, z.shape[1], len(z))
    found: dict[str, Callable[[], object]] = {
        "cross-entropy 1,024 x 32,000 in place": partial(lossk.CrossEntropy().value_and_grad, z, labels, out=z)
    }
    for power in (24, 17):
        x = rng.normal(size=1 << power).astype(np.float32)
        run = partial(lossk.Huber().value_and_grad, x, np.zeros_like(x), out=np.empty_like(x))
        found[f"Huber 2^{power} out="] = run
    params, grads = ([np.ones(10_000, np.float32) for _ in range(100)] for _ in range(2))
    found["SGD 100 x 10,000"] = partial(lossk.SGD(params, lr=1e-6, momentum=0.9).step, grads)
    return found


def workloads() -> dict[str, Callable[[], object]]:
    """Return what is done before each call."""
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(256, 1024), torch.nn.ReLU(), torch.nn.Linear(1024, 10))
    x = torch.randn(256, 256)
    a = np.ones((512, 512), np.float32)
    return {"alone": lambda: None, "torch": lambda: model(x).sum().backward(), "BLAS": partial(np.matmul, a, a)}


def serve() -> None:
    """Answer lines of "call, tab, workload" by seconds."""
    timed, before = calls(), workloads()
    for line in sys.stdin:
        call, workload = line.rstrip("\n").split("\t")
        seconds = []
        for _ in range(CALLS):
            before[workload]()
            start = time.perf_counter()
            timed[call]()
            seconds.append(time.perf_counter() - start)
        print(statistics.median(seconds), flush=True)


def measure(rounds: int) -> Iterator[tuple[str, str, str, float]]:
    """Yield (call, workload, engine, seconds). Rounds shuffle pairs of call and workload, and a pair's engines."""
    hidden = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    workers = {
        engine: subprocess.Popen(
            [sys.executable, __file__, "serve"],
            env={**environment, "LOSSK_THREADS_BY": engine},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for engine in ENGINES
    }
    rows = [(call, workload) for call in calls() for workload in BEFORE]
    for _ in track(range(rounds), console=Console(stderr=True)):
        for call, workload in random.sample(rows, len(rows)):
            for engine in random.sample(ENGINES, len(ENGINES)):
                worker = workers[engine]
                assert worker.stdin is not None
                assert worker.stdout is not None
                print(f"{call}\t{workload}", file=worker.stdin, flush=True)
                yield call, workload, engine, float(worker.stdout.readline())
    for worker in workers.values():
        worker.communicate()


def main() -> None:
    """Command line."""
    if sys.argv[1:] == ["serve"]:
        serve()
        return
    rounds = int(sys.argv[1]) if sys.argv[1:] else 9
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for call, workload, engine, seconds in measure(rounds):
        found.setdefault((call, workload), {}).setdefault(engine, []).append(seconds)
    table = Table("call", "after", *(f"{engine}, us" for engine in ENGINES), "auto / best")
    for (call, workload), by_engine in found.items():
        medians = {engine: statistics.median(by_engine[engine]) for engine in ENGINES}
        best = min(medians, key=medians.__getitem__)
        ratio = statistics.median(a / b for a, b in zip(by_engine["auto"], by_engine[best], strict=True))
        table.add_row(call, workload, *(f"{1e6 * medians[engine]:,.0f}" for engine in ENGINES), f"{ratio:.2f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()

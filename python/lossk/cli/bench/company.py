"""lossk beside others in one process: ``python -m lossk.cli.bench.company``.

A companion (a training step of torch, or a product of NumPy's BLAS) works between lossk's calls, as in a training
loop. Each of its thread pools may still be spinning when lossk's starts, and lossk's when the companion's does.
Situations are timed in the same rounds, in random order: call after call ("alone"), each call after a sleep as long as
the companion works ("rested"), each call after the companion's work ("company"); and the companion without lossk. The
bandwidth twin of each case is timed alone and in company as well: what the companion does to memory and caches.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from statistics import mean, median
from typing import Any

import numpy as np

import lossk
from lossk.cli.bench.cases import IN_PLACE, OUT, Case
from lossk.cli.bench.child import options_of_child
from lossk.cli.bench.inputs import make_inputs
from lossk.cli.bench.providers import Runner
from lossk.cli.bench.providers.lossk_ import build, build_twin

CALLS = 8  # of one measurement
WARM = 2  # calls before it, in the same situation
QUIET = 0.02  # seconds in which all pools fall asleep

CASES: tuple[tuple[Case, str], ...] = (
    (Case("CrossEntropy", "value+grad", (1024, 32000)), IN_PLACE),
    (Case("Huber", "value+grad", (1 << 24,)), OUT),
    (Case("SGD", "step", (1, 1 << 24)), "step"),
    # Those fit into the last cache, from where a rest of some milliseconds drives them on a shared machine.
    (Case("Huber", "value+grad", (1 << 20,)), OUT),
    (Case("SGD", "step", (100, 10_000)), "step"),
)
BATCH, WIDTH = 256, 512  # of the companions: a few megabytes, so that lossk's data stays in the cache it was in


def torch_step(threads: int) -> Callable[[], Any]:
    """Return a step of a small network: two products, a rectifier, autograd."""
    import torch

    torch.set_num_threads(threads)
    model = torch.nn.Sequential(torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, WIDTH))
    x = torch.randn(BATCH, WIDTH)

    def step() -> None:
        model.zero_grad()
        model(x).square().mean().backward()

    return step


def numpy_product(threads: int) -> Callable[[], Any]:
    """Return a product of two matrices; the threads are the environment's."""
    a, b = np.ones((WIDTH, WIDTH), np.float32), np.ones((WIDTH, WIDTH), np.float32)
    return partial(np.matmul, a, b, out=np.empty_like(a))


COMPANIONS: dict[str, Callable[[int], Callable[[], Any]]] = {"torch": torch_step, "numpy": numpy_product}


def measure(runner: Runner, between: Callable[[], Any] | None = None) -> tuple[float, float]:
    """Mean seconds of a call, and of what works between the calls."""
    taken, others = [], []
    for _ in range(WARM + CALLS):
        if runner.prepare is not None:
            runner.prepare()
        start = time.perf_counter()
        if between is not None:
            between()
        middle = time.perf_counter()
        runner.call()
        taken.append(time.perf_counter() - middle)
        others.append(middle - start)
    return mean(taken[WARM:]), mean(others[WARM:])


def accompany(case: Case, mode: str, name: str, threads: int, rounds: int, seed: int) -> dict[str, Any]:
    """Measure one case with one companion."""
    runner, companion = build(case, mode, make_inputs(case, seed), threads), COMPANIONS[name](threads)
    assert runner is not None, "lossk offers its own cases"
    twins = [build_twin(twin, case.nbytes_moved(mode), threads) for twin in case.twins(mode)]
    limit, pause = min(twins, key=lambda twin: _duration(twin.call)), _duration(companion)
    situations: dict[str, Callable[[], tuple[float, float]]] = {
        "alone": partial(measure, runner),
        "rested": partial(measure, runner, partial(time.sleep, pause)),
        "company": partial(measure, runner, companion),
        "companion alone": partial(measure, Runner(companion)),
        "twin alone": partial(measure, limit),
        "twin in company": partial(measure, limit, companion),
    }
    seconds: dict[str, list[float]] = {situation: [] for situation in (*situations, "companion")}
    order = random.Random(f"{seed} {case.name} {name}")
    for _ in range(rounds):
        for situation in order.sample(list(situations), len(situations)):
            time.sleep(QUIET)
            own, other = situations[situation]()
            seconds[situation].append(own)
            if situation == "company":
                seconds["companion"].append(other)
    return {"case": case.name, "mode": mode, "companion": name, "threads": threads, "seconds": seconds}


def _duration(companion: Callable[[], Any], times: int = 5) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        companion()
        taken.append(time.perf_counter() - start)
    return median(taken)


def companions() -> Sequence[str]:
    """Return the companions that are installed."""
    return [name for name in COMPANIONS if find_spec(name) is not None]


def main() -> None:
    """Entry point of the process."""
    options = options_of_child()
    threads, rounds, seed = options["threads"], options["rounds"], options["seed"]
    lossk.set_num_threads(threads)
    found = [accompany(case, mode, name, threads, rounds, seed) for name in companions() for case, mode in CASES]
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""lossk with a co-running workload: ``pytest bench/test_co_running.py``.

A step of torch, or a product of NumPy's BLAS, works between lossk's calls, as in a training loop; their threads may
still spin when lossk's start. A call may take 1.25 times what it takes alone, or what becomes of its bandwidth twin:
what the workload does to memory and caches, no kernel can help. An idle gap as long as the workload's step, in
`extra_info`, shows what sleeping threads and cold caches cost by themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from interleaved import Timed, interleaved, lossk_runner
from pytest_benchmark.fixture import BenchmarkFixture

import lossk
from lossk.cli.bench.cases import IN_PLACE, OUT, Case
from lossk.cli.bench.kernels import Runner, build_twin
from lossk.cli.bench.run import median_ratio

CALLS = 8  # of a measurement, after two that are not timed
CONTENTION = 1.25  # how many times longer than alone a call may take
BATCH, WIDTH = 256, 512  # of the workloads: a few megabytes, so that lossk's data stays in the cache it was in
THREADS = lossk.get_num_threads()
CASES = [
    (Case("CrossEntropy", "value+grad", (1024, 32000)), IN_PLACE),
    (Case("Huber", "value+grad", (1 << 24,)), OUT),
    (Case("SGD", "step", (1, 1 << 24)), "step"),
    (Case("Huber", "value+grad", (1 << 20,)), OUT),  # it fits into the last cache, as the next one
    (Case("SGD", "step", (100, 10_000)), "step"),
]


def torch_step() -> Callable[[], Any]:
    """Return a step of a small network: two products, a rectifier, autograd."""
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, WIDTH))
    x = torch.randn(BATCH, WIDTH)

    def step() -> None:
        model.zero_grad()
        model(x).square().mean().backward()

    return step


def numpy_product() -> Callable[[], Any]:
    """Return a product of two matrices."""
    a = np.ones((WIDTH, WIDTH), np.float32)
    return partial(np.matmul, a, a, out=np.empty_like(a))


def _between(runner: Runner, workload: Callable[[], Any]) -> float:
    """Mean seconds of a call, with a workload before each."""
    taken = []
    for _ in range(CALLS + 2):
        workload()
        if runner.prepare is not None:
            runner.prepare()
        start = time.perf_counter()
        runner.call()
        taken.append(time.perf_counter() - start)
    return fmean(taken[2:])


@pytest.mark.parametrize("make", [torch_step, numpy_product])
@pytest.mark.parametrize(("case", "mode"), CASES, ids=lambda part: part if isinstance(part, str) else part.name)
def test_contention(benchmark: BenchmarkFixture, case: Case, mode: str, make: Callable[[], Callable[[], Any]]) -> None:
    """Take at most 1.25 times as long as alone, beyond what becomes of the twin."""
    runner, workload = lossk_runner(case, mode, THREADS), make()
    twins = [build_twin(twin, case.nbytes_moved(mode), THREADS) for twin in case.twins(mode)]
    twin = min(twins, key=lambda twin: _between(twin, lambda: None))
    pause = _between(Runner(workload), lambda: None)
    others: dict[str, Timed] = {
        "co-running": partial(_between, runner, workload),
        "idle gap": partial(_between, runner, partial(time.sleep, pause)),
        "twin alone": partial(_between, twin, lambda: None),
        "twin co-running": partial(_between, twin, workload),
    }
    own, seconds = interleaved(benchmark, runner, others)
    ratio = median_ratio(seconds["co-running"], own)
    memory = median_ratio(seconds["twin co-running"], seconds["twin alone"])
    benchmark.extra_info.update(contention=ratio, twin=memory, idle_gap=median_ratio(seconds["idle gap"], own))
    assert ratio <= CONTENTION * max(1, memory)

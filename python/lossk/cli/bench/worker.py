"""A process per peer family, because two pools of threads in one process disturb each other.

While one process measures, the others sleep in a read. All have the same thread count; what has no setting for it, such
as JAX, would be pinned to as many cores.
"""

from __future__ import annotations

import gc
import os
import runpy
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from timeit import Timer
from typing import Any

from lossk.cli.bench import kernels, peers
from lossk.cli.bench.cases import Case
from lossk.cli.bench.kernels import CHECKED_STEPS, Build, Inputs, Outcome, Runner, make_inputs, sampled

HALVE_GEMM = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # exported by some environments, to NumPy's disadvantage
THREAD_VARIABLES = [f"{name}_NUM_THREADS" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA", "LOSSK")]
YARDSTICK = "yardstick"  # the mode of bandwidth twins and of arithmetic
WARM_BELOW = 0.2  # seconds of a call below which one call before the measurement makes a difference

Key = tuple[str, str]  # (provider, mode)


def time_calls(runner: Runner, calls: int) -> float:
    """Mean seconds per call; a repeated call is run once before, so that it is measured warm."""
    if runner.prepare is not None:
        return fmean(Timer(runner.call, runner.prepare).repeat(calls, number=1))
    if calls > 1:
        runner.call()
    return Timer(runner.call).timeit(calls) / calls


def calibrate(runner: Runner, seconds: float) -> int:
    """Return how many calls last about `seconds`; 0 for one call that is too slow to be repeated."""
    calls = 1
    while (taken := max(calls * time_calls(runner, calls), 1e-9)) < seconds / 4:
        calls *= 4
    return 0 if taken > WARM_BELOW else max(1, round(calls * seconds / taken))


def measure(runner: Runner, calls: int) -> float:
    """One measurement: seconds per call, threads awake and caches as a call before left them."""
    if calls:
        time_calls(runner, 1)
    return time_calls(runner, max(1, calls))


def first_outcome(case: Case, runner: Runner, inputs: Inputs) -> Outcome:
    """Run the first call (the first few steps of an optimizer); return its result at the sampled places."""
    if runner.prepare is not None:
        runner.prepare()
    for _ in range(CHECKED_STEPS - 1 if case.kind == "optimizer" else 0):
        runner.call()
    result = runner.finish(runner.call())
    if case.kind == "optimizer":
        result = inputs[0][0]  # updated in place
    value, array = result if isinstance(result, tuple) else (result, None) if case.goal == "value" else (None, result)
    return value, None if array is None else sampled(case, array).copy()


# ---- in a family's process ---------------------------------------------------------------------------------------

_providers: dict[str, Build] = {}  # of the family
_open: dict[Key, tuple[Runner, int]] = {}  # of the case: what is timed, calls per measurement


def start(family: str, threads: int) -> None:
    """Prepare the process: find the family's providers, in a file of the user's under the name PROVIDERS."""
    os.dup2(2, 1)  # what libraries print belongs to no table
    ours = kernels.PROVIDERS | peers.PROVIDERS
    _providers.update(runpy.run_path(family)["PROVIDERS"] if family.endswith(".py") else ours[family])


def open_case(case: Case, seed: int, threads: int, seconds: float) -> dict[Key, tuple[Outcome | str, int]]:
    """Build every provider in every mode; return first results, or why there is none, and calls per measurement."""
    built: dict[Key, tuple[Outcome | str, int]] = {}
    inputs = make_inputs(case, seed)
    for (provider, build), mode in product(_providers.items(), case.modes):
        if case.kind == "optimizer":  # whose steps write into their inputs
            inputs = make_inputs(case, seed)
        try:
            if (runner := build(case, mode, inputs, threads)) is not None:
                outcome = first_outcome(case, runner, inputs)
                _open[provider, mode] = runner, calibrate(runner, seconds)
                built[provider, mode] = outcome, max(1, _open[provider, mode][1])
        except Exception as error:  # whatever a peer's compiler raises becomes a row of the table, not a crash
            built[provider, mode] = f"{type(error).__name__}: {error}".splitlines()[0][:150], 0
    if "lossk" in _providers:
        for label, runner in kernels.yardsticks(case, threads).items():
            _open[label, YARDSTICK] = runner, calibrate(runner, seconds)
            built[label, YARDSTICK] = (None, None), 1
    return built


def time_one(key: Key) -> float:
    """One measurement of a runner of the open case."""
    return measure(*_open[key])


def close_case() -> list[dict[str, Any]]:
    """Free the case's arrays; return the process's thread pools, as threadpoolctl sees them."""
    from threadpoolctl import threadpool_info

    _open.clear()
    gc.collect()
    return [{**pool, "filepath": Path(pool["filepath"]).name} for pool in threadpool_info()]


# ---- in the parent -----------------------------------------------------------------------------------------------


class Pool:
    """The processes of a run with one thread count, which end with this one. One that dies is noted in `lost`."""

    def __init__(self, families: Iterable[str], threads: int) -> None:
        self.threads, self.lost = threads, dict[str, str]()
        before = dict(os.environ)
        for name in HALVE_GEMM:
            os.environ.pop(name, None)
        os.environ.update({**dict.fromkeys(THREAD_VARIABLES, str(threads)), "JAX_PLATFORMS": "cpu"})
        spawn = get_context("spawn")
        self.workers = {family: ProcessPoolExecutor(1, spawn, start, (family, threads)) for family in families}
        for family in self.workers:
            self.ask(family, close_case)  # starts it
        os.environ.clear()
        os.environ.update(before)

    def ask(self, family: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Let a family's process call a function; None if it has died."""
        try:
            return None if family in self.lost else self.workers[family].submit(function, *arguments).result()
        except BrokenProcessPool as error:
            self.lost[family] = str(error)
            return None

"""A process per peer family, because thread pools in one process disturb each other; all but one sleep in a read."""

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

import numpy as np

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
    """Return how many calls last about `seconds`, at least one."""
    calls = 1
    while (taken := max(calls * time_calls(runner, calls), 1e-9)) < seconds / 4:
        calls *= 4
    runner.warm = taken < WARM_BELOW
    return max(1, round(calls * seconds / taken))


def first_outcome(case: Case, runner: Runner, inputs: Inputs) -> Outcome:
    """Run the first call (the first few steps of an optimizer); return its result at the sampled places."""
    if runner.prepare is not None:
        runner.prepare()
    for _ in range(CHECKED_STEPS - 1 if case.kind == "optimizer" else 0):
        runner.call()
    found = runner.finish(runner.call())
    found = inputs[0][0] if case.kind == "optimizer" else found  # updated in place
    value, array = found if isinstance(found, tuple) else (found, None) if case.goal == "value" else (None, found)
    return value if value is None else float(value), array if array is None else sampled(case, np.asarray(array)).copy()


_providers: dict[str, Build] = {}  # of the family
_open: dict[Key, tuple[Runner, int]] = {}  # of the case: what is timed, calls per measurement


def start(family: str) -> None:
    """Find the providers of the process: the package's, or PROVIDERS of a file."""
    os.dup2(2, 1)  # what libraries print belongs to no table
    own = family.endswith(".py")
    _providers.update(runpy.run_path(family)["PROVIDERS"] if own else (kernels.PROVIDERS | peers.PROVIDERS)[family])


def open_case(case: Case, seed: int, threads: int, seconds: float) -> dict[Key, tuple[Outcome | str, int]]:
    """Build every provider in every mode; return first results and calls per measurement, or a reason and 0."""
    built: dict[Key, tuple[Outcome | str, int]] = {}
    inputs = make_inputs(case, seed)
    for key in product(_providers, case.modes):
        if case.kind == "optimizer":  # whose steps write into their inputs
            inputs = make_inputs(case, seed)
        try:
            if (runner := _providers[key[0]](case, key[1], inputs, threads)) is not None:
                outcome = first_outcome(case, runner, inputs)
                _open[key] = runner, calibrate(runner, seconds)
                built[key] = outcome, _open[key][1]
        except Exception as error:  # whatever a peer's compiler raises becomes a row of the table, not a crash
            built[key] = f"{type(error).__name__}: {error}".splitlines()[0][:150], 0
    for label, runner in kernels.yardsticks(case, threads).items() if "lossk" in _providers else ():
        _open[label, YARDSTICK] = runner, calibrate(runner, seconds)
        built[label, YARDSTICK] = (None, None), 1
    return built


def time_one(key: Key) -> float:
    """One measurement: seconds per call, threads awake and caches as a call before left them."""
    runner, calls = _open[key]
    if runner.warm:
        time_calls(runner, 1)
    return time_calls(runner, calls)


def close_case() -> list[dict[str, Any]]:
    """Free the case's arrays; return the process's thread pools, as threadpoolctl sees them."""
    from threadpoolctl import threadpool_info

    _open.clear()
    gc.collect()
    return [{**pool, "filepath": Path(pool["filepath"]).name} for pool in threadpool_info()]


class Pool:
    """The parent's end of the processes, which end with it. One that dies is noted in `lost`."""

    def __init__(self, families: Iterable[str], threads: int) -> None:
        self.threads, self.lost = threads, dict[str, str]()
        for name in HALVE_GEMM:
            os.environ.pop(name, None)
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
        self.workers = {f: ProcessPoolExecutor(1, get_context("spawn"), start, (f,)) for f in families}
        for family in self.workers:
            self.ask(family, close_case)  # starts it

    def ask(self, family: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Let a family's process call a function; None if it has died."""
        try:
            return None if family in self.lost else self.workers[family].submit(function, *arguments).result()
        except BrokenProcessPool as error:
            self.lost[family] = str(error)
            return None

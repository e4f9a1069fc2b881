"""One process per peer family: ``python -m lossk.cli.bench.worker FAMILY THREADS``.

Commands come as pickled tuples on standard input, replies go to the original standard output (anything a library
prints goes to standard error). Between commands the process sleeps in a read, so its thread pool is idle.

=============================== =====================================================================
``("build", case, seed)``       inputs, runners, first call (compiles), results for comparison: [Built]
``("calibrate", seconds)``      calls per measurement so that one lasts about so long: {key: calls}
``("time", key)``               one measurement: seconds per call
``("close",)``                  frees the case
``("describe",)``               thread pools of the process
=============================== =====================================================================
"""

from __future__ import annotations

import gc
import itertools
import math
import os
import pickle
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from lossk.cli.bench.cases import ARITHMETIC, PRODUCT, Case
from lossk.cli.bench.inputs import Array, Inputs, make_inputs, sampled
from lossk.cli.bench.memory import peak_of
from lossk.cli.bench.protocol import TWIN_MODE, Built, Key
from lossk.cli.bench.providers import CHECKED_STEPS, FAMILIES, Build, Outcome, Runner, load

DIFFERENCES = 9
SMALL_LAYER = (256, 64, 2048)  # of a linear layer: enough for all threads of a product, and little memory
WARM_BELOW = 0.2  # seconds of a call below which one call before the measurement makes a difference


def time_calls(runner: Runner, calls: int) -> float:
    """Mean seconds per call over `calls` calls; a repeated call is run once before, so that it is measured warm."""
    call, prepare = runner.call, runner.prepare
    if prepare is not None:
        return math.fsum(_time_prepared(runner) for _ in range(calls)) / calls
    if calls > 1:
        call()
    start = time.perf_counter()
    for _ in itertools.repeat(None, calls):
        call()
    return (time.perf_counter() - start) / calls


def measure(runner: Runner, calls: int) -> float:
    """One measurement of what the runner stands for: less its `less`, times its `scale`.

    A difference is small beside what it is taken of, so it is the median of several, each of neighbouring times.
    """
    if runner.less is None:
        return time_calls(runner, calls) * runner.scale
    less, share = Runner(runner.less), max(1, calls // DIFFERENCES)
    found = (time_calls(runner, share) - time_calls(less, share) for _ in range(DIFFERENCES))
    return max(0.0, statistics.median(found)) * runner.scale


def _time_prepared(runner: Runner) -> float:
    if runner.prepare is not None:
        runner.prepare()
    start = time.perf_counter()
    runner.call()
    return time.perf_counter() - start


def calibrate(runner: Runner, seconds: float) -> tuple[int, float]:
    """How many calls last about `seconds` (at least one), and the seconds of one."""
    calls = 1
    while True:
        per_call = max(time_calls(runner, calls), 1e-9)
        if per_call * calls >= seconds / 4 or calls >= 1_000_000:
            return max(1, round(seconds / per_call)), per_call
        calls = min(1_000_000, 4 * calls)


def first_outcome(case: Case, runner: Runner, labels: Array) -> tuple[Outcome, int | None]:
    """Run the first call (first few steps of an optimizer).

    Returns its result at the sampled places, and for a linear layer the memory it took beyond its results.
    """
    if runner.prepare is not None:
        runner.prepare()
    for _ in range(CHECKED_STEPS - 1 if case.kind == "optimizer" else 0):
        runner.call()
    result, peak = peak_of(runner.call) if case.kind == "linear" else (runner.call(), None)
    extra = None if peak is None else max(0, peak - case.nbytes)  # the gradients are as large as x and w
    outcome = runner.outcome(result)
    return Outcome(outcome.value, None if outcome.array is None else sampled(case, outcome.array, labels)), extra


def _initialise(case: Case, mode: str, build: Build, threads: int) -> None:
    """Let libraries allocate what they keep for good, so that it does not count as the memory of a call."""
    small = replace(case, shape=SMALL_LAYER)
    runner = build(small, mode, make_inputs(small, seed=0), threads)
    if runner is not None:
        runner.call()


class Worker:
    """The state of a worker process: its providers and the runners of the open case."""

    def __init__(self, family: str, threads: int) -> None:
        self.family, self.threads = family, threads
        self.providers: dict[str, Build] = load(family)
        self.runners: dict[Key, Runner] = {}
        self.calls: dict[Key, int] = {}
        self.slow: set[Key] = set()

    def build(self, case: Case, seed: int) -> list[Built]:
        """Every provider of the family in every mode of the case."""
        shared = None if case.kind == "optimizer" else make_inputs(case, seed)  # steps write into their inputs
        built = []
        for (provider, build), mode in itertools.product(self.providers.items(), case.modes):
            inputs = make_inputs(case, seed) if shared is None else shared
            entry = self._build_one(case, (provider, mode), build, inputs)
            built += [] if entry is None else [entry]
        return built + (self._build_yardsticks(case) if self.family == "lossk" else [])

    def _build_one(self, case: Case, key: Key, build: Build, inputs: Inputs) -> Built | None:
        threads = case.threads or self.threads
        try:
            if case.kind == "linear":
                _initialise(case, key[1], build, threads)
            runner = build(case, key[1], inputs, threads)
            if runner is None:
                return None
            outcome, extra = first_outcome(case, runner, inputs.y)
        except Exception as error:  # whatever a peer's compiler raises becomes a row of the table, not a crash
            return Built(*key, failure=f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:120]}")
        self.runners[key] = runner
        if case.kind == "linear":  # slow enough not to be tried once more
            self.calls[key] = 1
            self.slow.add(key)
        return Built(*key, outcome.value, outcome.array, extra)

    def _build_yardsticks(self, case: Case) -> list[Built]:
        from lossk.cli.bench.providers import lossk_

        threads = case.threads or self.threads
        twins = {twin: case.nbytes_moved(mode) for mode in case.modes for twin in case.twins(mode)}
        yardsticks = {twin.label: lossk_.build_twin(twin, nbytes, threads) for twin, nbytes in twins.items()}
        others = {ARITHMETIC: lossk_.build_arithmetic(case, threads), PRODUCT: lossk_.build_product(case)}
        yardsticks |= {label: runner for label, runner in others.items() if runner is not None}
        self.runners |= {(label, TWIN_MODE): runner for label, runner in yardsticks.items()}
        return [Built(label, TWIN_MODE) for label in yardsticks]

    def calibrate(self, seconds: float) -> dict[Key, int]:
        """Choose the calls per measurement of every runner."""
        for key, runner in self.runners.items():
            if key not in self.calls:
                self.calls[key], per_call = calibrate(runner, seconds)
                self.slow |= {key} if per_call > WARM_BELOW else set()
        return self.calls

    def time(self, key: Key) -> float:
        """One measurement: seconds per call, threads awake and caches as a call before left them."""
        runner = self.runners[key]
        if runner.setup is not None:
            runner.setup()
        if key not in self.slow:
            time_calls(runner, 1)
        return measure(runner, self.calls[key])

    def close(self) -> None:
        """Free the case's arrays."""
        self.runners.clear()
        self.calls.clear()
        self.slow.clear()
        gc.collect()

    def describe(self) -> list[dict[str, Any]]:
        """Describe the process's thread pools, as threadpoolctl sees them; empty without threadpoolctl."""
        try:
            from threadpoolctl import threadpool_info
        except ImportError:
            return []
        return [{**pool, "filepath": Path(pool["filepath"]).name} for pool in threadpool_info()]


def serve(worker: Worker, commands: BinaryIO, replies: BinaryIO) -> None:
    """Answer commands until the parent closes the pipe."""
    while True:
        try:
            name, *arguments = pickle.load(commands)
        except EOFError:
            return
        reply = getattr(worker, name)(*arguments)
        pickle.dump(reply, replies)
        replies.flush()


def main() -> None:
    """Entry point of the process."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    gc.disable()
    family, threads = sys.argv[1], int(sys.argv[2])
    if FAMILIES[family].pinned and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    worker = Worker(family, threads)
    pickle.dump("ready", replies)
    replies.flush()
    serve(worker, sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()

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
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lossk.cli.bench.cases import Case
from lossk.cli.bench.inputs import Inputs, make_inputs, sample
from lossk.cli.bench.protocol import TWIN_MODE, Built, Key
from lossk.cli.bench.providers import CHECKED_STEPS, FAMILIES, Build, Outcome, Runner, load


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


def _time_prepared(runner: Runner) -> float:
    if runner.prepare is not None:
        runner.prepare()
    start = time.perf_counter()
    runner.call()
    return time.perf_counter() - start


def calibrate(runner: Runner, seconds: float) -> int:
    """How many calls last about `seconds` (at least one)."""
    calls = 1
    while True:
        per_call = max(time_calls(runner, calls), 1e-9)
        if per_call * calls >= seconds / 4 or calls >= 1_000_000:
            return max(1, round(seconds / per_call))
        calls = min(1_000_000, 4 * calls)


def first_outcome(case: Case, runner: Runner) -> Outcome:
    """Run the first call (first few steps of an optimizer) and return its result at the sampled places."""
    if runner.prepare is not None:
        runner.prepare()
    for _ in range(CHECKED_STEPS - 1 if case.kind == "optimizer" else 0):
        runner.call()
    outcome = runner.outcome(runner.call())
    picked = None if outcome.array is None else np.array(outcome.array[sample(case)])
    return Outcome(outcome.value, picked)


class Worker:
    """The state of a worker process: its providers and the runners of the open case."""

    def __init__(self, family: str, threads: int) -> None:
        self.family, self.threads = family, threads
        self.providers: dict[str, Build] = load(family)
        self.runners: dict[Key, Runner] = {}
        self.calls: dict[Key, int] = {}

    def build(self, case: Case, seed: int) -> list[Built]:
        """Every provider of the family in every mode of the case."""
        shared = None if case.kind == "optimizer" else make_inputs(case, seed)  # steps write into their inputs
        built = []
        for (provider, build), mode in itertools.product(self.providers.items(), case.modes):
            inputs = make_inputs(case, seed) if shared is None else shared
            entry = self._build_one(case, (provider, mode), build, inputs)
            built += [] if entry is None else [entry]
        return built + (self._build_twins(case) if self.family == "lossk" else [])

    def _build_one(self, case: Case, key: Key, build: Build, inputs: Inputs) -> Built | None:
        try:
            runner = build(case, key[1], inputs, self.threads)
            if runner is None:
                return None
            outcome = first_outcome(case, runner)
        except Exception as error:  # whatever a peer's compiler raises becomes a row of the table, not a crash
            return Built(*key, failure=f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:120]}")
        self.runners[key] = runner
        return Built(*key, outcome.value, outcome.array)

    def _build_twins(self, case: Case) -> list[Built]:
        from lossk.cli.bench.providers.lossk_ import build_twin

        twins = {twin for mode in case.modes for twin in case.twins(mode)}
        for twin in twins:
            self.runners[twin.label, TWIN_MODE] = build_twin(twin, case, self.threads)
        return [Built(twin.label, TWIN_MODE) for twin in twins]

    def calibrate(self, seconds: float) -> dict[Key, int]:
        """Choose the calls per measurement of every runner."""
        self.calls = {key: calibrate(runner, seconds) for key, runner in self.runners.items()}
        return self.calls

    def time(self, key: Key) -> float:
        """One measurement: seconds per call, threads awake and caches as a call before left them."""
        time_calls(self.runners[key], 1)
        return time_calls(self.runners[key], self.calls[key])

    def close(self) -> None:
        """Free the case's arrays."""
        self.runners.clear()
        self.calls.clear()
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

"""Measurements of pytest-benchmark with yardsticks and peers in the same rounds, in random order."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from functools import partial

from pytest_benchmark.fixture import BenchmarkFixture

from lossk.cli.bench.cases import Case
from lossk.cli.bench.kernels import Runner, build, errors, expected, make_inputs, yardsticks
from lossk.cli.bench.results import CaseResult, Entry, Quantiles
from lossk.cli.bench.run import PAUSE, relate
from lossk.cli.bench.worker import calibrate, first_outcome, time_calls

ROUNDS, SECONDS = 15, 0.010  # seconds of a measurement of what is repeated
Timed = Callable[[], float]  # measures something: seconds of a call


def timed(runner: Runner) -> Timed:
    """Return what measures a runner."""
    return partial(time_calls, runner, calibrate(runner, SECONDS))


def interleaved(
    benchmark: BenchmarkFixture, runner: Runner, others: Mapping[str, Timed], rounds: int = ROUNDS
) -> tuple[list[float], dict[str, list[float]]]:
    """Time a call by the fixture, and each of `others` once in a round; returns seconds of each round.

    The fixture's own times are those of `calls` calls, as `extra_info` says.
    """
    calls = calibrate(runner, SECONDS) if runner.prepare is None else 1
    order, seconds = random.Random(0), {name: list[float]() for name in others}
    rest: list[str] = []  # of the round before, which comes behind the call

    def time_some(names: list[str]) -> None:
        for name in names:
            time.sleep(PAUSE)
            seconds[name].append(others[name]())

    def setup() -> None:
        time_some(rest)
        names = order.sample(list(others), len(others))
        cut = order.randint(0, len(names))
        time_some(names[:cut])
        rest[:] = names[cut:]
        time.sleep(PAUSE)
        time_calls(runner, 1)
        if runner.prepare is not None:
            runner.prepare()

    def call() -> None:
        for _ in range(calls):
            runner.call()

    benchmark.extra_info["calls"] = calls
    benchmark.pedantic(call, setup=setup, rounds=rounds)  # type: ignore[no-untyped-call]
    time_some(rest)
    assert benchmark.stats is not None, "measurements are not disabled"
    return [taken / calls for taken in benchmark.stats.stats.data], seconds


def lossk_runner(case: Case, mode: str, threads: int) -> Runner:
    """Return lossk's call."""
    return build(case, mode, make_inputs(case, seed=0), threads)


def against_limits(benchmark: BenchmarkFixture, case: Case, mode: str, threads: int, rounds: int = ROUNDS) -> Entry:
    """Measure a case and its limits; bytes, fractions and error go to `extra_info`."""
    inputs = make_inputs(case, seed=0)
    runner = build(case, mode, inputs, threads)
    found = errors(first_outcome(case, runner, inputs), expected(case, seed=0))
    limits = {label: timed(yardstick) for label, yardstick in yardsticks(case, threads).items()}
    own, seconds = interleaved(benchmark, runner, limits, rounds)
    entry = Entry("lossk", mode, nbytes=case.nbytes_moved(mode), seconds=own, time=Quantiles.of(own))
    entry.value_error, entry.array_error = found
    relate(CaseResult(case.kernel, case.goal, case.shape_text, case.dtype, threads, case.name, [entry]), case, seconds)
    benchmark.group = f"{case.name} {mode}"
    benchmark.extra_info.update(threads=threads, nbytes=entry.nbytes, fraction=entry.fraction)
    benchmark.extra_info.update(arithmetic=entry.arithmetic, value_error=found[0], array_error=found[1])
    return entry

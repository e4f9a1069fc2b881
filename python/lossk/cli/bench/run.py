"""A run: every case is built everywhere, then timed in rounds, every row and yardstick once in random order."""

from __future__ import annotations

import random
import time
from dataclasses import asdict
from statistics import median

from lossk.cli.bench.cases import Case
from lossk.cli.bench.kernels import ARITHMETIC, errors, expected
from lossk.cli.bench.results import CaseResult, Entry, Quantiles
from lossk.cli.bench.worker import YARDSTICK, Key, Pool, close_case, open_case, time_one

PAUSE = 0.003  # seconds between measurements: thread pools spin for about a millisecond after their last region
FEWEST_ROUNDS = 3
Seconds = dict[tuple[str, Key], list[float]]  # of each round, by family and (provider, mode)


def run_case(case: Case, pool: Pool, rounds: int, budget: float, seconds: float, seed: int) -> CaseResult:
    """Measure one case; seconds: of a measurement; budget: seconds after which only FEWEST_ROUNDS are completed."""
    result = CaseResult(case.kernel, case.goal, case.shape_text, case.dtype, pool.threads, case.name)
    built = {family: pool.ask(family, open_case, case, seed, pool.threads, seconds) for family in pool.workers}
    built |= {family: {(family, case.modes[0]): ("", 0)} for family, found in built.items() if found is None}
    wanted = expected(case, seed)
    rows = [(family, key) for family, found in built.items() for key, (_, calls) in found.items() if calls]
    measured = measure_rounds(rows, pool, random.Random(f"{seed} {case.name}"), rounds, budget)
    for family, found in built.items():
        pool.ask(family, close_case)
        for key, (outcome, calls) in found.items():
            entry = Entry(key[0], key[1], calls=calls, nbytes=case.nbytes_moved(key[1]))
            if taken := measured.get((family, key)):
                entry.seconds, entry.time = taken, Quantiles.of(taken)
                entry.value_error, entry.array_error = errors(outcome, wanted)
            else:
                entry.status = f"failed: {pool.lost.get(family, outcome)}"
            result.entries += [entry] * (key[1] != YARDSTICK)
    relate(result, case, {label: taken for (_, (label, mode)), taken in measured.items() if mode == YARDSTICK})
    return result


def measure_rounds(
    rows: list[tuple[str, Key]], pool: Pool, order: random.Random, rounds: int, budget: float
) -> Seconds:
    """Time every row once in a round; rows that were lost are left out."""
    start, done = time.perf_counter(), 0
    seconds: Seconds = {row: [] for row in rows}
    while done < rounds and (done < FEWEST_ROUNDS or time.perf_counter() - start < budget):
        done += 1
        for family, key in order.sample(rows, len(rows)):
            time.sleep(PAUSE)
            if (taken := pool.ask(family, time_one, key)) is not None:
                seconds[family, key].append(taken)
    return {row: taken for row, taken in seconds.items() if len(taken) == done}


def median_ratio(numerator: list[float], denominator: list[float]) -> float:
    """Median over rounds of numerator / denominator, so that a slow while slows both sides."""
    return median(a / b for a, b in zip(numerator, denominator, strict=True))


def relate(result: CaseResult, case: Case, yardsticks: dict[str, list[float]]) -> None:
    """Enter yardsticks, fractions of the limits, what they should be, and ratios to every mode of lossk."""
    sizes = case.in_l1()
    if len(pair := [yardsticks.pop(f"{ARITHMETIC} {one.size}", []) for one in sizes]) == 2 and all(pair):
        # The difference of both sizes, in which the cost of a call drops out; both run on one thread.
        scale = case.size / (sizes[0].size - sizes[1].size) / result.threads
        yardsticks[ARITHMETIC] = [max(0.0, scale * (large - small)) for large, small in zip(*pair, strict=True)]
    nbytes = {twin.label: case.nbytes_moved(mode) for mode in case.modes for twin in case.twins(mode)}
    limits = {label: Quantiles.of(taken) for label, taken in yardsticks.items()}
    for label, quantiles in limits.items():
        one = {"label": label, "nbytes": nbytes.get(label, 0), "seconds": yardsticks[label], "time": asdict(quantiles)}
        result.twins.append(one)
    ours = {e.mode: e.seconds for e in result.entries if e.provider == "lossk" and e.time}
    for entry in (entry for entry in result.entries if entry.time):
        if twins := [twin.label for twin in case.twins(entry.mode) if twin.label in limits]:
            best = min(twins, key=lambda label: limits[label].p50)
            entry.limit, entry.fraction = limits[best].p50, median_ratio(yardsticks[best], entry.seconds)
        if entry.provider != "lossk":
            entry.ratios = {mode: median_ratio(entry.seconds, seconds) for mode, seconds in ours.items()}
            continue
        if ARITHMETIC in limits and limits[ARITHMETIC].p50 > (entry.limit or 0):
            entry.arithmetic = median_ratio(yardsticks[ARITHMETIC], entry.seconds)

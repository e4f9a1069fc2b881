"""A run: every case is built everywhere, then timed in rounds, every row and yardstick once in random order.

Fractions and ratios are medians of per-round ratios, so that slow drifts of the machine cancel.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass

from lossk import _profile
from lossk.cli.bench.cases import Case, bound
from lossk.cli.bench.kernels import ARITHMETIC, errors, expected
from lossk.cli.bench.results import CaseResult, Entry, Twin, median_ratio, quantiles
from lossk.cli.bench.worker import YARDSTICK, Key, Pool, close_case, open_case, time_one

PAUSE = 0.003  # seconds between measurements: thread pools spin for about a millisecond after their last region
FEWEST_ROUNDS = 3
Seconds = dict[tuple[str, Key], list[float]]  # of each round, by family and (provider, mode)


@dataclass(frozen=True)
class Settings:
    """Rounds, seconds that one measurement should last, seed of inputs and order, seconds for a case's rounds."""

    rounds: int
    seconds: float
    seed: int = 0
    budget: float = math.inf


def run_case(case: Case, pool: Pool, settings: Settings) -> CaseResult:
    """Measure one case with the families of the pool."""
    result = CaseResult(case.kernel, case.goal, case.shape_text, case.dtype, pool.threads, name=case.name)
    arguments = case, settings.seed, pool.threads, settings.seconds
    built = {family: pool.ask(family, open_case, *arguments) or {} for family in pool.workers}
    wanted = expected(case, settings.seed)
    rows = [(family, key) for family, found in built.items() for key, (_, calls) in found.items() if calls]
    seconds = measure_rounds(rows, pool, settings, case.name)
    for family, found in built.items():
        pool.ask(family, close_case)
        for key, (outcome, calls) in found.items():
            entry = Entry(key[0], key[1], calls=calls, nbytes=case.nbytes_moved(key[1]))
            if taken := seconds.get((family, key)):
                entry.seconds, entry.time = taken, quantiles(taken)
                entry.value_error, entry.array_error = errors(outcome, wanted)
            else:
                entry.status = f"failed: {pool.lost.get(family, outcome)}"
            result.entries += [entry] * (key[1] != YARDSTICK)
        if not found and family in pool.lost:
            result.entries.append(Entry(family, case.modes[0], f"failed: {pool.lost[family]}"))
    relate(result, case, {label: taken for (_, (label, mode)), taken in seconds.items() if mode == YARDSTICK})
    return result


def measure_rounds(rows: list[tuple[str, Key]], pool: Pool, settings: Settings, name: str) -> Seconds:
    """Time every row once in a round; rows that were lost are left out."""
    order, start, done = random.Random(f"{settings.seed} {name}"), time.perf_counter(), 0
    seconds: Seconds = {row: [] for row in rows}
    while done < settings.rounds and (done < FEWEST_ROUNDS or time.perf_counter() - start < settings.budget):
        done += 1
        for family, key in order.sample(rows, len(rows)):
            time.sleep(PAUSE)
            if (taken := pool.ask(family, time_one, key)) is not None:
                seconds[family, key].append(taken)
    return {row: taken for row, taken in seconds.items() if len(taken) == done}


def relate(result: CaseResult, case: Case, yardsticks: dict[str, list[float]]) -> None:
    """Enter yardsticks, fractions of the limits, what they should be, and ratios to every mode of lossk."""
    sizes = case.in_l1()
    if len(pair := [yardsticks.pop(f"{ARITHMETIC} {one.size}", []) for one in sizes]) == 2 and all(pair):
        # The difference of both sizes, in which the cost of a call drops out; both run on one thread.
        scale = case.size / (sizes[0].size - sizes[1].size) / result.threads
        yardsticks[ARITHMETIC] = [max(0.0, scale * (large - small)) for large, small in zip(*pair, strict=True)]
    nbytes = {twin.label: case.nbytes_moved(mode) for mode in case.modes for twin in case.twins(mode)}
    result.twins = [Twin(label, nbytes.get(label, 0), taken, quantiles(taken)) for label, taken in yardsticks.items()]
    limits = {twin.label: twin.time.p50 for twin in result.twins}
    ours = {e.mode: e.seconds for e in result.entries if e.provider == "lossk" and e.time}
    for entry in (entry for entry in result.entries if entry.time):
        if twins := [twin.label for twin in case.twins(entry.mode) if twin.label in limits]:
            best = min(twins, key=limits.__getitem__)
            entry.limit, entry.fraction = limits[best], median_ratio(yardsticks[best], entry.seconds)
        if entry.provider != "lossk":
            entry.ratios = {mode: median_ratio(entry.seconds, seconds) for mode, seconds in ours.items()}
            continue
        entry.bound = bound(case, entry.mode, _profile.last_level_cache())
        if limits.get(ARITHMETIC, 0) > (entry.limit or 0):
            entry.arithmetic = median_ratio(yardsticks[ARITHMETIC], entry.seconds)

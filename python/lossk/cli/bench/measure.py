"""The run: per case build everywhere, calibrate, then rounds in which every row and twin is timed once in random order.

Fractions and ratios are medians of per-round ratios, so that slow drifts of the machine cancel.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from lossk.cli.bench.cases import ARITHMETIC, PRODUCT, Case
from lossk.cli.bench.inputs import missing_dtype
from lossk.cli.bench.memory import available_memory
from lossk.cli.bench.pool import Pool
from lossk.cli.bench.protocol import TWIN_MODE, Built, Key
from lossk.cli.bench.providers import FAMILIES, Outcome
from lossk.cli.bench.reference import errors, expected
from lossk.cli.bench.results import CaseResult, Entry, Quantiles, TwinResult
from lossk.cli.bench.series import median_ratio

PAUSE = 0.003  # seconds between measurements: thread pools spin for about a millisecond after their last region
FEWEST_ROUNDS = 3
LONGEST_ROUND = 60.0  # seconds; with a budget, a round that takes longer is the only one
ARRAYS_PER_FAMILY = 5  # rough number of arrays of the case's size that a worker holds at its peak


@dataclass(frozen=True)
class Settings:
    """How to measure: rounds, seconds that one measurement should last, seed of inputs and order.

    budget: seconds that the rounds of a case may take; a slow case has fewer of them, but FEWEST_ROUNDS, or one where
    that takes longer than LONGEST_ROUND.
    """

    rounds: int
    seconds: float
    seed: int
    budget: float = math.inf


Row = tuple[str, Key]  # (family, (provider, mode))


@dataclass(frozen=True)
class Measured:
    """Raw yield of one case.

    What each family built, its calls per measurement, seconds per call of each round, and why families were lost.
    """

    built: dict[str, list[Built]]
    calls: dict[str, dict[Key, int]]
    seconds: dict[Row, list[float]]
    lost: dict[str, str]


Advance = Callable[[str], None]  # called after each part of a case with a word on what was done


def steps_per_case(settings: Settings) -> int:
    """How often `run_case` calls `advance`."""
    return settings.rounds + 1


def run_case(case: Case, pool: Pool, settings: Settings, advance: Advance) -> CaseResult:
    """Measure one case with its families, as far as the pool has them."""
    threads = case.threads or pool.threads
    result = CaseResult(
        case.kernel, case.goal, case.shape_text, case.dtype, threads, option=case.option, name=case.name
    )
    families = [family for family in case.families if family in pool.workers]
    needed, free = case.nbytes * ARRAYS_PER_FAMILY * (len(families) + 1), available_memory()
    result.note = missing_dtype(case)
    if free is not None and needed > free:
        result.note = f"skipped: needs about {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free"
    if result.note:
        return result
    built, wanted = pool.build(case, settings.seed, partial(expected, case, settings.seed))
    calls = pool.calibrate(settings.seconds)
    advance("built")
    rows = [(family, key) for family, counts in calls.items() for key in counts]
    seconds = _rounds(pool, rows, settings, case.name, advance)
    pool.close_case()
    _fill(result, case, Measured(built, calls, seconds, pool.lost), wanted)
    result.entries += [
        Entry(family, case.modes[0], status=f"failed: {reason}")
        for family, reason in pool.lost.items()
        if family in case.families and family not in built
    ]
    return result


def rounds_within(settings: Settings, first: float) -> int:
    """How many rounds the budget allows where the first took so many seconds."""
    affordable = settings.budget / max(first, 1e-9)
    if affordable >= settings.rounds:
        return settings.rounds
    fewest = 1 if first > LONGEST_ROUND else min(FEWEST_ROUNDS, settings.rounds)
    return max(fewest, int(affordable))


def _rounds(pool: Pool, rows: Sequence[Row], settings: Settings, name: str, advance: Advance) -> dict[Row, list[float]]:
    order = random.Random(f"{settings.seed} {name}")
    seconds: dict[Row, list[float]] = {row: [] for row in rows}
    start, wanted = time.perf_counter(), settings.rounds
    for number in range(settings.rounds):
        if number < wanted:
            for family, key in order.sample(rows, len(rows)):
                time.sleep(PAUSE)
                measured = pool.time(family, key)
                if measured is not None:
                    seconds[family, key].append(measured)
        if number == 0:
            wanted = rounds_within(settings, time.perf_counter() - start)
        advance(f"round {number + 1}")
    return {row: taken for row, taken in seconds.items() if len(taken) == wanted}


def _fill(result: CaseResult, case: Case, measured: Measured, wanted: Outcome) -> None:
    """Turn raw rounds into rows: lossk first, then the peers in the order of `FAMILIES`."""
    nbytes = {twin.label: case.nbytes_moved(mode) for mode in case.modes for twin in case.twins(mode)}
    for label in (*sorted(nbytes), ARITHMETIC, PRODUCT):
        taken = measured.seconds.get(("lossk", (label, TWIN_MODE)))
        if taken:
            result.twins.append(TwinResult(label, nbytes.get(label, 0), taken, Quantiles.of(taken)))
    for family in (family for family in FAMILIES if family in measured.built):
        for one in (one for one in measured.built[family] if one.mode != TWIN_MODE):
            entry = Entry(one.provider, one.mode, nbytes=case.nbytes_moved(one.mode), extra_memory=one.extra_memory)
            result.entries.append(entry)
            taken = measured.seconds.get((family, one.key))
            if taken is None:
                entry.status = f"failed: {one.failure or measured.lost.get(family)}"
                continue
            entry.calls, entry.seconds, entry.time = measured.calls[family][one.key], taken, Quantiles.of(taken)
            compared = errors(one.value, one.array, wanted)
            entry.value_error, entry.array_error = compared.value, compared.array
    _relate(result, case)


def _relate(result: CaseResult, case: Case) -> None:
    """Fractions of the limits, and ratios to every mode of lossk."""
    twins = {twin.label: twin for twin in result.twins}
    arithmetic = twins.get(ARITHMETIC)
    for entry in (entry for entry in result.entries if entry.time is not None):
        labels = [PRODUCT] if case.flops else [twin.label for twin in case.twins(entry.mode)]
        candidates = [twins[label] for label in labels if label in twins]
        if candidates:
            limit = min(candidates, key=lambda twin: twin.time.p50)
            entry.limit, entry.fraction = limit.time.p50, median_ratio(limit.seconds, entry.seconds)
        bound = arithmetic is not None and arithmetic.time.p50 > (entry.limit or 0)
        if arithmetic is not None and bound and entry.provider == "lossk":
            entry.arithmetic = median_ratio(arithmetic.seconds, entry.seconds)
        for mode in case.modes:
            ours = result.lossk(mode)
            if ours is not None and entry.provider != "lossk":
                entry.ratios[mode] = median_ratio(entry.seconds, ours.seconds)

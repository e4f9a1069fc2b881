"""The run: per case build everywhere, calibrate, then rounds in which every row and twin is timed once in random order.

Fractions and ratios are medians of per-round ratios, so that slow drifts of the machine cancel.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lossk.cli.bench.cases import Case
from lossk.cli.bench.pool import Pool
from lossk.cli.bench.protocol import TWIN_MODE, Built, Key
from lossk.cli.bench.providers import FAMILIES, Outcome
from lossk.cli.bench.reference import errors, expected
from lossk.cli.bench.results import CaseResult, Entry, Quantiles, TwinResult

PAUSE = 0.003  # seconds between measurements: thread pools spin for about a millisecond after their last region
ARRAYS_PER_FAMILY = 5  # rough number of arrays of the case's size that a worker holds at its peak


@dataclass(frozen=True)
class Settings:
    """How to measure: rounds, seconds that one measurement should last, seed of inputs and order."""

    rounds: int
    seconds: float
    seed: int


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


def available_memory() -> int | None:
    """Bytes that can be allocated without swapping, where Linux tells."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return None
    lines = (line.split() for line in meminfo.read_text().splitlines())
    return next((int(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:"), None)


def run_case(case: Case, pool: Pool, settings: Settings, advance: Advance) -> CaseResult:
    """Measure one case with all families of the pool."""
    result = CaseResult(case.kernel, case.goal, case.shape_text, case.dtype, pool.threads)
    needed, free = case.nbytes * ARRAYS_PER_FAMILY * (len(pool.workers) + 1), available_memory()
    if free is not None and needed > free:
        result.note = f"skipped: needs about {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free"
        return result
    built = pool.build(case, settings.seed)
    calls = pool.calibrate(settings.seconds)
    advance("built")
    rows = [(family, key) for family, counts in calls.items() for key in counts]
    seconds = _rounds(pool, rows, settings, case.name, advance)
    pool.close_case()
    _fill(result, case, Measured(built, calls, seconds, pool.lost), expected(case, settings.seed))
    result.entries += [
        Entry(family, case.modes[0], status=f"failed: {reason}")
        for family, reason in pool.lost.items()
        if family not in built
    ]
    return result


def _rounds(pool: Pool, rows: Sequence[Row], settings: Settings, name: str, advance: Advance) -> dict[Row, list[float]]:
    order = random.Random(f"{settings.seed} {name}")
    seconds: dict[Row, list[float]] = {row: [] for row in rows}
    for number in range(settings.rounds):
        for family, key in order.sample(rows, len(rows)):
            time.sleep(PAUSE)
            measured = pool.time(family, key)
            if measured is not None:
                seconds[family, key].append(measured)
        advance(f"round {number + 1}")
    return {row: taken for row, taken in seconds.items() if len(taken) == settings.rounds}


def _fill(result: CaseResult, case: Case, measured: Measured, wanted: Outcome) -> None:
    """Turn raw rounds into rows: lossk first, then the peers in the order of `FAMILIES`."""
    nbytes = {twin.label: case.nbytes * twin.streams.count for mode in case.modes for twin in case.twins(mode)}
    for label in sorted(nbytes):
        taken = measured.seconds.get(("lossk", (label, TWIN_MODE)))
        if taken:
            result.twins.append(TwinResult(label, nbytes[label], taken, Quantiles.of(taken)))
    for family in (family for family in FAMILIES if family in measured.built):
        for one in (one for one in measured.built[family] if one.mode != TWIN_MODE):
            entry = Entry(one.provider, one.mode, nbytes=case.nbytes_moved(one.mode))
            result.entries.append(entry)
            taken = measured.seconds.get((family, one.key))
            if taken is None:
                entry.status = f"failed: {one.failure or measured.lost.get(family)}"
                continue
            entry.calls, entry.seconds, entry.time = measured.calls[family][one.key], taken, Quantiles.of(taken)
            compared = errors(one.value, one.array, wanted)
            entry.value_error, entry.array_error = compared.value, compared.array
    _relate(result, case)


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Median over rounds of numerator / denominator."""
    return float(np.median(np.divide(numerator, denominator)))


def _relate(result: CaseResult, case: Case) -> None:
    """Fractions of the limit, and ratios to every mode of lossk."""
    twins = {twin.label: twin for twin in result.twins}
    for entry in (entry for entry in result.entries if entry.time is not None):
        candidates = [twins[twin.label] for twin in case.twins(entry.mode) if twin.label in twins]
        if candidates:
            limit = min(candidates, key=lambda twin: twin.time.p50)
            entry.limit, entry.fraction = limit.time.p50, median_ratio(limit.seconds, entry.seconds)
        for mode in case.modes:
            ours = result.lossk(mode)
            if ours is not None and entry.provider != "lossk":
                entry.ratios[mode] = median_ratio(entry.seconds, ours.seconds)

"""A whole run: the parts of a suite one after the other, into one `Results`."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lossk import _runtime
from lossk.cli.bench.cases import Case
from lossk.cli.bench.child import run_child
from lossk.cli.bench.measure import Settings, run_case, steps_per_case
from lossk.cli.bench.pool import HALVES_GEMM, Pool
from lossk.cli.bench.results import Results, company_from, growth_from

DISTRIBUTIONS = {"torch.compile": "torch"}


@dataclass(frozen=True)
class Plan:
    """What to run. families: lossk and its peers; states: peer -> its version, or why it is left out.

    growth: the largest number of elements, 0 for none; company: whether to measure beside companions.
    """

    cases: Sequence[Case]
    families: Sequence[str]
    states: dict[str, str]
    threads: Sequence[int]
    growth: int
    company: bool


def version_of(family: str) -> str:
    """Return the version of a family's package."""
    try:
        return version(DISTRIBUTIONS.get(family, family))
    except PackageNotFoundError:
        return "version unknown"


def run(plan: Plan, settings: Settings, console: Console, save: Callable[[Results], None]) -> Results:
    """Measure everything that was planned; `save` is called after each part with what there is so far."""
    unset = {"unset": HALVES_GEMM, "budget": settings.budget}
    results = Results(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=shlex.join(["lossk", *sys.argv[1:]]),
        facts=_runtime.versions(),
        settings={"rounds": settings.rounds, "seconds": settings.seconds, "seed": settings.seed, **unset},
        peers=plan.states,
        load_average=list(os.getloadavg()) if hasattr(os, "getloadavg") else [],
    )
    if plan.cases:
        _run_cases(plan, settings, results, console)
        save(results)
    threads, rounds = max(plan.threads), settings.rounds
    if plan.company:
        found = _child(results, console, "company", threads, rounds=rounds, seed=settings.seed)
        results.company = company_from(found)
        save(results)
    if plan.growth:
        found = _child(results, console, "growth", threads, rounds=max(3, rounds // 3), most=plan.growth)
        results.growth = growth_from(found)
        save(results)
    return results


def _child(results: Results, console: Console, part: str, threads: int, **options: int) -> Any:
    """Run a part in its own process; if that fails, the rest of the run is kept."""
    console.print(f"measuring {part} ...")
    try:
        return run_child(part, threads, **options)
    except RuntimeError as error:
        results.problems.append(str(error))
        return []


def _run_cases(plan: Plan, settings: Settings, results: Results, console: Console) -> None:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    total = len(plan.cases) * len(plan.threads) * steps_per_case(settings)
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("starting the peers", total=total)
        for threads in plan.threads:
            progress.update(task, description=f"starting {', '.join(plan.families)}")
            with Pool(plan.families, threads) as pool:
                for case in plan.cases:
                    progress.update(task, description=f"{case.name} x {threads}")
                    start = time.perf_counter()
                    results.cases.append(run_case(case, pool, settings, lambda _: progress.advance(task)))
                    if not console.is_terminal:  # which shows no bar before the end
                        console.print(f"{time.perf_counter() - start:6.1f} s  {case.name}")
                results.threadpools.update({f"{name}, {threads}": found for name, found in pool.describe().items()})

"""Results of `lossk bench` that nobody measured."""

from __future__ import annotations

import dataclasses
from typing import Any

from lossk.cli.bench.cases import Case
from lossk.cli.bench.results import CaseResult, Entry, Quantiles, Results

FACTS = {
    "cpu": "a CPU",
    "cpu kind": "vendor 25 1",
    "cores": "2",
    "isa": "x86-64-v3",
    "caches": "L1 32K, L2 512K, L3 32768K",
}


def entry(provider: str, mode: str, took: float, **fields: Any) -> Entry:
    taken = [took] * 3
    made = Entry(provider, mode, calls=1, nbytes=1000, seconds=taken, time=Quantiles.of(taken))
    return dataclasses.replace(made, **fields)


def result_of(case: Case, *entries: Entry) -> CaseResult:
    return CaseResult(case.kernel, case.goal, case.shape_text, case.dtype, 2, case.name, list(entries))


def results_of(*cases: CaseResult) -> Results:
    settings = {"rounds": 3, "seconds": 0.01, "seed": 0}
    return Results("2026-01-01", "lossk bench", FACTS, settings, {"numpy": "2"}, [], cases=list(cases))

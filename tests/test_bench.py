"""The logic of `lossk bench`: what is measured, what it is compared with, verdicts, notes, pages. Nothing is timed."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path

import machines_page
import numpy as np
import pytest
from typer.testing import CliRunner

import lossk
from lossk.cli.app import app
from lossk.cli.bench import inputs, suites
from lossk.cli.bench.cases import ALL_PEERS, IN_PLACE, OPTIMIZER_OPTIONS, OUT, POINTWISE, Case
from lossk.cli.bench.growth import SUBJECTS, Point, in_order, most_elements, points, thread_counts
from lossk.cli.bench.machine import cache_bytes
from lossk.cli.bench.measure import Settings, rounds_within
from lossk.cli.bench.memory import peak_of
from lossk.cli.bench.providers import PEERS, PLAIN, Outcome, Runner, is_yardstick, load
from lossk.cli.bench.reference import errors, expected
from lossk.cli.bench.results import CaseResult, Entry, Quantiles, Results, read_json, write_json
from lossk.cli.bench.series import Company, Growth, GrowthPoint
from lossk.cli.bench.series_tables import company_verdict, is_disturbed
from lossk.cli.bench.targets import Target, Verdict, cases_of, judge, targets
from lossk.cli.bench.worker import first_outcome, measure

L2 = 1 << 19
FACTS = {"cpu": "a CPU", "isa": "x86-64-v3", "caches": "L1 32K, L2 512K, L3 32768K"}
TARGETS = targets(L2)
CASES = cases_of(TARGETS)
TOLERANCE = {"float64": 1e-12, "float32": 2e-6, "bfloat16": 2e-2}

run = CliRunner().invoke


@pytest.fixture(autouse=True)
def _threads_stay_as_they_were() -> Iterator[None]:
    before = lossk.get_num_threads()
    yield
    lossk.set_num_threads(before)


# ---- what is measured ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", [suites.TABLE, suites.QUICK, CASES], ids=["table", "quick", "targets"])
def test_names_tell_cases_apart(suite: tuple[Case, ...]) -> None:
    assert len({case.name for case in suite}) == len(suite)
    assert all(set(case.families) <= {"lossk", *PEERS} for case in suite)


def test_targets_cover_the_catalogue() -> None:
    assert len({target.key for target in TARGETS}) == len(TARGETS)
    assert all(target.mode in target.case.modes for target in TARGETS)
    assert {case.kernel for case in CASES} >= {*POINTWISE, *OPTIMIZER_OPTIONS, "NLL", "LinearCrossEntropy"}
    assert PEERS == ALL_PEERS


def test_cases_in_l2_fill_half_of_it() -> None:
    small = [target for target in TARGETS if target.row.endswith("in L2")]
    assert small
    for target in small:
        case = target.case
        assert case.threads == 1
        held = case.size * case.bytes_an_element if case.kind == "optimizer" else case.nbytes_moved(target.mode)
        assert 0.45 * L2 < held <= 0.5 * L2, target.key


@pytest.mark.parametrize(
    ("case", "mode", "bytes_an_element"),
    [
        (Case("CrossEntropy", "value", (8, 10)), "value", 4),
        (Case("CrossEntropy", "value+grad", (8, 10), "bfloat16"), IN_PLACE, 4),
        (Case("CrossEntropy", "value+grad", (8, 10), option="probabilities"), OUT, 12),
        (Case("KLDivergence", "value", (8, 10)), "value", 8),
        (Case("NLL", "value+grad", (8, 10)), IN_PLACE, 4),
        (Case("Huber", "value+grad", (80,), "float64"), OUT, 24),
        (Case("GaussianNLL", "value+grad", (80,)), OUT, 16),
        (Case("Sigmoid", "vjp", (80,)), "vjp out=", 12),
        (Case("SGD", "step", (1, 80)), "step", 20),
        (Case("SGD", "step", (1, 80), "bfloat16"), "step", 14),
        (Case("AdamW", "step", (1, 80)), "step", 28),
    ],
    ids=lambda value: value.name if isinstance(value, Case) else str(value),
)
def test_bytes_that_a_call_moves(case: Case, mode: str, bytes_an_element: int) -> None:
    assert case.nbytes_moved(mode) == 80 * bytes_an_element


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_arithmetic_is_measured_on_the_same_kernel_in_l1(case: Case) -> None:
    pair = case.in_l1(2048)
    if pair is None:
        assert case.kind == "linear" or case.size <= 4096
        return
    large, small = pair
    assert small.size < large.size <= 2048
    assert (large.kernel, large.option, large.dtype) == (case.kernel, case.option, case.dtype)
    if case.kind == "rows" and case.shape[1] <= 1024:
        assert large.shape[1] == small.shape[1] == case.shape[1]


def test_a_part_of_a_suite_is_chosen_by_glob_or_expression() -> None:
    assert {case.kernel for case in suites.select(suites.TABLE, ["huber"])} == {"Huber"}
    chosen = suites.select(suites.TABLE, [r"^CrossEntropy value 8192", "SGD*2^25*"])
    assert [case.kernel for case in chosen] == ["CrossEntropy", "SGD"]
    assert suites.select(suites.TABLE, []) == suites.TABLE
    assert suites.select(suites.TABLE, ["*nothing"]) == ()


# ---- results are the right ones -----------------------------------------------------------------------------------


def tiny(case: Case) -> Case:
    shapes = {"linear": (24, 16, 50), "optimizer": (2, 99)}
    return dataclasses.replace(case, shape=shapes.get(case.kind, tuple(min(n, 60) for n in case.shape)), threads=None)


@pytest.mark.parametrize("family", ["lossk", "numpy"])
@pytest.mark.parametrize("case", dict.fromkeys(tiny(case) for case in CASES), ids=lambda case: case.name)
def test_providers_compute_what_the_reference_does(family: str, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "BLOCK", 10_007)
    wanted = expected(case, seed=0)
    for build in load(family).values() if family in case.families else ():
        for mode in case.modes:
            made = inputs.make_inputs(case, seed=0)
            runner = build(case, mode, made, 1)
            if runner is None:
                continue
            outcome, _ = first_outcome(case, runner, made.y)
            found = errors(outcome.value, outcome.array, wanted)
            assert max(found.value or 0, found.array or 0) < TOLERANCE[case.dtype], (mode, found)


def test_yardsticks_of_options_run_the_plain_kernel() -> None:
    case = Case("CrossEntropy", "value", (6, 5), option="smoothing")
    made = inputs.make_inputs(case, seed=0)
    plain = load("lossk")[PLAIN](case, "value", made, 1)
    assert plain is not None
    assert plain.call() == pytest.approx(expected(case.plain, seed=0).value, rel=1e-6)


def test_a_yardstick_may_be_a_difference_that_is_scaled() -> None:
    seconds = measure(Runner(lambda: None, less=lambda: sum(range(20_000)), scale=1e6), 9)
    assert seconds == 0  # never below


def test_rounds_fit_into_the_budget_but_three_are_kept_or_one_of_minutes() -> None:
    settings = Settings(rounds=15, seconds=0.01, seed=0, budget=10)
    assert [rounds_within(settings, first) for first in (0.1, 1.0, 2.0, 60.0, 61.0)] == [15, 10, 5, 3, 1]
    assert rounds_within(dataclasses.replace(settings, rounds=2), 60.0) == 2


def test_peak_of_a_call_sees_what_it_allocates() -> None:
    result, extra = peak_of(lambda: float(np.ones(5_000_000).sum()))
    assert result == 5e6
    assert extra is None or extra > 30e6


# ---- verdicts -----------------------------------------------------------------------------------------------------


def entry(provider: str, mode: str, seconds: float, **fields: object) -> Entry:
    taken = [seconds] * 3
    return dataclasses.replace(
        Entry(provider, mode, calls=1, nbytes=1000, seconds=taken, time=Quantiles.of(taken)), **fields
    )


def result_of(case: Case, *entries: Entry) -> CaseResult:
    return CaseResult(
        case.kernel, case.goal, case.shape_text, case.dtype, case.threads or 2, list(entries), name=case.name
    )


def results_of(*cases: CaseResult, **fields: object) -> Results:
    settings = {"rounds": 3, "seconds": 0.01, "seed": 0}
    found = Results("2026-01-01", "lossk bench", FACTS, settings, {"numpy": "2"}, [], cases=list(cases))
    return dataclasses.replace(found, **fields)


def verdict_on(key: str, *cases: CaseResult) -> Verdict:
    return next(verdict for verdict in judge(results_of(*cases)) if verdict.target.key == key)


def first(measure: str) -> Target:
    return next(target for target in TARGETS if target.measure == measure)


@pytest.mark.parametrize(
    ("fraction", "arithmetic", "met", "by_arithmetic"),
    [(0.95, None, True, False), (0.5, None, False, False), (0.5, 0.95, False, True), (0.5, 0.6, False, False)],
)
def test_a_limit_is_met_by_memory_or_said_to_be_by_arithmetic(
    fraction: float, arithmetic: float | None, met: bool, by_arithmetic: bool
) -> None:
    target = first("limit")
    row = entry("lossk", target.mode, 1.0, fraction=fraction, arithmetic=arithmetic)
    verdict = verdict_on(target.key, result_of(target.case, row))
    assert (verdict.met, verdict.arithmetic, verdict.measured) == (met, by_arithmetic, fraction)


def test_cost_and_speed_are_ratios_to_the_same_mode() -> None:
    cost, faster = first("cost"), first("faster")
    ours = entry("lossk", cost.mode, 1.2)
    plain = entry(PLAIN, cost.mode, 1.0, ratios={cost.mode: 1 / 1.2})
    verdict = verdict_on(cost.key, result_of(cost.case, ours, plain))
    assert verdict.measured == pytest.approx(1.2)
    assert not verdict.met
    rows = [entry("lossk", faster.mode, 1.0)]
    rows += [
        entry("jax", faster.mode, 7.0, ratios={faster.mode: 7.0}),
        entry("torch eager", faster.mode, 6.0, ratios={faster.mode: 6.0}),
        entry("numpy", faster.mode, 2.0, ratios={faster.mode: 2.0}),  # is not among those that count
        entry("scikit-learn", OUT, 3.0, ratios={faster.mode: 3.0}),  # another mode
    ]
    verdict = verdict_on(faster.key, result_of(faster.case, *rows))
    assert (verdict.measured, verdict.peer, verdict.met) == (6.0, "torch eager", True)


def test_memory_and_what_was_not_measured() -> None:
    target = first("memory")
    row = entry("lossk", target.mode, 1.0, extra_memory=80_000_000)
    assert not verdict_on(target.key, result_of(target.case, row)).met
    assert verdict_on(target.key, result_of(target.case, dataclasses.replace(row, extra_memory=60_000_000))).met
    missing = verdict_on(target.key)
    assert missing.measured is None
    assert not missing.met


# ---- growth and company -------------------------------------------------------------------------------------------


def test_points_grow_by_half_decades_with_odd_ones_between() -> None:
    huber, thousand, *_ = SUBJECTS
    found = points(huber, 1_000_000_000)
    assert found[0] == Point(1000)
    assert found[-1] == Point(1_000_000_000)
    assert {Point((1 << 24) - 1), Point(1 << 24), Point(100_000, offset=1)} <= set(found)
    rows = points(thousand, 20_000_000)
    assert {Point(1, 1000), Point(16_000_000 // 1024, 1024), Point(16_000_000 // 999, 999)} <= set(rows)
    assert max(point.elements for point in rows) <= 20_000_000


def test_growth_stops_where_memory_does() -> None:
    assert most_elements(SUBJECTS[0], 1_200_000_000, 1_000_000_000) == 92_000_000
    assert most_elements(SUBJECTS[0], None, 1000) == 1000
    assert [thread_counts(n) for n in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]


def growth_with(*seconds: float) -> Growth:
    """Points of ten million elements and more, 1 s each but for these factors; one in the cache is ten times slower."""
    sizes = [10_000, *(10_000_000 * (i + 1) for i in range(len(seconds)))]
    factors = [10.0, *seconds]
    rows = [
        GrowthPoint(n, 1, 0, 1, [f * n * 1e-9] * 3, [0.5 * n * 1e-9] * 3) for n, f in zip(sizes, factors, strict=True)
    ]
    return Growth("Huber", streams=3, wanted=10**9, most=10**8, points=rows)


def test_the_worst_cliff_is_between_neighbours_beyond_the_caches() -> None:
    cliff = growth_with(1.0, 1.3, 1.2).worst_cliff(cache_bytes(FACTS, 3))
    assert cliff is not None
    assert cliff.ratio == pytest.approx(1.3)
    assert (cliff.slower.rows, cliff.faster.rows) == (20_000_000, 10_000_000)
    assert growth_with(1.0).worst_cliff(cache_bytes(FACTS, 3)) is None


def test_a_round_of_growth_goes_from_neighbour_to_neighbour() -> None:
    sizes = [Point(10), Point(100), Point(100, offset=1), Point(1000)]
    calls = [(point, count, what) for point in sizes for count in (1, 2) for what in ("kernel", "twin")]
    for seed in range(8):
        found = in_order(calls, random.Random(seed))
        assert sorted(map(str, found)) == sorted(map(str, calls))
        assert found[0][1] == found[7][1] != found[8][1] == found[15][1]
        for half in (found[:8], found[8:]):
            places = [point for point, *_ in half[::2]]
            assert places in (sizes, sizes[::-1])
            assert places == [point for point, *_ in half[1::2]]


def company_with(ratio: float, twin: float = 1.0) -> Company:
    seconds = {"alone": 1.0, "rested": 1.1, "company": ratio, "companion": 2.0, "companion alone": 2.0}
    seconds |= {"twin alone": 0.5, "twin in company": 0.5 * twin}
    return Company("Huber 2^20", OUT, "torch", 2, {name: [taken] * 3 for name, taken in seconds.items()})


def test_a_call_in_company_is_compared_with_its_twin_there() -> None:
    assert company_verdict(company_with(1.2)) == "met"
    assert company_verdict(company_with(1.5)) == "missed by 0.25x"
    assert company_verdict(company_with(1.5, twin=1.4)) == "met by memory, else missed by 0.25x"
    assert is_disturbed(company_with(1.5, twin=1.4))


# ---- what is shown -----------------------------------------------------------------------------------------------


def test_gaps_to_targets_are_shown(tmp_path: Path) -> None:
    target = first("limit")
    path = tmp_path / "results.json"
    for fraction, shown in ((target.bound - 0.1, True), (target.bound + 0.01, False)):
        write_json(results_of(result_of(target.case, entry("lossk", target.mode, 0.001, fraction=fraction))), path)
        result = run(app, ["bench", "--from", str(path)])
        assert result.exit_code == 0, result.output
        assert ("gaps to target" in result.stdout) == shown
        assert (f"{fraction:.3g}" in result.stdout) == shown


def test_yardsticks_are_no_peers() -> None:
    assert is_yardstick(PLAIN)
    assert is_yardstick("lossk x86-64-v3")
    assert not is_yardstick("lossk")
    assert not is_yardstick("numpy")


def test_machines_are_compared_by_case_and_mode(tmp_path: Path) -> None:
    case = suites.MACHINE[0]
    rows = [entry("lossk", case.modes[0], 0.001, fraction=0.5), entry("lossk base", case.modes[0], 0.003)]
    results = results_of(result_of(case, *rows))
    write_json(results, tmp_path / "results.json")
    machine = machines_page.condensed(read_json(tmp_path / "results.json"))
    page = machines_page.render({"one": machine, "other": machine})
    assert "**.50**" in page
    assert page.count(f"| {case.name} |") == 3, "once side by side, once for each machine's choices"


def test_the_command_shows_an_earlier_run(tmp_path: Path) -> None:
    target = first("limit")
    path = tmp_path / "results.json"
    write_json(results_of(result_of(target.case, entry("lossk", target.mode, 0.001, fraction=0.97))), path)
    for options, shown in (([], "97 %"), (["--markdown"], "| CrossEntropy |")):
        result = run(app, ["bench", "--from", str(path), *options])
        assert result.exit_code == 0, result.output
        assert shown in result.stdout


def test_an_unknown_suite_is_refused() -> None:
    result = run(app, ["bench", "--suite", "target"])
    assert result.exit_code == 2
    assert "target" in result.output


def test_outcomes_of_yardsticks_are_empty() -> None:
    assert Runner(lambda: 3).outcome(3) == Outcome(None, None)

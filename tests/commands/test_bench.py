"""The logic of `lossk bench`: what is measured, what it is compared with, pages. Nothing is timed."""

from __future__ import annotations

import dataclasses
import math
import random
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import machines_page
import numpy as np
import pytest
from typer.testing import CliRunner

import lossk
from lossk.activations import ACTIVATIONS
from lossk.cli.app import app
from lossk.cli.bench import kernels, peers, worker
from lossk.cli.bench.cases import FRESH, IN_PLACE, OPTIMIZERS, OUT, SUITES, THIRD, Case, select
from lossk.cli.bench.kernels import Runner, errors, expected, make_inputs
from lossk.cli.bench.results import Entry, Quantiles, read_json, write_json
from lossk.cli.bench.run import measure_rounds, relate
from lossk.cli.bench.worker import calibrate, first_outcome
from tests.support.results import entry, result_of, results_of
from tests.support.sources import ROOT

CASES = tuple(dict.fromkeys(case for suite in SUITES.values() for case in suite))
TOLERANCE = {"float64": 1e-12, "float32": 2e-6, "bfloat16": 2e-2}
CACHE = 32 << 20
BENCH = ROOT / "bench"


run = CliRunner().invoke


@pytest.fixture(autouse=True)
def _threads_stay_as_they_were() -> Iterator[None]:
    before = lossk.get_num_threads()
    yield
    lossk.set_num_threads(before)


@pytest.mark.parametrize("suite", SUITES)
def test_names_tell_cases_apart(suite: str) -> None:
    assert len({case.name for case in SUITES[suite]}) == len(SUITES[suite])


def test_the_table_covers_the_catalogue() -> None:
    assert {case.kernel for case in SUITES["table"]} >= {"CrossEntropy", "softmax", *THIRD, *OPTIMIZERS}
    assert {case.kernel for case in SUITES["activations"]} == set(ACTIVATIONS)
    assert set(OPTIMIZERS) == set(lossk.optimizers.OPTIMIZERS)


@pytest.mark.parametrize(
    ("case", "mode", "bytes_an_element"),
    [
        (Case("CrossEntropy", "value", (8, 10)), "value", 4),
        (Case("CrossEntropy", "value+grad", (8, 10), "bfloat16"), IN_PLACE, 4),
        (Case("softmax", "output", (8, 10)), "output out=", 8),
        (Case("Huber", "value+grad", (80,), "float64"), OUT, 24),
        (Case("GaussianNLL", "value+grad", (80,)), OUT, 16),
        (Case("SGD", "step", (1, 80)), "step", 20),
        (Case("SGD", "step", (1, 80), "bfloat16"), "step", 14),
        (Case("AdamW", "step", (1, 80)), "step", 28),
    ],
    ids=lambda value: value.name if isinstance(value, Case) else str(value),
)
def test_calls_move_the_bytes_they_say(case: Case, mode: str, bytes_an_element: int) -> None:
    assert case.nbytes_moved(mode) == 80 * bytes_an_element


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_arithmetic_is_measured_on_the_same_kernel_in_l1(case: Case) -> None:
    pair = case.in_l1()
    if not pair:
        assert case.size <= 8192
        return
    large, small = pair
    assert small.size < large.size < case.size
    assert large.nbytes_moved(large.modes[:2][-1]) <= 32 << 10
    assert (large.kernel, large.goal, large.dtype) == (case.kernel, case.goal, case.dtype)
    if case.kind == "rows" and case.shape[1] <= 1000:
        assert large.shape[1] == small.shape[1] == case.shape[1]


def test_a_part_of_a_suite_is_chosen_by_glob_or_expression() -> None:
    table = SUITES["table"]
    assert {case.kernel for case in select(table, ["huber"])} == {"Huber"}
    chosen = select(table, [r"^CrossEntropy value 8192", "SGD*2^25*"])
    assert [case.kernel for case in chosen] == ["CrossEntropy", "SGD"]
    assert select(table, []) == table
    assert select(table, ["*nothing"]) == ()


def tiny(case: Case) -> Case:
    shape = (2, 99) if case.kind == "optimizer" else tuple(min(n, 60) for n in case.shape)
    return dataclasses.replace(case, shape=shape)


@pytest.mark.parametrize("provider", ["lossk", "numpy"])
@pytest.mark.parametrize("case", dict.fromkeys(tiny(case) for case in CASES), ids=lambda case: case.name)
def test_providers_compute_what_the_reference_does(provider: str, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    if case.dtype == "bfloat16" and provider == "numpy":
        pytest.skip("whose loops over 16 bits nobody would write")
    monkeypatch.setattr(kernels, "BLOCK", 10_007)
    wanted = expected(case, seed=0)
    build = (kernels.PROVIDERS | peers.PROVIDERS)[provider][provider]
    for mode in case.modes:
        inputs = make_inputs(case, seed=0)
        if (runner := build(case, mode, inputs, 1)) is not None:
            found = errors(first_outcome(case, runner, inputs), wanted)
            assert max(error or 0 for error in found) < TOLERANCE[case.dtype], (mode, found)


@pytest.mark.parametrize("name", ["jax", "scikit_learn", "numba", "torch"])
def test_peers_compute_what_the_reference_does(name: str) -> None:
    pytest.importorskip({"scikit_learn": "sklearn"}.get(name, name))
    found = peers.PROVIDERS if name == "torch" else {name: runpy.run_path(str(BENCH / f"peer_{name}.py"))["PROVIDERS"]}
    offered = 0
    for case in dict.fromkeys(tiny(case) for case in SUITES["quick"]):
        for build in found[name].values():
            for mode in case.modes:
                inputs = make_inputs(case, seed=0)
                if (runner := build(case, mode, inputs, 1)) is not None:
                    errors_found = errors(first_outcome(case, runner, inputs), expected(case, seed=0))
                    assert max(error or 0 for error in errors_found) < TOLERANCE[case.dtype], (case.name, mode)
                    offered += 1
    assert offered


def test_every_process_makes_the_same_inputs() -> None:
    for kernel, shape in (("CrossEntropy", (70_000, 20)), ("Huber", (1_500_000,))):
        case = Case(kernel, "value", shape)
        once, again = make_inputs(case, seed=3), make_inputs(case, seed=3)
        assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
        assert once[0].shape == shape


@pytest.mark.parametrize("nbytes", [640, 4 * 1_000_003])
def test_twins_move_what_they_say(nbytes: int) -> None:
    for twin in {twin for case in CASES for mode in case.modes for twin in case.twins(mode)}:
        reads, writes = kernels.build_twin(twin, nbytes, 1).call.args  # type: ignore[attr-defined]
        assert (len(reads), len(writes)) == (twin.reads, len(twin.over) + twin.fresh)
        for array in (*reads, *writes):
            assert array.ctypes.data % 64 == 0
            assert nbytes // twin.count <= array.nbytes < nbytes // twin.count + 64


def test_calls_last_about_as_long_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "time_calls", lambda *_: 1e-6)
    assert calibrate(Runner(lambda: None), 1e-4) == 100
    assert calibrate(Runner(lambda: None, prepare=lambda: None), 0.0) == 1


class FakePool:
    """Answers as processes do; one of two families ends in the third round."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def ask(self, family: str, *_: Any) -> float | None:
        self.asked.append(family)
        return None if family == "mortal" and self.asked.count(family) > 2 else 1.0


@pytest.mark.parametrize(("rounds", "budget", "wanted"), [(5, math.inf, 5), (5, 0.0, 3), (2, 0.0, 2)])
def test_rounds_fit_into_the_budget_but_three_are_kept(rounds: int, budget: float, wanted: int) -> None:
    pool: Any = FakePool()
    rows = [("lossk", ("lossk", OUT)), ("mortal", ("mortal", OUT))]
    found = measure_rounds(rows, pool, random.Random(0), rounds, budget)
    assert found["lossk", ("lossk", OUT)] == [1.0] * wanted
    assert (("mortal", ("mortal", OUT)) in found) == (wanted <= 2), "a row is whole or left out"
    assert pool.asked.count("mortal") == wanted


def test_fractions_and_ratios_are_medians_of_the_rounds_own() -> None:
    case = Case("Huber", "value+grad", (1 << 25,))
    ours = entry("lossk", OUT, 1.0, seconds=[1.0, 2.0, 4.0], time=Quantiles(1, 2, 4))
    peer = entry("numpy", OUT, 1.0, seconds=[3.0, 6.0, 4.0], time=Quantiles(3, 4, 6))
    result = result_of(case, ours, peer)
    large, small = case.in_l1()
    scale = case.size / (large.size - small.size) / 2
    yardsticks = {
        "twin 2r1w": [0.5, 1.0, 3.0],
        "twin 2r1w streaming": [1.5, 1.8, 0.4],
        f"arithmetic {large.size}": [1.0, 2.0, 4.0],
        f"arithmetic {small.size}": [1 - 0.95 / scale, 2 - 1.9 / scale, 4 - 3.8 / scale],
    }
    relate(result, case, yardsticks)
    assert ours.fraction == 0.5
    assert ours.limit == 1.0
    assert ours.arithmetic == pytest.approx(0.95)
    assert ours.best_fraction == ours.arithmetic
    assert peer.ratio == 3.0
    assert ours.ratio is None
    assert entry("lossk streamed", OUT, 1.0, ratios={OUT: 2.0}).ratio is None, "a yardstick is no peer"
    assert [twin["label"] for twin in result.twins] == ["twin 2r1w", "twin 2r1w streaming", "arithmetic"]


def test_fractions_below_080_are_marked_and_lost_rows_printed(tmp_path: Path) -> None:
    case, path = SUITES["quick"][0], tmp_path / "results.json"
    rows = [entry("lossk", FRESH, 0.001, fraction=0.79), entry("numpy", FRESH, 0.0005, ratios={FRESH: 0.5})]
    failed = Entry("torch eager", FRESH, "failed: OSError: none")
    write_json(results_of(result_of(case, *rows, failed)), path)
    for options in ([], ["--markdown"]):
        result = run(app, ["bench", "--from", str(path), *options])
        assert result.exit_code == 0, result.output
        for shown in ("< 79 %", "numpy is 2.00 times faster", "torch eager", "OSError", case.name):
            assert shown in result.stdout
    assert [line for line in result.stdout.splitlines() if line.startswith(f"|{case.name}, 2 thr ")]


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    results, path = results_of(result_of(SUITES["quick"][0], entry("lossk", FRESH, 0.001))), tmp_path / "results.json"
    write_json(results, path)
    assert read_json(path) == results
    path.write_text('{"format": 1}')
    assert run(app, ["bench", "--from", str(path)]).exit_code == 2


def test_machines_are_compared_by_case_and_mode(tmp_path: Path) -> None:
    case = SUITES["machine"][0]
    rows = [entry("lossk", "value", 0.001, fraction=0.5), entry("lossk base", "value", 0.003, ratios={"value": 3.0})]
    write_json(results_of(result_of(case, *rows)), tmp_path / "results.json")
    machine = machines_page.condensed(read_json(tmp_path / "results.json"))
    page = machines_page.render({"one": machine, "other": machine})
    assert "| a CPU (vendor 25 1), 2 cores |" in page
    assert "**.50**" in page
    assert page.count(f"| {case.name} |") == 3, "once side by side, once for each machine's choices"
    assert "3.00" in page


@pytest.mark.parametrize(
    "options",
    [["--suite", "target"], ["--peers", "nympy"], ["--threads", "0"], ["--kernels", "nothing"], ["--from", "nowhere"]],
)
def test_nonsense_is_refused(options: list[str]) -> None:
    result = run(app, ["bench", *options])
    assert result.exit_code == 2
    assert options[1] in result.output

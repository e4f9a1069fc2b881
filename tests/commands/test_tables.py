"""Tables of the command `lossk`: verdicts first and nothing cut off, at 80 columns and in a pipe."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

import lossk
from lossk.cli.app import app
from lossk.cli.bench.cases import SUITES
from lossk.cli.bench.markdown import print_results
from lossk.cli.check.command import show
from lossk.cli.check.errors import Error
from lossk.cli.tables import TEXT_WIDTH, output
from tests.support.results import entry, result_of, results_of

run = CliRunner().invoke
LONGEST = max(lossk.__all__, key=len)
ROWS = [
    (LONGEST, "bfloat16", "x86-64-v3", Error("second derivative", 1e-7, 1e-6)),
    (LONGEST, "bfloat16", "x86-64-v4", Error("second derivative", 2e-6, 1e-6)),
]


def printed(width: int, show_on: Any) -> str:
    console = Console(file=io.StringIO(), width=width)
    show_on(console)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [80, 100, 10_000])
def test_check_puts_its_verdict_first_and_cuts_nothing(width: int) -> None:
    text = printed(width, lambda console: show(ROWS, console))
    lines = [line.split() for line in text.splitlines() if line.strip()]
    assert lines[0][0] == "verdict"
    assert [line[0] for line in lines if line[0] in ("ok", "MISS")] == ["ok", "MISS"]
    assert "…" not in text
    for cell in ("bfloat16", "x86-64-v3", "x86-64-v4", "1.0e-07", "2.0e-06"):
        assert cell in text, cell
    assert max(map(len, text.splitlines())) <= width
    if width > 100:
        assert LONGEST in text
        assert "second derivative" in text


@pytest.mark.parametrize("width", [80, 120, 10_000])
def test_bench_cuts_nothing(width: int) -> None:
    case, mode = SUITES["table"][0], "value+grad in torch's graph"
    rows = [entry("lossk", mode, 1.0), entry("torch.compile, a long name", mode, 2.0, ratios={mode: 2.0})]
    text = printed(width, lambda console: print_results(results_of(result_of(case, *rows)), console))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    if width > 120:
        assert mode in text
        assert "torch.compile, a long name 2x (2 s" in text


def test_a_pipe_gets_tables_as_wide_as_they_are_and_lines_that_people_read() -> None:
    result = run(app, ["check", "BinaryCrossEntropyWithLogits"], env={"COLUMNS": "40"})
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines() if line.startswith("ok")]
    assert len(rows) >= 3
    assert all(row[1] == "BinaryCrossEntropyWithLogits" for row in rows)
    assert max(map(len, result.stdout.splitlines())) <= TEXT_WIDTH
    assert output().width > TEXT_WIDTH, "this is no terminal"


def test_info_in_a_pipe_folds_nothing() -> None:
    facts = lossk._runtime.versions()
    text = run(app, ["info"], env={"COLUMNS": "40"}).stdout
    for fact in facts.values():
        assert str(fact) in text


def test_the_version_is_printed() -> None:
    result = run(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.strip() == f"lossk {lossk.__version__}"

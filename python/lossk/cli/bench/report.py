"""The results as terminal tables (rich)."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from lossk.cli.bench import text
from lossk.cli.bench.results import OK, CaseResult, Entry, Results, TwinResult
from lossk.cli.bench.series_tables import (
    COMPANY_HEADINGS,
    COMPANY_NOTE,
    cliff_text,
    company_rows,
    growth_table,
    last_level,
)
from lossk.cli.bench.targets import judge
from lossk.cli.tables import say, table

LEGEND = (
    "of limit: time of the bandwidth twin (same streams, no arithmetic) / time; of a linear layer: of a matrix product "
    "of as many operations. of arith: where that takes longer, time of the same kernel on data in L1 / time. lossk is: "
    "how many times faster lossk is in the same mode; best mode: in its best one. Errors against float64: loss value "
    "(relative), gradient or output (largest, relative to its largest entry)."
)


BUSY = 0.5  # load average above which other programs disturb the measurement
WIDE = 120  # terminal columns that the full table needs; below that it leaves out spread, best mode and one error
COLUMNS = (  # heading, least width, right-aligned, also in narrow tables
    ("mode", 15, False, True),
    ("provider", 19, False, True),
    ("p50", 7, True, True),
    ("p20-p80", 13, True, False),
    ("GB/s", 5, True, True),
    ("of limit", 8, True, True),
    ("of arith", 8, True, False),
    ("lossk is", 8, True, True),
    ("best mode", 9, True, False),
    ("value err", 9, True, False),
    ("grad err", 8, True, True),
)


def case_table(case: CaseResult, wide: bool) -> Table:
    """One case: rows of lossk, then its peers, then the twins."""
    shown = Table(
        title=case.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=0, pad_edge=False
    )
    for heading, width, right, narrow in COLUMNS:
        if wide or narrow:
            shown.add_column(
                heading, justify="right" if right else "left", min_width=width, no_wrap=right, overflow="fold"
            )
    lines = [(_cells(entry), _style(entry)) for entry in case.entries] + [(_twin(twin), "dim") for twin in case.twins]
    for cells, style in lines:
        shown.add_row(*(cell for cell, column in zip(cells, COLUMNS, strict=True) if wide or column[3]), style=style)
    return shown


def _twin(twin: TwinResult) -> list[str]:
    time = [text.duration(twin.time.p50), text.spread(twin.time)]
    return ["limit", twin.label, *time, text.gigabytes(twin.nbytes, twin.time), *[""] * 6]


def _style(entry: Entry) -> str:
    if entry.status != OK:
        return "dim"
    return "bold" if entry.provider == "lossk" else "red" if entry.beats_lossk else ""


def _cells(entry: Entry) -> list[str]:
    if entry.time is None:
        return [entry.mode, entry.provider, entry.status.split(":")[0], *[""] * 8]
    best = max(entry.ratios.values(), default=None)
    return [
        entry.mode,
        entry.provider,
        text.duration(entry.time.p50),
        text.spread(entry.time),
        text.gigabytes(entry.nbytes, entry.time),
        text.percent(entry.fraction),
        text.percent(entry.arithmetic),
        text.times(entry.ratio),
        text.times(best),
        text.error(entry.value_error),
        text.error(entry.array_error),
    ]


def print_results(results: Results, console: Console) -> None:
    """All tables, what failed and why, and the rows that lossk loses."""
    for line in text.provenance(results):
        say(console, line, "dim")
    if results.load_average and results.load_average[0] > BUSY:
        busy = f"The machine was busy (load average {results.load_average[0]:.1f} before the run): read with care."
        say(console, busy, "bold yellow")
    for case in results.cases:
        if case.note:
            say(console, f"{case.title}: {case.note}", "yellow")
        else:
            console.print(case_table(case, console.width >= WIDE))
    for case in results.cases:
        for entry in case.entries:
            if entry.extra_memory is not None:
                say(console, f"{case.title}: {entry.provider} takes {entry.extra_memory / 1e6:.0f} MB more")
        for entry in (entry for entry in case.entries if entry.status != OK):
            say(console, f"{case.title}: {entry.provider} ({entry.mode}) {entry.status}", "yellow")
    _print_series(results, console)
    _print_gaps(results, console)
    if results.cases:
        say(console, LEGEND, "dim")
        _print_lost(results, console)


def _plain_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table whose verdicts, where it has any, come first."""
    order = sorted(range(len(headings)), key=lambda column: headings[column] != "verdict")
    shown = table([headings[column] for column in order], title=title)
    for row in rows:
        shown.add_row(*(row[column] for column in order))
    return shown


def _print_series(results: Results, console: Console) -> None:
    for problem in results.problems:
        say(console, problem, "bold red")
    if results.company:
        console.print(_plain_table("company", COMPANY_HEADINGS, company_rows(results.company)))
        say(console, COMPANY_NOTE.replace("*", ""), "dim")
    for growth in results.growth:
        console.print(_plain_table("growth: time per element, fraction of the limit", *growth_table(growth)))
        say(console, cliff_text(growth, last_level(results)))


def _print_gaps(results: Results, console: Console) -> None:
    missed = [v for v in judge(results) if v.measured is not None and not v.met and not v.arithmetic]
    if missed:
        rows = [[v.target.key, f"{v.target.bound:g}", f"{v.measured:.3g}"] for v in missed]
        console.print(_plain_table("gaps to target", ["target", "wanted", "measured"], rows))


def _print_lost(results: Results, console: Console) -> None:
    lost = results.lost()
    if results.lossk_failed:
        say(console, "lossk itself failed, see above.", "bold red")
    elif not lost:
        say(console, "lossk lost no row of this run.", "bold")
    if lost:
        say(console, f"lossk lost {len(lost)} {'row' if len(lost) == 1 else 'rows'}:", "bold red")
    for case, entry in lost:
        assert entry.ratio is not None
        say(console, f"  {case.title}  {entry.mode}: {entry.provider} is {1 / entry.ratio:.2f} times faster")

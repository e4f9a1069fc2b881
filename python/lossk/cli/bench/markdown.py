"""The results as tables, for terminals and as Markdown: a row per case and mode, the peers in its last column."""

from __future__ import annotations

import io

from rich import box
from rich.console import Console

from lossk.cli.bench.results import OK, CaseResult, Entry, Results
from lossk.cli.tables import UNLIMITED, say, table

LOW, BUSY = 0.8, 0.5  # fractions of the limit below, and load averages above which a row, and a run, are marked
HEADINGS = ("case", "mode", "p50 (p20 - p80)", "GB/s", "of limit", "of arith", "error", "lossk is faster than")
LEGEND = (
    "of limit: the bandwidth twin's time (same streams, no arithmetic) / time; of arith: where it takes longer, the "
    f"kernel's on data in L1; < where both are below {LOW}. Faster: median of the rounds' ratios, in the same mode; "
    "error, against float64: the larger of the loss's (relative) and the array's (relative to its largest entry)."
)


def duration(seconds: float) -> str:
    """``5.12 ms``."""
    size, name = next(((s, n) for s, n in ((1, "s"), (1e-3, "ms"), (1e-6, "us")) if seconds > 0.9995 * s), (1e-9, "ns"))
    return f"{seconds / size:.3g} {name}"


def percent(fraction: float | None) -> str:
    """``84 %``."""
    return "" if fraction is None else f"{100 * fraction:.{0 if fraction >= 0.1 else 1}f} %"


def error(entry: Entry) -> str:
    """``3e-07``: the larger of a row's two errors; 0 where the result is exact."""
    return f"{max(entry.value_error or 0, entry.array_error or 0):.0e}".replace("0e+00", "0")


def print_results(results: Results, console: Console, style: box.Box = box.SIMPLE_HEAD) -> None:
    """All tables, what failed and why, and the rows that lossk loses."""
    for facts in (results.facts, results.peers):
        say(console, ", ".join(f"{key} {value}" for key, value in facts.items()), "dim")
    rounds = f"{results.settings['rounds']} rounds in random order, one process per peer, medians"
    say(console, f"{rounds}; {results.created}; {results.command}", "dim")
    if results.load_average and (load := results.load_average[0]) > BUSY:
        say(console, f"The machine was busy (load average {load:.1f} before the run): read with care.", "bold yellow")
    shown, failed, lost = table(HEADINGS, right=HEADINGS[2:7]), [], []
    for case in results.cases:
        title = f"{case.name}, {case.threads} thr"
        for entry in case.entries:
            if entry.status != OK:
                failed.append(f"{title}: {entry.provider} ({entry.mode}) {entry.status}")
            elif entry.provider == "lossk":
                shown.add_row(title, entry.mode, *_numbers(entry), _peers(case, entry.mode))
            elif entry.ratio and entry.ratio < 1:
                lost.append(f"- {title}, {entry.mode}: {entry.provider} is {1 / entry.ratio:.2f} times faster")
    if shown.row_count:
        shown.box, shown.show_edge = style, style is box.MARKDOWN
        console.print("", shown, "", sep="\n")
    say(console, LEGEND, "dim")
    for line in [*failed, "Rows that lossk loses:" if lost else "lossk lost no row of this run.", *lost]:
        say(console, line, "bold")


def _numbers(entry: Entry) -> list[str]:
    assert entry.time is not None, "its status is ok"
    time = f"{duration(entry.time.p50)} ({duration(entry.time.p20)} - {duration(entry.time.p80)})"
    speed = f"{entry.nbytes / entry.time.p50 / 1e9:.3g}" if entry.nbytes else ""
    limit = f"{'< ' if entry.best_fraction < LOW else ''}{percent(entry.fraction)}"
    return [time, speed, limit, percent(entry.arithmetic), error(entry)]


def _peers(case: CaseResult, mode: str) -> str:
    rows = sorted((e for e in case.entries if e.mode == mode and e.ratio), key=lambda e: e.ratio or 0)
    return "; ".join(f"{e.provider} {e.ratio:.3g}x ({duration(e.time.p50)}, {error(e)})" for e in rows if e.time)


def render_markdown(results: Results) -> str:
    """Return the same as Markdown."""
    page = io.StringIO()
    print_results(results, Console(file=page, width=UNLIMITED), box.MARKDOWN)
    return page.getvalue()

"""The results as tables and in words: a row per case and mode, with the peers' in its last column."""

from __future__ import annotations

from rich import box
from rich.console import Console

from lossk.cli.bench.results import OK, CaseResult, Entry, Results, is_yardstick
from lossk.cli.tables import say, table

LOW = 0.8  # fractions of the limit below this are marked
BUSY = 0.5  # load average above which other programs disturb the measurement
HEADINGS = ("case", "mode", "p50 (p20 - p80)", "GB/s", "of limit", "of arith", "error")
LEGEND = (
    "of limit: time of the bandwidth twin (same streams, no arithmetic) / time; of arith: where that takes longer, that "
    f"of the same kernel on data in L1 / time; <: the larger is below {LOW}. Peers: how many times faster lossk is in "
    "the same mode (the median of the rounds' ratios), time, error. Errors against float64: the larger of the loss's "
    "(relative) and the gradient's, output's or parameter's (relative to its largest entry)."
)


def duration(seconds: float) -> str:
    """``5.12 ms``."""
    size, name = next(((s, n) for s, n in ((1, "s"), (1e-3, "ms"), (1e-6, "us")) if seconds >= s), (1e-9, "ns"))
    return f"{seconds / size:.3g} {name}"


def percent(fraction: float | None) -> str:
    """``84 %``."""
    return "" if fraction is None else f"{100 * fraction:.{0 if fraction >= 0.1 else 1}f} %"


def times(ratio: float | None) -> str:
    """``12.3x``."""
    return "" if ratio is None else f"{ratio:.2f}x" if ratio < 10 else f"{ratio:.0f}x"


def error(entry: Entry) -> str:
    """``3e-07``: the larger of a row's two errors; 0 where the result is exact."""
    found = max((e for e in (entry.value_error, entry.array_error) if e is not None), default=None)
    return "" if found is None else f"{found:.0e}" if found else "0"


def print_results(results: Results, console: Console, style: box.Box = box.SIMPLE_HEAD) -> None:
    """All tables, what failed and why, and the rows that lossk loses."""
    say(console, ", ".join(f"{key} {value}" for key, value in results.facts.items()), "dim")
    say(console, "peers: " + ", ".join(f"{name} {state}" for name, state in results.peers.items()), "dim")
    rounds = f"{results.settings['rounds']} rounds in random order, one process per peer, medians"
    say(console, f"{rounds}; {results.created}; {results.command}", "dim")
    if results.load_average and results.load_average[0] > BUSY:
        say(
            console,
            f"The machine was busy (load average {results.load_average[0]:.1f}): read with care.",
            "bold yellow",
        )
    rows = [(f"{case.name}, {case.threads} thr", case, entry) for case, entry in results.rows()]
    with_peers = any(not (entry.provider == "lossk" or is_yardstick(entry.provider)) for *_, entry in rows)
    shown = table([*HEADINGS, *["peers"] * with_peers], right=HEADINGS[2:])
    gaps, shown.box = table(["gaps to target", "mode", "wanted", "measured"]), style
    told = [f"{case.name}: {case.note}" for case in results.cases if case.note]
    lost = []
    for title, case, entry in rows:
        if entry.status != OK:
            told.append(f"{title}: {entry.provider} ({entry.mode}) {entry.status}")
        elif entry.provider == "lossk":
            shown.add_row(title, entry.mode, *_numbers(entry), *[_peers(case, entry.mode)] * with_peers)
        elif entry.ratio is not None and entry.ratio < 1:
            lost.append(f"- {title}, {entry.mode}: {entry.provider} is {1 / entry.ratio:.2f} times faster")
        if entry.bound and entry.best_fraction < entry.bound:
            gaps.add_row(title, entry.mode, f"{entry.bound:g}", f"{entry.best_fraction:.3g}")
    for made in (shown, gaps):
        if made.row_count:
            console.print(made)
    say(console, LEGEND, "dim")
    for line in [*told, "Rows that lossk loses:" if lost else "lossk lost no row of this run.", *lost]:
        say(console, line, "bold")


def _numbers(entry: Entry) -> list[str]:
    assert entry.time is not None, "its status is ok"
    time = f"{duration(entry.time.p50)} ({duration(entry.time.p20)} - {duration(entry.time.p80)})"
    speed = f"{entry.nbytes / entry.time.p50 / 1e9:.3g}" if entry.nbytes else ""
    limit = f"{'< ' if entry.best_fraction < LOW else ''}{percent(entry.fraction)}"
    return [time, speed, limit, percent(entry.arithmetic), error(entry)]


def _peers(case: CaseResult, mode: str) -> str:
    found = [(e.ratio, e, e.time.p50) for e in case.entries if e.mode == mode and e.time and e.ratio]
    ordered = sorted(found, key=lambda one: one[0])
    return "; ".join(f"{e.provider} {times(ratio)} ({duration(p50)}, {error(e)})" for ratio, e, p50 in ordered)

"""The results as Markdown: one row per case and mode, one column per provider, time and error in each cell."""

from __future__ import annotations

from lossk.cli.bench import text
from lossk.cli.bench.providers import is_yardstick
from lossk.cli.bench.results import OK, CaseResult, Entry, Results, threads_text

NOTE = (
    "Cells: median time; for peers how many times faster lossk is in the same mode (bold: lossk loses), the median of "
    "the rounds' ratios and so not the ratio of the medians; error against "
    "float64, the larger of the loss's relative error and the gradient's largest error relative to its largest entry. "
    "*Of limit* compares lossk with its bandwidth twin: the same memory streams, no arithmetic; *of "
    "arithmetic*, where that takes longer, with the same kernel on data that stays in L1."
)


def _providers(results: Results) -> list[str]:
    """Peers that gave a number or failed somewhere, in the order of their first row."""
    names = dict.fromkeys(entry.provider for case in results.cases for entry in case.entries)
    return [name for name in names if name != "lossk" and not is_yardstick(name)]


def _worst(entry: Entry) -> str:
    known = [error for error in (entry.value_error, entry.array_error) if error is not None]
    return text.error(max(known)) if known else "-"


def _cell(entry: Entry | None) -> str:
    if entry is None:
        return ""
    if entry.status != OK or entry.time is None:
        return "failed"
    ratio = f"**{text.times(entry.ratio)}**" if entry.beats_lossk else text.times(entry.ratio)
    return f"{text.duration(entry.time.p50)}, {ratio}, {_worst(entry)}"


def _row(case: CaseResult, mode: str, providers: list[str]) -> str:
    found = {entry.provider: entry for entry in case.entries if entry.mode == mode}
    ours = found["lossk"]
    if ours.time is None:
        head = ["failed", "", "", ""]
    else:
        head = [
            f"{text.duration(ours.time.p50)}, {_worst(ours)}",
            text.gigabytes(ours.nbytes, ours.time),
            text.percent(ours.fraction),
            text.percent(ours.arithmetic),
        ]
    what = [case.full_kernel, case.shape, case.dtype, str(case.threads), mode]
    return "| " + " | ".join(what + head + [_cell(found.get(name)) for name in providers]) + " |"


def _modes(case: CaseResult) -> list[str]:
    return [entry.mode for entry in case.entries if entry.provider == "lossk"]


def _lost(results: Results) -> list[str]:
    lost = results.lost()
    if not lost:
        return ["lossk lost no row of this run."]
    lines = ["Rows that lossk loses:", ""]
    for case, entry in lost:
        assert entry.ratio is not None
        where = f"{case.full_kernel} {case.shape} {case.dtype}, {entry.mode}, {threads_text(case.threads)}"
        lines.append(f"- {where}: {entry.provider} is {1 / entry.ratio:.2f} times faster")
    return lines


def render_markdown(results: Results) -> str:
    """Return the table, what it was measured on, and the rows that lossk loses."""
    providers = _providers(results)
    headings = ["kernel", "shape", "dtype", "threads", "mode", "lossk", "GB/s", "of limit", "of arithmetic", *providers]
    lines = ["| " + " | ".join(headings) + " |", "| " + " | ".join(["---"] * len(headings)) + " |"]
    lines += [_row(case, mode, providers) for case in results.cases for mode in _modes(case)]
    lines += ["", NOTE, "", *_lost(results), "", "Measured on: " + ". ".join(text.provenance(results)) + "."]
    return "\n".join(lines) + "\n"

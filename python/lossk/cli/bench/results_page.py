"""The results page, bench/RESULTS.md: every target with what was measured, in Markdown, from one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from lossk.cli.bench import text
from lossk.cli.bench.notes import Note, assign
from lossk.cli.bench.providers import is_yardstick
from lossk.cli.bench.results import OK, CaseResult, Entry, Results
from lossk.cli.bench.series_tables import (
    COMPANY_HEADINGS,
    COMPANY_NOTE,
    GROWTH_NOTE,
    cliff_text,
    company_rows,
    growth_table,
    is_cliff,
    is_disturbed,
    last_level,
)
from lossk.cli.bench.targets import MEGABYTE, Measure, Target, Verdict, judge

INTRODUCTION = """# Speed: what was to be reached, and what is

Made by `tools/results_page.py` from one run of `lossk bench`; not to be edited. What the columns mean and how they are
measured is in [README.md](README.md); notes on misses come from [misses.md](misses.md).

- **limit**: time of the bandwidth twin (the same memory streams, no arithmetic) / time. A linear layer's is a large
  matrix product of as many operations. **of arithmetic**: where the kernel's own arithmetic, on data that stays in L1,
  takes longer than its twin: that time / time. "Met by arithmetic" means that the bound is reached only if the
  larger of the two is the limit.
- **faster**: how many times faster lossk is than the best of the peers named, in the same mode. **cost**: time
  relative to the call named, in the same rounds. **memory**: resident memory that a call takes beyond its results.
  A case whose round takes over a minute is measured once.
- **peers**: how many times faster lossk is than each peer's best mode, bold where lossk loses; for memory, theirs.
- **errors** against float64: of the loss (relative), of gradient or output (largest, relative to its largest entry).
"""

FORMATS: dict[Measure, tuple[str, Callable[[float], str]]] = {
    "limit": ("at least", lambda x: f"{x:.2f}"),
    "faster": ("at least", text.times),
    "cost": ("at most", text.times),
    "memory": ("at most", lambda x: f"{x / MEGABYTE:.0f} MB"),
}
HEADINGS = (
    "case",
    "mode",
    "target",
    "measured",
    "verdict",
    "of arithmetic",
    "time",
    "GB/s",
    "errors",
    "peers",
    "note",
)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def target_text(target: Target) -> str:
    """``limit at least 0.92``, ``faster than torch fused: at least 3x``."""
    word, show = FORMATS[target.measure]
    against = f" than {', '.join(target.against)}:" if target.measure == "faster" else ""
    against = f" of {', '.join(target.against)}:" if target.measure == "cost" else against
    return f"{target.measure}{against} {word} {show(target.bound)}"


def verdict_text(verdict: Verdict) -> str:
    """``met``, ``met by arithmetic``, ``missed by 0.05`` or why there is no number."""
    if verdict.measured is None:
        return "not measured"
    if verdict.met:
        return "met"
    _, show = FORMATS[verdict.target.measure]
    missed = f"missed by {show(abs(verdict.measured - verdict.target.bound))}"
    return f"met by arithmetic, else {missed}" if verdict.arithmetic else missed


def _memory(result: CaseResult) -> str:
    _, show = FORMATS["memory"]
    takes = ((entry.provider, entry.extra_memory) for entry in result.entries if entry.provider != "lossk")
    return ", ".join(f"{name} {show(extra)}" for name, extra in takes if extra is not None)


def _peers(result: CaseResult, mode: str) -> str:
    best: dict[str, float] = {}
    for entry in result.entries:
        ratio = entry.ratios.get(mode)
        if ratio is not None and not is_yardstick(entry.provider):
            best[entry.provider] = min(ratio, best.get(entry.provider, ratio))
    measured = (
        f"{name} {text.times(ratio)}" if ratio >= 1 else f"**{name} {text.times(ratio)}**"
        for name, ratio in best.items()
    )
    return ", ".join((*measured, *_not_measured(result)))


def _not_measured(result: CaseResult) -> Iterator[str]:
    """Yield the peers that a linear layer's case has no number of, and why."""
    for entry in result.entries:
        if entry.status != OK and result.kernel == "LinearCrossEntropy":
            yield f"{entry.provider} {entry.status.replace('|', '/')}"


def _errors(entry: Entry) -> str:
    return " / ".join(text.error(error) or "-" for error in (entry.value_error, entry.array_error))


def _row(verdict: Verdict, footnote: str) -> list[str]:
    target, entry, result = verdict.target, verdict.entry, verdict.result
    _, show = FORMATS[target.measure]
    head = [target.case.name, target.mode, target_text(target)]
    if entry is None or entry.time is None or result is None:
        return [*head, "", verdict_text(verdict), "", "", "", "", "" if result is None else result.note, footnote]
    return [
        *head,
        ("" if verdict.measured is None else show(verdict.measured))
        + (f" ({verdict.peer})" if target.measure == "faster" and verdict.peer else ""),
        verdict_text(verdict),
        "" if entry.arithmetic is None else f"{entry.arithmetic:.2f}",
        text.duration(entry.time.p50),
        text.gigabytes(entry.nbytes, entry.time),
        _errors(entry),
        _memory(result) if target.measure == "memory" else _peers(result, target.mode),
        footnote,
    ]


# ---- the page -----------------------------------------------------------------------------------------------------


def misses(verdicts: Sequence[Verdict], results: Results) -> list[str]:
    """Return the keys of everything that is not as it should be, each of which needs a note."""
    found = [verdict.target.key for verdict in verdicts if not verdict.met]
    found += [growth.key for growth in results.growth if is_cliff(growth.worst_cliff(last_level(results)))]
    return found + [company.key for company in results.company if is_disturbed(company)]


def by_row(verdicts: Sequence[Verdict]) -> dict[str, list[Verdict]]:
    """Group verdicts by the row of the table of targets, in the order of their first."""
    rows: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        rows.setdefault(verdict.target.row, []).append(verdict)
    return rows


def _summary(rows: dict[str, list[Verdict]]) -> list[str]:
    counts = {row: _counts(found) for row, found in rows.items()}
    counts["sum"] = [sum(column) for column in zip(*counts.values(), strict=True)]
    cells = [[row, *(str(number) for number in numbers)] for row, numbers in counts.items()]
    return table(("targets", "all", "met", "by arithmetic", "missed", "not measured"), cells)


def _counts(found: Sequence[Verdict]) -> list[int]:
    met, arithmetic = sum(v.met for v in found), sum(v.arithmetic for v in found)
    unmeasured = sum(v.measured is None for v in found)
    return [len(found), met, arithmetic, len(found) - met - arithmetic - unmeasured, unmeasured]


def _lost(results: Results) -> list[str]:
    lost = [
        f"- {case.title}, {entry.mode}: {entry.provider} is {1 / entry.ratio:.2f} times faster"
        for case, entry in results.lost()
        if entry.ratio
    ]
    return lost or ["lossk lost no row of this run."]


class Footnotes:
    """The notes of a page, numbered in their order, and what belongs to which miss."""

    def __init__(self, notes: Sequence[Note], keys: Sequence[str]) -> None:
        self._assigned = assign(notes, keys)
        self._numbers = {note: number for number, note in enumerate(notes, 1)}

    def mark(self, key: str) -> str:
        """Return ``[3]``, or nothing where the key is no miss."""
        note = self._assigned.get(key)
        return "" if note is None else f"[{self._numbers[note]}]"

    def below(self, keys: Sequence[str]) -> list[str]:
        """Return the notes that belong to these keys, each once."""
        used = dict.fromkeys(self._assigned[key] for key in keys if key in self._assigned)
        return [line for note in used for line in ("", f"[{self._numbers[note]}] {note.text}")]


def _series(results: Results, footnotes: Footnotes) -> list[str]:
    lines = ["## Company", "", COMPANY_NOTE, ""]
    marks = [[footnotes.mark(company.key)] for company in results.company]
    rows = [row + mark for row, mark in zip(company_rows(results.company), marks, strict=True)]
    lines += table((*COMPANY_HEADINGS, "note"), rows) if rows else ["Not measured in this run."]
    lines += [*footnotes.below([company.key for company in results.company]), "", "## Growth", "", GROWTH_NOTE, ""]
    if not results.growth:
        return [*lines, "Not measured in this run.", ""]
    cache = last_level(results)
    lines += [f"- {cliff_text(growth, cache)} {footnotes.mark(growth.key)}".rstrip() for growth in results.growth]
    lines += footnotes.below([growth.key for growth in results.growth])
    lines += ["", "![Time per element over the number of elements](growth.png)", ""]
    for growth in results.growth:
        lines += [*table(*growth_table(growth)), ""]
    return lines


def render_page(results: Results, notes: Sequence[Note]) -> str:
    """Return the page. Raises NotesError where notes and misses do not belong together."""
    verdicts = judge(results)
    footnotes, rows = Footnotes(notes, misses(verdicts, results)), by_row(verdicts)
    picture = "![Fraction of the memory limit that six kernels and their fastest peers reach](limits.png)"
    lines = [
        INTRODUCTION,
        "Measured on: " + ". ".join(text.provenance(results)) + ".",
        "",
        *(line for again in results.measured_again for line in (f"Measured again, after changes: {again}.", "")),
        *_summary(rows),
        "",
        picture,
    ]
    for row, found in rows.items():
        keys = [verdict.target.key for verdict in found]
        cells = [_row(verdict, footnotes.mark(key)) for verdict, key in zip(found, keys, strict=True)]
        lines += ["", f"## {row[0].upper()}{row[1:]}", "", *table(HEADINGS, cells), *footnotes.below(keys)]
    lines += ["", *_series(results, footnotes), "## Rows lost to peers", "", *_lost(results)]
    return "\n".join(lines) + "\n"

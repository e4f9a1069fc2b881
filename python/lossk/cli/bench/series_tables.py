"""Growth and company as rows of text; terminal and results page lay them out."""

from __future__ import annotations

from collections.abc import Sequence

from lossk.cli.bench import text
from lossk.cli.bench.machine import cache_bytes
from lossk.cli.bench.results import Results, threads_text
from lossk.cli.bench.series import Cliff, Company, Growth, GrowthPoint

CLIFF = 1.25  # the largest step between neighbours beyond the caches that is no cliff
BESIDE = 1.25  # how many times longer than alone a call may take in company

COMPANY_NOTE = (
    "One process in which a companion works between lossk's calls; *rested*: lossk sleeps as long instead; *the "
    "companion*: its own time there over its time alone; *the twin*: the bandwidth twin's time in company over its "
    f"time alone. Target: at most {BESIDE:.2f}x alone; 'met by memory': at most {BESIDE:.2f}x what the twin's becomes."
)
COMPANY_HEADINGS = (
    "case",
    "mode",
    "companion",
    "alone",
    "rested",
    "in company",
    "ratio",
    "the twin",
    "verdict",
    "the companion",
)
GROWTH_NOTE = (
    "Time per element and fraction of the limit, float32. Target: beyond the caches, neighbours in size differ by "
    f"at most {CLIFF:.2f}x."
)


def last_level(results: Results) -> int:
    """Return the size of the last-level cache of the machine that was measured."""
    return cache_bytes(results.facts, 3)


def within(ratio: float, bound: float) -> str:
    """``met`` or ``missed by 0.12x``."""
    return "met" if ratio <= bound else f"missed by {ratio - bound:.2f}x"


def is_disturbed(company: Company) -> bool:
    """Whether a call takes longer in company than it should."""
    return company.ratio("company") > BESIDE


def company_verdict(company: Company) -> str:
    """``met``, ``missed by 0.12x``, or the latter with what the twin makes of it."""
    ratio = company.ratio("company")
    verdict = within(ratio, BESIDE)
    by_memory = is_disturbed(company) and ratio <= BESIDE * company.twin_ratio
    return f"met by memory, else {verdict}" if by_memory else verdict


def company_rows(companies: Sequence[Company]) -> list[list[str]]:
    """Return a row per case and companion, under `COMPANY_HEADINGS`."""
    return [
        [
            company.case,
            company.mode,
            f"{company.companion}, {text.duration(company.median('companion alone'))}",
            *(text.duration(company.median(situation)) for situation in ("alone", "rested", "company")),
            f"{company.ratio('company'):.2f}x",
            f"{company.twin_ratio:.2f}x",
            company_verdict(company),
            f"{company.ratio('companion', 'companion alone'):.2f}x",
        ]
        for company in companies
    ]


def growth_table(growth: Growth) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of one kernel: a row per size, a column per thread count."""
    counts = growth.thread_counts()
    columns = [growth.line(count) for count in counts]
    rows = [[points[0].label, *(_cell(point) for point in points)] for points in zip(*columns, strict=True)]
    return [growth.kernel, *(threads_text(count) for count in counts)], rows


def _cell(point: GrowthPoint) -> str:
    return f"{point.per_element * 1e9:.3g} ns, {point.fraction:.2f}"


def is_cliff(cliff: Cliff | None) -> bool:
    """Whether neighbours differ by more than they should."""
    return cliff is not None and cliff.ratio > CLIFF


def cliff_text(growth: Growth, last_level_cache: int) -> str:
    """Say what the worst step between neighbours beyond the caches is, and what was left out."""
    cliff = growth.worst_cliff(last_level_cache)
    told = f"{growth.kernel}: no two neighbours beyond the caches"
    if cliff is not None:
        where = f"{cliff.slower.label} against {cliff.faster.label}, {threads_text(cliff.slower.threads)}"
        told = f"{growth.kernel}: worst neighbours {cliff.ratio:.2f}x ({where}), {within(cliff.ratio, CLIFF)}"
    if growth.most < growth.wanted:
        told += f"; left out for want of memory: more than {growth.most:,} elements"
    return told

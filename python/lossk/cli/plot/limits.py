"""Six kernels as bars: the fraction of the limit that lossk reaches, and its fastest peers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lossk.cli.bench.markdown import duration, percent
from lossk.cli.bench.results import CaseResult, Results

COLORS = {"lossk": "#D55E00", "numpy": "#56B4E9", "torch eager": "#0072B2", "torch fused": "#0072B2", "jax": "#CC79A7"}
ROWS, PEERS = 6, 3
Row = tuple[CaseResult, float, list[tuple[str, float]]]  # a case, its limit, the seconds of lossk and its peers


def rows_of(results: Results) -> list[Row]:
    """Choose what is drawn: of each kernel, those that have peers if any has, the case that moves most bytes; six."""
    largest: dict[str, tuple[bool, int, Row]] = {}
    for case in results.cases:
        best: dict[str, float] = {}  # seconds of each provider's fastest mode
        for entry in case.entries:
            if entry.time and not entry.provider.startswith("lossk "):
                best[entry.provider] = min(entry.time.p50, best.get(entry.provider, entry.time.p50))
        ours = next((e for e in case.entries if e.provider == "lossk" and e.time and e.time.p50 == best["lossk"]), None)
        rank = len(best) > 1, ours.nbytes if ours else 0
        if ours and ours.limit and rank > largest.get(case.kernel, (False, -1))[:2]:
            peers = sorted(best.items(), key=lambda bar: (bar[0] != "lossk", bar[1]))[: PEERS + 1]
            largest[case.kernel] = *rank, (case, ours.limit, peers)
    compared = any(has_peers for has_peers, *_ in largest.values())
    return [row for has_peers, _, row in largest.values() if has_peers == compared][:ROWS]


def draw_limits(results: Results, path: Path) -> Any:
    """Write the picture as a PNG, and return it."""
    rows, height = rows_of(results), 0.84 / (PEERS + 1)
    figure = Figure(figsize=(11, 1.6 + 1.05 * max(1, len(rows))), layout="constrained")
    axes = figure.subplots()
    for place, (_, limit, bars) in enumerate(rows):
        for i, (name, seconds) in enumerate(bars):
            at, fraction = place + height * (i - (len(bars) - 1) / 2), limit / seconds
            axes.barh(at, fraction, height=0.9 * height, color=COLORS.get(name, "#666666"))
            factor = f", {seconds / bars[0][1]:.3g}x the time" if i else ""
            told = f"{name} {percent(fraction)}: {duration(seconds)}{factor}"
            text = axes.text(fraction + 0.01, at, told, va="center", fontsize=8.5, weight="normal" if i else "bold")
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})
    axes.set_yticks(range(len(rows)), [f"{case.kernel}\n{case.shape} {case.dtype}" for case, *_ in rows])
    axes.set(ylim=(len(rows) - 0.45, -0.55), xlim=(0, 1.6), xticks=[0, 0.25, 0.5, 0.75, 1])
    axes.set_xlabel("fraction of the limit: what the memory traffic alone takes")
    axes.axvline(1, color="#222222", linewidth=1.2, zorder=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.suptitle(f"lossk and its fastest peers, each in its fastest mode, {results.facts['cpu']}", x=0.01, ha="left")
    figure.savefig(path, dpi=130)
    return figure

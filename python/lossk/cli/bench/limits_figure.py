"""Six kernels as bars: the fraction of the limit that lossk reaches, and its fastest peers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.ticker import PercentFormatter

from lossk.cli.bench import text
from lossk.cli.bench.figure import OTHER, STYLES, best_entries
from lossk.cli.bench.results import CaseResult, Entry, Results, threads_text

ROWS, PEERS = 6, 3
Bars = list[tuple[str, Entry, float]]
Row = tuple[CaseResult, Bars]


def _row(case: CaseResult) -> Row | None:
    """Return lossk and its fastest peers in their fastest modes, each with its fraction of lossk's limit."""
    best = best_entries(case)
    ours = best.get("lossk")
    if ours is None or ours.limit is None or len(best) < 2:
        return None
    limit = ours.limit
    times = [(name, entry, limit / entry.time.p50) for name, entry in best.items() if entry.time is not None]
    peers = sorted((found for found in times if found[0] != "lossk"), key=lambda found: -found[2])
    return case, [found for found in times if found[0] == "lossk"] + peers[:PEERS]


def rows_of(results: Results) -> list[Row]:
    """Choose what is drawn: of each kernel that has peers the case that moves most bytes, the first six."""
    threads = max((case.threads for case in results.cases), default=1)
    largest: dict[str, Row] = {}
    for case in results.cases:
        row = _row(case) if case.threads == threads else None
        if row is not None:
            known = largest.get(case.kernel)
            if known is None or row[1][0][1].nbytes > known[1][0][1].nbytes:
                largest[case.kernel] = row
    return list(largest.values())[:ROWS]


def _draw_row(axes: Any, place: int, found: Bars) -> None:
    height = 0.84 / (PEERS + 1)
    ours = found[0][2]
    for i, (name, entry, fraction) in enumerate(found):
        at = place + height * (i - (len(found) - 1) / 2)
        axes.barh(at, fraction, height=0.9 * height, color=STYLES.get(name, OTHER)[0])
        assert entry.time is not None, "rows hold what was measured"
        factor = "" if i == 0 else f", {text.times(ours / fraction)} the time"
        axes.text(
            fraction + 0.008,
            at,
            f"{name} {text.percent(fraction)}: {text.duration(entry.time.p50)}{factor}",
            va="center",
            bbox={"facecolor": "w", "edgecolor": "none", "pad": 0.8},
            fontsize=8.5,
            fontweight="bold" if i == 0 else "normal",
        )


def draw_limits(results: Results, path: Path) -> None:
    """Write the picture as a PNG."""
    rows = rows_of(results)
    figure, axes = plt.subplots(figsize=(11, 1.6 + 1.05 * max(1, len(rows))), layout="constrained")
    for place, (_, found) in enumerate(rows):
        _draw_row(axes, place, found)
    names = [f"{case.full_kernel}\n{case.shape} {case.dtype}" for case, _ in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_xlim(0, 1.6)
    axes.axvline(1, color="#222222", linewidth=1.2, zorder=0)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("fraction of the limit: what the memory traffic alone takes, or for a layer its products")
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    threads = max((case.threads for case in results.cases), default=1)
    where = f"{threads_text(threads)}, {results.facts.get('cpu', '')}"
    figure.suptitle(f"lossk and its fastest peers, each in its fastest mode, {where}", x=0.01, ha="left", fontsize=12)
    figure.savefig(path, dpi=130)
    plt.close(figure)

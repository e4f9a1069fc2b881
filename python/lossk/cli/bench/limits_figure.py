"""Time and fraction of the limit over the bytes that a call moves, logarithmic on both axes, with all peers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

from lossk.cli.bench import text
from lossk.cli.bench.figure import OTHER, STYLES, best_entries
from lossk.cli.bench.results import Entry, Results, threads_text

UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))


def _bytes(nbytes: float, _: object) -> str:
    size, name = next((unit for unit in UNITS if nbytes >= unit[0]), UNITS[-1])
    return f"{nbytes / size:.0f} {name}"


def _scatter(axes: Any, entries: dict[str, list[Entry]], value: str) -> None:
    for provider, rows in entries.items():
        color, marker = STYLES.get(provider, OTHER)
        ours = provider == "lossk"
        axes.scatter(
            [entry.nbytes for entry in rows],
            [entry.time.p50 if value == "time" and entry.time else entry.fraction for entry in rows],
            s=48 if ours else 22,
            c=color,
            marker=marker,
            label=provider,
            zorder=4 if ours else 3,
            linewidths=0.4,
            edgecolors="w",
        )


def draw_limits(results: Results, path: Path) -> None:
    """Write the picture of every provider's best mode in all cases that memory limits, at the run's thread count."""
    threads = max((case.threads for case in results.cases), default=1)
    cases = [best_entries(case) for case in results.cases if case.threads == threads]
    entries: dict[str, list[Entry]] = {}
    for best in cases:
        for provider, entry in best.items():
            if entry.fraction and entry.nbytes:
                entries.setdefault(provider, []).append(entry)
    figure, (above, below) = plt.subplots(2, 1, figsize=(11, 9), sharex=True, layout="constrained")
    _scatter(above, entries, "time")
    limits = sorted((entry.nbytes, entry.limit) for entry in entries.get("lossk", []) if entry.limit)
    above.plot(*zip(*limits, strict=True), "_", color="#222222", markersize=9, label="limit: memory traffic alone")
    _scatter(below, entries, "fraction")
    below.axhline(1, color="#222222", linewidth=1)
    above.set_ylabel("time per call")
    below.set_ylabel("fraction of the limit")
    below.set_xlabel("bytes that a call moves at least")
    for axes in (above, below):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.grid(color="#eeeeee")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    above.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: text.duration(seconds)))
    below.yaxis.set_major_formatter(FuncFormatter(lambda fraction, _: f"{fraction:g}"))
    below.xaxis.set_major_formatter(FuncFormatter(_bytes))
    above.legend(frameon=False, fontsize=9, ncols=2)
    where = f"{threads_text(threads)}, {results.facts.get('cpu', '')}"
    figure.suptitle(f"Each provider's fastest mode, {where}", x=0.01, ha="left", fontsize=12)
    figure.savefig(path, dpi=130)
    plt.close(figure)

"""Growth as a picture: time per element over the number of elements, both logarithmic, a panel per kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt

from lossk.cli.bench.figure import time_ticks
from lossk.cli.bench.growth import half_decades
from lossk.cli.bench.machine import cache_bytes
from lossk.cli.bench.results import Results, threads_text
from lossk.cli.bench.series import ITEMSIZE, Growth, GrowthPoint

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")  # Okabe and Ito, by number of threads
COLUMNS = 2


def _is_plain(point: GrowthPoint, usual: int) -> bool:
    """Whether a point belongs to the line: aligned, with the usual number of classes, at half a decade."""
    halves = {max(1, size // usual) for size in half_decades(point.elements + usual)}
    return point.offset == 0 and point.classes == usual and point.rows in halves


def _mark(axes: Any, points: list[GrowthPoint], marker: str, color: str) -> None:
    axes.plot(
        [point.elements for point in points],
        [point.per_element for point in points],
        linestyle="none",
        marker=marker,
        markersize=7,
        markerfacecolor="none",
        color=color,
    )


def _panel(axes: Any, growth: Growth, last_level_cache: int) -> None:
    usual = min(growth.points, key=lambda point: point.elements).classes
    for threads, color in zip(growth.thread_counts(), COLORS, strict=False):
        line = growth.line(threads)
        plain = [point for point in line if _is_plain(point, usual)]
        sizes = [point.elements for point in plain]
        axes.plot(sizes, [p.per_element for p in plain], "o-", color=color, markersize=4, label=threads_text(threads))
        limit = [point.fraction * point.per_element for point in plain]
        axes.plot(sizes, limit, ":", color=color, linewidth=1.2)
        _mark(axes, [point for point in line if point.offset], "s", color)
        _mark(axes, [point for point in line if not point.offset and not _is_plain(point, usual)], "d", color)
    axes.axvline(last_level_cache / (growth.streams * ITEMSIZE), color="#bbbbbb", linewidth=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    time_ticks(axes.yaxis)
    axes.set_title(growth.kernel, loc="left")
    axes.set_xlabel("elements")
    axes.set_ylabel("time per element")
    axes.grid(which="major", color="#eeeeee")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _legend(figure: Any, first: Any) -> None:
    """Put the legend of all panels below them."""
    first.plot([], [], "k:", label="limit: memory traffic alone")
    first.plot([], [], "ks", markerfacecolor="none", linestyle="none", label="misaligned by 4 bytes")
    first.plot([], [], "kd", markerfacecolor="none", linestyle="none", label="odd sizes, powers of two")
    first.plot([], [], color="#bbbbbb", linewidth=1, label="the last-level cache is full")
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)


def draw_growth(results: Results, path: Path) -> None:
    """Write the picture of all kernels that were grown as a PNG."""
    rows = -(-len(results.growth) // COLUMNS)
    figure, grid = plt.subplots(rows, COLUMNS, figsize=(13, 4.2 * rows + 0.8), layout="constrained", squeeze=False)
    for axes, growth in zip(grid.flat, results.growth, strict=False):
        _panel(axes, growth, cache_bytes(results.facts, 3))
    for axes in grid.flat[len(results.growth) :]:
        axes.set_visible(False)
    _legend(figure, grid.flat[0])
    figure.suptitle(f"Time per element, float32, {results.facts.get('cpu', '')}", x=0.01, ha="left", fontsize=12)
    figure.savefig(path, dpi=130)
    plt.close(figure)

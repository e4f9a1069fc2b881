"""The results as a picture: one line per case, a mark per provider on a logarithmic time axis, the limit as a bar.

Equal distances are equal factors, so the gap between two marks reads as a speed-up. Colours are those of Okabe and
Ito, which colour-blind readers can tell apart; every provider also has a shape of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lossk.cli.bench import text
from lossk.cli.bench.cases import KINDS
from lossk.cli.bench.providers import is_yardstick
from lossk.cli.bench.results import CaseResult, Entry, Results, threads_text

STYLES: dict[str, tuple[str, str]] = {
    "lossk": ("#D55E00", "D"),
    "numpy": ("#56B4E9", "o"),
    "torch eager": ("#0072B2", "s"),
    "torch fused": ("#0072B2", "P"),
    "torch chunked": ("#0072B2", "d"),
    "torch.compile": ("#009E73", "^"),
    "jax": ("#CC79A7", "v"),
    "scikit-learn": ("#E69F00", "h"),
    "numba": ("#000000", "X"),
}
OTHER = ("#666666", ".")
ROW_HEIGHT = 0.36  # inches


def time_ticks(axis: Any) -> None:
    """Give a logarithmic axis of times ticks at 1, 2 and 5 of each decade, all written alike."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda seconds, _: text.duration(seconds)))
    axis.set_minor_formatter(NullFormatter())


def best_entries(case: CaseResult) -> dict[str, Entry]:
    """Each provider's fastest mode."""
    best: dict[str, Entry] = {}
    for entry in case.entries:
        if entry.time is None or is_yardstick(entry.provider):
            continue
        current = best.get(entry.provider)
        if current is None or current.time is None or entry.time.p50 < current.time.p50:
            best[entry.provider] = entry
    return best


def _draw_case(axes: Any, row: int, case: CaseResult) -> None:
    """Draw one case: the limit, the span from there to the slowest, providers, lossk's slowest mode hollow."""
    best = best_entries(case)
    times = [entry.time.p50 for entry in best.values() if entry.time is not None]
    limits = [entry.limit for entry in best.values() if entry.limit is not None]
    if limits:
        axes.plot([min(limits), max(times)], [row, row], color="#dddddd", linewidth=1.2, zorder=1)
        axes.plot([min(limits)] * 2, [row - 0.36, row + 0.36], color="#222222", linewidth=2.4, zorder=2)
    for provider, entry in best.items():
        color, marker = STYLES.get(provider, OTHER)
        size, above = (70, 5) if provider == "lossk" else (38, 4)
        if entry.time is not None:
            axes.scatter(
                entry.time.p50, row, s=size, c=color, marker=marker, zorder=above, linewidths=0.5, edgecolors="w"
            )
    fresh = next((e for e in case.entries if e.provider == "lossk" and e.time is not None), None)
    if fresh is not None and fresh.time is not None and fresh is not best.get("lossk"):
        axes.scatter(fresh.time.p50, row, s=55, facecolors="none", edgecolors=STYLES["lossk"][0], marker="D", zorder=4)


def _note(case: CaseResult) -> str:
    """Say lossk's time and fraction, and the factor to the nearest peer."""
    best = best_entries(case)
    ours = best.pop("lossk", None)
    if ours is None or ours.time is None:
        return case.note
    note = f"{text.duration(ours.time.p50)}, {text.percent(ours.fraction)} of limit"
    peers = [(entry.time.p50 / ours.time.p50, name) for name, entry in best.items() if entry.time is not None]
    if not peers:
        return note
    factor, name = min(peers)
    if factor < 1:
        return f"{note}, LOST: {name} is {text.times(1 / factor)} faster"
    return f"{note}, {text.times(factor)} faster than {name}"


def _group(case: CaseResult) -> tuple[str, str]:
    """Name the block of lines that a case belongs to: pointwise losses of one size, or kernels of one kind and goal."""
    kind = KINDS.get(case.kernel, case.kernel)
    return kind, case.shape if kind == "pointwise" else case.goal


def _label(case: CaseResult) -> str:
    goal = "" if case.goal in ("output", "step") else case.goal
    return f"{case.full_kernel} {goal}  {case.shape}  {case.dtype.replace('float', 'f')}"


def _label_axes(axes: Any, cases: list[CaseResult]) -> None:
    several = len({case.threads for case in cases}) > 1
    labels = [_label(case) + (f"  {threads_text(case.threads)}" if several else "") for case in cases]
    axes.set_yticks(range(len(cases)), labels)
    axes.set_ylim(len(cases) - 0.4, -0.6)
    for row in range(1, len(cases)):
        if _group(cases[row]) != _group(cases[row - 1]):
            axes.axhline(row - 0.5, color="#cccccc", linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: text.duration(seconds)))
    axes.set_xlabel("time per call (logarithmic)")
    axes.grid(axis="x", color="#eeeeee", zorder=0)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    notes = axes.twinx()
    notes.set_ylim(axes.get_ylim())
    notes.set_yticks(range(len(cases)), [_note(case) for case in cases], fontsize=8, color="#444444")
    notes.tick_params(axis="y", length=0)
    for spine in notes.spines.values():
        spine.set_visible(False)


def _legend(axes: Any, cases: list[CaseResult]) -> None:
    present = {entry.provider for case in cases for entry in case.entries if entry.time is not None}
    handles = [
        axes.scatter([], [], s=70 if name == "lossk" else 38, c=color, marker=marker, label=name)
        for name, (color, marker) in STYLES.items()
        if name in present
    ]
    hollow = axes.scatter([], [], s=55, facecolors="none", edgecolors=STYLES["lossk"][0], marker="D")
    hollow.set_label("lossk, result in a new array")
    (limit,) = axes.plot([], [], color="#222222", linewidth=2.4, linestyle="none", marker="|", markersize=14)
    limit.set_markeredgewidth(2.4)
    limit.set_label("limit: memory traffic alone")
    handles = [limit, handles[0], hollow, *handles[1:]] if handles else [limit]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5, frameon=False, fontsize=9)


def draw(results: Results, path: Path) -> None:
    """Write the picture of all measured cases as a PNG."""
    cases = [case for case in results.cases if best_entries(case)]
    figure, axes = plt.subplots(figsize=(13, 2.0 + ROW_HEIGHT * max(1, len(cases))), layout="constrained")
    for row, case in enumerate(cases):
        _draw_case(axes, row, case)
    _label_axes(axes, cases)
    _legend(axes, cases)
    cpu = next((value for key, value in results.facts.items() if "cpu" in key.lower()), "")
    counts = sorted({case.threads for case in cases})
    threads = " and ".join(threads_text(count) for count in counts)
    figure.suptitle(f"Each provider's fastest mode, {threads}, {cpu}", fontsize=12, x=0.01, ha="left")
    figure.savefig(path, dpi=130)
    plt.close(figure)

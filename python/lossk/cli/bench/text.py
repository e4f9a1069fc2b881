"""Numbers as people read them; shared by tables, Markdown and figure."""

from __future__ import annotations

from lossk.cli.bench.results import Quantiles, Results

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def _three_digits(x: float) -> str:
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}" if x >= 1 else f"{x:.2f}"


def unit_of(seconds: float) -> tuple[float, str]:
    """Choose the unit in which a time has one to three digits before the point."""
    return next((unit for unit in UNITS if seconds >= unit[0]), UNITS[-1])


def duration(seconds: float) -> str:
    """``5.12 ms``."""
    size, name = unit_of(seconds)
    return f"{_three_digits(seconds / size)} {name}"


def spread(time: Quantiles) -> str:
    """``5.05-5.4 ms``: 20th to 80th percentile, in the unit of the median."""
    size, name = unit_of(time.p50)
    return f"{_three_digits(time.p20 / size)}-{_three_digits(time.p80 / size)} {name}"


def gigabytes(nbytes: int, time: Quantiles) -> str:
    """GB/s of this traffic at the median time; nothing where there is none to speak of."""
    return "" if not nbytes else _three_digits(nbytes / time.p50 / 1e9)


def percent(fraction: float | None) -> str:
    """``84 %``."""
    return "" if fraction is None else f"{100 * fraction:.0f} %" if fraction >= 0.0095 else f"{100 * fraction:.1g} %"


def times(ratio: float | None) -> str:
    """``12.3x``."""
    return "" if ratio is None else f"{ratio:.2f}x" if ratio < 10 else f"{ratio:.0f}x"


def error(value: float | None) -> str:
    """``3e-07``; 0 where the result is exact."""
    return "" if value is None else "0" if value == 0 else f"{value:.0e}"


def provenance(results: Results) -> list[str]:
    """Say what has to be said beside any of these numbers: machine, software, method."""
    facts, settings = results.facts, results.settings
    peers = ", ".join(f"{name} {state}" for name, state in results.peers.items())
    return [
        ", ".join(f"{key} {value}" for key, value in facts.items()),
        f"peers: {peers}",
        f"{settings['rounds']} rounds in random order, one process per peer, medians; {results.created}",
        f"command: {results.command}",
    ]

"""What a run yields: dataclasses, and the same as JSON. All times are seconds per call, one per round."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

FORMAT = 2  # of results.json; counts up when a reader would have to change
OK = "ok"
T = TypeVar("T")


def is_yardstick(provider: str) -> bool:
    """Whether a row is there for scale only, never won or lost against: lossk otherwise than by default, one ufunc."""
    return provider == "numpy: one ufunc" or provider.startswith("lossk ")


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Median over rounds of numerator / denominator, so that a slow while slows both sides."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


@dataclass
class Quantiles:
    """Percentiles over the rounds."""

    p20: float
    p50: float
    p80: float


def quantiles(seconds: list[float]) -> Quantiles:
    """Take the percentiles."""
    return Quantiles(*map(float, np.percentile(seconds, [20, 50, 80])))


@dataclass
class Twin:
    """One yardstick; nbytes: of a call, 0 where it is not memory's."""

    label: str
    nbytes: int
    seconds: list[float]
    time: Quantiles


@dataclass
class Entry:
    """One row: a provider in a mode.

    status: "ok" or why there is no number; calls: calls per measurement; nbytes: the least traffic of the mode;
    fraction: median over rounds of twin time / time; limit: p50 of that twin; arithmetic: the same for the kernel's
    own arithmetic on data in L1, where that takes longer, and bound: the fraction to reach (lossk's rows only);
    ratios: lossk's mode -> median over rounds of time / lossk's time (above 1: lossk is faster).
    """

    provider: str
    mode: str
    status: str = OK
    calls: int = 0
    nbytes: int = 0
    seconds: list[float] = field(default_factory=list)
    time: Quantiles | None = None
    fraction: float | None = None
    limit: float | None = None
    arithmetic: float | None = None
    bound: float | None = None
    ratios: dict[str, float] = field(default_factory=dict)
    value_error: float | None = None
    array_error: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times faster lossk is in the same mode; None of yardsticks."""
        return None if is_yardstick(self.provider) else self.ratios.get(self.mode)

    @property
    def best_fraction(self) -> float:
        """The larger of the fractions of memory's and of arithmetic's limit; 1 where neither is known."""
        return max((f for f in (self.fraction, self.arithmetic) if f is not None), default=1.0)


@dataclass
class CaseResult:
    """All rows of one case with one thread count. `note` says why there are none, if so."""

    kernel: str
    goal: str
    shape: str
    dtype: str
    threads: int
    entries: list[Entry] = field(default_factory=list)
    twins: list[Twin] = field(default_factory=list)
    note: str = ""
    name: str = ""  # of the `Case`


@dataclass
class Results:
    """A whole run. facts: what `lossk info` shows; peers: family -> version, or why it is left out."""

    created: str
    command: str
    facts: dict[str, str]
    settings: dict[str, Any]
    peers: dict[str, str]
    load_average: list[float]
    threadpools: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    cases: list[CaseResult] = field(default_factory=list)
    format: int = FORMAT

    def rows(self) -> list[tuple[CaseResult, Entry]]:
        """List all rows with their cases."""
        return [(case, entry) for case in self.cases for entry in case.entries]


def write_json(results: Results, path: Path) -> None:
    """Write everything, raw rounds included."""
    path.write_text(json.dumps(asdict(results), indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Results:
    """Read what `write_json` wrote. Raises ValueError for another file."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        raise ValueError(f"{path} is not a results.json of this version of lossk bench (format {FORMAT})")
    return _made(Results, stored)


def _made(cls: type[T], stored: dict[str, Any]) -> T:
    parts: dict[str, type[Any]] = {"cases": CaseResult, "entries": Entry, "twins": Twin}
    known = {name: value for name, value in stored.items() if name in {f.name for f in fields(cls)}}  # type: ignore[arg-type]
    for name in known.keys() & parts.keys():
        known[name] = [_made(parts[name], one) for one in known[name]]
    if known.get("time"):
        known["time"] = Quantiles(**known["time"])
    return cls(**known)

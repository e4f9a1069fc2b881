"""What a run yields: dataclasses, and the same as JSON. All times are seconds per call, one per round."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

FORMAT = 2  # of results.json
OK = "ok"
T = TypeVar("T")


@dataclass
class Quantiles:
    """Percentiles over the rounds."""

    p20: float
    p50: float
    p80: float

    @classmethod
    def of(cls, seconds: list[float]) -> Quantiles:
        """Take them."""
        return cls(*map(float, np.percentile(seconds, [20, 50, 80])))


@dataclass
class Entry:
    """One row: a provider in a mode.

    status: "ok" or why there is no number; calls: calls per measurement; nbytes: the least traffic of the mode;
    fraction: median over rounds of twin time / time; limit: p50 of that twin; arithmetic: the same for the kernel's
    own arithmetic on data in L1, where that takes longer (lossk's rows only);
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
    ratios: dict[str, float] = field(default_factory=dict)
    value_error: float | None = None
    array_error: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times faster lossk is in the same mode; None of lossk, by default or otherwise."""
        return None if self.provider.startswith("lossk") else self.ratios.get(self.mode)

    @property
    def best_fraction(self) -> float:
        """The larger of the fractions of memory's and of arithmetic's limit; 1 where neither is known."""
        return max(self.fraction or 0, self.arithmetic or 0) or 1


@dataclass
class CaseResult:
    """All rows of one case with one thread count; twins: label, bytes of a call, seconds and time of yardsticks."""

    kernel: str
    goal: str
    shape: str
    dtype: str
    threads: int
    name: str  # of the `Case`
    entries: list[Entry] = field(default_factory=list)
    twins: list[dict[str, Any]] = field(default_factory=list)


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
    parts = {f.name: stored[f.name] for f in fields(cls) if f.name in stored}  # type: ignore[arg-type]
    for name, part in (("cases", CaseResult), ("entries", Entry)):
        if name in parts:
            parts[name] = [_made(part, one) for one in parts[name]]
    return cls(**parts | ({"time": Quantiles(**parts["time"])} if parts.get("time") else {}))

"""What a run yields: dataclasses, and the same as JSON. All times are seconds per call, one per round."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lossk.cli.bench.providers import is_yardstick
from lossk.cli.bench.series import Company, Growth, GrowthPoint

FORMAT = 2  # of results.json; counts up when a reader would have to change
OK = "ok"


@dataclass
class Quantiles:
    """20th, 50th and 80th percentile of seconds per call."""

    p20: float
    p50: float
    p80: float

    @classmethod
    def of(cls, seconds: list[float]) -> Quantiles:
        """Take the percentiles of one measurement per round."""
        p20, p50, p80 = np.percentile(seconds, [20, 50, 80])
        return cls(float(p20), float(p50), float(p80))


@dataclass
class TwinResult:
    """One yardstick: `label`, bytes per call (0 where it is not memory's), one measurement per round."""

    label: str
    nbytes: int
    seconds: list[float]
    time: Quantiles


@dataclass
class Entry:
    """One row: a provider in a mode.

    status: "ok" or why there is no number; calls: calls per measurement; nbytes: the least traffic of the mode;
    fraction: median over rounds of twin time / time; limit: p50 of that twin (a linear layer's: the product's);
    arithmetic: the same for the kernel's own arithmetic on data in L1, where that takes longer; of lossk's rows only;
    extra_memory: bytes that a linear layer's call took beyond its results;
    ratios: lossk's mode -> median over rounds of time / lossk's time (above 1: lossk is faster);
    value_error, array_error: see `reference.Errors`.
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
    extra_memory: int | None = None
    ratios: dict[str, float] = field(default_factory=dict)
    value_error: float | None = None
    array_error: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times faster lossk is in the same mode."""
        return self.ratios.get(self.mode)

    @property
    def beats_lossk(self) -> bool:
        """A peer that is faster than lossk in the same mode."""
        peer = self.provider != "lossk" and not is_yardstick(self.provider)
        return peer and self.ratio is not None and self.ratio < 1


@dataclass
class CaseResult:
    """All rows of one case with one thread count. `note` says why there are none, if so."""

    kernel: str
    goal: str
    shape: str
    dtype: str
    threads: int
    entries: list[Entry] = field(default_factory=list)
    twins: list[TwinResult] = field(default_factory=list)
    note: str = ""
    option: str = ""
    name: str = ""  # of the `Case`

    @property
    def title(self) -> str:
        """The case in one line."""
        words = (self.full_kernel, self.goal, self.shape, self.dtype, threads_text(self.threads))
        return "  ".join(words)

    @property
    def full_kernel(self) -> str:
        """The kernel and its option."""
        return f"{self.kernel} with {self.option}" if self.option else self.kernel

    def lossk(self, mode: str) -> Entry | None:
        """Find lossk's row in this mode, if it was measured."""
        return next((e for e in self.entries if (e.provider, e.mode, e.status) == ("lossk", mode, OK)), None)


@dataclass
class Results:
    """A whole run.

    facts: what `lossk info` shows; peers: family -> version, or why it is left out; problems: parts that failed.
    """

    created: str
    command: str
    facts: dict[str, str]
    settings: dict[str, Any]
    peers: dict[str, str]
    load_average: list[float]
    threadpools: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    cases: list[CaseResult] = field(default_factory=list)
    growth: list[Growth] = field(default_factory=list)
    company: list[Company] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    format: int = FORMAT

    @property
    def lossk_failed(self) -> bool:
        """Whether lossk has a row without a number; peers may fail, lossk may not."""
        return any(entry.provider == "lossk" and entry.status != OK for case in self.cases for entry in case.entries)

    def lost(self) -> list[tuple[CaseResult, Entry]]:
        """List the rows in which a peer is faster than lossk in the same mode."""
        return [(case, entry) for case in self.cases for entry in case.entries if entry.beats_lossk]


def threads_text(threads: int) -> str:
    """``1 thread``, ``2 threads``."""
    return f"{threads} thread{'' if threads == 1 else 's'}"


def write_json(results: Results, path: Path) -> None:
    """Write everything, raw rounds included."""
    path.write_text(json.dumps(asdict(results), indent=1) + "\n", encoding="utf-8")


def _quantiles(stored: dict[str, float] | None) -> Quantiles | None:
    return None if stored is None else Quantiles(**stored)


def _case(stored: dict[str, Any]) -> CaseResult:
    entries = [Entry(**{**entry, "time": _quantiles(entry["time"])}) for entry in stored["entries"]]
    twins = [TwinResult(**{**twin, "time": Quantiles(**twin["time"])}) for twin in stored["twins"]]
    return CaseResult(**{**stored, "entries": entries, "twins": twins})


def growth_from(stored: list[dict[str, Any]]) -> list[Growth]:
    """Read what the process of `growth` answers, which is what is stored as well."""
    return [Growth(**{**one, "points": [GrowthPoint(**point) for point in one["points"]]}) for one in stored]


def company_from(stored: list[dict[str, Any]]) -> list[Company]:
    """Read what the process of `company` answers, which is what is stored as well."""
    return [Company(**one) for one in stored]


def read_json(path: Path) -> Results:
    """Read what `write_json` wrote. Raises ValueError for another file."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        raise ValueError(f"{path} is not a results.json of this version of lossk bench (format {FORMAT})")
    parts = {
        "cases": [_case(case) for case in stored["cases"]],
        "growth": growth_from(stored["growth"]),
        "company": company_from(stored["company"]),
    }
    return Results(**{**stored, **parts})

"""What `growth` and `company` yield: dataclasses, and the numbers that are read off them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

ITEMSIZE = 4  # growth is measured in float32
BEYOND_CACHE = 2  # a point is beyond the caches if a call moves more than so many times the last-level cache


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Median over rounds of numerator / denominator."""
    return median(a / b for a, b in zip(numerator, denominator, strict=True))


@dataclass
class GrowthPoint:
    """One size with one thread count: seconds per call of lossk and of its twin, one per round."""

    rows: int
    classes: int
    offset: int
    threads: int
    seconds: list[float]
    twin: list[float]

    @property
    def elements(self) -> int:
        """Elements of one array."""
        return self.rows * self.classes

    @property
    def per_element(self) -> float:
        """Median seconds per element."""
        return median(self.seconds) / self.elements

    @property
    def fraction(self) -> float:
        """Fraction of the limit that is reached."""
        return median_ratio(self.twin, self.seconds)

    @property
    def label(self) -> str:
        """``10,000,000``, ``500 x 32,001``, with "+4 B" where it is misaligned."""
        size = f"{self.rows:,} x {self.classes:,}" if self.classes > 1 else f"{self.rows:,}"
        return f"{size} +{ITEMSIZE * self.offset} B" if self.offset else size


@dataclass
class Cliff:
    """Two neighbours by size, and by how much an element of the slower takes longer."""

    ratio: float
    slower: GrowthPoint
    faster: GrowthPoint


@dataclass
class Growth:
    """All points of one kernel. streams: arrays a call moves; wanted, most: elements asked for, and measured."""

    kernel: str
    streams: int
    wanted: int
    most: int
    points: list[GrowthPoint]

    @property
    def key(self) -> str:
        """What a note on its cliff names it by."""
        return f"growth, {self.kernel}: neighbours"

    def line(self, threads: int) -> list[GrowthPoint]:
        """Return the points with this thread count, by size."""
        chosen = (point for point in self.points if point.threads == threads)
        return sorted(chosen, key=lambda point: (point.elements, point.offset))

    def thread_counts(self) -> list[int]:
        """Return the thread counts that were measured."""
        return sorted({point.threads for point in self.points})

    def worst_cliff(self, last_level_cache: int) -> Cliff | None:
        """Find the largest step between neighbours beyond the caches, in either direction."""
        beyond = BEYOND_CACHE * last_level_cache / (self.streams * ITEMSIZE)
        cliffs = []
        for threads in self.thread_counts():
            line = [point for point in self.line(threads) if point.elements > beyond]
            cliffs += [_cliff(a, b) for a, b in pairwise(line)]
        return max(cliffs, key=lambda cliff: cliff.ratio, default=None)


def _cliff(a: GrowthPoint, b: GrowthPoint) -> Cliff:
    ratio = median_ratio(a.seconds, b.seconds) * b.elements / a.elements
    return Cliff(ratio, a, b) if ratio >= 1 else Cliff(1 / ratio, b, a)


@dataclass
class Company:
    """One case of lossk beside one companion; seconds: situation -> one measurement per round."""

    case: str
    mode: str
    companion: str
    threads: int
    seconds: dict[str, list[float]]

    @property
    def key(self) -> str:
        """What a note on a miss names it by."""
        return f"company, {self.case}, {self.mode}: beside {self.companion}"

    def ratio(self, situation: str, to: str = "alone") -> float:
        """How many times longer a call takes in one situation than in another."""
        return median_ratio(self.seconds[situation], self.seconds[to])

    @property
    def twin_ratio(self) -> float:
        """How many times longer the bandwidth twin takes in company: what becomes of memory and caches there."""
        return self.ratio("twin in company", "twin alone")

    def median(self, situation: str) -> float:
        """Median seconds in this situation."""
        return median(self.seconds[situation])

"""How the time of an element grows with the number of elements, for lossk alone: ``python -m lossk.cli.bench.growth``.

Arrays of a kernel are allocated once, as large as its largest point; a point is a part of them from the front, or from
the second element (misaligned by 4 bytes). All points of a kernel are measured in the same rounds, in random order.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import lossk
from lossk import _runtime
from lossk.cli.bench.child import options_of_child
from lossk.cli.bench.inputs import BLOCK, HUBER_DELTA, Array, normal
from lossk.cli.bench.machine import cache_bytes
from lossk.cli.bench.memory import available_memory
from lossk.cli.bench.providers import Runner
from lossk.cli.bench.providers.lossk_ import aligned_ones
from lossk.cli.bench.worker import WARM_BELOW, calibrate, measure

FEWEST, MOST = 1_000, 1_000_000_000
SECONDS = 0.005  # that one measurement should last
SLACK = 32  # elements behind the largest point, for misaligned ones
USABLE = 0.92  # of the free memory


@dataclass(frozen=True)
class Point:
    """A size: rows of `classes` (1 for kernels without rows), starting `offset` elements behind an aligned address."""

    rows: int
    classes: int = 1
    offset: int = 0

    @property
    def elements(self) -> int:
        """Elements of one array."""
        return self.rows * self.classes


@dataclass(frozen=True)
class Subject:
    """A kernel to grow: `streams` arrays moved by a call, `held` bytes an element of all its arrays."""

    name: str
    streams: int
    held: int
    classes: int = 1


SUBJECTS = (
    Subject("Huber", streams=3, held=12),
    Subject("CrossEntropy, 1000 classes", streams=2, held=8, classes=1000),
    Subject("CrossEntropy, 32000 classes", streams=2, held=8, classes=32000),
    Subject("SGD", streams=5, held=19),
)
ODD_AT = (1 << 17, 1 << 24)  # sizes whose neighbours are measured as well
MISALIGNED_AT = (100_000, 10_000_000, 31_622_777)
ROWS_AT = 16_000_000  # elements at which other numbers of classes are tried


def half_decades(most: int) -> Iterator[int]:
    """Yield 1000, 3162, 10000, ..., up to `most`."""
    for k in range(6, 19):
        size = round(10 ** (k / 2))
        if FEWEST <= size <= most:
            yield size


def points(subject: Subject, most: int) -> list[Point]:
    """Return a subject's points up to `most` elements, by size."""
    c = subject.classes
    found = {Point(max(1, size // c), c) for size in half_decades(most)}
    found |= {Point(max(1, size // c), c, offset=1) for size in MISALIGNED_AT if size <= most}
    if c == 1:
        found |= {Point(size + d) for size in ODD_AT for d in (-1, 0, 1) if size < most}
    else:
        power = 1 << (c - 1).bit_length()
        others = (c - 1, c + 1, power - 1, power, power + 1)
        found |= {Point(ROWS_AT // other, other) for other in others if most >= ROWS_AT}
    return sorted(found, key=lambda point: (point.elements, point.offset))


def most_elements(subject: Subject, free: int | None, most: int) -> int:
    """Return how many elements fit into the memory."""
    return most if free is None else min(most, int(USABLE * free) // subject.held)


class Grown:
    """The arrays of a subject, and the calls on parts of them."""

    def __init__(self, subject: Subject, most: int) -> None:
        self.subject = subject
        self.cache = cache_bytes(_runtime.versions(), 3)
        count = 2 if subject.classes > 1 else 3
        self.arrays = [aligned_ones(4 * (most + SLACK)) for _ in range(count)]
        for seed, array in enumerate(self.arrays[:-1]):
            _fill(array, 0 if subject.name == "SGD" else normal(seed, (BLOCK,), "float32"))
        if subject.name == "SGD":
            self.arrays[-1].fill(0)  # a twin that adds what it reads to what it reads stays finite

    def parts(self, point: Point) -> list[Array]:
        """Return the point's part of each array."""
        found = [array[point.offset : point.offset + point.elements] for array in self.arrays]
        return [part.reshape(point.rows, point.classes) for part in found] if point.classes > 1 else found

    def kernel(self, point: Point, threads: int) -> Callable[[], Any]:
        """Return lossk's call at a point."""
        first, *others = self.parts(point)
        if point.classes > 1:
            labels = np.random.default_rng(0).integers(0, point.classes, point.rows)
            run: Callable[..., Any] = lossk.CrossEntropy().value_and_grad
            return partial(run, first, labels, out=others[0], num_threads=threads)
        if self.subject.name == "SGD":
            step: Callable[..., Any] = lossk.SGD([first], lr=1e-3, momentum=0.9).step
            return partial(step, [others[0]], num_threads=threads)
        return partial(lossk.Huber(HUBER_DELTA).value_and_grad, first, others[0], out=others[1], num_threads=threads)

    def twin(self, point: Point, threads: int) -> Callable[[], Any]:
        """Return the twin's call; it stores past the caches where lossk would, as far as addresses are aligned."""
        parts = self.parts(point)
        if self.subject.name == "SGD":
            return partial(_runtime.twin, parts, [parts[0], parts[2]], num_threads=threads)
        large = 4 * point.elements > self.cache // 2
        return partial(_runtime.twin, parts[:-1], parts[-1:], stream=large and not point.offset, num_threads=threads)


def _fill(array: Array, block: Any) -> None:
    for start in range(0, array.size, BLOCK):
        part = array[start : start + BLOCK]
        part[:] = block[: part.size] if isinstance(block, np.ndarray) else block


def thread_counts(threads: int) -> list[int]:
    """Return 1, 2, 4, ... and `threads`."""
    return sorted({1 << k for k in range(threads.bit_length()) if 1 << k < threads} | {threads})


def grow(subject: Subject, most: int, threads: int, rounds: int) -> dict[str, Any]:
    """Measure a subject; returns its points with seconds of every round, and from where on memory was missing."""
    fits = most_elements(subject, available_memory(), most)
    grown = Grown(subject, fits)
    calls = {
        (point, count, what): Runner(make(point, count))
        for point in points(subject, fits)
        for count in thread_counts(threads)
        for what, make in (("kernel", grown.kernel), ("twin", grown.twin))
    }
    calibrated = {key: calibrate(runner, SECONDS) for key, runner in calls.items()}
    seconds: dict[tuple[Point, int, str], list[float]] = {key: [] for key in calls}
    order = random.Random(subject.name)
    for _ in range(rounds):
        for key in order.sample(list(calls), len(calls)):
            number, per_call = calibrated[key]
            if per_call < WARM_BELOW:
                calls[key].call()
            seconds[key].append(measure(calls[key], number))
    return {"kernel": subject.name, "streams": subject.streams, "wanted": most, "most": fits, "points": _rows(seconds)}


def _rows(seconds: dict[tuple[Point, int, str], list[float]]) -> Sequence[dict[str, Any]]:
    return [
        {
            "rows": point.rows,
            "classes": point.classes,
            "offset": point.offset,
            "threads": count,
            "seconds": taken,
            "twin": seconds[point, count, "twin"],
        }
        for (point, count, what), taken in seconds.items()
        if what == "kernel"
    ]


def main() -> None:
    """Entry point of the process."""
    options = options_of_child()
    found = [grow(subject, options["most"], options["threads"], options["rounds"]) for subject in SUBJECTS]
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""How the time of an element grows with the number of elements, for lossk alone: ``python -m lossk.cli.bench.growth``.

Arrays of a kernel are allocated once, as large as its largest point; a point is a part of them from the front, or from
the second element (misaligned by 4 bytes). All points of a kernel are measured in the same rounds, up or down by size,
so that neighbours, which are compared, are measured one after the other.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
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
Call = Callable[..., Any]  # of the keyword num_threads
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


Key = tuple[Point, int, str]  # a point, threads, "kernel" or "twin"


def _huber(z: Array, y: Array, out: Array) -> Call:
    return partial(lossk.Huber(HUBER_DELTA).value_and_grad, z, y, out=out)


def _cross_entropy(z: Array, out: Array) -> Call:
    labels = np.random.default_rng(0).integers(0, z.shape[1], z.shape[0])
    return partial(lossk.CrossEntropy().value_and_grad, z, labels, out=out)


def _sgd(p: Array, g: Array, unused: Array) -> Call:
    """Make the step of an optimizer, whose state is its own; the third array stands for it in the twin."""
    return partial(lossk.SGD([p], lr=1e-3, momentum=0.9).step, [g])


@dataclass(frozen=True)
class Subject:
    """A kernel to grow.

    make: lossk's call on `arrays` arrays; streams: arrays moved by a call; held: bytes an element of all that is held.
    The twin reads all arrays but the last and writes the last; with `over`, it reads all, and writes over those.
    """

    name: str
    make: Callable[..., Call]
    arrays: int
    held: int
    classes: int = 1
    over: tuple[int, ...] = ()

    @property
    def streams(self) -> int:
        """Number of arrays that a call moves."""
        return self.arrays + len(self.over)


SUBJECTS = (
    Subject("Huber", _huber, arrays=3, held=12),
    Subject("CrossEntropy, 1000 classes", _cross_entropy, arrays=2, held=8, classes=1000),
    Subject("CrossEntropy, 32000 classes", _cross_entropy, arrays=2, held=8, classes=32000),
    Subject("SGD", _sgd, arrays=3, held=19, over=(0, 2)),
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
    fitting = (point for point in found if point.elements <= most)
    return sorted(fitting, key=lambda point: (point.elements, point.offset))


def most_elements(subject: Subject, free: int | None, most: int) -> int:
    """Return how many elements fit into the memory."""
    return most if free is None else min(most, int(USABLE * free) // subject.held)


class Grown:
    """The arrays of a subject, and the calls on parts of them."""

    def __init__(self, subject: Subject, most: int) -> None:
        self.subject = subject
        self.cache = cache_bytes(_runtime.versions(), 3)
        self.arrays = [aligned_ones(4 * (most + SLACK)) for _ in range(subject.arrays)]
        for seed, array in enumerate(self.arrays):
            # Over its own input a twin would add up what it reads: of zeros that stays zero.
            _fill(array, np.zeros(BLOCK, np.float32) if subject.over else normal(seed, (BLOCK,), "float32"))

    def parts(self, point: Point) -> list[Array]:
        """Return the point's part of each array."""
        found = [array[point.offset : point.offset + point.elements] for array in self.arrays]
        return [part.reshape(point.rows, point.classes) for part in found] if point.classes > 1 else found

    def calls(self, point: Point) -> dict[str, Call]:
        """Return lossk's call at a point, and its twin's, which stores past the caches where lossk may."""
        parts = self.parts(point)
        reads = parts if self.subject.over else parts[:-1]
        writes = [parts[i] for i in self.subject.over] or parts[-1:]
        large = 4 * point.elements > self.cache // 2
        stream = large and not point.offset and not self.subject.over
        return {"kernel": self.subject.make(*parts), "twin": partial(_runtime.twin, reads, writes, stream=stream)}


def _fill(array: Array, block: Array) -> None:
    for start in range(0, array.size, BLOCK):
        part = array[start : start + BLOCK]
        part[:] = block[: part.size]


def thread_counts(threads: int) -> list[int]:
    """Return 1, 2, 4, ... and `threads`."""
    return sorted({1 << k for k in range(threads.bit_length()) if 1 << k < threads} | {threads})


def grow(subject: Subject, most: int, threads: int, rounds: int) -> dict[str, Any]:
    """Measure a subject; returns its points with seconds of every round, and from where on memory was missing."""
    fits = most_elements(subject, available_memory(), most)
    grown = Grown(subject, fits)
    calls = {
        (point, count, what): Runner(partial(call, num_threads=count))
        for point in points(subject, fits)
        for what, call in grown.calls(point).items()
        for count in thread_counts(threads)
    }
    calibrated = {key: calibrate(runner, SECONDS) for key, runner in calls.items()}
    seconds: dict[Key, list[float]] = {key: [] for key in calls}
    order = random.Random(subject.name)
    for _ in range(rounds):
        for key in in_order(calls, order):
            number, per_call = calibrated[key]
            if per_call < WARM_BELOW:
                calls[key].call()
            seconds[key].append(measure(calls[key], number))
    return {"kernel": subject.name, "streams": subject.streams, "wanted": most, "most": fits, "points": _rows(seconds)}


def in_order(calls: Iterable[Key], order: random.Random) -> list[Key]:
    """Return the calls of a round: neighbours of one thread count next to each other, lossk and its twin mixed."""
    counts = sorted({count for _, count, _ in calls})
    order.shuffle(counts)
    up = order.choice((1, -1))
    place = {
        (point, count, what): (counts.index(count), up * point.elements, up * point.offset, order.random())
        for point, count, what in calls
    }
    return sorted(calls, key=place.__getitem__)


def _rows(seconds: dict[Key, list[float]]) -> Sequence[dict[str, Any]]:
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

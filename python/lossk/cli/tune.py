"""``lossk tune``: measure what heuristics guess, and write this machine's profile."""

from __future__ import annotations

import json
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

import lossk
from lossk import _profile
from lossk.cli import tables

PAYS = 1.03  # a choice is changed where the other one is this much faster
SHARES = (0.25, 0.5, 1, 2, 4)  # of the last-level cache: sizes of results at which streaming is tried
MOST = 256 << 20  # bytes of a result, whatever the cache
SECONDS = 0.35  # of one comparison
# Of long rows: as long as those of vocabularies, and no multiples of a page, which loads and stores would share.
LENGTHS = (8_000, 50_257)
IN_L2 = 1 << 17  # bytes of a result that, with what it is made from, fits into any L2

Call = Callable[[], object]
Made = np.ndarray[Any, Any]


def _matrix(n: int, classes: int, dtype: Any = np.float32) -> Made:
    return np.resize(np.linspace(-2, 2, 10_007).astype(dtype), (max(1, n // classes), classes))


def _made(n: int, classes: int, call: Callable[[Made, Made], Call]) -> list[Call]:
    """Return a call of z and out in float32, and one in float16."""
    found = []
    for dtype in (np.float32, np.float16):
        z = _matrix(n, classes, dtype)
        found.append(call(z, np.empty_like(z)))
    return found


def _pointwise(n: int) -> list[Call]:
    return _made(n, 1, lambda z, out: partial(lossk.Huber().value_and_grad, z, np.zeros_like(z), out=out))


def _activations(n: int) -> list[Call]:
    return _made(n, 1, lambda z, out: partial(lossk.ReLU(), z, out=out))


def _rows(n: int) -> list[Call]:
    loss, classes = lossk.KLDivergence(), LENGTHS[0]
    return _made(n, classes, lambda z, out: partial(loss.value_and_grad, z, np.full_like(z, 1 / classes), out=out))


def _cross_entropy(n: int, classes: int) -> list[Call]:
    z, loss = _matrix(n, classes), lossk.CrossEntropy()
    labels = np.arange(len(z)) % classes
    found = _made(n, classes, lambda z, out: partial(loss.value_and_grad, z, labels, out=out))
    return [*found, partial(loss, z, labels)]


def _row_maps(n: int) -> list[Call]:
    return [call for c in LENGTHS for call in _made(n, c, lambda z, out: partial(lossk.softmax, z, out=out))]


def _steps(n: int) -> list[Call]:
    p, g = np.ones(n, np.float32), np.zeros(n, np.float32)
    return [partial(make([p], lr=1e-3).step, [g]) for make in (partial(lossk.SGD, momentum=0.9), lossk.AdamW)]


# Kernels of each family, with results of so many elements.
MAKERS: dict[str, Callable[[int], list[Call]]] = {
    "pointwise": _pointwise,
    "activations": _activations,
    "rows": _rows,
    "short_rows": lambda n: _cross_entropy(n, 10),
    "long_rows": lambda n: [call for classes in LENGTHS for call in _cross_entropy(n, classes)],
    "row_maps": _row_maps,
    "steps": _steps,
}


def advantage(usual: Call, other: Call, seconds: float = SECONDS) -> float:
    """Return how many times faster `other` is, at least (slower, at most): 1 where noise leaves that open.

    By the median of neighbouring rounds' ratios: the end of its 95 % confidence interval that is nearer to 1.
    """
    usual(), other()
    ratios: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(ratios) < 5:
        # In turn, which of them goes first.
        first, second = (usual, other) if len(ratios) % 2 else (other, usual)
        ratio = _seconds(first) / _seconds(second)
        ratios.append(ratio if first is usual else 1 / ratio)
    return cautious(ratios)


def streams(call: Call) -> bool:
    """Whether a call may stream its result: one of float32."""
    return isinstance(call, partial) and getattr(call.keywords.get("out"), "dtype", None) == np.float32


def pays(gains: list[float]) -> bool:
    """Whether a choice is worth a change: faster for some kernel, and slower for none."""
    return min(gains) > 1 / PAYS and max(gains) > PAYS


def cautious(ratios: list[float]) -> float:
    """Return what is certain of the median of these: the interval is that of the sign test."""
    ordered, half = sorted(ratios), 0.98 * math.sqrt(len(ratios))
    low = ordered[max(0, math.floor(len(ratios) / 2 - half))]
    high = ordered[min(len(ratios) - 1, math.ceil(len(ratios) / 2 + half))]
    return min(max(1.0, low), high)


def _seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Tuner:
    """What was found so far: the profile, and a line for people on each change."""

    def __init__(self) -> None:
        self.families: dict[str, dict[str, Any]] = {name: {} for name in MAKERS}
        self.elements_per_thread = 0
        self.lines: list[tuple[str, str, str, str]] = []

    def with_choice(self, call: Call, family: str, stream_from: int, isa: str) -> Call:
        """Return the call under a choice of its family."""

        def run() -> object:
            _profile.choose(family, stream_from, isa)
            return call()

        return run

    def tables(self, family: str) -> None:
        """Choose the instruction set of a family, by results in L2 and twice the last-level cache."""
        if os.environ.get("LOSSK_ISA"):
            return
        _profile.choose(family, 0, "")
        usual = _profile.choices()[family][1]
        for isa in _profile.alike():
            if isa != usual and pays(gains := self._gains(family, {"isa": isa}, self._sizes())):
                self.families[family]["isa"] = isa
                self._tell(family, "instruction set", usual, isa, max(gains))

    @staticmethod
    def _sizes() -> set[int]:
        return {IN_L2, min(MOST, 2 * _profile.last_level_cache())}

    def _gains(self, family: str, choice: dict[str, Any], sizes: set[int]) -> list[float]:
        """Return what a choice brings to the kernels of a family, with results of these sizes."""
        stream_from, isa = choice.get("stream_from", 0), choice.get("isa", "")
        calls = (call for size in sorted(sizes) for call in MAKERS[family](size // 4))
        return [
            advantage(self.with_choice(call, family, 0, ""), self.with_choice(call, family, stream_from, isa))
            for call in calls
        ]

    def confirm(self, family: str) -> None:
        """Drop what a second look does not confirm: at the first there may have been a noisy neighbour."""
        if not (choice := self.families[family]):
            return
        _profile.choose(family, 0, "")
        usual = _profile.choices()[family][0]
        differ = min(usual, choice.get("stream_from", usual), MOST)  # the smallest that is streamed by one alone
        if not pays(self._gains(family, choice, self._sizes() | {differ})):
            self.families[family] = {}
            self.lines = [line for line in self.lines if line[0] != family]

    def streaming(self, family: str) -> None:
        """Find the size of results from which on streaming pays, at it and at every larger one."""
        isa = self.families[family].get("isa", "")
        _profile.choose(family, 0, isa)
        usual, found, gains, against = _profile.choices()[family][0], _profile.NEVER, [1.0], [1.0]
        for size in sorted({min(MOST, int(share * _profile.last_level_cache())) for share in SHARES}, reverse=True):
            faster = [
                advantage(self.with_choice(call, family, _profile.NEVER, isa), self.with_choice(call, family, 1, isa))
                for call in filter(streams, MAKERS[family](size // 4))
            ]
            if not pays(faster):
                against = [1 / gain for gain in faster]
                break
            found, gains = size, faster
        if found > usual:  # what lossk would stream is stored: that has to pay as well
            gains = against
        if found != usual and pays(gains):
            self.families[family]["stream_from"] = found
            self._tell(family, "streams from", _size(usual), _size(found), max(gains))

    def threads(self) -> None:
        """Find the smallest array that two threads work on faster than one."""
        usual = _profile.elements_per_thread()
        if lossk.get_num_threads() < 2:
            return
        _profile.choose_elements_per_thread(1)
        z = _matrix(1 << 19, 1).ravel()
        y, out, loss = np.zeros_like(z), np.empty_like(z), lossk.Huber()

        def call(n: int, threads: int) -> Call:
            return partial(loss.value_and_grad, z[:n], y[:n], out=out[:n], num_threads=threads)

        for n in (1 << k for k in range(15, 20)):
            gain = advantage(call(n, 1), call(n, 2), SECONDS / 2)
            if gain > PAYS:
                self.elements_per_thread = n // 2
                break
        else:  # a second thread paid nowhere
            self.elements_per_thread, gain = len(z), 1.0
        if self.elements_per_thread != usual:
            self._tell("all", "elements a thread", str(usual), str(self.elements_per_thread), gain)
        _profile.choose_elements_per_thread(self.elements_per_thread)

    def _tell(self, family: str, what: str, usual: str, chosen: str, gain: float) -> None:
        self.lines.append((family, what, f"{usual} -> {chosen}" if usual != chosen else chosen, f"{gain:.2f}x"))

    def profile(self) -> dict[str, Any]:
        """Return what is written."""
        return {
            "format": _profile.FORMAT,
            **_profile.machine(),
            "measured": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "elements_per_thread": self.elements_per_thread,
            "families": {name: choice for name, choice in self.families.items() if choice},
        }


def _size(nbytes: int) -> str:
    return "never" if nbytes >= _profile.NEVER else f"{nbytes / 2**20:g} MiB"


def _work(tuner: Tuner) -> Iterator[tuple[str, Callable[[], None]]]:
    for family in MAKERS:
        yield f"{family}: instruction set", partial(tuner.tables, family)
    for family in MAKERS:
        if family != "steps":  # in place: never streamed
            yield f"{family}: streaming", partial(tuner.streaming, family)
    yield "threads", tuner.threads
    for family in MAKERS:
        yield f"{family}: a second look", partial(tuner.confirm, family)


def _new_file(path: Path) -> Path:
    """Return a file next to `path`, which takes its place when it is written; refuse a place that cannot be written."""
    temporary = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    except OSError as error:
        raise typer.BadParameter(str(error), param_hint="--output") from error
    return temporary


def tune(
    output: Annotated[Path | None, typer.Option(help="The file; default: LOSSK_PROFILE, else the user's.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure and tell; write nothing.")] = False,
) -> None:
    """Measure which choices are fastest on this machine, and keep them as its profile; under a minute.

    Results have the same bits under any profile. LOSSK_PROFILE=path names another file, LOSSK_PROFILE=off takes none.
    """
    path = output or _profile.path()
    if path is None and not dry_run:
        raise typer.BadParameter("wanted a file: platformdirs is not installed", param_hint="--output")
    temporary = None if path is None or dry_run else _new_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a broken profile is about to be replaced
        _profile.load()  # what it chose is not what is compared with
    _profile.apply({"format": _profile.FORMAT, **_profile.machine()})
    tuner = Tuner()
    work = list(_work(tuner))
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(work))
        for what, run in work:
            progress.update(task, description=what)
            run()
            progress.advance(task)
    _profile.apply(tuner.profile())
    console = tables.output()
    if tuner.lines:
        headings = ("family", "choice", "usual -> chosen", "faster by")
        changed = tables.table(headings, right=headings[3:], title=f"changed from what is known of {_profile.preset()}")
        for line in tuner.lines:
            changed.add_row(*line)
        console.print(changed)
    else:
        tables.say(console, f"nothing is faster than what is known of {_profile.preset()}")
    if temporary is not None and path is not None:
        temporary.write_text(json.dumps(tuner.profile(), indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)
        tables.say(console, f"wrote {path}")

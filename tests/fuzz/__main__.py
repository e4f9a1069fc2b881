"""Make many drawn calls of everything public and print what was found: `python -m tests.fuzz --calls 100000`."""

from __future__ import annotations

import argparse
import collections
import functools
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import lossk
from tests.fuzz import ctc, losses, optimizers, shards
from tests.fuzz import functions as of_functions
from tests.fuzz.arrays import Rng, chance, pick
from tests.fuzz.calls import Call, FindingError, examine, spoil

CALLS: tuple[tuple[Callable[[Rng], Call], int], ...] = (
    (losses.samples, 6),
    (losses.rows, 6),
    (losses.pairs, 2),
    (losses.linear, 1),
    (ctc.ctc, 1),
    (shards.split_rows, 1),
    (shards.split_linear, 1),
    (of_functions.activation, 3),
    (of_functions.gate, 1),
    (of_functions.row_function, 2),
    (of_functions.informed, 1),
)
OTHERS = ((optimizers.steps, 2), (optimizers.clip, 1))
KINDS: tuple[Any, ...] = tuple(kind for kind, share in (*CALLS, *OTHERS) for _ in range(share))


def one(seed: int, number: int) -> tuple[str, str]:
    """Make the call of a number; returns its kind and what became of it, or raises an error that names it."""
    rng = np.random.default_rng([seed, number])
    lossk.set_isa(pick(rng, lossk.available_isas()))
    kind = pick(rng, KINDS)
    name = kind.__name__
    if kind in (optimizers.steps, optimizers.clip):
        return name, kind(rng)[1]
    call = kind(rng)
    call.draw_how(rng)
    spoiled = spoil(rng, call) if chance(rng, 0.25) else ""
    try:
        return name, examine(call, spoiled)
    except Exception as error:
        raise FindingError(f"{told(call, spoiled)}\n  {type(error).__name__}: {error}") from error


def told(call: Call, spoiled: str) -> str:
    def short(a: Any) -> str:
        if isinstance(a, tuple | list) and any(isinstance(b, np.ndarray) for b in a):
            return f"({', '.join(map(short, a))})"
        if not isinstance(a, np.ndarray):
            return repr(a)[:60]
        inside = f" {a.tolist()}" if a.size <= 4 else ""
        return f"{a.dtype}{list(a.shape)} strides {list(a.strides)}{inside}"

    given = {**call.arrays, **call.options, **call.how}
    text = ", ".join(f"{name}={short(a)}" for name, a in given.items())
    return f"{call.what}({text}) on {lossk.isa()}{', spoiled: ' + spoiled if spoiled else ''}"


def fuzz(
    seed: int, numbers: range, until: float = float("inf"), most: int = 20, tell: Callable[[str], object] = str
) -> tuple[collections.Counter[str], list[str]]:
    """Make these calls; returns how many of each kind became what, and what was found."""
    counts: collections.Counter[str] = collections.Counter()
    findings: list[str] = []
    before = lossk.isa()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for number in numbers:
            if len(findings) >= most or time.monotonic() > until:
                break
            try:
                counts[" ".join(one(seed, number))] += 1
            except Exception as error:
                counts["found"] += 1
                findings.append(
                    text := f"--seed {seed} --first {number} --calls 1: {type(error).__name__}: {error}"[:1500]
                )
                tell(text)
    lossk.set_isa(before)
    return counts, findings


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first call")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--findings", type=int, default=20, help="stop after so many findings")
    asked = parser.parse_args()
    began = time.monotonic()
    numbers = range(asked.first, asked.first + asked.calls)
    tell = functools.partial(print, flush=True)
    counts, findings = fuzz(asked.seed, numbers, began + asked.seconds, asked.findings, tell)
    for name, count in sorted(counts.items()):
        print(f"{count:>10,} {name}")
    print(f"{counts.total():>10,} calls in {time.monotonic() - began:.0f} s, {len(findings)} findings")
    return len(findings) > 0


if __name__ == "__main__":
    sys.exit(main())

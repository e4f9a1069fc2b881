"""What takes part in every parallel path, and equal bits whatever the number of threads."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import lossk
from tests.support.arrays import bits

THREADS = (1, 2, 7)


def same_bits(run: Callable[[int], Any]) -> None:
    """What run(threads) returns, a tuple of arrays and numbers, is equal to the bit for every number of threads."""
    want = [bits(x) for x in run(1)]
    assert want
    for n in THREADS[1:]:
        assert [bits(x) for x in run(n)] == want, f"{n} threads"


def work(seed: int) -> bytes:
    """Something that every parallel path takes part in."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(3, 80_000)).astype(np.float32)
    t = rng.integers(0, 80_000, size=3)
    ce = lossk.CrossEntropy()
    value, grad = ce.value_and_grad(z, t, num_threads=4)
    p = z[0].copy()
    lossk.SGD([p], lr=0.1, momentum=0.9).step([grad[0]], num_threads=4)
    square = lossk.SquaredError()(z, grad, num_threads=4)
    return b"".join(bits(x) for x in (value, grad, lossk.softmax(z, num_threads=4), p, square))


def run_in_child(seed: int, results: Any) -> None:
    results.put(work(seed))


def exit_code(pid: int, seconds: float) -> int:
    """Wait for a child, which is killed if it hangs."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -999

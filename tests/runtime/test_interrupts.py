"""Ctrl-C, and any signal whose handler raises: a call ends first, and has written all of its result or nothing."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import lossk

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="timers of POSIX send the signals")


@pytest.fixture
def interrupted() -> Iterator[None]:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.usefixtures("interrupted")
def test_a_call_ends_before_it_is_interrupted(threads: int, rng: np.random.Generator) -> None:
    z = rng.normal(size=(300, 3000)).astype(np.float32)
    t, out = np.zeros(300, np.int64), np.zeros_like(z)
    p, adam_of = np.ones(900_000, np.float32), np.ones(900_000, np.float32)
    adam = lossk.Adam([p], lr=0.5)
    adam.step([adam_of])
    calls: dict[str, tuple[Callable[[], Any], np.ndarray]] = {
        "in place": (lambda: lossk.Tanh()(out, out=out, num_threads=threads), out),
        "to out": (lambda: lossk.CrossEntropy().grad(z, t, out=out, num_threads=threads), out),
        "step": (lambda: adam.step([adam_of], num_threads=threads), p),
    }
    for name, (call, written) in calls.items():
        met = 0
        for delay in np.linspace(1e-4, 3e-3, 20):
            out[...] = 7
            state = adam.state_dict()
            before = written.copy()
            adam.load_state_dict(state)
            call()
            after = written.copy()
            written[...] = before
            adam.load_state_dict(state)
            try:
                signal.setitimer(signal.ITIMER_REAL, delay)
                call()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                met += 1
            assert np.array_equal(written, after) or np.array_equal(written, before), (name, delay)
        assert met > 0, name

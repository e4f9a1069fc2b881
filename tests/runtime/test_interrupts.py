"""Ctrl-C, and any signal whose handler raises: it stops calls with new results, and comes after those that write."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
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


def interrupted_after(seconds: float, call: Callable[[], Any]) -> tuple[float, float]:
    """Send a real SIGINT into a call; returns how long after it the call stopped, and how long the process worked then.

    Of that the system's own work does not count, which takes as long as it likes to find pages for new results.
    """
    sent: list[tuple[float, float]] = []

    def send() -> None:
        time.sleep(seconds)
        sent.append((time.monotonic(), os.times().user))
        os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=send)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what starts tests may have it ignored
    sender.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            call()
        now = time.monotonic(), os.times().user
    finally:
        sender.join()
        signal.signal(signal.SIGINT, before)
    return now[0] - sent[0][0], now[1] - sent[0][1]


@pytest.mark.parametrize("threads", [1, 2])
def test_calls_of_seconds_with_new_results_stop(threads: int, rng: np.random.Generator) -> None:
    z = np.tile(rng.uniform(1, 9, 1 << 16), 1 << 10)
    x, w = rng.normal(size=(2048, 512)), rng.normal(size=(16_000, 512)) / 20
    t = rng.integers(0, len(w), len(x))
    layer, poisson = lossk.LinearCrossEntropy(), lossk.PoissonNLL(log_input=False, full=True)
    calls: dict[str, Callable[[], Any]] = {
        "samples": lambda: poisson.value_and_grad(z, z, num_threads=threads),
        "chunks of rows": lambda: layer.value_and_grad(x, w, t, num_threads=threads),
        "one chunk": lambda: lossk.LinearCrossEntropy(chunk_bytes=1 << 29).grad(x, w, t, num_threads=threads),
    }
    for name, call in calls.items():
        late, work = interrupted_after(0.05, call)
        print(f"{name} by {threads} threads: {late * 1e3:.0f} ms after SIGINT, {work * 1e3:.0f} ms of work")
        # Of work, not of time, as others may have the cores.
        assert work < 0.1 * (threads + 1), name


@pytest.mark.usefixtures("interrupted")
def test_a_linear_loss_that_writes_to_the_users_arrays_ends_first(rng: np.random.Generator) -> None:
    x, w = rng.normal(size=(600, 64)).astype(np.float16), rng.normal(size=(2000, 64)).astype(np.float16)
    t = rng.integers(0, len(w), len(x))
    out = np.empty_like(x), np.empty_like(w)
    loss = lossk.LinearCrossEntropy(chunk_bytes=1 << 20)
    after = [a.copy() for a in loss.grad(x, w, t, out=out)[:2]]
    met = 0
    for delay in np.linspace(2e-3, 30e-3, 15):
        for a in out:
            a[...] = 7
        try:
            signal.setitimer(signal.ITIMER_REAL, delay)
            loss.grad(x, w, t, out=out)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            met += 1
        untouched = all((a == 7).all() for a in out)
        assert untouched or all(np.array_equal(a, b) for a, b in zip(out, after, strict=True)), delay
    assert met > 0


def test_a_handler_that_does_not_raise_changes_nothing(rng: np.random.Generator) -> None:
    """It runs in the middle of a call, shares out work of its own with scratch of its own, and the call goes on."""
    z, rows = rng.uniform(1, 9, 1 << 20), rng.normal(size=(1000, 4000)).astype(np.float16)
    times, long = rng.normal(size=(400, 10, 100)), rng.normal(size=(16, 30_000)).astype(np.float16)
    t, labels = rng.integers(0, 4000, 1000), rng.integers(1, 100, (10, 80))
    poisson, rows_loss = lossk.PoissonNLL(log_input=False, full=True), lossk.CrossEntropy(softcap=5.0)
    # Of so many copies of the inputs.
    calls: dict[str, Callable[[int], Callable[..., Any]]] = {
        "samples": lambda n: partial(poisson.value_and_grad, np.tile(z, n), np.tile(z, n)),
        "rows": lambda n: partial(rows_loss.value_and_grad, np.tile(rows, (n, 1)), np.tile(t, n)),
        "CTC": lambda n: partial(lossk.CTC().value_and_grad, np.tile(times, (1, n, 1)), np.tile(labels, (n, 1))),
    }
    within = rows_loss.grad(long, t[:16])
    found: list[bool] = []

    def handle(*_: Any) -> None:
        found.append(np.array_equal(rows_loss.grad(long, t[:16], num_threads=2), within))

    handler = signal.signal(signal.SIGALRM, handle)
    try:
        for name, of_copies in calls.items():
            copies, seconds = 1, 0.0
            while seconds < 0.1:  # several times what passes before the first look
                call, copies = of_copies(copies), 2 * copies
                started = time.perf_counter()
                want = call(num_threads=2)
                seconds = time.perf_counter() - started
            for threads in (1, 2):
                found.clear()
                signal.setitimer(signal.ITIMER_REAL, 0.02)
                got = call(num_threads=threads)
                in_call = list(found)
                signal.setitimer(signal.ITIMER_REAL, 0)
                assert got[0] == want[0], (name, threads)
                assert np.array_equal(got[1], want[1]), (name, threads)
                assert in_call, (name, threads)
                assert all(in_call), (name, threads)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


def test_another_thread_is_not_interrupted(rng: np.random.Generator) -> None:
    z = rng.uniform(1, 9, 1 << 22)
    loss = lossk.PoissonNLL(log_input=False, full=True)
    want, got = loss.grad(z, z), []
    worker = threading.Thread(target=lambda: got.append(loss.grad(z, z)))
    sender = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    met: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: met.append(number))
    try:
        for thread in (sender, worker):
            thread.start()
        while sender.is_alive() or worker.is_alive() or not met:
            time.sleep(0.01)
    finally:
        signal.signal(signal.SIGINT, before)
    assert np.array_equal(got[0], want)

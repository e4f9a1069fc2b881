"""Python threads at once: each its own bits, instruction sets that change, the interpreter's lock."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import lossk
from tests.support.arrays import Array, bits


def test_many_python_threads_compute_at_once(rng: np.random.Generator) -> None:
    """Each with its own arrays and threads: the bits of a lone serial call."""
    problems = []
    for i, shape in enumerate([(2001, 10), (64, 1500), (2, 40_000), (513, 3), (1, 33_000), (50, 700)] * 4):
        z = rng.normal(size=shape).astype(np.float32)
        problems.append((z, rng.integers(0, shape[1], size=shape[0]), i % 3 + 1))
    ce, huber = lossk.CrossEntropy(label_smoothing=0.1), lossk.Huber()

    def solve(problem: tuple[Array, Array, int], threads: int | None = None) -> list[bytes]:
        z, t, n = problem
        value, grad = ce.value_and_grad(z, t, num_threads=threads or n)
        own = z.copy()
        ce.value_and_grad(own, t, out=own, num_threads=threads or n)
        with lossk.threads(threads or n):
            result = value, grad, own, lossk.softmax(z), *huber.grad_and_hess(z, grad)
        return [bits(x) for x in result]

    want = [solve(problem, 1) for problem in problems]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(solve, problems)) == want


def test_each_python_thread_may_have_an_optimizer(rng: np.random.Generator) -> None:
    start, grad = rng.normal(size=50_000), rng.normal(size=50_000)

    def train(n: int) -> bytes:
        p = start.copy()
        sgd = lossk.SGD([p], lr=0.1, momentum=0.9)
        for _ in range(5):
            sgd.step([grad], num_threads=n)
        return bits(p)

    want = train(1)
    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(train, [1, 2, 3] * 6)) == {want}


def test_the_instruction_set_may_be_set_while_others_compute(rng: np.random.Generator) -> None:
    """Each call takes one instruction set's kernels as a whole."""
    before = lossk.isa()
    z, t = rng.normal(size=(400, 600)).astype(np.float32), np.zeros(400, int)
    allowed = set()
    for name in lossk.available_isas():
        lossk.set_isa(name)
        allowed.add(bits(lossk.CrossEntropy().grad(z, t)))
    try:
        with ThreadPoolExecutor(4) as pool:
            results = [pool.submit(lambda: bits(lossk.CrossEntropy().grad(z, t))) for _ in range(60)]
            for i in range(60):
                lossk.set_isa(lossk.available_isas()[i % len(lossk.available_isas())])
            assert {r.result() for r in results} <= allowed
    finally:
        lossk.set_isa(before)


def test_long_calls_release_the_interpreters_lock() -> None:
    """Another Python thread runs during one call.

    Switches between Python threads are forbidden for an hour by the switch interval, so the other thread can only get
    on while the call itself has given up the lock.
    """
    z = np.zeros((2000, 3000), np.float32)
    t = np.zeros(2000, np.int64)
    ce, grad = lossk.CrossEntropy(), np.empty_like(z)
    ce.grad(z, t, out=grad)
    ready, go, progress = threading.Event(), threading.Event(), []

    def other() -> None:
        ready.set()
        go.wait()
        progress.append(1)

    interval = sys.getswitchinterval()
    thread = threading.Thread(target=other)
    thread.start()
    ready.wait()
    try:
        for _ in range(50):  # one call is enough; a busy machine may need more
            sys.setswitchinterval(3600)
            go.set()
            ce.grad(z, t, out=grad, num_threads=1)
            done = bool(progress)
            sys.setswitchinterval(interval)
            if done:
                break
        assert done
    finally:
        sys.setswitchinterval(interval)
        thread.join(30)

"""Threads: equal bits for any number of them, settings, many Python threads at once, the GIL, fork."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from support import VERBS, Array, Batch, Case, bits, draw, each_case, each_dtype, run_verb

import lossk
from lossk import _core

THREADS = (1, 2, 7)


def same_bits(run: Callable[[int], Any]) -> None:
    """What run(threads) returns, a tuple of arrays and numbers, is equal to the bit for every number of threads."""
    want = [bits(x) for x in run(1)]
    assert want
    for n in THREADS[1:]:
        assert [bits(x) for x in run(n)] == want, f"{n} threads"
    assert [bits(x) for x in run(1)] == want, "1 thread again"


# ---- equal bits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
@each_dtype
@each_case
def test_losses(case: Case, dtype: Any, verb: str, isa: str, rng: np.random.Generator) -> None:
    loss = case.make()
    # So large that all 7 threads have work (parallel.hpp). Row losses: many rows; rows of many classes; few rows of so
    # many classes that columns are shared out.
    shapes = ((16385,), (200_003,)) if case.pointwise else ((9001, 10), (97, 1000), (1, 33_000), (3, 50_257))
    for shape in shapes:
        batch = draw(case, rng, shape, dtype, True)
        for reduction in ("mean", "none"):  # a sum is a mean but for a factor
            options = {"sample_weight": batch.weight, "reduction": reduction}

            def run(n: int, batch: Batch = batch, options: dict[str, Any] = options) -> tuple[Any, ...]:
                return run_verb(loss, verb, batch.z, batch.target, num_threads=n, **options)

            same_bits(run)


@pytest.mark.parametrize("shape", [(1, 16_385), (1, 33_000), (2, 50_257), (5, 40_001), (13, 32_768)])
@each_dtype
def test_column_split(dtype: Any, shape: tuple[int, ...], isa: str, rng: np.random.Generator) -> None:
    """Few long rows with every option, in place and not, with statistics, ignored rows and probabilities."""
    rows, classes = shape
    z = rng.normal(size=shape).astype(dtype)
    z[-1, : classes // 2] = -np.inf
    t = rng.integers(0, classes, size=rows)
    t[rows // 2] = t[rows // 2] if rows < 3 else -100
    y = rng.random(size=shape).astype(dtype)
    y /= y.sum(axis=1, keepdims=True)
    y[-1, : classes // 2] = 0
    weight = rng.random(size=classes)
    losses = (
        lossk.CrossEntropy(),
        lossk.CrossEntropy(weight=weight, label_smoothing=0.1, z_loss=1e-3),
        lossk.CrossEntropy(softcap=10.0, label_smoothing=0.1),
    )
    for loss in losses:
        for target in (t, y):

            def run(n: int) -> tuple[Any, ...]:
                value, grad, stats = loss.value_and_grad(z, target, num_threads=n, stats=True)  # noqa: B023
                own = z.copy()
                again, in_place = loss.value_and_grad(own, target, num_threads=n, out=own)  # noqa: B023
                assert in_place is own
                assert bits(own) == bits(grad)
                assert again == value or (np.isnan(again) and np.isnan(value))
                g, h = loss.grad_and_hess(z, target, num_threads=n)  # noqa: B023
                each = loss(z, target, reduction="none", num_threads=n)  # noqa: B023
                return value, grad, *stats, g, h, each

            same_bits(run)


@pytest.mark.parametrize("function", ["softmax", "log_softmax", "logsumexp"])
@each_dtype
def test_row_functions(dtype: Any, function: str, isa: str, rng: np.random.Generator) -> None:
    for shape in ((9001, 10), (97, 1000), (1, 33_000), (3, 50_257)):
        x = rng.normal(size=shape).astype(dtype)
        same_bits(lambda n, x=x: (getattr(lossk, function)(x, num_threads=n),))
        if function != "logsumexp":
            same_bits(lambda n, x=x: (getattr(lossk, function)(own := x.copy(), num_threads=n, out=own),))


@each_dtype
def test_sgd(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    shapes = ((3,), (16385,), (), (129, 257), (0,), (140_000,))
    start = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    grads = [rng.normal(size=shape).astype(dtype) for shape in shapes]

    def run(n: int) -> tuple[Any, ...]:
        params = [p.copy() for p in start]
        sgd = lossk.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True)
        for _ in range(3):
            sgd.step(grads, num_threads=n)
        return (*params, *(v for v in sgd.state_dict().values() if isinstance(v, np.ndarray)))

    same_bits(run)


# ---- settings -----------------------------------------------------------------------------------------------------


@pytest.fixture
def _restored() -> Iterator[None]:
    before = lossk.get_num_threads()
    yield
    lossk.set_num_threads(before)


@pytest.mark.usefixtures("_restored")
def test_set_num_threads() -> None:
    for n in (1, 3, np.int64(5), 4096):
        lossk.set_num_threads(n)
        assert lossk.get_num_threads() == n
    for wrong in (0, -1, 4097, 2**70, 1.5, "2", None):
        with pytest.raises(ValueError, match=r"got .*, wanted an integer from 1"):
            lossk.set_num_threads(wrong)
    assert lossk.get_num_threads() == 4096


@pytest.mark.usefixtures("_restored")
def test_threads_nest_and_are_restored_by_errors() -> None:
    lossk.set_num_threads(2)
    with lossk.threads(5):
        assert lossk.get_num_threads() == 5
        with lossk.threads(1):
            assert lossk.get_num_threads() == 1
        assert lossk.get_num_threads() == 5
        lossk.set_num_threads(3)  # of the process: the block keeps its own
        assert lossk.get_num_threads() == 5
        with pytest.raises(KeyError), lossk.threads(4):
            raise KeyError
        assert lossk.get_num_threads() == 5
    assert lossk.get_num_threads() == 3
    again = lossk.threads(6)
    with again, again:
        assert lossk.get_num_threads() == 6
    assert lossk.get_num_threads() == 3
    for wrong in (0, -1, 1.5, "2", None, True, 4097):
        with pytest.raises(ValueError, match=r"n: got .*, wanted an integer from 1 to 4096"):
            lossk.threads(wrong)


def test_threads_belong_to_their_python_thread() -> None:
    inside, leave = threading.Event(), threading.Event()
    seen = []

    def other() -> None:
        with lossk.threads(9):
            inside.set()
            leave.wait(30)
            seen.append(lossk.get_num_threads())

    default = lossk.get_num_threads()
    assert default != 9
    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(30)
    assert lossk.get_num_threads() == default
    with lossk.threads(8):
        leave.set()
        thread.join(30)
        assert lossk.get_num_threads() == 8
    assert seen == [9]


def python(code: str, **environment: str) -> str:
    """Run code in a fresh interpreter with warnings as errors."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("LOSSK_NUM_THREADS", "OMP_NUM_THREADS", "LOSSK_ISA")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_environment() -> None:
    show = "import lossk; print(lossk.get_num_threads())"
    assert python(show, LOSSK_NUM_THREADS="3") == "3"
    assert python(show, OMP_NUM_THREADS="5") == "5"
    assert python(show, LOSSK_NUM_THREADS="3", OMP_NUM_THREADS="5") == "3"
    cores, quota = len(os.sched_getaffinity(0)), _core.cpu_quota()
    assert python(show) == str(cores if quota is None else min(cores, math.ceil(quota)))


def test_environment_with_nonsense_says_what_is_wanted() -> None:
    show = "import lossk; print(lossk.get_num_threads())"
    assert python(show, LOSSK_NUM_THREADS="") == python(show)
    for nonsense in ("0", "-4", "many", "3x", "99999"):
        with pytest.raises(
            AssertionError, match=f"LOSSK_NUM_THREADS: got '{nonsense}', wanted an integer from 1 to 4096"
        ):
            python(show, LOSSK_NUM_THREADS=nonsense)


# ---- Python threads -----------------------------------------------------------------------------------------------


def test_many_python_threads_at_once(rng: np.random.Generator) -> None:
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


def test_one_optimizer_a_python_thread(rng: np.random.Generator) -> None:
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


def test_isa_may_be_set_while_others_compute(rng: np.random.Generator) -> None:
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


def test_gil_is_released_in_long_calls() -> None:
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


# ---- fork ---------------------------------------------------------------------------------------------------------


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_child_of_fork_computes_the_same() -> None:
    want = work(1)  # the pool is up
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = 0 if work(1) == want and work(1) == want else 2
            finally:
                os._exit(code)
        assert exit_code(pid, 60) == 0, "-999: the child hung"
    assert work(1) == want, "the parent's pool still works"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_grandchild_of_fork_computes_the_same() -> None:
    want = work(2)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            inner = os.fork()
            if inner == 0:
                os._exit(0 if work(2) == want else 3)
            code = exit_code(inner, 60) or (0 if work(2) == want else 2)
        finally:
            os._exit(code)
    assert exit_code(pid, 120) == 0, "-999: the child hung"


def run_in_child(seed: int, results: Any) -> None:
    results.put(work(seed))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this platform cannot {method}")
    want = {work(seed) for seed in (3, 4)}
    context = multiprocessing.get_context(method)
    results = context.Queue()
    children = [context.Process(target=run_in_child, args=(seed, results)) for seed in (3, 4)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for child in children:
            child.start()
    try:
        assert {results.get(timeout=90) for _ in children} == want
    finally:
        for child in children:
            child.join(30)
            if child.is_alive():
                child.kill()
    assert [child.exitcode for child in children] == [0, 0]


# ---- engines ------------------------------------------------------------------------------------------------------

OF_ENGINE = """
import hashlib, threading
import numpy as np
import lossk

z = np.random.default_rng(0).normal(size=(4096, 1000)).astype(np.float32)
results = []

def run():
    _, grad = lossk.CrossEntropy().value_and_grad(z, np.arange(4096) % 1000, num_threads=3)
    results.append(hashlib.sha256(grad).hexdigest())

threads = [threading.Thread(target=run) for _ in range(4)]
[t.start() for t in threads]
run()
[t.join() for t in threads]
print(lossk._core.parallel_runtime(), *set(results))
"""


def run_by(engine: str, script: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LOSSK_THREADS_BY": engine}
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_every_engine_gives_the_same_bits() -> None:
    engines, hashes = {}, set()
    for asked in ("auto", "openmp", "team"):
        done = run_by(asked, OF_ENGINE)
        if asked == "openmp" and "built without OpenMP" in done.stderr:
            continue
        assert done.returncode == 0, done.stderr
        engines[asked], *found = done.stdout.split()
        hashes.update(found)
    assert len(hashes) == 1
    assert engines["team"] == "team"
    assert engines["auto"] == engines.get("openmp", "team")


def test_an_unknown_engine_is_refused_at_import() -> None:
    done = run_by("tbb", "import lossk")
    assert done.returncode != 0
    assert "LOSSK_THREADS_BY: got 'tbb', wanted 'auto'" in done.stderr


FEW_THREADS = """
import resource, threading
import numpy as np
import lossk

z = np.ones((1024, 1000), np.float32)

def call(threads):
    return lossk.Huber()(z, 0 * z, num_threads=threads)

want = call(8)
assert call(2) == want  # OpenMP gives the other threads back
space = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (space + (64 << 20), resource.RLIM_INFINITY))
ready, idle = threading.Event(), []
try:
    while True:
        idle.append(threading.Thread(target=ready.wait, daemon=True))
        idle[-1].start()
except RuntimeError:  # no stack for another thread
    pass
assert call(8) == call(16) == want
print("done")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells how much memory there is to take away")
@pytest.mark.parametrize("engine", ["auto", "openmp", "team"])
def test_calls_do_without_threads_that_cannot_be_started(engine: str) -> None:
    """libgomp ends the process where a pool cannot grow, also one that was larger before."""
    done = run_by(engine, FEW_THREADS)
    if engine == "openmp" and "built without OpenMP" in done.stderr:
        pytest.skip("built without OpenMP")
    assert done.stdout == "done\n", done.stderr


@pytest.mark.parametrize("name", ["OMP_STACKSIZE", "GOMP_STACKSIZE"])
@pytest.mark.parametrize("engine", ["auto", "openmp"])
def test_openmp_s_threads_with_small_stacks_are_not_used(engine: str, name: str) -> None:
    script = """
import numpy as np
import lossk

lossk.CrossEntropy()(np.ones((600, 600), np.float32), np.zeros(600, int))
print(lossk._core.parallel_runtime())
"""
    environment = {**os.environ, "LOSSK_THREADS_BY": engine, name: "16"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if engine == "openmp" and "built without OpenMP" in done.stderr:
        pytest.skip("built without OpenMP")
    assert done.stdout == "team\n", done.stderr

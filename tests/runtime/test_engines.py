"""What runs threads: OpenMP or a team of lossk's, threads that are kept, and calls that do without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import python
from tests.support.sources import CPP

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


SHORT_OF_THREADS = """
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


def test_every_engine_gives_the_same_bits() -> None:
    engines, hashes = {}, set()
    for asked in ("auto", "openmp", "team"):
        done = python(OF_ENGINE, LOSSK_THREADS_BY=asked)
        if asked == "openmp" and "built without OpenMP" in done.stderr:
            continue
        assert done.returncode == 0, done.stderr
        engines[asked], *found = done.stdout.split()
        hashes.update(found)
    assert len(hashes) == 1
    assert engines["team"] == "team"
    assert engines["auto"] == engines.get("openmp", "team")


def test_an_unknown_engine_is_refused_at_import() -> None:
    done = python("import lossk", LOSSK_THREADS_BY="tbb")
    assert done.returncode != 0
    assert "LOSSK_THREADS_BY: got 'tbb', wanted 'auto'" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells how much memory there is to take away")
@pytest.mark.parametrize("engine", ["auto", "openmp", "team"])
def test_calls_do_without_threads_that_cannot_be_started(engine: str) -> None:
    """libgomp ends the process where a pool cannot grow, also one that was larger before."""
    done = python(SHORT_OF_THREADS, LOSSK_THREADS_BY=engine)
    if engine == "openmp" and "built without OpenMP" in done.stderr:
        pytest.skip("built without OpenMP")
    assert done.stdout == "done\n", done.stderr


@pytest.mark.parametrize("name", ["OMP_STACKSIZE", "GOMP_STACKSIZE"])
@pytest.mark.parametrize("engine", ["auto", "openmp"])
def test_openmps_threads_with_small_stacks_are_not_used(engine: str, name: str) -> None:
    script = """
        import numpy as np
        import lossk

        lossk.CrossEntropy()(np.ones((600, 600), np.float32), np.zeros(600, int))
        print(lossk._core.parallel_runtime())
    """
    done = python(script, **{"LOSSK_THREADS_BY": engine, name: "16"})
    if engine == "openmp" and "built without OpenMP" in done.stderr:
        pytest.skip("built without OpenMP")
    assert done.stdout == "team\n", done.stderr


MOST_KEPT = max(16, 4 * len(os.sched_getaffinity(0))) if sys.platform == "linux" else 16
linux = pytest.mark.skipif(sys.platform != "linux", reason="threads and control groups are those of Linux")


@linux
def test_no_more_threads_are_kept_than_a_few_for_each_core() -> None:
    code = """
import os, sys, threading, time
import numpy as np, lossk
z = np.random.default_rng(1).normal(size=(1 << 22,)).astype(np.float32)
before, got = len(os.listdir("/proc/self/task")), []
def work(): got.append(lossk.Huber().grad(z, z, num_threads=4096))
many = [threading.Thread(target=work) for _ in range(6)]
for thread in many: thread.start()
for thread in many: thread.join()
want = lossk.Huber().grad(z, z, num_threads=1)
assert all((g == want).all() for g in got)
for _ in range(200):
    kept = len(os.listdir("/proc/self/task")) - before
    if kept <= int(sys.argv[1]): break
    time.sleep(0.01)
print(kept)
"""
    done = python(code, str(MOST_KEPT))
    assert done.returncode == 0, done.stderr
    assert 0 < int(done.stdout) <= MOST_KEPT


@linux
def test_threads_that_there_is_no_memory_for_are_done_without(tmp_path: Path) -> None:
    """Whichever allocation of a call fails, the work is done, and so is that of the next call."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("there is no compiler c++")
    runtime = CPP / "runtime"
    sources = [
        Path(__file__).parent / "failing_allocations.cpp",
        *(runtime / f"{n}.cpp" for n in ("parallel", "team", "openmp", "quota")),
    ]
    program = tmp_path / "program"
    command = [compiler, "-std=c++20", "-O0", "-fsanitize=address", f"-I{runtime}", *map(str, sources)]
    subprocess.run([*command, "-o", str(program), "-lpthread", "-ldl"], check=True, timeout=300)
    done = subprocess.run([program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "40 calls, 40 of them done\n"

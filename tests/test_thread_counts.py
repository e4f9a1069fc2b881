"""How many threads: quotas of control groups, what is kept of many, what a call does without memory for more."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import bits

import lossk
from lossk import _core

MANY = max(16, 4 * len(os.sched_getaffinity(0))) if sys.platform == "linux" else 16
linux = pytest.mark.skipif(sys.platform != "linux", reason="threads and control groups are those of Linux")


# ---- quotas of control groups ---------------------------------------------------------------------------------------

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup rw,nsdelegate"
V1 = "33 32 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
IN_CONTAINER = "33 32 0:28 /docker/1f /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu"
NOT_CPU = "34 32 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset"

QUOTAS = {
    "nothing is mounted": ("", "", {}, None),
    "no limit": (V2, "0::/a", {"a/cpu.max": "max 100000"}, None),
    "of the group": (V2, "0::/a", {"a/cpu.max": "150000 100000"}, 1.5),
    "of a group around it": (V2, "0::/a/b c", {"a/b c/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, 0.5),
    "the smallest": (V2, "0::/a/b", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "300000 100000"}, 3.0),
    "of a container of its own": (V2, "0::/", {"cpu.max": "200000 100000"}, 2.0),
    "version 1": (
        V1,
        "4:cpu,cpuacct:/a\n0::/",
        {"cpu,cpuacct/a/cpu.cfs_quota_us": "250000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"},
        2.5,
    ),
    "version 1 without limit": (
        V1,
        "4:cpu,cpuacct:/a",
        {"cpu,cpuacct/a/cpu.cfs_quota_us": "-1", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"},
        None,
    ),
    "version 1 in a container": (
        IN_CONTAINER,
        "4:cpu:/docker/1f",
        {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "50000"},
        2.0,
    ),
    "another controller": (
        NOT_CPU,
        "4:cpuset:/",
        {"cpuset/cpu.cfs_quota_us": "1", "cpuset/cpu.cfs_period_us": "1"},
        None,
    ),
    "both versions": (
        V1 + "\n" + V2,
        "4:cpu,cpuacct:/\n0::/",
        {"cpu,cpuacct/cpu.cfs_quota_us": "50", "cpu,cpuacct/cpu.cfs_period_us": "10", "cpu.max": "max 100000"},
        5.0,
    ),
    "nonsense": ("x y - z", "no colons", {}, None),
}


@pytest.mark.parametrize("case", QUOTAS)
def test_the_quota_of_control_groups(case: str, tmp_path: Path) -> None:
    mounts, groups, files, want = QUOTAS[case]
    for name, text in {"proc/self/mountinfo": mounts, "proc/self/cgroup": groups}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert _core.cpu_quota(str(tmp_path)) == want


def source(code: str = "pass", **environment: str) -> str:
    inherited = {k: v for k, v in os.environ.items() if k not in ("LOSSK_NUM_THREADS", "OMP_NUM_THREADS")}
    show = f"import lossk; {code}; from lossk import _core; print(_core.threads_source())"
    command = [sys.executable, "-c", show]
    return subprocess.run(
        command, env=inherited | environment, text=True, capture_output=True, check=True
    ).stdout.strip()


def test_where_the_number_of_threads_comes_from() -> None:
    assert source(LOSSK_NUM_THREADS="3", OMP_NUM_THREADS="2") == "LOSSK_NUM_THREADS"
    assert source(OMP_NUM_THREADS="2") == "OMP_NUM_THREADS"
    assert source("lossk.set_num_threads(2)", OMP_NUM_THREADS="2") == "set_num_threads"
    assert source("lossk.threads(2).__enter__()") == "a block of threads()"
    assert source() in ("the cores that the process may use", "the CPU quota of the process's cgroup")


# ---- threads that are kept ------------------------------------------------------------------------------------------


@linux
def test_no_more_threads_are_kept_than_a_few_for_each_core(rng: np.random.Generator) -> None:
    code = """
import os, threading
import numpy as np, lossk
z = np.random.default_rng(1).normal(size=(1 << 22,)).astype(np.float32)
before, got = len(os.listdir("/proc/self/task")), []
def work(): got.append(lossk.Huber().grad(z, z, num_threads=4096))
many = [threading.Thread(target=work) for _ in range(6)]
for thread in many: thread.start()
for thread in many: thread.join()
want = lossk.Huber().grad(z, z, num_threads=1)
assert all((g == want).all() for g in got)
import time
for _ in range(200):
    kept = len(os.listdir("/proc/self/task")) - before
    if kept <= int(os.environ["MANY"]): break
    time.sleep(0.01)
print(kept)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "MANY": str(MANY)}, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert 0 < int(done.stdout) <= MANY


def test_numbers_of_threads_beyond_the_cores_give_the_same_bits(rng: np.random.Generator) -> None:
    z, t = rng.normal(size=(64, 40_000)).astype(np.float32), rng.integers(0, 40_000, size=64)
    want = [bits(x) for x in lossk.CrossEntropy().value_and_grad(z, t, num_threads=1)]
    for threads in (17, 100, 4096):
        assert [bits(x) for x in lossk.CrossEntropy().value_and_grad(z, t, num_threads=threads)] == want


@linux
def test_threads_that_there_is_no_memory_for_are_done_without(tmp_path: Path) -> None:
    """Whichever allocation of a call fails, the work is done, and so is that of the next call."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("there is no compiler c++")
    here = Path(__file__).parent
    runtime = here.parent / "src/cpp/runtime"
    sources = [
        here / "failing_allocations.cpp",
        *(runtime / f"{n}.cpp" for n in ("parallel", "team", "openmp", "quota")),
    ]
    program = tmp_path / "program"
    command = [compiler, "-std=c++20", "-O1", "-g", "-fsanitize=address", f"-I{runtime}", *map(str, sources)]
    subprocess.run([*command, "-o", str(program), "-lpthread", "-ldl"], check=True, timeout=300)
    done = subprocess.run([program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "40 calls, 40 of them done\n"

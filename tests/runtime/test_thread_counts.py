"""How many threads: settings, the environment, quotas of control groups."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import lossk
from lossk import _core
from tests.support.processes import python


@pytest.fixture
def _restored() -> Iterator[None]:
    before = lossk.get_num_threads()
    yield
    lossk.set_num_threads(before)


@pytest.mark.usefixtures("_restored")
def test_the_number_of_threads_is_set_for_the_process() -> None:
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


def test_the_environment_sets_the_number_of_threads() -> None:
    """And the library says where the number comes from."""
    cores, quota = len(os.sched_getaffinity(0)), _core.cpu_quota()
    default = cores if quota is None else min(cores, math.ceil(quota))
    by_default = ("the cores that the process may use", "the CPU quota of the process's cgroup")
    cases: list[tuple[dict[str, str], str, int, tuple[str, ...]]] = [
        ({}, "", default, by_default),
        ({}, "lossk.threads(2).__enter__()", 2, ("a block of threads()",)),
        ({"LOSSK_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, "", 3, ("LOSSK_NUM_THREADS",)),
        ({"OMP_NUM_THREADS": "5"}, "", 5, ("OMP_NUM_THREADS",)),
        ({"OMP_NUM_THREADS": "5"}, "lossk.set_num_threads(2)", 2, ("set_num_threads",)),
    ]
    for environment, code, threads, sources in cases:
        show = "print(lossk.get_num_threads(), lossk._core.threads_source())"
        done = python(f"import lossk; {code}\n{show}", **environment)
        number, _, source = done.stdout.strip().partition(" ")
        assert int(number) == threads, done.stderr
        assert source in sources


NONSENSE = """
    import os, sys

    for value in ("0", "-4", "many", "3x", "99999", ""):
        os.environ["LOSSK_NUM_THREADS"] = value
        try:
            import lossk
            print("imported, by", lossk._core.threads_source())
        except ImportError as error:
            print(error)
            for name in [name for name in sys.modules if name.startswith("lossk")]:
                del sys.modules[name]
"""


def test_nonsense_in_the_environment_is_refused_at_import() -> None:
    *refused, empty = python(NONSENSE).stdout.splitlines()
    assert len(refused) == 5
    for said, nonsense in zip(refused, ("0", "-4", "many", "3x", "99999"), strict=True):
        assert said == f"LOSSK_NUM_THREADS: got {nonsense!r}, wanted an integer from 1 to 4096"
    assert empty.startswith("imported, by the "), "an empty variable says nothing"


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
def test_the_quota_of_control_groups_is_found(case: str, tmp_path: Path) -> None:
    mounts, groups, files, want = QUOTAS[case]
    for name, text in {"proc/self/mountinfo": mounts, "proc/self/cgroup": groups}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert _core.cpu_quota(str(tmp_path)) == want

"""lossk on torch's threads: the same bits, never more threads than asked for, and where the team remains."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

BEFORE = """
    import hashlib, os, threading
    from pathlib import Path
    import numpy as np
    import lossk
    from lossk import _core

    z = np.random.default_rng(0).normal(size=(4096, 1000)).astype(np.float32)
    labels = np.arange(4096) % 1000

    def bits(threads=2):
        value, grad = lossk.CrossEntropy().value_and_grad(z, labels, num_threads=threads)
        return hashlib.sha256(grad.tobytes() + np.float64(value).tobytes()).hexdigest()

    def threads_now():
        return len(list(Path("/proc/self/task").iterdir()))
"""


def run_alone(script: str, **environment: str) -> list[str]:
    """Run a script in a process of its own; returns the lines that it printed."""
    script = textwrap.dedent(BEFORE) + textwrap.dedent(script)
    environment = {**os.environ, "OMP_NUM_THREADS": "4", **environment}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


linux = pytest.mark.skipif(sys.platform != "linux", reason="torch's threads are shared on Linux only")


@linux
def test_torchs_threads_give_the_same_bits() -> None:
    alone, before, shared, *found = run_alone("""
        print(_core.parallel_runtime())
        print(bits())
        import torch
        torch.set_num_threads(4)
        torch.ones(1 << 20).exp()
        print(_core.parallel_runtime())
        for threads in (1, 2, 3, 4, 5):
            print(bits(threads))
    """)
    assert alone == shared == "OpenMP"
    assert set(found) == {before}


@linux
def test_no_threads_are_started_beside_torchs() -> None:
    script = """
        import torch
        torch.ones(1 << 20).exp()
        print(threads_now())
        assert _core.parallel_runtime() != "team"
        bits(2)
        print(threads_now())
        bits(5)  # many more than torch has: by threads of lossk's
        print(threads_now())
    """
    torchs, after, larger = map(int, run_alone(script, OMP_NUM_THREADS="2"))
    assert after == torchs
    assert larger == torchs + 4


@linux
def test_no_more_threads_work_than_asked_for() -> None:
    """Parts of work run on as many threads as the call may use, whatever the size of torch's pool."""
    script = """
        import time
        import torch
        torch.set_num_threads(4)
        torch.ones(1 << 20).exp()
        assert _core.parallel_runtime() != "team"

        def busy():
            return {task.name: int((task / "schedstat").read_text().split()[0])
                    for task in Path("/proc/self/task").iterdir()}

        time.sleep(0.1)
        before = busy()
        for _ in range(50):
            bits(2)
        after = busy()
        spent = sorted((after[name] - before[name] for name in before), reverse=True)
        print(sum(1 for taken in spent if taken > 0.25 * spent[0]))
    """
    (seen,) = run_alone(script, OMP_WAIT_POLICY="passive")
    assert int(seen) <= 2


@linux
def test_the_engine_can_be_named() -> None:
    script = """
        import torch
        torch.ones(1 << 20).exp()
        print(_core.parallel_runtime())
        print(bits())
    """
    found = [run_alone(script, LOSSK_THREADS_BY=name) for name in ("team", "openmp", "")]
    assert [engine for engine, _ in found] == ["team", "OpenMP", "OpenMP"]
    assert len({same for _, same in found}) == 1


@linux
@pytest.mark.parametrize("order", ["lossk, torch", "torch, lossk"])
def test_one_openmp_library_whichever_is_imported_first(order: str) -> None:
    script = f"""
        import re, sys
        import {order}
        import numpy as np
        torch.ones(1 << 20).exp()
        lossk.Huber()(np.ones(1 << 20, np.float32), np.zeros(1 << 20, np.float32))
        assert lossk._core.parallel_runtime() == "OpenMP"
        print(len(set(re.findall(r"/\\S*libgomp\\S*", open("/proc/self/maps").read()))))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.split() == ["1"], done.stderr


@linux
def test_other_threads_and_children_do_without() -> None:
    main, other, same, child = run_alone("""
        import torch
        torch.ones(1 << 20).exp()
        want = bits()
        found = []
        one = threading.Thread(target=lambda: found.extend([_core.parallel_runtime(), bits()]))
        one.start()
        one.join()
        print(_core.parallel_runtime())
        print(found[0])
        print(found[1] == want)
        reads, writes = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(writes, bits().encode())
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        print(os.read(reads, 64).decode() == want)
    """)
    assert (main, other, same, child) == ("OpenMP", "team", "True", "True")


@linux
def test_threads_that_are_waited_for_are_given_up() -> None:
    """On one core for all, torch's threads begin when the call's has done everything: lossk turns to its own."""
    script = """
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        import torch
        torch.set_num_threads(4)
        torch.ones(1 << 20).exp()
        print(threads_now())
        assert _core.parallel_runtime() != "team"
        small = np.ones(1 << 17, np.float32)
        losses = {lossk.Huber()(small, 0 * small, num_threads=2) for _ in range(40)}
        assert len(losses) == 1
        print(threads_now())
    """
    torchs, after = run_alone(script, OMP_WAIT_POLICY="active")
    assert int(after) == int(torchs) + 1


@linux
def test_a_smaller_pool_is_left_alone() -> None:
    torchs, after = run_alone("""
        import torch
        torch.set_num_threads(1)
        torch.ones(1 << 20).exp()
        print(threads_now())
        bits(2)
        print(threads_now())
        assert torch.get_num_threads() == 1
    """)
    assert int(after) == int(torchs) + 1

"""Ranks: threads of this process, and processes on the engines that are there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from lossk.distributed._group import Wait
from tests.support.sources import ROOT

Array = np.ndarray[Any, Any]
T = TypeVar("T")
PATIENCE = 60.0  # seconds that processes may take for half of a test


class Meeting:
    """Where threads meet that play ranks: what each has brought to each collective operation, and its bytes."""

    def __init__(self, size: int) -> None:
        self.size, self.brought, self.gone = size, dict[int, dict[int, Array]](), set[int]()
        self.condition = threading.Condition()

    def exchange(self, number: int, rank: int, array: Array) -> Callable[[], list[Array]]:
        """Bring an array to the operation of this number; what is returned waits for those of all ranks."""
        with self.condition:
            self.brought.setdefault(number, {})[rank] = np.array(array)
            self.condition.notify_all()

        def wait() -> list[Array]:
            brought = self.brought[number]
            with self.condition:
                self.condition.wait_for(lambda: len(brought) == self.size or self.gone - brought.keys())
                left = self.gone - brought.keys()
                assert not left, f"rank {rank} was left alone in operation {number} by ranks {sorted(left)}"
                return [brought[r] for r in range(self.size)]

        return wait

    def leave(self, rank: int) -> None:
        """Tell those who wait for this rank that it will bring nothing more."""
        with self.condition:
            self.gone.add(rank)
            self.condition.notify_all()


class ThreadGroup:
    """A rank that is a thread. `sent` counts the bytes that it gathered with others."""

    def __init__(self, meeting: Meeting, rank: int) -> None:
        self.meeting, self.rank, self.size = meeting, rank, meeting.size
        self.operations, self.sent = 0, 0

    def _exchange(self, array: Array) -> Callable[[], list[Array]]:
        self.operations += 1
        self.sent += array.nbytes
        return self.meeting.exchange(self.operations, self.rank, array)

    def all_gather(self, array: Array, /) -> Wait:
        """Gather arrays, which have one shape and dtype."""
        wait = self._exchange(array)

        def done() -> Array:
            found = wait()
            assert len({(a.shape, a.dtype) for a in found}) == 1, "ranks gather arrays of one shape and dtype"
            return np.stack(found)

        return done

    def all_reduce(self, array: Array, /) -> Wait:
        """Add up arrays in place."""
        wait = self._exchange(array)

        def done() -> Array:
            array[...] = sum(wait()[1:], start=wait()[0])
            return array

        return done


def on_ranks(size: int, work: Callable[[ThreadGroup], T]) -> list[T | Exception]:
    """Return what every rank's work returns, or raises."""
    meeting = Meeting(size)
    results: list[Any] = [None] * size

    def run(rank: int) -> None:
        try:
            results[rank] = work(ThreadGroup(meeting, rank))
        except Exception as error:
            results[rank] = error
        finally:
            meeting.leave(rank)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def values(results: list[T | Exception]) -> list[T]:
    """Return what ranks returned; raise what one of them raised, and print what all did."""
    raised = [(rank, result) for rank, result in enumerate(results) if isinstance(result, Exception)]
    for rank, error in raised:
        print(f"rank {rank} raised {error!r}")
    # A rank that was left alone waited for another one, which did something else.
    for _, error in sorted(raised, key=lambda pair: "was left alone" in str(pair[1])):
        raise error
    return results  # type: ignore[return-value]


def engine_ranks(engine: str, size: int, script: str, tmp_path: Path, expected: int | None = 0) -> list[Any]:
    """Run a script in `size` processes of "gloo" or "openmpi"; return what each prints as JSON in its last line.

    It finds its group as `group`. `expected` is the exit code wanted of all; None: whatever it is.
    """
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMP_NUM_THREADS": "1",
        "LOSSK_NUM_THREADS": "1",
    }
    file = tmp_path / f"{engine}-{size}.py"
    store = tmp_path / f"store-{size}"
    store.unlink(missing_ok=True)
    if engine == "gloo":
        if find_spec("torch") is None:
            pytest.skip("torch is not installed")
        start = (
            "import datetime, sys, torch.distributed as dist\n"
            f"dist.init_process_group('gloo', init_method='file://{store}', rank=int(sys.argv[1]), world_size={size},\n"
            "    timeout=datetime.timedelta(seconds=60))\n"
            "from lossk.distributed import as_group\ngroup = as_group(None)\n"
        )
        # Ends at once: where all is taken down in order, gloo's threads may still run, and std::terminate is called.
        script += "\nimport os\ndist.barrier()\ndist.destroy_process_group()\nsys.stdout.flush()\nos._exit(0)\n"
        commands = [[sys.executable, str(file), str(rank)] for rank in range(size)]
    else:
        if find_spec("mpi4py") is None or shutil.which("mpiexec") is None:
            pytest.skip("mpi4py or mpiexec is not installed")
        start = "from mpi4py import MPI\nfrom lossk.distributed import as_group\ngroup = as_group(MPI.COMM_WORLD)\n"
        environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        environment |= {"OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_btl_vader_single_copy_mechanism": "none"}
        commands = [["mpiexec", "-n", str(size), sys.executable, str(file)]]
    file.write_text(start + script, encoding="utf-8")
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    running = [subprocess.Popen(command, env=environment, **pipes) for command in commands]
    # All are waited for before any of them is looked at, so that none is left behind.
    told = [(*process.communicate(timeout=2 * PATIENCE), process.returncode) for process in running]
    for _, error, code in told:
        assert expected is None or code == expected, error
    return [value for out, *_ in told for value in _json_values(out)]


def _json_values(text: str) -> list[Any]:
    """Return the objects and arrays of a text, one a rank: mpiexec may put what ranks print on one line."""
    found, decoder = [], json.JSONDecoder()
    while text := text.strip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found

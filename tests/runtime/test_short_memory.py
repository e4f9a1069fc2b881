"""When memory is short: what is kept is given up, what is missing is named, and nothing is half written."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import lossk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sizes of processes are read from Linux' /proc")


START = """
    import resource
    import numpy as np
    import lossk
    MB = 1 << 20
    lossk.set_num_threads(2)

    def size():
        return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()

    def limit(more):
        resource.setrlimit(resource.RLIMIT_AS, (size() + more, resource.RLIM_INFINITY))

    def floats(mb):
        return np.zeros(mb * MB // 4, np.float32)
"""


def run(code: str) -> None:
    """Run code in a process of its own, which may limit its memory."""
    command = [sys.executable, "-c", textwrap.dedent(START) + textwrap.dedent(code)]
    # Else each thread that allocates reserves address space of its own.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_kept_pages_are_given_up_for_a_result_that_needs_them() -> None:
    run("""
        z, huber = floats(200), lossk.Huber()
        for mb in (60, 80, 100, 130):
            huber.grad(z[: mb * MB // 4], z[: mb * MB // 4])
        limit(100 * MB)
        assert huber.grad(z, z).nbytes == 200 * MB
    """)


def test_no_pages_are_kept_where_the_address_space_is_limited() -> None:
    run("""
        lossk.set_num_threads(1)  # a thread that starts late would bring its stack
        z, huber = floats(200), lossk.Huber()
        huber(z, z)
        limit(1000 * MB)
        before = size()
        for mb in (60, 80, 100, 130):
            huber.grad(z[: mb * MB // 4], z[: mb * MB // 4])
        assert size() - before < 8 * MB, (size() - before) // MB
    """)


@pytest.mark.parametrize("call", ["softmax(z, out=z)", "CrossEntropy(softcap=9.0).grad(z, t, out=z)"])
def test_scratch_is_given_back(call: str) -> None:
    """Rows of 16 bits in place, one and several: their exponentials take more than the rows."""
    run(f"""
        def work(rows):
            z, t = np.zeros((rows, 40 * MB // rows), np.float16), np.zeros(rows, np.int64)
            before = size()
            lossk.{call}
            return size() - before

        lossk.softmax(np.zeros((3, 200_000), np.float32))  # threads are there
        limit(4000 * MB)
        for rows in (1, 8):
            assert work(rows) < 16 * MB, work(rows) // MB
    """)


@pytest.mark.parametrize("threads", [1, 2])
def test_no_memory_for_scratch_leaves_everything_as_it_was(threads: int) -> None:
    run(f"""
        z, t = np.ones((8, 4 * MB), np.float16), np.zeros(8, np.int64)
        lossk.softmax(np.zeros((3, 200_000), np.float32))
        limit(12 * MB)
        try:
            lossk.CrossEntropy().grad(z, t, out=z, num_threads={threads})
        except MemoryError as error:
            text = str(error)
        assert text.startswith("scratch: wanted "), text
        assert text.endswith(" bytes of memory, the system has no more"), text
        limit(1000 * MB)
        assert (z == 1).all()
    """)


# What there is no memory for, in bytes an element of z; the call; megabytes that there are.
CALLS = {
    "gradient": (4, "lossk.Huber().grad(z, z)", 40),
    "second derivative": (4, "lossk.Huber().grad_and_hess(z, z)", 90),
    "losses": (4, "lossk.Huber()(z, z, reduction='none')", 40),
    "copy of target": (8, "lossk.NLL()(z[:, None], t)", 40),
}


@pytest.mark.parametrize("what", CALLS)
def test_an_error_names_what_there_was_no_memory_for(what: str) -> None:
    size, call, megabytes = CALLS[what]
    run(f"""
        z, t = floats(60), np.zeros(60 * MB // 4, np.int8)
        lossk.Huber()(z, z)
        limit({megabytes} * MB)
        try:
            {call}
        except MemoryError as error:
            text = str(error)
        wanted = {size} * z.size
        assert text == f"{what}: wanted {{wanted}} bytes of memory, the system has no more", text
    """)


def test_large_results_reuse_the_pages_of_released_ones() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(600, 2000)).astype(np.float32)  # 4.8 MB: above smallest_pages
    first = lossk.softmax(z)
    expected, address = first.copy(), first.ctypes.data
    assert address % (2 << 20) == 0, "results with pages of their own start on a huge page"
    view = first[1:]
    del first
    assert lossk.softmax(z).ctypes.data != address, "a view still holds the pages"
    assert np.array_equal(view, expected[1:])
    del view
    addresses = {lossk.softmax(z).ctypes.data for _ in range(20)}
    assert len(addresses) <= 4
    again = lossk.softmax(z)
    assert np.array_equal(again, expected)
    again += 1  # writeable like any array
    assert np.array_equal(again, expected + 1)

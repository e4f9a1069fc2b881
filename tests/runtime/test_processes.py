"""Other processes: children of fork and spawn, the interpreter's end while threads compute, subinterpreters."""

from __future__ import annotations

import multiprocessing
import os

import pytest

from tests.support.processes import python
from tests.support.sources import ROOT

CHILD = """
    import os
    from tests.support.threads import exit_code, work

    want = work(1)  # the pool is up
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = 0 if work(1) == want and work(1) == want else 2
            finally:
                os._exit(code)
        print(exit_code(pid, 60))
    assert work(1) == want, "the parent's pool still works"
"""

GRANDCHILD = """
    import os
    from tests.support.threads import exit_code, work

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
    print(exit_code(pid, 120))
"""

CHILDREN = """
    import multiprocessing, sys
    from tests.support.threads import run_in_child, work

    want = {work(seed) for seed in (3, 4)}
    context = multiprocessing.get_context(sys.argv[1])
    results = context.Queue()
    children = [context.Process(target=run_in_child, args=(seed, results)) for seed in (3, 4)]
    for child in children:
        child.start()
    try:
        assert {results.get(timeout=90) for _ in children} == want
    finally:
        for child in children:
            child.join(30)
            if child.is_alive():
                child.kill()
    print(*(child.exitcode for child in children))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(("script", "exits"), [(CHILD, 3), (GRANDCHILD, 1)], ids=["child", "grandchild"])
def test_a_child_of_fork_computes_the_same(script: str, exits: int) -> None:
    """A child that hangs is killed, and its exit code is -999."""
    done = python(script, warn="ignore", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0"] * exits


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_of_multiprocessing_compute_the_same(method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this platform cannot {method}")
    done = python(CHILDREN, method, warn="ignore", cwd=ROOT)
    assert done.stdout == "0 0\n", done.stderr


COMPUTING = """
    import sys, threading, time
    import numpy as np
    import lossk

    z = np.zeros((200, 5000), np.float32)
    labels = np.zeros(200, np.int64)
    narrow = np.zeros((200, 64), np.float16)
    strided = np.zeros(200_000, np.float32)[::2]

    def steps(p):
        optimizer, g = lossk.Adam([p]), [np.ones(p.shape, np.float32)]
        return lambda: optimizer.step(g)

    calls = {
        "softmax": lambda: lossk.CrossEntropy()(z, labels),
        "rows": lambda: lossk.MultiMargin()(z, labels),
        "pointwise": lambda: lossk.Huber().grad(z, z),
        "activation": lambda: lossk.Sigmoid()(z),
        "clip": lambda: lossk.clip_grad_norm([np.ones(1_000_000, np.float32)], 1.0),
        "convert": lambda: lossk.LinearCrossEntropy()(narrow, narrow, labels),
        "step": steps(np.zeros(1_000_000, np.float32)),
        "strided step": steps(strided),
    }
    work = calls[sys.argv[1]]

    def for_ever():
        while True:
            work()

    work()
    for _ in range(4):
        threading.Thread(target=for_ever, daemon=True).start()
    time.sleep(0.05)
"""


IN_SUBINTERPRETER = """
    import sys
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters

    if "first" in sys.argv:
        import lossk
    code = '''
    try:
        from lossk import _core
    except ImportError as error:
        print(error)
    '''
    import textwrap
    own = interpreters.create("legacy") if sys.version_info >= (3, 13) else interpreters.create(isolated=False)
    interpreters.run_string(own, f"import sys; sys.path[:] = {sys.path!r}" + textwrap.dedent(code))
    interpreters.destroy(own)
"""


@pytest.mark.parametrize(
    "family", ["softmax", "rows", "pointwise", "activation", "clip", "convert", "step", "strided step"]
)
def test_a_process_ends_while_daemon_threads_compute(family: str) -> None:
    for _ in range(2):
        done = python(COMPUTING, family)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("where", ["first", "only"])
def test_a_subinterpreter_is_refused(where: str) -> None:
    """Whether or not the main interpreter has imported lossk; NumPy may refuse before lossk does."""
    done = python(IN_SUBINTERPRETER, where, warn="default")
    assert done.returncode == 0, done.stderr
    refusals = ("subinterpreter", "more than once per process", "only be loaded into one interpreter per process")
    assert any(words in done.stdout for words in refusals), done.stdout

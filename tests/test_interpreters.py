"""The interpreter's end while threads compute, and subinterpreters: processes of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


# ---- the end of the interpreter -----------------------------------------------------------------------------------

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


@pytest.mark.parametrize(
    "family", ["softmax", "rows", "pointwise", "activation", "clip", "convert", "step", "strided step"]
)
def test_a_process_ends_while_daemon_threads_compute(family: str) -> None:
    for _ in range(3):
        done = run(COMPUTING, family)
        assert done.returncode == 0, done.stderr


# ---- subinterpreters ----------------------------------------------------------------------------------------------

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


@pytest.mark.parametrize("where", ["first", "only"])
def test_a_subinterpreter_is_refused(where: str) -> None:
    """Whether or not the main interpreter has imported lossk; NumPy may refuse before lossk does."""
    done = run(IN_SUBINTERPRETER, where)
    assert done.returncode == 0, done.stderr
    assert "subinterpreter" in done.stdout or "more than once per process" in done.stdout

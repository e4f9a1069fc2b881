"""Whichever allocation of a call fails: MemoryError with the bytes wanted, or the result; never half of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# Each call twice without failures; then with allocations of 4096 bytes and more failing from the first on, from the
# second on, and so on, until none fails. Smaller ones are those of Python's own objects, too.
CODE = """
import ctypes, sys
import numpy as np
import lossk

fail_allocation = ctypes.CDLL(sys.argv[1]).fail_allocation
fail_allocation.argtypes = ctypes.c_long, ctypes.c_size_t
fail_allocation.restype = ctypes.c_long
rng = np.random.default_rng(0)
z, y = rng.normal(size=(300, 500)).astype(np.float32), rng.normal(size=(300, 500)).astype(np.float32)
narrow, t, big = z.astype(np.float16), rng.integers(0, 500, 300).astype(np.int8) % 100, z.astype(">f4")
out, half = np.zeros_like(z), np.zeros_like(narrow)
huber, ce, layer = lossk.Huber(), lossk.CrossEntropy(), lossk.LinearCrossEntropy()
a, b = [rng.normal(size=(300, 500)).astype(np.float32) for _ in range(2)]
params = [np.ones((200, 300), np.float16), np.ones((7,), np.float32)]
adam = lossk.Adam(params, lr=0.1)
grads = [np.ones_like(p) for p in params]
adam.step(grads)
strided = np.ones((300, 200), np.float16).T

calls = {
    "grad": lambda: huber.grad(z, y),
    "out": lambda: huber.grad(z, y, out=out),
    "grad_and_hess": lambda: huber.grad_and_hess(z, y),
    "big endian": lambda: huber.grad(big, y),
    "none": lambda: huber(z, y, reduction="none"),
    "labels": lambda: ce.value_and_grad(z, t),
    "16 bits": lambda: ce.value_and_grad(narrow, t, out=half),
    "softcap": lambda: lossk.CrossEntropy(softcap=5.0).grad(narrow, t, out=half),
    "rows": lambda: lossk.NLL().grad(z, t),
    "pairs": lambda: lossk.CosineEmbedding().grad(a, b, 1),
    "softmax": lambda: lossk.softmax(narrow, out=half),
    "activation": lambda: lossk.GELU()(narrow, out=half),
    "vjp": lambda: lossk.GELU().vjp(z, y),
    "gate": lambda: lossk.SwiGLU().vjp(z, y, a),
    "linear": lambda: layer.value_and_grad(z, y, t),
    "step": lambda: adam.step(grads, max_norm=1.0),
    "strided step": lambda: adam.step([strided, grads[1]]),
    "clip": lambda: lossk.clip_grad_norm(grads, 1e9),
}
held = [z, y, narrow, t, big, out, half, a, b, *params, *grads]

def states():
    state = adam.state_dict()
    return [x.tobytes() for x in held], {k: v.tobytes() if isinstance(v, np.ndarray) else v for k, v in state.items()}

for name, call in calls.items():
    call()
    call()
    failures = 0
    for n in range(1, 400):
        before = states()
        error = None
        fail_allocation(n, 4096)
        try:
            call()
        except MemoryError as e:
            error = e
        left = fail_allocation(0, 1)
        left = 0 if left == 1 else left
        if error is not None:
            failures += 1
            after = states()
            assert after == before, (name, n, str(error))
            text = str(error)
            assert "wanted " in text and " bytes of memory" in text, (name, n, text)
        if left > 0:
            break
    else:
        raise AssertionError(f"{name} has no end")
    print(name, failures, n, text if failures else "")
    text = ""
    call()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the allocations of glibc are replaced")
def test_a_failing_allocation_leaves_everything_as_it_was(tmp_path: Path) -> None:
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("there is no compiler c++")
    library = tmp_path / "failing_malloc.so"
    source = str(HERE / "failing_malloc.cpp")
    subprocess.run([compiler, "-std=c++20", "-O1", "-shared", "-fPIC", source, "-o", str(library)], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), "LOSSK_NUM_THREADS": "2"}
    command = [sys.executable, "-c", CODE, str(library)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

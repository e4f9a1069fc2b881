"""The memory that LinearCrossEntropy may take."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lossk
from lossk._linear._run import Plan
from tests.support.arrays import in_turn
from tests.support.linear import BFLOAT16, MB, NARROW, close, of_dz, problem

SHAPES_OF_MEMORY = [
    (1000, 64, 10_000, 8 * MB),  # logits of 40 MB
    (150_000, 4, 8, 2 * MB),  # many rows
    (40, 8, 100_000, 8 * MB),  # narrow
    (500, 512, 3000, 8 * MB),
]


RESIDENT = """
import numpy as np, lossk
def status(key):
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(key))
x, w, t = np.ones((400, 256), np.float32), np.ones((40_000, 256), np.float32), np.zeros(400, int)
out = np.ones_like(x), np.ones_like(w), None
loss = lossk.LinearCrossEntropy(chunk_bytes=32 << 20)
loss.value_and_grad(x[:300, :16], w[:2000, :16], t[:300])  # threads, and what a small product needs
open("/proc/self/clear_refs", "w").write("5")  # forget the peak
before = status("VmRSS")
loss.value_and_grad(x, w, t, out=out)
print(status("VmHWM") - before)
"""


@in_turn("dtype", [np.float32, np.float64, *NARROW])
@pytest.mark.parametrize(("rows", "features", "classes", "chunk_bytes"), SHAPES_OF_MEMORY, ids=str)
def test_memory_stays_below_chunk_bytes(
    rows: int, features: int, classes: int, chunk_bytes: int, dtype: Any, rng: np.random.Generator
) -> None:
    """Everything that is allocated besides inputs and results: rows that do not count, weights, bias, statistics."""
    x, w, target, bias = problem(rng, rows, features, classes, dtype)
    loss = lossk.LinearCrossEntropy(chunk_bytes=chunk_bytes, label_smoothing=0.1)
    out = (np.empty_like(x), np.empty_like(w), np.empty_like(bias))
    weight = rng.uniform(size=rows)
    loss.value_and_grad(x[:8], w, target[:8], bias)  # whatever is allocated once
    results = rows * (np.dtype(dtype).itemsize if dtype == np.float64 else 4) + rows
    for given in ({"out": out}, {"out": out, "sample_weight": weight, "stats": True}):
        tracemalloc.start()
        try:
            loss.value_and_grad(x, w, target, bias, **given)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < chunk_bytes + (results if "stats" in given else 0)


@pytest.mark.parametrize("given", [{"stats": True}, {"label_smoothing": 0.1}, {"softcap": 5.0}], ids=str)
@pytest.mark.parametrize("rows", [1, 5])
@in_turn("dtype", [np.float32, BFLOAT16])
def test_options_keep_to_chunk_bytes(
    dtype: Any, rows: int, given: dict[str, Any], rng: np.random.Generator, windowed: list[Plan]
) -> None:
    """Of so many classes a chunk would hold a few rows: windows of classes serve every option."""
    x, w, _, _ = problem(rng, rows, 2, 250_000, dtype)
    target, stats = rng.integers(0, 250_000, rows), "stats" in given
    loss = lossk.LinearCrossEntropy(chunk_bytes=4 * MB, **({} if stats else given))
    out = (np.empty_like(x), np.empty_like(w), None)
    loss.value_and_grad(x, w[:9], target % 9, stats=stats)  # imports what a first call does
    tracemalloc.start()
    try:
        value, *_ = loss.value_and_grad(x, w, target, stats=stats, out=out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MB
    assert windowed
    wanted, dx, dw, _ = loss.reference(x, w, target, derivatives=True)
    close(value, wanted, np.float32, "value")
    ulp = 2**-8 if dtype == BFLOAT16 else 3e-5
    for got, want in zip(out[:2], (dx, dw), strict=True):
        np.testing.assert_allclose(
            got.astype(np.float64), want, rtol=ulp, atol=max(3e-5, of_dz(x)) * np.abs(want).max()
        )


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        *(((500, 32, 100_000), dtype) for dtype in (np.float64, np.float32, *NARROW)),
        *(((300, 256, 20_000), dtype) for dtype in (np.float64, np.float32, *NARROW)),
        *(((8_000, 8, 20_000), dtype) for dtype in (np.float32, BFLOAT16)),
    ],
    ids=lambda x: str(x) if isinstance(x, tuple) else np.dtype(x).name,
)
def test_memory_of_windows_stays_below_chunk_bytes(
    shape: Any, dtype: Any, rng: np.random.Generator, windowed: list[Plan]
) -> None:
    x, w, target, _ = problem(rng, *shape, dtype)
    out = (np.empty_like(x), np.empty_like(w), None)
    loss = lossk.LinearCrossEntropy(chunk_bytes=4 * MB, z_loss=1e-4)
    loss.value_and_grad(x[:300], w, target[:300])
    windowed.clear()
    tracemalloc.start()
    try:
        loss.value_and_grad(x, w, target, sample_weight=np.ones(len(x), np.float32), out=out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MB
    assert windowed


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no /proc: the peak of memory is not known")
def test_the_process_grows_by_no_more_than_chunk_bytes() -> None:
    """Memory that Python's allocator does not see, too."""
    done = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True, timeout=120)
    assert float(done.stdout) < 32 + 4  # and what a thread and its stack take

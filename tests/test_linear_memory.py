"""The memory that LinearCrossEntropy may take, and the windows of classes by which it keeps to it."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import bits
from support_linear import BFLOAT16, MB, NARROW, close, loss_of, of_dz, problem

import lossk
from lossk._linear._run import Plan, Planner


@pytest.fixture
def windowed(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """Lists the plans of calls that hold the logits of a window of classes at a time, and so compute them twice."""
    used: list[Plan] = []
    plan = Planner.plan

    def noted(planner: Planner) -> Plan:
        found = plan(planner)
        used.extend([found] if found.window < planner.classes else [])
        return found

    monkeypatch.setattr(Planner, "plan", noted)
    return used


# ---- how much memory ----------------------------------------------------------------------------------------------

SHAPES_OF_MEMORY = [
    (2000, 64, 20_000, 16 * MB),  # logits of 160 MB
    (300_000, 4, 8, 2 * MB),  # many rows
    (40, 8, 100_000, 8 * MB),  # few features
    (500, 512, 3000, 8 * MB),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, *NARROW], ids=str)
@pytest.mark.parametrize(("rows", "features", "classes", "chunk_bytes"), SHAPES_OF_MEMORY, ids=str)
def test_memory_stays_below_chunk_bytes(
    rows: int, features: int, classes: int, chunk_bytes: int, dtype: Any, rng: np.random.Generator
) -> None:
    """Everything that is allocated beside inputs and results: rows that do not count, weights, bias, statistics."""
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
@pytest.mark.parametrize("dtype", [np.float32, BFLOAT16], ids=str)
def test_options_keep_to_chunk_bytes(
    dtype: Any, rows: int, given: dict[str, Any], rng: np.random.Generator, windowed: list[Plan]
) -> None:
    """Of so many classes a chunk would hold a few rows: windows of classes serve every option."""
    x, w, _, _ = problem(rng, rows, 2, 250_000, dtype)
    target, stats = rng.integers(0, 250_000, rows), "stats" in given
    loss = lossk.LinearCrossEntropy(chunk_bytes=4 * MB, **({} if stats else given))
    out = (np.empty_like(x), np.empty_like(w), None)
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
        *(((20_000, 8, 20_000), dtype) for dtype in (np.float32, BFLOAT16)),
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


RESIDENT = """
import numpy as np, lossk
def status(key):
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(key))
x, w, t = np.ones((600, 256), np.float32), np.ones((60_000, 256), np.float32), np.zeros(600, int)
out = np.ones_like(x), np.ones_like(w), None
loss = lossk.LinearCrossEntropy(chunk_bytes=32 << 20)
loss.value_and_grad(x[:300, :16], w[:2000, :16], t[:300])  # threads, and what a small product needs
open("/proc/self/clear_refs", "w").write("5")  # forget the peak
before = status("VmRSS")
loss.value_and_grad(x, w, t, out=out)
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no /proc: the peak of memory is not known")
def test_the_process_grows_by_no_more() -> None:
    """Memory that Python's allocator does not see, too."""
    done = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True, timeout=120)
    assert float(done.stdout) < 32 + 4  # and what a thread and its stack take


# ---- windows of classes ---------------------------------------------------------------------------------------------

WINDOWED = [(300, 8, 3000), (50, 3, 9011), (200, 64, 3001)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, *NARROW], ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("options", [{}, {"z_loss": 1e-2, "weight": "drawn"}], ids=str)
@pytest.mark.parametrize("shape", WINDOWED, ids=str)
def test_windows_match_the_reference(
    options: dict[str, Any], shape: Any, dtype: Any, rng: np.random.Generator, windowed: list[Plan]
) -> None:
    x, w, target, bias = problem(rng, *shape, dtype)
    target[1] = target[2] = target[3]
    loss = loss_of(options, shape[2], rng, chunk_bytes=MB)
    narrow = np.dtype(dtype) in NARROW
    for b, reduction in ((None, "mean"), (bias, "none"), (bias, "sum")):
        given = {"sample_weight": rng.uniform(0.5, 2, shape[0]).astype(dtype), "reduction": reduction}
        value, *want = loss.reference(x, w, target, b, derivatives=True, **given)
        close(loss(x, w, target, b, **given), value, dtype, "loss only")
        got, gradients = loss.value_and_grad(x, w, target, b, **given)
        close(got, value, dtype, "value")
        for gradient, wanted in zip(gradients, want, strict=True):
            assert (gradient is None) == (wanted is None)
            if gradient is not None:
                assert gradient.dtype == dtype
                largest = float(np.abs(wanted).max())
                ulp = (2**-7 if dtype == BFLOAT16 else 2**-10) if narrow else 0.0
                tolerance = 1e-11 if dtype == np.float64 else max(3e-5, of_dz(x))
                np.testing.assert_allclose(
                    gradient.astype(np.float64), wanted, rtol=max(ulp, tolerance), atol=tolerance * max(largest, 1e-3)
                )
    assert windowed


def test_windows_know_special_logits(rng: np.random.Generator, windowed: list[Plan]) -> None:
    """Infinities and NaN give what chunks of rows give, class by class that -infinity shuts out among them."""
    x, w, target, bias = problem(rng, 200, 4, 6000, np.float64)
    target[:] = rng.integers(4000, 6000, 200)
    bias[:4000] = -np.inf  # whole windows
    target[5], bias[4100], target[7] = 4100, -np.inf, 17  # labels that are shut out
    x[9] = 0
    small, large = (lossk.LinearCrossEntropy(chunk_bytes=n) for n in (MB, 256 * MB))
    for poison in (None, np.nan, np.inf):
        if poison is not None:
            x[11, 2] = poison
        with np.errstate(invalid="ignore"):
            got = small.value_and_grad(x, w, target, bias, reduction="none", wrt="x")
            want = large.value_and_grad(x, w, target, bias, reduction="none", wrt="x")
        for mine, theirs in zip(got, want, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-13, equal_nan=True)
    assert len(windowed) == 3


@pytest.mark.parametrize("weighs", ["class", "row"])
def test_windows_know_what_0_times_infinity_is(weighs: str, rng: np.random.Generator, windowed: list[Plan]) -> None:
    """0 where the class weighs nothing, and NaN where the row does, as in chunks of rows."""
    x, w, target, bias = problem(rng, 200, 4, 6000, np.float64)
    target[:] = rng.integers(4000, 6000, 200)
    target[5], bias[4100] = 4100, -np.inf
    class_weight, row_weight = np.ones(6000), np.ones(200)
    if weighs == "class":
        class_weight[4100] = 0
    else:
        row_weight[5] = 0
    given = {"sample_weight": row_weight, "reduction": "none"}
    small, large = (lossk.LinearCrossEntropy(class_weight, chunk_bytes=n) for n in (MB, 256 * MB))
    got = small.value_and_grad(x, w, target, bias, wrt="x", **given)
    want = large.value_and_grad(x, w, target, bias, wrt="x", **given)
    for mine, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-13, equal_nan=True)
    assert np.isnan(got[0][5]) == (weighs == "row")
    assert len(windowed) == 1


def test_windows_keep_the_digits_of_confident_predictions(windowed: list[Plan]) -> None:
    x, w = np.full((150, 1), 20.0, np.float32), np.zeros((9000, 1), np.float32)
    w[8000] = 1
    value, (_, dw, _) = lossk.LinearCrossEntropy(chunk_bytes=MB).value_and_grad(x, w, np.full(150, 8000))
    rest = 8999 * np.exp(-20.0)
    np.testing.assert_allclose(value, np.log1p(rest), rtol=1e-5)
    np.testing.assert_allclose(dw[8000], -20 * rest / (1 + rest), rtol=1e-5)
    assert windowed


@pytest.mark.parametrize("dtype", [np.float32, BFLOAT16], ids=str)
def test_threads_do_not_change_the_bits_of_windows(dtype: Any, rng: np.random.Generator, windowed: list[Plan]) -> None:
    x, w, target, bias = problem(rng, 300, 20, 9000, dtype)
    loss = lossk.LinearCrossEntropy(chunk_bytes=MB)
    first = loss.value_and_grad(x, w, target, bias, num_threads=1)
    for threads in (2, 7):
        again = loss.value_and_grad(x, w, target, bias, num_threads=threads)
        assert again[0] == first[0]
        assert all(bits(a) == bits(b) for a, b in zip(again[1], first[1], strict=True))
    assert len(windowed) == 3

"""Targets of the fused linear cross-entropy: the fraction of what FMA can do, peers, memory. A call takes seconds.

Calls are that long that the thread pools of one process, lossk's and torch's, do not matter.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from interleaved import interleaved, timed
from pytest_benchmark.fixture import BenchmarkFixture

import lossk
from lossk.cli.bench.kernels import Array, Runner
from lossk.cli.bench.run import median_ratio

ROUNDS = 3
SHAPES = ((2048, 1024, 50257), (1024, 512, 32000), (4096, 64, 1_000_000))
SMALL = (17, 96, 1003)
CHUNK_BYTES = 70e6  # chunk_bytes is 64 MiB by default
DTYPES = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16}


def _inputs(shape: tuple[int, int, int], dtype: Any = np.float32) -> list[Array]:
    rng, (rows, features, classes) = np.random.default_rng(0), shape
    x, w = (rng.standard_normal((n, features), np.float32) for n in (rows, classes))
    return [x.astype(dtype), (w / np.float32(features**0.5)).astype(dtype), rng.integers(0, classes, rows)]


def _torch(inputs: list[Array], dtype: str, chunk: int) -> Runner:
    """Return torch's loss and both gradients; with all logits at once, or in chunks of so many rows."""
    import torch
    from torch.nn import functional

    x, w, y = (torch.from_numpy(a.astype(np.float32) if a.dtype.kind != "i" else a) for a in inputs)
    x, w = (a.to(getattr(torch, dtype)) for a in (x, w))
    options: dict[str, Any] = {}
    if chunk:
        options["options"] = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=chunk)

    def call() -> None:
        for factor in (x, w):
            factor.grad = None
            factor.requires_grad_()
        plain = functional.linear_cross_entropy(x, w, y, **options) if chunk else functional.cross_entropy(x @ w.T, y)
        plain.backward()

    return Runner(call)


def _lossk(shape: tuple[int, int, int], dtype: str = "float32", **options: Any) -> Runner:
    inputs = _inputs(shape, DTYPES[dtype])
    out = (np.zeros_like(inputs[0]), np.zeros_like(inputs[1]), None)
    return Runner(partial(lossk.LinearCrossEntropy(**options).value_and_grad, *inputs, out=out))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products(benchmark: BenchmarkFixture, shape: tuple[int, int, int]) -> None:
    """Run at .85 of the speed of NumPy's product of two square matrices, or above it."""
    a, b, c = (np.ones((3072, 3072), np.float32) for _ in range(3))
    product = timed(Runner(partial(np.matmul, a, b, out=c)))
    own, seconds = interleaved(benchmark, _lossk(shape), {"product": product}, ROUNDS)
    fraction = median_ratio(seconds["product"], own) * 6 * np.prod(shape, dtype=float) / (2 * 3072**3)
    benchmark.extra_info["fraction"] = fraction
    assert fraction >= 0.85


@pytest.mark.parametrize("shape", [*SHAPES[:2], SMALL], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_faster(benchmark: BenchmarkFixture, shape: tuple[int, int, int], dtype: str) -> None:
    """Be 1.25 times as fast as torch, with all logits and in chunks, and of bfloat16 as torch in float32, too."""
    torch = pytest.importorskip("torch")
    inputs = _inputs(shape, DTYPES[dtype])
    chunks = (0, 256, 512) if hasattr(torch.nn, "LinearCrossEntropyOptions") else (0,)
    kinds = {(kind, chunk) for kind in {dtype, "float32"} for chunk in chunks}
    others = {f"torch {kind} {chunk}": timed(_torch(inputs, kind, chunk)) for kind, chunk in sorted(kinds)}
    own, seconds = interleaved(benchmark, _lossk(shape, dtype), others, ROUNDS)
    ratios = {name: median_ratio(taken, own) for name, taken in seconds.items()}
    benchmark.extra_info["ratios"] = ratios
    assert min(ratios.values()) >= 1.25, ratios


def test_filtering_a_layer_that_has_learned(benchmark: BenchmarkFixture) -> None:
    """Be 1.8 times as fast with filter_eps=2**-12: of rows that lie near the weights of their labels."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((32_000, 512), np.float32)
    y = np.minimum(rng.zipf(1.3, 1024) - 1, len(w) - 1)  # as words are: frequent ones first
    x = 0.02 * w[y] + 0.005 * rng.standard_normal((1024, 512), np.float32)  # a loss of about 1
    out = (np.zeros_like(x), np.zeros_like(w), None)

    def step(eps: float) -> Runner:
        return Runner(partial(lossk.LinearCrossEntropy(filter_eps=eps).value_and_grad, x, w, y, out=out))

    own, seconds = interleaved(benchmark, step(2.0**-12), {"all": timed(step(0.0))}, ROUNDS)
    *_, stats = lossk.LinearCrossEntropy(filter_eps=2.0**-12).value_and_grad(x, w, y, out=out, stats=True)
    benchmark.extra_info |= {"ratio": median_ratio(seconds["all"], own), "filtered": stats.filtered}
    assert median_ratio(seconds["all"], own) >= 1.8, benchmark.extra_info


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_memory(shape: tuple[int, int, int], dtype: str) -> None:
    """Take no more than a chunk beyond inputs and results."""
    _lossk((256, 64, 2048), dtype).call()  # what is allocated once
    runner = _lossk(shape, dtype)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is now what is resident
    except OSError:
        pytest.skip("the peak of memory cannot be reset here")
    before = _status("VmRSS")
    runner.call()
    assert _status("VmHWM") - before <= CHUNK_BYTES

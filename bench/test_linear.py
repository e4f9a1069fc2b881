"""Targets of the fused linear cross-entropy: speed of its products, peers, memory. A call takes seconds.

Calls are that long that the thread pools of one process, lossk's, BLAS' and torch's, do not matter.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interleaved import interleaved, timed
from pytest_benchmark.fixture import BenchmarkFixture

import lossk
from lossk.cli.bench.kernels import Array, Runner
from lossk.cli.bench.run import median_ratio

ROUNDS = 3
PRODUCT = 3072  # rows and columns of the product that the speed of products is taken from
SHAPES = ((2048, 1024, 50257), (1024, 512, 32000), (4096, 64, 1_000_000))
CHUNK_BYTES = 70e6  # chunk_bytes is 64 MiB by default


def _inputs(shape: tuple[int, int, int]) -> list[Array]:
    rng, (rows, features, classes) = np.random.default_rng(0), shape
    x, w = (rng.standard_normal((n, features), np.float32) for n in (rows, classes))
    return [x, w / np.float32(features**0.5), rng.integers(0, classes, rows)]


def _torch(inputs: list[Array], chunk: int) -> Runner:
    """Return torch's loss and both gradients; with all logits at once, or in chunks of so many rows."""
    import torch
    from torch.nn import functional

    x, w, y = map(torch.from_numpy, inputs)
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


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products(benchmark: BenchmarkFixture, shape: tuple[int, int, int]) -> None:
    """Run at .8 of the speed of BLAS' products, where there are enough features."""
    a, b, c = (np.ones((PRODUCT, PRODUCT), np.float32) for _ in range(3))
    product = timed(Runner(partial(np.matmul, a, b, out=c)))
    own, seconds = interleaved(benchmark, _lossk(shape), {"product": product}, ROUNDS)
    fraction = median_ratio(seconds["product"], own) * 6 * np.prod(shape, dtype=float) / (2 * PRODUCT**3)
    benchmark.extra_info["fraction"] = fraction
    assert fraction >= 0.80 or shape[1] < 256


def _lossk(shape: tuple[int, int, int]) -> Runner:
    return Runner(partial(lossk.LinearCrossEntropy().value_and_grad, *_inputs(shape)))


@pytest.mark.parametrize("shape", SHAPES[:2], ids=str)
def test_faster(benchmark: BenchmarkFixture, shape: tuple[int, int, int]) -> None:
    """Be 2.5 times faster than torch, with all logits and in chunks."""
    torch = pytest.importorskip("torch")
    inputs = _inputs(shape)
    chunks = (0, 256, 512) if hasattr(torch.nn, "LinearCrossEntropyOptions") else (0,)
    others = {f"torch {chunk}": timed(_torch(inputs, chunk)) for chunk in chunks}
    own, seconds = interleaved(benchmark, _lossk(shape), others, ROUNDS)
    ratios = {name: median_ratio(taken, own) for name, taken in seconds.items()}
    benchmark.extra_info["ratios"] = ratios
    assert min(ratios.values()) >= 2.5, ratios


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_memory(shape: tuple[int, int, int]) -> None:
    """Take no more than a chunk of logits beyond the results."""
    _lossk((256, 64, 2048)).call()  # libraries allocate what they keep
    runner = _lossk(shape)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is now what is resident
    except OSError:
        pytest.skip("the peak of memory cannot be reset here")
    before = _status("VmRSS")
    _, (dx, dw, *_) = runner.call()
    assert _status("VmHWM") - before - dx.nbytes - dw.nbytes <= CHUNK_BYTES

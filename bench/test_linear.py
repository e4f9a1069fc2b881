"""Targets of the fused linear cross-entropy: the fraction of what FMA can do, peers, memory. A call takes seconds.

Calls are that long that the thread pools of one process, lossk's and torch's, do not matter.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from interleaved import interleaved, timed
from pytest_benchmark.fixture import BenchmarkFixture

import lossk
from lossk import _core
from lossk._linear._problem import TERMS
from lossk.cli.bench.kernels import Array, Runner
from lossk.cli.bench.run import median_ratio

ROUNDS = 3
SHAPES = ((2048, 1024, 50257), (1024, 512, 32000), (4096, 64, 1_000_000))
SMALL = (17, 96, 1003)
WIDE = (512, 4096, 128256)  # in bfloat16 only: each peer takes 2 GB
CHUNK_BYTES = 70e6  # chunk_bytes is 64 MiB by default
DTYPES = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16}
# How many times as fast as the best peer, by what multiplies.
WANTED = {
    "FMA": 1.25,
    "AVX512-BF16": 1.25,
    "AMX-BF16": 2.5,
    "AMX-BF16, 3 products": 3.0,
    "AMX-BF16, 6 products": 2.0,
}


def _inputs(shape: tuple[int, int, int], dtype: Any = np.float32) -> list[Array]:
    rng, (rows, features, classes) = np.random.default_rng(0), shape
    x, w = (rng.standard_normal((n, features), np.float32) for n in (rows, classes))
    return [x.astype(dtype), (w / np.float32(features**0.5)).astype(dtype), rng.integers(0, classes, rows)]


def _torch(inputs: list[Array], dtype: str, how: str) -> Runner:
    """Return torch's loss and both gradients: with all logits at once, in chunks of so many rows, or compiled."""
    import torch
    from torch.nn import functional

    x, w, y = (torch.from_numpy(a.astype(np.float32) if a.dtype.kind != "i" else a) for a in inputs)
    x, w = (a.to(getattr(torch, dtype)) for a in (x, w))

    def whole(x: Any, w: Any) -> Any:
        return functional.cross_entropy(x @ w.T, y)

    loss: Callable[..., Any] = whole
    if how == "compiled":
        torch._dynamo.reset()
        loss = torch.compile(whole, fullgraph=True, dynamic=False)
    elif how.startswith("chunks"):
        options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=int(how.split()[-1]))
        loss = partial(functional.linear_cross_entropy, target=y, options=options)

    def call() -> None:
        for factor in (x, w):
            factor.grad = None
            factor.requires_grad_()
        loss(x, w).backward()

    return Runner(call)


def _jax(inputs: list[Array], dtype: str) -> Runner:
    """Return JAX's, compiled, of logits in float32."""
    import jax
    import jax.numpy as jnp

    x, w, y = (jnp.asarray(a) for a in inputs)
    x, w = (a.astype(dtype) for a in (x, w))

    def loss(x: Any, w: Any) -> Any:
        z = jnp.matmul(x, w.T, preferred_element_type=jnp.float32)
        return (jax.nn.logsumexp(z, axis=1) - jnp.take_along_axis(z, y[:, None], axis=1)[:, 0]).mean()

    compiled = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    return Runner(lambda: jax.block_until_ready(compiled(x, w)))


def _peers(inputs: list[Array], dtype: str) -> dict[str, Runner]:
    """Return the calls of those that are installed; of bfloat16 in float32, too, where a layer is not WIDE."""
    found: dict[str, Runner] = {}
    wide = inputs[1].shape == (WIDE[2], WIDE[1])
    for kind in sorted({dtype} if wide else {dtype, "float32"}):
        if find_spec("torch"):
            from torch import nn

            chunks = ("chunks of 256", "chunks of 512") if hasattr(nn, "LinearCrossEntropyOptions") else ()
            found |= {f"torch {kind} {how}": _torch(inputs, kind, how) for how in ("eager", *chunks, "compiled")}
        if find_spec("jax"):
            found[f"jax {kind}"] = _jax(inputs, kind)
    return found


def _lossk(shape: tuple[int, int, int], dtype: str = "float32", **options: Any) -> Runner:
    inputs = _inputs(shape, DTYPES[dtype])
    out = (np.zeros_like(inputs[0]), np.zeros_like(inputs[1]), None)
    return Runner(partial(lossk.LinearCrossEntropy(**options).value_and_grad, *inputs, out=out))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products(benchmark: BenchmarkFixture, shape: tuple[int, int, int]) -> None:
    """Run at .85 of the speed of NumPy's product of two square matrices, or above it."""
    a, b, c = (np.ones((3072, 3072), np.float32) for _ in range(3))
    square = timed(Runner(partial(np.matmul, a, b, out=c)))
    own, seconds = interleaved(benchmark, _lossk(shape), {"square": square}, ROUNDS)
    fraction = median_ratio(seconds["square"], own) * 6 * np.prod(shape, dtype=float) / (2 * 3072**3)
    benchmark.extra_info["fraction"] = fraction
    assert fraction >= 0.85


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # inductor's own
@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        *product(["bfloat16", "float32 highest", "float32 high", "float32 medium"], [*SHAPES[:2], SMALL]),
        ("bfloat16", WIDE),
    ],
    ids=str,
)
def test_faster(benchmark: BenchmarkFixture, kind: str, shape: tuple[int, int, int]) -> None:
    """Be so many times as fast as the best of torch and JAX, as WANTED says; the same precision is asked of torch."""
    dtype, _, precision = kind.partition(" ")
    inputs, options = _inputs(shape, DTYPES[dtype]), {"precision": precision or "highest"}
    unit, of_highest = (_core.linear_unit(inputs[0], TERMS[p]) for p in (options["precision"], "highest"))
    if precision not in ("", "highest") and unit == of_highest:
        pytest.skip(f"{precision} is multiplied as highest is, by {unit}")
    peers = _peers(inputs, dtype)
    if not peers:
        pytest.skip("neither torch nor jax is installed")
    torch = sys.modules.get("torch")
    if torch:
        torch.set_float32_matmul_precision(options["precision"])
    try:
        others = {name: timed(peer) for name, peer in peers.items()}
        own, seconds = interleaved(benchmark, _lossk(shape, dtype, **options), others, ROUNDS)
    finally:
        if torch:
            torch.set_float32_matmul_precision("highest")
    ratios = {name: median_ratio(taken, own) for name, taken in seconds.items()}
    benchmark.extra_info |= {"ratios": ratios, "unit": unit}
    assert min(ratios.values()) >= WANTED[unit], (unit, ratios)


def _learned(steps: int = 64) -> list[Array]:
    """Return a batch and weights that have learned words of Python's standard library from the three before each."""
    rng, (positions, batch, features, classes) = np.random.default_rng(0), (4096, 1024, 512, 16384)
    text = "".join(file.read_text(encoding="utf-8") for file in sorted(Path(os.__file__).parent.glob("*.py")))
    words = re.findall(r"\w+|[^\w\s]", text)
    numbers = {word: i for i, (word, _) in enumerate(Counter(words).most_common(classes))}
    labels = np.array([numbers.get(word, classes - 1) for word in words])
    at = rng.integers(3, len(labels), positions)
    x = np.zeros((positions, features), np.float32)
    for before in (1, 2, 3):
        x += rng.standard_normal((classes, features), np.float32)[labels[at - before]]
    x, y = x / np.float32((3 * features) ** 0.5), labels[at]
    w = np.zeros((classes, features), np.float32)
    loss, descent, dw = lossk.LinearCrossEntropy(), lossk.SGD([w], lr=3.0), np.empty_like(w)
    for step in range(steps):
        i = slice(step * batch % positions, step * batch % positions + batch)
        loss.value_and_grad(x[i], w, y[i], reduction="sum", out=(np.empty_like(x[i]), dw))
        descent.step([dw])
    return [x[:batch].copy(), w, y[:batch]]


def test_filtering_a_layer_that_has_learned(benchmark: BenchmarkFixture) -> None:
    """Be 1.8 times as fast with filter_eps=2**-12; `filtered` is the share of dz that is left out."""
    x, w, y = _learned()
    out = (np.zeros_like(x), np.zeros_like(w), None)

    def step(eps: float) -> Runner:
        return Runner(partial(lossk.LinearCrossEntropy(filter_eps=eps).value_and_grad, x, w, y, out=out))

    own, seconds = interleaved(benchmark, step(2.0**-12), {"all": timed(step(0.0))}, ROUNDS)
    value, _, stats = lossk.LinearCrossEntropy(filter_eps=2.0**-12).value_and_grad(x, w, y, out=out, stats=True)
    benchmark.extra_info |= {"ratio": median_ratio(seconds["all"], own), "filtered": stats.filtered, "loss": value}
    print(benchmark.extra_info)
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

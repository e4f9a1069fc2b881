"""numba: the loops a user would write, without fastmath; serial where waking threads would take longer."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np

from lossk.cli.bench.cases import OPTIMIZERS, Case
from lossk.cli.bench.kernels import Array, Build, Inputs, Runner, writing

SERIAL_BELOW = 1 << 14  # elements of a loop
LR, MOMENTUM = OPTIMIZERS["SGD"].values()


def _cross_entropy(y: Array, z: Array, out: Array) -> Any:
    rows, classes = z.shape
    total = 0.0
    for i in numba.prange(rows):
        top = z[i].max()
        picked = z[i, y[i]] - top
        mass = 0.0
        for j in range(classes):
            out[i, j] = math.exp(z[i, j] - top)
            mass += out[i, j]
        scale = z.dtype.type(1.0 / (mass * rows))
        for j in range(classes):
            out[i, j] *= scale
        out[i, y[i]] -= 1.0 / rows
        total += math.log(mass) - picked
    return total / rows


def _huber(y: Array, z: Array, out: Array) -> Any:
    total, scale, one, half = 0.0, z.dtype.type(1.0 / z.size), z.dtype.type(1.0), z.dtype.type(0.5)
    for i in numba.prange(z.size):
        r = z[i] - y[i]
        c = min(max(r, -one), one)
        total += c * (r - half * c)
        out[i] = c * scale
    return total / z.size


def _hinge(y: Array, z: Array, out: Array) -> Any:
    total, scale, one, zero = 0.0, z.dtype.type(1.0 / z.size), z.dtype.type(1.0), z.dtype.type(0.0)
    for i in numba.prange(z.size):
        h = one - y[i] * z[i]
        total += max(h, zero)
        out[i] = -y[i] * scale if h > 0 else zero
    return total / z.size


def _sgd(p: Array, g: Array, m: Array) -> None:
    lr, momentum = p.dtype.type(LR), p.dtype.type(MOMENTUM)
    for i in numba.prange(p.size):
        m[i] = momentum * m[i] + g[i]
        p[i] -= lr * m[i]


LOOPS: dict[str, Callable[..., Any]] = {"CrossEntropy": _cross_entropy, "Huber": _huber, "Hinge": _hinge, "SGD": _sgd}


@cache
def _compiled(kernel: str, parallel: bool) -> Callable[..., Any]:
    loop: Callable[..., Any] = numba.njit(parallel=parallel)(LOOPS[kernel])
    return loop


def build(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build numba's call for a case and mode."""
    if case.kernel not in LOOPS or mode == "value":
        return None
    numba.set_num_threads(threads)
    loop = _compiled(case.kernel, (inputs[0][0].size if case.kind == "optimizer" else case.size) >= SERIAL_BELOW)
    if case.kind != "optimizer":
        z, y = inputs
        return writing(lambda source, out: loop(y, source, out), mode, z)
    tensors = list(zip(*inputs, np.zeros_like(inputs[0]), strict=True))

    def step() -> None:
        for arrays in tensors:
            loop(*arrays)

    return Runner(step)


PROVIDERS: dict[str, Build] = {"numba": build}

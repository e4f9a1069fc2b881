"""JAX: ``jit(value_and_grad)``, waited for; pinned to as many cores as it shall have threads, its only such setting."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossk.cli.bench.cases import FRESH, OPTIMIZERS, Case
from lossk.cli.bench.kernels import Build, Inputs, Runner

THREADS = os.environ.get("LOSSK_NUM_THREADS")  # of a process of the benchmark
if THREADS and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(THREADS)])
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")


def cross_entropy(z: Any, y: Any) -> Any:
    """Mean cross-entropy with labels, as optax writes it."""
    picked = jnp.take_along_axis(z, y[:, None], axis=1)[:, 0]
    return (jax.nn.logsumexp(z, axis=1) - picked).mean()


def huber(z: Any, y: Any) -> Any:
    """Mean Huber loss, as optax writes it."""
    a = jnp.abs(z - y)
    q = jnp.minimum(a, 1)
    return (0.5 * q * q + (a - q)).mean()


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "CrossEntropy": cross_entropy,
    "SquaredError": lambda z, y: jnp.square(z - y).mean(),
    "AbsoluteError": lambda z, y: jnp.abs(z - y).mean(),
    "Huber": huber,
    "Hinge": lambda z, y: jnp.maximum(1 - y * z, 0).mean(),
    "BinaryCrossEntropyWithLogits": lambda z, y: (jnp.logaddexp(z, 0) - y * z).mean(),
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
}


def _sgd(inputs: Inputs) -> Runner:
    lr, momentum = OPTIMIZERS["SGD"].values()

    def update(params: list[Any], moments: list[Any], grads: list[Any]) -> tuple[list[Any], list[Any]]:
        moments = [momentum * m + g for m, g in zip(moments, grads, strict=True)]
        return [p - lr * m for p, m in zip(params, moments, strict=True)], moments

    compiled = jax.jit(update, donate_argnums=(0, 1))
    params, grads = ([jnp.array(row) for row in array] for array in inputs)
    state: list[list[Any]] = [params, [jnp.zeros_like(g) for g in grads]]

    def step() -> None:
        state[:] = jax.block_until_ready(compiled(*state, grads))

    def finish(_: Any) -> None:  # what is compared are the parameters that were given
        inputs[0][0] = np.asarray(state[0][0])

    return Runner(step, finish=finish)


def build(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build JAX's call for a case and mode."""
    if case.kernel == "SGD":
        return _sgd(inputs)
    if case.kernel not in FUNCTIONS or mode not in ("value", FRESH, "output"):
        return None
    function, arrays = FUNCTIONS[case.kernel], [jnp.array(array) for array in inputs]
    compiled = jax.jit(jax.value_and_grad(function) if mode == FRESH else function)
    return Runner(lambda: jax.block_until_ready(compiled(*arrays)))


PROVIDERS: dict[str, Build] = {"jax": build}

"""JAX: `jit(value_and_grad)`, waited for. XLA's thread pool obeys only the CPU affinity, so this process is pinned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossk.cli.bench.cases import FRESH, MAP_FRESH, Case
from lossk.cli.bench.inputs import HINGE_MARGIN, HUBER_DELTA, LEARNING_RATE, MOMENTUM, Inputs
from lossk.cli.bench.providers import Build, Outcome, Runner

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")


def cross_entropy(z: Any, y: Any) -> Any:
    """Mean cross-entropy with labels, as optax writes it."""
    picked = jnp.take_along_axis(z, y[:, None], axis=1)[:, 0]
    return (jax.nn.logsumexp(z, axis=1) - picked).mean()


def huber(z: Any, y: Any) -> Any:
    """Mean Huber loss, as optax writes it."""
    a = jnp.abs(z - y)
    q = jnp.minimum(a, HUBER_DELTA)
    return (0.5 * q * q + HUBER_DELTA * (a - q)).mean()


LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "CrossEntropy": cross_entropy,
    "SquaredError": lambda z, y: jnp.square(z - y).mean(),
    "AbsoluteError": lambda z, y: jnp.abs(z - y).mean(),
    "Huber": huber,
    "Hinge": lambda z, y: jnp.maximum(HINGE_MARGIN - y * z, 0).mean(),
    "SquaredHinge": lambda z, y: jnp.square(jnp.maximum(HINGE_MARGIN - y * z, 0)).mean(),
}
MAPS: dict[str, Callable[..., Any]] = {"softmax": jax.nn.softmax, "log_softmax": jax.nn.log_softmax}


def _waited(function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
    def call() -> Any:
        return jax.block_until_ready(function(*args))

    return call


def _sgd(inputs: Inputs) -> Runner:
    def update(params: list[Any], moments: list[Any], grads: list[Any]) -> tuple[list[Any], list[Any]]:
        moments = [MOMENTUM * m + g for m, g in zip(moments, grads, strict=True)]
        return [p - LEARNING_RATE * m for p, m in zip(params, moments, strict=True)], moments

    compiled = jax.jit(update, donate_argnums=(0, 1))
    grads = [jnp.array(g) for g in inputs.grads]
    state: list[list[Any]] = [[jnp.array(p) for p in inputs.params], [jnp.zeros_like(g) for g in grads]]

    def step() -> None:
        state[:] = jax.block_until_ready(compiled(*state, grads))

    return Runner(step, lambda _: Outcome(None, np.asarray(state[0][0])))


def build(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build JAX's call for a case and mode."""
    if case.kind == "optimizer":
        return _sgd(inputs) if case.kernel == "SGD" else None
    if mode not in ("value", FRESH, MAP_FRESH):
        return None
    z = jnp.array(inputs.z)
    if case.kind == "row map":
        return Runner(_waited(jax.jit(MAPS[case.kernel]), z), lambda x: Outcome(None, np.asarray(x)))
    if case.kernel not in LOSSES:
        return None
    loss, y = LOSSES[case.kernel], jnp.array(inputs.y)
    if mode == "value":
        return Runner(_waited(jax.jit(loss), z, y), lambda v: Outcome(float(v), None))
    both = _waited(jax.jit(jax.value_and_grad(loss)), z, y)
    return Runner(both, lambda r: Outcome(float(r[0]), np.asarray(r[1])))


PROVIDERS: dict[str, Build] = {"jax": build}

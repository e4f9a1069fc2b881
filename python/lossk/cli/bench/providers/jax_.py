"""JAX: `jit(value_and_grad)`, waited for. XLA's thread pool obeys only the CPU affinity, so this process is pinned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossk.cli.bench.cases import FRESH, MAP_FRESH, Case
from lossk.cli.bench.inputs import HINGE_MARGIN, HUBER_DELTA, LEARNING_RATE, MOMENTUM, Inputs
from lossk.cli.bench.memory import refuse_beyond_memory
from lossk.cli.bench.providers import Build, Outcome, Runner

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")


def cross_entropy(z: Any, y: Any) -> Any:
    """Mean cross-entropy with labels, as optax writes it."""
    picked = jnp.take_along_axis(z, y[:, None], axis=1)[:, 0]
    return (jax.nn.logsumexp(z, axis=1) - picked).mean()


def linear_cross_entropy(x: Any, w: Any, y: Any) -> Any:
    """Mean cross-entropy of a linear layer, all logits at once."""
    return cross_entropy(x @ w.T, y)


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
MAPS: dict[str, Callable[..., Any]] = {
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
    "Sigmoid": jax.nn.sigmoid,
    "Tanh": jnp.tanh,
    "ReLU": jax.nn.relu,
    "LeakyReLU": jax.nn.leaky_relu,
    "SELU": jax.nn.selu,
    "Softplus": jax.nn.softplus,
}
LOGITS_HELD = 2  # arrays of logits' size that XLA holds in forward and backward of a linear layer's loss


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


def _linear(case: Case, inputs: Inputs) -> Runner:
    rows, _, classes = case.shape
    itemsize = max(4, inputs.z.itemsize)  # 16 bits are widened
    refuse_beyond_memory(LOGITS_HELD * rows * classes * itemsize, "the logits")
    arguments = jnp.array(inputs.z), jnp.array(inputs.more[0]), jnp.array(inputs.y)
    compiled = jax.jit(jax.value_and_grad(linear_cross_entropy, argnums=(0, 1))).lower(*arguments).compile()
    run = _waited(compiled, *arguments)
    return Runner(run, lambda r: Outcome(float(r[0]), tuple(np.asarray(grad) for grad in r[1])))


def build(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build JAX's call for a case and mode."""
    if case.kind == "optimizer":
        return _sgd(inputs) if case.kernel == "SGD" else None
    if mode not in ("value", FRESH, MAP_FRESH):
        return None
    if case.kind == "linear":
        return _linear(case, inputs)
    z = jnp.array(inputs.z)
    if mode == MAP_FRESH:
        return Runner(_waited(jax.jit(MAPS[case.kernel]), z), lambda x: Outcome(None, np.asarray(x)))
    if case.kernel not in LOSSES:
        return None
    loss, y = LOSSES[case.kernel], jnp.array(inputs.y)
    if mode == "value":
        return Runner(_waited(jax.jit(loss), z, y), lambda v: Outcome(float(v), None))
    both = _waited(jax.jit(jax.value_and_grad(loss)), z, y)
    return Runner(both, lambda r: Outcome(float(r[0]), np.asarray(r[1])))


PROVIDERS: dict[str, Build] = {"jax": build}

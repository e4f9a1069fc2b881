"""Optimizers as cases of tests: every variant, drawn parameters, saved states, norms."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest

from lossk.optimizers import OPTIMIZERS
from tests.support.arrays import Array, bits

VARIANTS = [(name, variant) for name, cls in OPTIMIZERS.items() for variant in cls._variants]
each_variant = pytest.mark.parametrize(
    ("name", "variant"), VARIANTS, ids=[f"{n}({','.join(f'{k}={v}' for k, v in o.items())})" for n, o in VARIANTS]
)
each_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


def make(name: str, params: Any, options: dict[str, Any]) -> Any:
    """An optimizer with a learning rate that shows."""
    return OPTIMIZERS[name](params, **{"lr": 0.05, **options})


def draw_arrays(rng: np.random.Generator, shapes: Any, dtype: Any) -> list[Array]:
    return [np.asarray(rng.normal(size=shape)).astype(dtype) for shape in shapes]


def saved_arrays(optimizer: Any) -> dict[str, bytes]:
    return {key: bits(value) for key, value in optimizer.state_dict().items()}


def norm(grads: Any) -> float:
    return float(np.sqrt(sum(np.sum(np.square(g.astype(np.float64))) for g in grads if g is not None)))


def through_savez(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    with np.load(file, allow_pickle=False) as loaded:
        return dict(loaded)


def through_pickle(state: Any) -> Any:
    return pickle.loads(pickle.dumps(state))


SHAPES = ((3,), (), (129, 257), (0,), (2, 0, 4), (40_001,), (16_384,))


def torch_step(p: Array, g: Array, b: Array | None, o: dict[str, Any]) -> tuple[Array, Array | None]:
    """One step as PyTorch defines it: the new parameter and momentum buffer."""
    d = -g if o.get("maximize") else g
    d = d + o.get("weight_decay", 0.0) * p
    mu = o.get("momentum", 0.0)
    if mu:
        b = d if b is None else mu * b + (1 - o.get("dampening", 0.0)) * d
        d = d + mu * b if o.get("nesterov") else b
    return p - o["lr"] * d, b


def keras_step(p: Array, g: Array, m: Array | None, o: dict[str, Any]) -> tuple[Array, Array | None]:
    """One step as Keras defines it, with decoupled weight decay."""
    g = -g if o.get("maximize") else g
    mu, lr = o.get("momentum", 0.0), o["lr"]
    p = p - lr * o.get("weight_decay", 0.0) * p
    m = mu * (np.zeros_like(p) if m is None else m) - lr * g
    return p + (mu * m - lr * g if o.get("nesterov") else m), m


def follow(start: Array, grads: list[Array], options: dict[str, Any]) -> tuple[Array, Array | None]:
    """Parameter and buffer after steps with these gradients, in float64."""
    options = dict(options)
    step = keras_step if options.pop("style", "torch") == "keras" else torch_step
    p, b = start.astype(np.float64), None
    for g in grads:
        p, b = step(p, g.astype(np.float64), b, options)
    return p, b


def draw_vector(rng: np.random.Generator, n: int, dtype: Any) -> Array:
    return rng.normal(size=n).astype(dtype)

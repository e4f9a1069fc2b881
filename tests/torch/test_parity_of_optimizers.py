"""Optimizers of NumPy arrays against PyTorch: every combination of options, defaults, clipping."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import lossk
from tests.support.arrays import each_dtype, product
from tests.support.torch import tensor


def options_of(**choices: tuple[Any, ...]) -> list[dict[str, Any]]:
    """All combinations of these options with weight decay and maximize."""
    return list(product(**choices, weight_decay=(0.0, 0.05), maximize=(False, True)))


OPTIMIZERS = {
    "SGD": [
        o
        for o in options_of(momentum=(0.0, 0.9), dampening=(0.0, 0.4), nesterov=(False, True))
        if not o["nesterov"] or (o["momentum"] > 0 and o["dampening"] == 0)
    ],
    "Adam": options_of(betas=((0.9, 0.999), (0.5, 0.7)), eps=(1e-8, 1e-3), amsgrad=(False, True)),
    "AdamW": options_of(betas=((0.9, 0.999), (0.5, 0.7)), eps=(1e-8, 1e-3), amsgrad=(False, True)),
    "RMSprop": options_of(alpha=(0.99, 0.5), eps=(1e-8, 1e-3), momentum=(0.0, 0.9), centered=(False, True)),
    "Adadelta": options_of(rho=(0.9, 0.5), eps=(1e-6, 1e-3)),
    "Adamax": options_of(betas=((0.9, 0.999), (0.5, 0.7)), eps=(1e-8, 1e-3)),
    "NAdam": options_of(
        betas=((0.9, 0.999), (0.5, 0.7)), momentum_decay=(4e-3, 0.1), decoupled_weight_decay=(False, True)
    ),
    "RAdam": options_of(betas=((0.9, 0.999), (0.5, 0.7)), eps=(1e-8, 1e-3), decoupled_weight_decay=(False, True)),
    "Rprop": list(
        product(etas=((0.5, 1.2), (0.25, 2.0)), step_sizes=((1e-6, 50.0), (0.01, 0.06)), maximize=(False, True))
    ),
    "ASGD": options_of(lambd=(1e-4, 0.1), alpha=(0.75, 0.5), t0=(1e6, 1.0)),
    "Adagrad": options_of(lr_decay=(0.0, 0.1), initial_accumulator_value=(0.0, 0.5), eps=(1e-10, 1e-3)),
}


@pytest.fixture
def wide_scalars() -> Iterator[None]:
    """Have torch keep what NAdam and ASGD know of steps in float64: it takes the default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, options) for name, all_options in OPTIMIZERS.items() for options in all_options],
    ids=lambda x: x if isinstance(x, str) else ",".join(f"{k}={v}" for k, v in x.items() if v),
)
@each_dtype
@pytest.mark.usefixtures("wide_scalars")
def test_optimizers_are_torchs(dtype: Any, name: str, options: dict[str, Any], rng: np.random.Generator) -> None:
    """Five steps of three parameters, one of them without a gradient at first and at last."""
    tolerance = 2e-6 if dtype == np.float32 else 1e-12
    shapes = ((5, 7), (1,), (1025,))
    ours = [rng.normal(size=s).astype(dtype) for s in shapes]
    theirs = [tensor(p.copy()).requires_grad_() for p in ours]
    a = getattr(lossk, name)(ours, lr=0.05, **options)
    b = getattr(torch.optim, name)(theirs, lr=0.05, foreach=False, **options)
    for step in range(5):
        grads: list[Any] = [rng.normal(size=s).astype(dtype) for s in shapes]
        if step in (0, 4):
            grads[1] = None
        a.step(grads)
        for p, g in zip(theirs, grads, strict=True):
            p.grad = None if g is None else tensor(g)
        b.step()
        for p, want in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p, want.detach().numpy(), rtol=tolerance, atol=tolerance, err_msg=f"step {step}")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_defaults_are_torchs(name: str) -> None:
    """Options that both have are called the same and have the same defaults."""
    ours = inspect.signature(getattr(lossk, name)).parameters
    theirs = inspect.signature(getattr(torch.optim, name)).parameters
    shared = [key for key in ours if key in theirs and key != "params"]
    assert {"lr", "maximize"} <= set(shared)
    for key in shared:
        assert ours[key].default == theirs[key].default, key


@each_dtype
def test_clip_grad_norm_is_torchs(dtype: Any, rng: np.random.Generator) -> None:
    for limit in (0.5, 1e9):
        ours = [rng.normal(size=s).astype(dtype) for s in ((5, 7), (1,), (1025,))]
        theirs = [tensor(g.copy()).requires_grad_() for g in ours]
        for p in theirs:
            p.grad = p.detach().clone()
        want = torch.nn.utils.clip_grad_norm_(theirs, limit)
        assert lossk.clip_grad_norm(ours, limit) == pytest.approx(float(want), rel=1e-6)
        for g, p in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(g, p.grad.numpy(), rtol=2e-6)

"""Optimizers of torch and of lossk.torch: their options, parameters, gradients, closeness."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import lossk.torch as lt

CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "amsgrad": True, "weight_decay": 0.1, "betas": (0.8, 0.9), "eps": 1e-3}),
    ("Adam", {"lr": 0.01, "decoupled_weight_decay": True, "weight_decay": 0.1, "maximize": True}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.01, "amsgrad": True}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.9, "centered": True, "weight_decay": 0.1, "alpha": 0.9, "eps": 1e-3}),
    ("RMSprop", {"lr": 0.01, "centered": True, "maximize": True, "eps": 1e-3}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "maximize": True}),
    ("Adadelta", {"lr": 0.5}),
    ("Adadelta", {"lr": 0.5, "rho": 0.5, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {"lr": 0.01}),
    ("Adamax", {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("RAdam", {"lr": 0.01}),
    ("RAdam", {"lr": 0.01, "betas": (0.5, 0.7), "eps": 1e-3, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Rprop", {"lr": 0.1}),
    ("Rprop", {"lr": 0.1, "etas": (0.25, 2.0), "step_sizes": (0.01, 0.3), "maximize": True}),
    ("NAdam", {"lr": 0.01}),
    ("NAdam", {"lr": 0.01, "betas": (0.5, 0.7), "momentum_decay": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True, "eps": 1e-3}),
    ("ASGD", {"lr": 0.1}),
    ("ASGD", {"lr": 0.1, "lambd": 0.1, "alpha": 0.5, "t0": 1.0, "weight_decay": 0.1, "maximize": True}),
)
each_case = pytest.mark.parametrize(("name", "options"), CASES, ids=str)
ONE_OF_EACH = [CASES[2], CASES[5], CASES[8], CASES[10], CASES[13], CASES[15], CASES[17], CASES[19], CASES[21]]
ONE_OF_EACH += [CASES[23], CASES[26]]
one_of_each = pytest.mark.parametrize(("name", "options"), ONE_OF_EACH, ids=str)
SHAPES = ((), (0,), (3,), (4, 5), (2, 3, 7), (1, 600))
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6}


def parameters(dtype: Any = torch.float32, shapes: Any = SHAPES) -> list[Any]:
    return [torch.nn.Parameter(torch.randn(shape, dtype=torch.float64).to(dtype)) for shape in shapes]


def copies(params: list[Any]) -> list[Any]:
    return [torch.nn.Parameter(p.detach().clone()) for p in params]


def give_gradients(*lists: list[Any], seed: int, skip: int | None = None) -> None:
    """Give all lists of parameters the same gradients; none to the one at `skip`."""
    for i, group in enumerate(zip(*lists, strict=True)):
        g = torch.randn(group[0].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(100 * seed + i))
        for p in group:
            p.grad = None if i == skip else g.to(p.dtype)


def plain(name: str, params: Any, options: dict[str, Any]) -> Any:
    """Return torch's optimizer with its plain loop: fused steps of 16 bits are wrong in torch 2.13."""
    return getattr(torch.optim, name)(params, foreach=False, **options)


def kernels(name: str, params: Any, options: dict[str, Any]) -> Any:
    return getattr(lt.optim, name)(params, **options)


def assert_close(got: list[Any], want: list[Any], tolerance: float | None = None) -> None:
    for g, w in zip(got, want, strict=True):
        rtol = TOLERANCE[g.dtype] if tolerance is None else tolerance
        torch.testing.assert_close(g.detach().double(), w.detach().double(), rtol=rtol, atol=rtol)


def runs_on_kernels(optimizer: Any) -> bool:
    return all(plan.mine and not plan.theirs for plan in optimizer._plans.values()) and bool(optimizer._plans)

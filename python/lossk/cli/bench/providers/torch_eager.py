"""PyTorch in eager mode: `torch.nn.functional` and autograd; `torch.optim` plain and fused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from lossk.cli.bench.cases import FRESH, MAP_FRESH, OPTIMIZER_OPTIONS, Case
from lossk.cli.bench.inputs import HINGE_MARGIN, HUBER_DELTA, Inputs
from lossk.cli.bench.providers import Build, Outcome, Runner

Loss = Callable[[Any, Any], Any]

# Optimizers with a fused form on the CPU in torch 2.13.
FUSED = ("SGD", "Adam", "AdamW", "Adagrad")


def hinge(z: Any, y: Any) -> Any:
    """Hinge loss as torch users write it; torch has none for margins."""
    return torch.clamp(HINGE_MARGIN - y * z, min=0).mean()


def squared_hinge(z: Any, y: Any) -> Any:
    """Squared hinge loss, mean."""
    return torch.clamp(HINGE_MARGIN - y * z, min=0).square().mean()


LOSSES: dict[str, Loss] = {
    "CrossEntropy": functional.cross_entropy,
    "SquaredError": functional.mse_loss,
    "AbsoluteError": functional.l1_loss,
    "Huber": partial(functional.huber_loss, delta=HUBER_DELTA),
    "Hinge": hinge,
    "SquaredHinge": squared_hinge,
}
MAPS: dict[str, Callable[..., Any]] = {"softmax": torch.softmax, "log_softmax": torch.log_softmax}


def to_outcome(result: Any) -> Outcome:
    """(value, gradient tensor) as NumPy."""
    value, grad = result
    return Outcome(value, grad.numpy())


def value_runner(loss: Loss, inputs: Inputs) -> Runner:
    """Compute the loss alone, without building a graph."""
    z, y = torch.from_numpy(inputs.z), torch.from_numpy(inputs.y)

    def call() -> Any:
        with torch.no_grad():
            return loss(z, y).item()

    return Runner(call, lambda value: Outcome(value, None))


def gradient_runner(loss: Loss, inputs: Inputs) -> Runner:
    """Compute loss and gradient by autograd; the gradient is a fresh tensor in each call, as after `zero_grad()`."""
    z, y = torch.from_numpy(inputs.z).requires_grad_(), torch.from_numpy(inputs.y)

    def call() -> Any:
        z.grad = None
        value = loss(z, y)
        value.backward()
        return value.item(), z.grad

    return Runner(call, to_outcome)


def map_runner(function: Callable[..., Any], mode: str, inputs: Inputs) -> Runner:
    """Apply a row function, its result fresh or written to `out=`."""
    x = torch.from_numpy(inputs.z)
    target = {} if mode == MAP_FRESH else {"out": torch.from_numpy(np.empty_like(inputs.z))}

    def call() -> Any:
        with torch.no_grad():
            return function(x, -1, **target)

    return Runner(call, lambda result: Outcome(None, result.numpy()))


def optimizer_runner(case: Case, inputs: Inputs, fused: bool) -> Runner | None:
    """Make one step of the optimizer of the same name over all tensors, where torch has it in this form."""
    kind = getattr(torch.optim, case.kernel, None)
    if kind is None or (fused and case.kernel not in FUSED):
        return None
    params = [torch.from_numpy(p).requires_grad_() for p in inputs.params]
    for p, g in zip(params, inputs.grads, strict=True):
        p.grad = torch.from_numpy(g)
    options = OPTIMIZER_OPTIONS[case.kernel] | ({"fused": True} if fused else {})
    optimizer = kind(params, **options)
    return Runner(optimizer.step, lambda _: Outcome(None, inputs.params[0]))


def build(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build torch eager's call for a case and mode."""
    torch.set_num_threads(threads)
    if case.kind == "optimizer":
        return optimizer_runner(case, inputs, fused=False)
    if case.kind == "row map":
        return map_runner(MAPS[case.kernel], mode, inputs)
    if case.kernel not in LOSSES:
        return None
    if mode == "value":
        return value_runner(LOSSES[case.kernel], inputs)
    return gradient_runner(LOSSES[case.kernel], inputs) if mode == FRESH else None


def build_fused(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build the step of torch's fused optimizer."""
    torch.set_num_threads(threads)
    return optimizer_runner(case, inputs, fused=True) if case.kind == "optimizer" else None


PROVIDERS: dict[str, Build] = {"torch eager": build, "torch fused": build_fused}

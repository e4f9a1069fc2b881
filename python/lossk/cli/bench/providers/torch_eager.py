"""PyTorch in eager mode: `torch.nn.functional` and autograd; `torch.optim` plain and fused; its linear losses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from lossk.cli.bench.cases import AUTOGRAD, FRESH, MAP_FRESH, MAP_OUT, OPTIMIZER_OPTIONS, VJP_FRESH, Case
from lossk.cli.bench.inputs import HINGE_MARGIN, HUBER_DELTA, Inputs
from lossk.cli.bench.providers import Build, Outcome, Runner, torch_linear
from lossk.cli.bench.providers.torch_tensors import tensor, to_numpy

Loss = Callable[..., Any]

# Optimizers with a fused form on the CPU in torch 2.13.
FUSED = ("SGD", "Adam", "AdamW", "Adagrad")


def hinge(z: Any, y: Any) -> Any:
    """Hinge loss as torch users write it; torch has none for margins."""
    return torch.clamp(HINGE_MARGIN - y * z, min=0).mean()


def squared_hinge(z: Any, y: Any) -> Any:
    """Squared hinge loss, mean."""
    return torch.clamp(HINGE_MARGIN - y * z, min=0).square().mean()


def gaussian(z: Any, y: Any, var: Any) -> Any:
    """Gaussian likelihood; `eps` is lossk's."""
    return functional.gaussian_nll_loss(z, y, var, eps=1e-6)


LOSSES: dict[str, Loss] = {
    "CrossEntropy": functional.cross_entropy,
    "NLL": functional.nll_loss,
    "MultiMargin": functional.multi_margin_loss,
    "KLDivergence": partial(functional.kl_div, reduction="batchmean"),
    "SquaredError": functional.mse_loss,
    "AbsoluteError": functional.l1_loss,
    "Huber": partial(functional.huber_loss, delta=HUBER_DELTA),
    "Hinge": hinge,
    "SquaredHinge": squared_hinge,
    "BinaryCrossEntropyWithLogits": functional.binary_cross_entropy_with_logits,
    "BinaryCrossEntropy": functional.binary_cross_entropy,
    "Logistic": functional.soft_margin_loss,
}
MAPS: dict[str, Callable[..., Any]] = {
    "softmax": partial(torch.softmax, dim=-1),
    "log_softmax": partial(torch.log_softmax, dim=-1),
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "ReLU": torch.relu,
    "LeakyReLU": functional.leaky_relu,
    "SELU": functional.selu,
    "Softplus": functional.softplus,
}
WITH_OUT = ("softmax", "log_softmax", "Sigmoid", "Tanh")


def to_outcome(result: Any) -> Outcome:
    """(value, gradient tensor) as NumPy."""
    value, grad = result
    return Outcome(value, to_numpy(grad))


def value_runner(loss: Loss, inputs: Inputs) -> Runner:
    """Compute the loss alone, without building a graph."""
    arrays = [tensor(array) for array in (inputs.z, inputs.y, *inputs.more)]

    def call() -> Any:
        with torch.no_grad():
            return loss(*arrays).item()

    return Runner(call, lambda value: Outcome(value, None))


def gradient_runner(loss: Loss, inputs: Inputs) -> Runner:
    """Compute loss and gradient by autograd; the gradient is a fresh tensor in each call, as after `zero_grad()`."""
    z, *others = (tensor(array) for array in (inputs.z, inputs.y, *inputs.more))
    z.requires_grad_()

    def call() -> Any:
        z.grad = None
        value = loss(z, *others)
        value.backward()
        return value.item(), z.grad

    return Runner(call, to_outcome)


def map_runner(function: Callable[..., Any], mode: str, inputs: Inputs) -> Runner:
    """Apply a function, its result fresh or written to `out=`."""
    x = tensor(inputs.z)
    target = {} if mode == MAP_FRESH else {"out": tensor(np.empty_like(inputs.z))}

    def call() -> Any:
        with torch.no_grad():
            return function(x, **target)

    return Runner(call, lambda result: Outcome(None, to_numpy(result)))


def vjp_runner(function: Callable[..., Any], inputs: Inputs) -> Runner:
    """Pass a cotangent back through a function, whose forward pass autograd needs in each call."""
    x, cotangent = tensor(inputs.z).requires_grad_(), tensor(inputs.y)

    def call() -> Any:
        return torch.autograd.grad(function(x), x, cotangent)[0]

    return Runner(call, lambda result: Outcome(None, to_numpy(result)))


def optimizer_runner(case: Case, inputs: Inputs, fused: bool) -> Runner | None:
    """Make one step of the optimizer of the same name over all tensors, where torch has it in this form."""
    kind = getattr(torch.optim, case.kernel, None)
    if kind is None or (fused and case.kernel not in FUSED):
        return None
    params = [tensor(p).requires_grad_() for p in inputs.params]
    for p, g in zip(params, inputs.grads, strict=True):
        p.grad = tensor(g)
    options = OPTIMIZER_OPTIONS[case.kernel] | ({"fused": True} if fused else {})
    optimizer = kind(params, **options)
    return Runner(optimizer.step, lambda _: Outcome(None, inputs.params[0]))


def build(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build torch eager's call for a case and mode."""
    torch.set_num_threads(threads)
    if case.kind == "optimizer":
        return optimizer_runner(case, inputs, fused=False)
    if case.kind == "linear":
        return torch_linear.build_plain(case, inputs)
    if mode == MAP_FRESH or (mode == MAP_OUT and case.kernel in WITH_OUT):
        return map_runner(MAPS[case.kernel], mode, inputs)
    if mode == VJP_FRESH:
        return vjp_runner(MAPS[case.kernel], inputs)
    if case.kernel not in LOSSES:
        return None
    if mode == "value":
        return value_runner(LOSSES[case.kernel], inputs)
    return gradient_runner(LOSSES[case.kernel], inputs) if mode in (FRESH, AUTOGRAD) else None


def build_fused(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build the step of torch's fused optimizer."""
    torch.set_num_threads(threads)
    return optimizer_runner(case, inputs, fused=True) if case.kind == "optimizer" else None


def build_chunked(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build torch's linear cross-entropy in chunks."""
    torch.set_num_threads(threads)
    return torch_linear.build_chunked(inputs) if case.kind == "linear" else None


PROVIDERS: dict[str, Build] = {"torch eager": build, "torch fused": build_fused, "torch chunked": build_chunked}

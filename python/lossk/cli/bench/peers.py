"""Other libraries' calls, as their users write them, each imported only in its own process; lossk's other choices."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from lossk import _profile
from lossk.activations import ACTIVATIONS
from lossk.cli.bench.cases import FRESH, OPTIMIZERS, OUT, TO_OUT, Case
from lossk.cli.bench.kernels import Array, Build, Inputs, Outcome, Runner, build, writing


def _cross_entropy(y: Array, z: Array, out: Array) -> float:
    rows = np.arange(len(y))
    np.subtract(z, z.max(axis=1, keepdims=True), out=out)
    picked = out[rows, y]
    total = np.exp(out, out=out).sum(axis=1, keepdims=True)
    out *= 1 / (total * len(y))
    out[rows, y] -= 1 / len(y)
    return float((np.log(total[:, 0]) - picked).mean())


def _softmax(x: Array, out: Array) -> None:
    np.exp(np.subtract(x, x.max(axis=-1, keepdims=True), out=out), out=out)
    out *= 1 / out.sum(axis=-1, keepdims=True)


def _huber(y: Array, buffer: Array | None, z: Array, out: Array) -> float:
    r = np.subtract(z, y, out=buffer)
    np.clip(r, -1, 1, out=out)
    value = (np.vdot(out, r) - 0.5 * np.vdot(out, out)) / z.size  # c*r - c*c/2 with c = clip(r)
    out *= 1 / z.size
    return float(value)


def _numpy(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Compute by whole-array operations, with few temporaries, and buffers reused where the mode allows."""
    z, *others = inputs
    functions: dict[str, Callable[..., Any]] = {"CrossEntropy": partial(_cross_entropy, *others), "softmax": _softmax}
    if case.kernel == "Huber":
        functions["Huber"] = partial(_huber, others[0], np.empty_like(z) if mode == OUT else None)
    return writing(functions[case.kernel], mode, z) if case.kernel in functions and mode != "value" else None


def torch_functions() -> dict[str, Callable[..., Any]]:
    """Return torch's functions by the names of lossk's."""
    import torch
    from torch import nn
    from torch.nn import functional

    return {
        **{name: getattr(nn, name)() for name in ACTIVATIONS},
        "CrossEntropy": functional.cross_entropy,
        "SquaredError": functional.mse_loss,
        "AbsoluteError": functional.l1_loss,
        "Huber": functional.huber_loss,
        "Hinge": lambda z, y: torch.clamp(1 - y * z, min=0).mean(),
        "BinaryCrossEntropyWithLogits": functional.binary_cross_entropy_with_logits,
        "Logistic": functional.soft_margin_loss,
        "softmax": partial(torch.softmax, dim=-1),
        "log_softmax": partial(torch.log_softmax, dim=-1),
    }


def torch_runner(function: Callable[..., Any], mode: str, inputs: Inputs) -> Runner | None:
    """Run one of them, with autograd where the mode wants a gradient."""
    import torch

    z, *others = map(torch.from_numpy, inputs)
    if mode != FRESH:
        return Runner(torch.no_grad()(partial(function, z, *others))) if mode in ("value", "output") else None
    z.requires_grad_()

    def gradient() -> Outcome:  # a new tensor in each call, as after `zero_grad()`
        z.grad = None
        value = function(z, *others)
        value.backward()
        return value.item(), z.grad

    return Runner(gradient)


def _torch(fused: bool, case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    import torch

    torch.set_num_threads(threads)
    if case.kind != "optimizer":
        function = None if fused else torch_functions().get(case.kernel)
        return None if function is None else torch_runner(function, mode, inputs)
    kind = getattr(torch.optim, case.kernel, None)
    if kind is None or (fused and case.kernel not in ("SGD", "Adam", "AdamW", "Adagrad")):
        return None
    params = [torch.from_numpy(p).requires_grad_() for p in inputs[0]]
    for p, g in zip(params, inputs[1], strict=True):
        p.grad = torch.from_numpy(g)
    return Runner(kind(params, **OPTIMIZERS[case.kernel], **({"fused": True} if fused else {})).step)


def _chosen(isa: str, stream_from: int, case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build lossk's call with an instruction set, and results streamed from so many bytes on."""
    if stream_from and mode not in TO_OUT:
        return None
    runner = build(case, mode, inputs, threads)
    restore = runner.prepare

    def prepare() -> None:
        for family in _profile.choices():
            _profile.choose(family, stream_from, isa)
        if restore is not None:
            restore()

    return Runner(runner.call, prepare)


PROVIDERS: dict[str, dict[str, Build]] = {
    "numpy": {"numpy": _numpy},
    "torch": {"torch eager": partial(_torch, False), "torch fused": partial(_torch, True)},
    "choices": {
        "lossk streamed": partial(_chosen, "", 1),  # results go by non-temporal stores
        "lossk stored": partial(_chosen, "", _profile.NEVER),
        **{f"lossk {isa}": partial(_chosen, isa, 0) for isa in _profile.alike()},
    },
}

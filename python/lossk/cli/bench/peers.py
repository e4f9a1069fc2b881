"""Other libraries' calls, as their users write them; each is imported only in its own process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from lossk.cli.bench.cases import FRESH, OPTIMIZERS, OUT, Case
from lossk.cli.bench.kernels import Array, Build, Inputs, Outcome, Runner, writing

GRAPH_MODES = ("value", FRESH, "output")  # of libraries that differentiate by themselves
COMPILED = ("CrossEntropy", "softmax", "Huber", "Hinge")  # by torch.compile, which takes its time for each shape
FUSED = ("SGD", "Adam", "AdamW", "Adagrad")  # optimizers that torch has in this form, too


# ---- NumPy: whole-array operations, few temporaries, buffers reused where the mode allows -------------------------


def _cross_entropy_value(z: Array, y: Array) -> float:
    shifted = z - z.max(axis=1, keepdims=True)
    picked = shifted[np.arange(len(y)), y]
    return float((np.log(np.exp(shifted, out=shifted).sum(axis=1)) - picked).mean())


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


def _huber(y: Array, z: Array, out: Array, buffer: Array | None) -> float:
    r = np.subtract(z, y, out=buffer)
    np.clip(r, -1, 1, out=out)
    value = (np.vdot(out, r) - 0.5 * np.vdot(out, out)) / z.size  # c*r - c*c/2 with c = clip(r)
    out *= 1 / z.size
    return float(value)


def _numpy(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    z, *others = inputs
    if case.kernel == "SGD":
        lr, momentum = OPTIMIZERS["SGD"].values()
        moments, buffer = np.zeros_like(z), np.empty_like(z[0])

        def step() -> None:
            for p, g, m in zip(z, *others, moments, strict=True):
                np.add(np.multiply(m, momentum, out=m), g, out=m)
                np.subtract(p, np.multiply(m, lr, out=buffer), out=p)

        return Runner(step)
    if mode == "value" and case.kernel == "CrossEntropy":
        return Runner(partial(_cross_entropy_value, *inputs))
    functions: dict[str, Callable[..., Any]] = {"CrossEntropy": partial(_cross_entropy, *others), "softmax": _softmax}
    if case.kernel == "Huber":
        functions["Huber"] = partial(_huber, *others, buffer=np.empty_like(z) if mode == OUT else None)
    return writing(functions[case.kernel], mode, z) if case.kernel in functions else None


# ---- PyTorch -----------------------------------------------------------------------------------------------------


def _torch(compiled: bool, case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    functions: dict[str, Callable[..., Any]] = {
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
    if case.kernel not in (COMPILED if compiled else functions) or mode not in GRAPH_MODES:
        return None
    function = functions[case.kernel]
    if compiled:
        import torch._dynamo
        import torch._inductor.config

        torch._inductor.config.cpp.threads = threads  # part of inductor's cache key, unlike torch.get_num_threads()
        torch._dynamo.reset()  # every case is compiled anew: no recompile limit, no dynamic shapes
        function = torch.compile(lambda *arrays: functions[case.kernel](*arrays), fullgraph=True, dynamic=False)
    z, *others = map(torch.from_numpy, inputs)
    if mode != FRESH:
        return Runner(torch.no_grad()(partial(function, z, *others)))
    z.requires_grad_()

    def gradient() -> Outcome:  # a new tensor in each call, as after `zero_grad()`
        z.grad = None
        value = function(z, *others)
        value.backward()
        return value.item(), z.grad

    return Runner(gradient)


def _torch_step(fused: bool, case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    import torch

    torch.set_num_threads(threads)
    kind = getattr(torch.optim, case.kernel, None) if case.kind == "optimizer" else None
    if kind is None or (fused and case.kernel not in FUSED):
        return None
    params = [torch.from_numpy(p).requires_grad_() for p in inputs[0]]
    for p, g in zip(params, inputs[1], strict=True):
        p.grad = torch.from_numpy(g)
    optimizer = kind(params, **OPTIMIZERS[case.kernel], **({"fused": True} if fused else {}))
    return Runner(optimizer.step)


PROVIDERS: dict[str, dict[str, Build]] = {
    "numpy": {"numpy": _numpy},
    "torch": {
        "torch eager": lambda case, *how: (_torch_step if case.kind == "optimizer" else _torch)(False, case, *how),
        "torch fused": partial(_torch_step, True),
    },
    "torch.compile": {"torch.compile": partial(_torch, True)},
}

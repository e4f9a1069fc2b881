"""Losses of pairs and triplets in torch's graph: gradients of all inputs, from the pass that computes the value."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .. import CosineEmbedding, MarginRanking, TripletMargin
from ._exchange import arrays_of
from ._explain import stand_aside
from ._originals import Original
from ._tensors import FLOATS, HALVES, INTEGERS, REFUSALS, factor_of, is_plain, tensor_of, torch_decides, value_tensor


class TorchPairs:
    """A loss of `inputs` tensors of one shape as torch calls it, and torch's function for everything else.

    `options` are torch's names of what the class is made from, in its order.
    """

    def __init__(self, name: str, make: Callable[..., Any], inputs: int, *options: str) -> None:
        self.name, self.inputs, self.options = name, inputs, options
        self.original = Original(name)
        self.make = functools.lru_cache(maxsize=64, typed=True)(make)

    def by_torch(self, tensors: tuple[Any, ...], options: tuple[Any, ...], reduction: str) -> Any:
        """Call torch's own function."""
        keywords = dict(zip(self.options, options, strict=True))
        return self.original(tensors, *tensors, reduction=reduction, **keywords)

    def why_not(self, tensors: tuple[Any, ...]) -> str:
        """Return why lossk cannot compute this, which torch then does or refuses; "" if it can."""
        if not all(map(is_plain, tensors)):
            return "no plain tensors on the CPU"
        first, *others = tensors[: self.inputs]
        alike = all(t.dtype is first.dtype and t.shape == first.shape for t in others)
        if not (alike and first.dtype in FLOATS and (first.dim() > 0 or self.name == "margin_ranking_loss")):
            return "types or shapes that do not go together without conversion"
        for target in tensors[self.inputs :]:
            wanted = first.shape if self.name == "margin_ranking_loss" else first.shape[:-1]
            if target.shape != wanted or not (target.dtype is first.dtype or target.dtype in INTEGERS):
                return "types or shapes that do not go together without conversion"
            if target.requires_grad:
                return "a gradient that kernels do not have"
        return ""

    def run(self, verb: str, tensors: Any, options: tuple[Any, ...], *others: Any, **how: Any) -> Any:
        """Return what the verb of lossk's class returns; its target may have another type than the inputs."""
        return getattr(self.make(*options), verb)(*arrays_of(*tensors), *others, **how)


class PairFunction(torch.autograd.Function):
    """A loss of pairs in the graph; reduced to a number, it keeps its gradients for the first backward pass."""

    @staticmethod
    def forward(ctx: Any, loss: TorchPairs, options: Any, reduction: str, results: list[Any], *tensors: Any) -> Any:
        """Return the loss, the last of the results; the others are the gradients."""
        value = results.pop()
        ctx.loss, ctx.options, ctx.reduction, ctx.kept = loss, options, reduction, results
        ctx.save_for_backward(*tensors)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        """Return the gradients times `upstream`, for the inputs that want one."""
        loss, wanted, saved = ctx.loss, ctx.needs_input_grad[4:], ctx.saved_tensors
        factor = None if ctx.reduction == "none" else factor_of(upstream)
        if torch.is_grad_enabled():
            stand_aside(loss.name, "derivatives that can be differentiated again (create_graph=True)")
            grads = _by_torch(ctx, saved, wanted, upstream)
        elif factor is None and ctx.reduction != "none":  # a batch of upstream gradients, under vmap
            grads = _by_torch(ctx, saved, wanted, upstream)
        elif ctx.kept and (factor == 1 or saved[0].dtype not in HALVES):
            grads, ctx.kept = ctx.kept, []
            grads = grads if factor == 1 else [grad.mul_(factor) for grad in grads]
        else:
            grads = _computed(ctx, saved, upstream, factor)
        places = range(len(wanted))
        return *(None,) * 4, *(grads[i] if wanted[i] else None for i in places)


def _computed(ctx: Any, saved: Any, upstream: Any, factor: float | None) -> list[Any]:
    """Return the gradients once more, times what comes from above before they are rounded."""
    first = saved[0]
    single = ctx.loss.name == "margin_ranking_loss"
    shape = first.shape if single else first.shape[:-1]
    if factor is None:
        (cotangent,) = arrays_of(upstream.contiguous())
    else:
        divisor = max(1, shape.numel()) if ctx.reduction == "mean" else 1
        cotangent = np.full(shape, factor / divisor, np.float64 if first.dtype is torch.float64 else np.float32)
    return [tensor_of(g) for g in ctx.loss.run("vjp", saved, ctx.options, cotangent)]


def _by_torch(ctx: Any, saved: Any, wanted: Any, upstream: Any) -> list[Any]:
    places = [i for i, want in enumerate(wanted) if want]
    with torch.enable_grad():
        views = [t.view_as(t) if i in places else t for i, t in enumerate(saved)]
        value = ctx.loss.by_torch(tuple(views), ctx.options, ctx.reduction)
    create = torch.is_grad_enabled()
    grads = torch.autograd.grad(value, [views[i] for i in places], upstream, create_graph=create)
    found: list[Any] = [None] * len(wanted)
    for place, grad in zip(places, grads, strict=True):
        found[place] = grad
    return found


def evaluate(loss: TorchPairs, tensors: tuple[Any, ...], options: tuple[Any, ...], reduction: str) -> Any:
    """Return the loss of tensors, by kernels where they can and by torch where not."""
    why = "torch.compile" if torch.compiler.is_compiling() else torch_decides() or loss.why_not(tensors)
    if not why and torch.is_autocast_enabled("cpu") and tensors[0].dtype in HALVES:
        why = "autocast of 16 bits"
    if not why:
        try:
            return _by_kernels(loss, tensors, options, reduction)
        except REFUSALS as error:
            stand_aside(loss.name, "arguments that lossk refuses", error)
    else:
        stand_aside(loss.name, why)
    return loss.by_torch(tensors, options, reduction)


def _by_kernels(loss: TorchPairs, tensors: tuple[Any, ...], options: tuple[Any, ...], reduction: str) -> Any:
    graph = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    dtype = tensors[0].dtype
    if not graph or reduction == "none":
        results = [value_tensor(loss.run("__call__", tensors, options, reduction=reduction), dtype)]
    else:
        value, grads = loss.run("value_and_grad", tensors, options, reduction=reduction)
        results = [*map(tensor_of, grads), value_tensor(value, dtype)]
    return PairFunction.apply(loss, options, reduction, results, *tensors) if graph else results[0]


MARGIN_RANKING = TorchPairs("margin_ranking_loss", MarginRanking, 2, "margin")
COSINE_EMBEDDING = TorchPairs("cosine_embedding_loss", CosineEmbedding, 2, "margin")
TRIPLET_MARGIN = TorchPairs("triplet_margin_loss", TripletMargin, 3, "margin", "p", "eps", "swap")

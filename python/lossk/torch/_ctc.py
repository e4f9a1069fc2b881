"""CTC in torch's graph."""

from __future__ import annotations

import functools
from typing import Any

import torch

from .. import CTC
from ._exchange import array_of
from ._explain import stand_aside
from ._originals import Original
from ._tensors import FLOATS, HALVES, INTEGERS, REFUSALS, factor_of, is_plain, tensor_of, torch_decides, value_tensor

_original = Original("ctc_loss")
_made = functools.lru_cache(maxsize=64, typed=True)(CTC)


class CtcFunction(torch.autograd.Function):
    """CTC in the graph; reduced to a number, it keeps its gradient for the first backward pass."""

    @staticmethod
    def forward(ctx: Any, log_probs: Any, others: tuple[Any, ...], options: tuple[Any, ...]) -> Any:
        """Return the loss; `options` are blank, reduction and zero_infinity."""
        ctx.others, ctx.options, ctx.kept = others, options, None
        ctx.save_for_backward(log_probs)
        loss, arguments = _arguments(log_probs, others, options)
        if options[1] == "none":
            return value_tensor(loss(*arguments, reduction="none"), log_probs.dtype)
        value, ctx.kept = loss.value_and_grad(*arguments, reduction=options[1])
        return value_tensor(value, log_probs.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        """Return the gradient times `upstream`."""
        (log_probs,) = ctx.saved_tensors
        factor = None if ctx.options[1] == "none" else factor_of(upstream)
        if torch.is_grad_enabled() or (factor is None and ctx.options[1] != "none"):
            stand_aside("ctc_loss", "gradients that are differentiated again, or in batches")
            with torch.enable_grad():
                own = log_probs.view_as(log_probs)
                value = _original((own,), own, *ctx.others, *ctx.options)
            again = torch.is_grad_enabled()
            return *torch.autograd.grad(value, own, upstream, create_graph=again), None, None
        loss, (z, target, *lengths) = _arguments(log_probs, ctx.others, ctx.options)
        if factor is None:
            return tensor_of(loss.vjp(z, target, array_of(upstream.contiguous()), *lengths)), None, None
        kept, ctx.kept = ctx.kept, None
        if kept is None or (factor != 1 and log_probs.dtype in HALVES):
            kept = loss.grad(z, target, *lengths, reduction=ctx.options[1])
        return tensor_of(kept) if factor == 1 else tensor_of(kept).mul_(factor), None, None


def _arguments(log_probs: Any, others: tuple[Any, ...], options: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    blank, _, zero_infinity = options
    arrays = (array_of(x) if isinstance(x, torch.Tensor) else x for x in (log_probs, *others))
    return _made(blank, zero_infinity), tuple(arrays)


def _why_not(tensors: tuple[Any, ...]) -> str:
    """Return why lossk cannot compute this, which torch then does or refuses; "" if it can."""
    if torch.compiler.is_compiling():
        return "torch.compile"
    if decides := torch_decides():
        return decides
    log_probs, *others = tensors
    if not is_plain(log_probs) or log_probs.dtype not in FLOATS or log_probs.dim() != 3:
        return "no plain tensor (T, N, C) on the CPU of a type that kernels know"
    if not all(is_plain(t) and t.dtype in INTEGERS for t in others if isinstance(t, torch.Tensor)):
        return "targets or lengths that are no integers on the CPU"
    if torch.is_autocast_enabled("cpu") and log_probs.dtype in HALVES:
        return "autocast of 16 bits"
    return ""


def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:
    """Return the loss of connectionist temporal classification: `lossk.CTC`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> log_probs = torch.full((3, 1, 2), 0.5).log()
    >>> lossk.torch.ctc_loss(log_probs, torch.tensor([[1]]), (3,), (1,)).exp()
    tensor(1.3333)
    """
    tensors, options = (log_probs, targets, input_lengths, target_lengths), (blank, reduction, zero_infinity)
    why, detail = _why_not(tensors), None
    if not why:
        try:
            if torch.is_grad_enabled() and log_probs.requires_grad:
                return CtcFunction.apply(log_probs, tensors[1:], options)
            loss, arguments = _arguments(log_probs, tensors[1:], options)
            return value_tensor(loss(*arguments, reduction=reduction), log_probs.dtype)
        except REFUSALS as error:
            why, detail = "arguments that lossk refuses", error
    stand_aside("ctc_loss", why, detail)
    return _original(tensors, *tensors, *options)

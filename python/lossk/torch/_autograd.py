"""Losses in torch's graph: value and gradient in one pass forward, the gradient handed over backward."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch.autograd.graph import increment_version

from .._request import VALUE_AND_GRAD, Request
from ._call import Call
from ._exchange import loss_of_pair
from ._explain import stand_aside
from ._layout import are_contiguous, laid_out
from ._losses import TorchLoss
from ._operators import traced
from ._tensors import HALVES, factor_of, torch_decides

# Export gives fake tensors, which torch's own functions take.
_is_compiling = torch.compiler.is_dynamo_compiling


class LossFunction(torch.autograd.Function):
    """A loss in the graph.

    Reduced to a number, it computes its gradient together with its value, and keeps it for the first backward pass; a
    further one (``retain_graph``) computes it from what was saved. One number a sample keeps nothing.
    """

    @staticmethod
    def forward(ctx: Any, call: Call, results: list[Any], *tensors: Any) -> Any:
        """Return the loss, the last of the results; what else there is of them is the gradient, which is kept.

        Tensors are those of a call, without those at the end that it does not have.
        """
        value = results.pop()
        ctx.call, ctx.kept = call, results
        ctx.save_for_backward(*tensors)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        """Return the gradients times `upstream`, for the inputs that want one."""
        call, kept, wanted = ctx.call, ctx.kept, ctx.needs_input_grad
        if torch.is_grad_enabled():
            stand_aside(call.loss.name, "derivatives that can be differentiated again (create_graph=True)")
            return None, None, *_by_torch(call, _four(ctx.saved_tensors), wanted[2:], upstream, create_graph=True), None
        grad = by_target = by_third = saved = None
        try:
            grad = kept.pop()
        except IndexError:  # for a second time, or nothing was kept
            pass
        else:
            factor = factor_of(upstream)
            if factor is None:
                kept.append(grad)
                grad = grad * upstream
            elif factor != 1:
                grad = _scaled(grad, factor)
        if grad is None:
            saved = _four(ctx.saved_tensors)  # once: checkpointing computes them anew for each look
            grad, by_third = _computed(call, saved, upstream, any(wanted[4:5]))
        if wanted[3]:
            by_target = grad.neg() if wanted[2] else grad.neg_()
            if saved is not None:
                by_target = laid_out(by_target, call.target_order(*saved, upstream))
        return None, None, grad if wanted[2] else None, by_target, by_third, None


# What Function.apply ends in, after a look for transforms of torch.func, which `torch_decides` had already; and what
# the engine calls, which would ask first whether that is `backward` or `vjp`.
_apply = super(torch.autograd.Function, LossFunction).apply
LossFunction._backward_cls.apply = LossFunction.backward


def _four(tensors: Any) -> tuple[Any, ...]:
    return *tensors, *(None,) * (4 - len(tensors))


def _scaled(grad: Any, factor: float) -> Any:
    """Return a gradient times a factor; None where it must be computed again, lest 16 bits are rounded twice."""
    if grad.dtype in HALVES and (grad.dtype is torch.float16 or math.frexp(abs(factor))[0] != 0.5):
        return None
    return grad.mul_(factor)


def _computed(call: Call, saved: Any, upstream: Any, of_third: bool) -> tuple[Any, Any]:
    try:
        z, y, x, w = saved
        grad, *third = call.grads(z, y, x, w, upstream, of_third)
        return grad, third[0] if third else None
    except RuntimeError:  # a batch of upstream gradients, under vmap: torch's operations know it
        grads = _by_torch(call, saved, (True, False, of_third), upstream, create_graph=False)
        return grads[0], grads[2]


def _by_torch(call: Call, saved: tuple[Any, ...], wanted: Any, upstream: Any, create_graph: bool) -> list[Any]:
    """Return torch's gradients: partial derivatives, whatever the inputs have to do with one another."""
    places = [i for i, want in enumerate(wanted[:3]) if want]
    with torch.enable_grad():
        # Views stand for the inputs, so that no path from one input to another is on the way.
        views = [t.view_as(t) if i in places else t for i, t in enumerate(saved)]
        value = call.formula(*views)
    grads = torch.autograd.grad(value, [views[i] for i in places], upstream, create_graph=create_graph)
    found: list[Any] = [None, None, None]
    for place, grad in zip(places, grads, strict=True):
        found[place] = grad
    return found


# ---- in place -------------------------------------------------------------------------------------------------------


class Overwritten(torch.autograd.Function):
    """Puts itself where logits were in the graph, as what they hold is no function of the model any more."""

    @staticmethod
    def forward(ctx: Any, z: Any, name: str) -> Any:
        """Return `z`."""
        ctx.mark_dirty(z)
        ctx.name = name
        return z

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        """Raise."""
        raise RuntimeError(
            f"{ctx.name}: input: got logits that are used again, modified by an inplace operation: with inplace=True "
            "they hold the gradient after the call; wanted no further use, or inplace=False"
        )


class OverwritingFunction(torch.autograd.Function):
    """A loss in the graph whose gradient is where its logits were: for one backward pass."""

    @staticmethod
    def forward(ctx: Any, z: Any, call: Call, value: Any) -> Any:
        """Return the value."""
        ctx.call, ctx.kept = call, [z.detach()]
        if _may_be_marked(z):
            with torch.enable_grad():
                Overwritten.apply(z, call.loss.name)
        else:
            increment_version(z)
        ctx.version = z._version
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        """Return the gradient times `upstream`."""
        name, kept = ctx.call.loss.name, ctx.kept
        if torch.is_grad_enabled() or not kept:
            raise RuntimeError(
                f"{name}: inplace: got a further derivative of a call with inplace=True, wanted one backward pass: the "
                "logits hold the gradient"
            )
        if kept[0]._version != ctx.version:
            raise RuntimeError(
                f"{name}: input: got logits, overwritten by their gradient with inplace=True, that have since been "
                "modified by an inplace operation; wanted none before the backward pass"
            )
        grad, factor = kept.pop(), factor_of(upstream)
        if factor is None:
            return grad * upstream, None, None
        return grad if factor == 1 else grad.mul_(factor), None, None


def _may_be_marked(z: Any) -> bool:
    """Tell whether torch lets the history of this tensor change: not where it is one of several views, say."""
    creation = torch._C._autograd
    return not z._is_view() or creation._get_creation_meta(z) == creation.CreationMeta.DEFAULT


def _may_overwrite(loss: TorchLoss, z: Any, reduction: str) -> bool:
    """Tell whether there is a gradient to write where the logits are; raise where it cannot be there."""
    if not (torch.is_grad_enabled() and z.requires_grad):
        return False
    if reduction == "none" or z.dtype is torch.float16:
        what = "reduction='none'" if reduction == "none" else "float16"
        raise RuntimeError(
            f"{loss.name}: inplace: got True with {what}, whose gradient is computed in the backward pass; wanted False"
        )
    if z.is_neg():
        raise RuntimeError(f"{loss.name}: input: got a negative view with inplace=True, wanted input.resolve_neg()")
    owner = z._base if z._is_view() else z
    leaf = next((t for t in (z, owner) if t.is_leaf and t.requires_grad), None)
    if leaf is not None:
        what = "a leaf" if leaf is z else "a view of a leaf"
        raise RuntimeError(
            f"{loss.name}: input: got {what} that requires a gradient, which inplace=True would overwrite; "
            "wanted the result of an operation"
        )
    return True


# ---- the way in -----------------------------------------------------------------------------------------------------


def evaluate(
    loss: TorchLoss,
    z: Any,
    y: Any,
    x: Any,
    w: Any,
    options: tuple[Any, ...],
    reduction: str,
    *,
    wide: bool = False,
    inplace: bool = False,
    normalizer: float | None = None,
    why: str | None = None,
) -> Any:
    """Return the loss of tensors, by kernels where they can and by torch where not.

    `why` is what ``loss.why_not`` said, where somebody has asked it already.
    """
    if _is_compiling():
        return traced(Call(loss, options, reduction, wide, normalizer), z, y, x, w)
    if decides := torch_decides():
        stand_aside(loss.name, decides)
        return Call(loss, options, reduction, wide, normalizer).by_torch(z, y, x, w)
    if (
        loss.of_labels is not None
        and x is w is normalizer is None
        and reduction != "none"
        and not inplace
        and torch.is_grad_enabled()
    ):
        # The most common case by itself, in half of the time of what follows.
        try:
            call, kernel, asked = _common(loss, reduction, *options)
            found = loss_of_pair(kernel, asked, z, y, loss.of_labels)
            if found is not None:
                return _apply(call, [torch.from_numpy(found[1]), found[0]], z, y)
        except loss.refusals:
            pass
    if why is None:
        why = loss.why_not(z, y, x, w, reduction)
    if why:
        stand_aside(loss.name, why)
        return Call(loss, options, reduction, wide, normalizer).by_torch(z, y, x, w)
    call = Call(loss, options, reduction, loss.is_wide(z, wide), normalizer)
    inplace = inplace and _may_overwrite(loss, z, reduction)
    try:
        value = call.overwrite(z, y, x, w) if inplace else _by_kernels(call, z, y, x, w)
    except loss.refusals as error:
        stand_aside(loss.name, "arguments that lossk refuses", error)
        return call.by_torch(z, y, x, w)
    return OverwritingFunction.apply(z, call, value) if inplace else value


def _by_kernels(call: Call, z: Any, y: Any, x: Any, w: Any) -> Any:
    by_third = x is not None and x.requires_grad
    if not (torch.is_grad_enabled() and (z.requires_grad or y.requires_grad or by_third)):
        return call.value(z, y, x, w)
    if y.requires_grad and not (z.requires_grad or by_third) and are_contiguous(z, y):
        z, y = y, z  # of an even loss
    if call.reduction == "none" or by_third or (y.requires_grad and not are_contiguous(z, y, x, w)):
        results = [call.value(z, y, x, w)]
    else:
        results = [*reversed(call.value_and_grad(z, y, x, w))]
    return _apply(call, results, z, y, x, w)


@functools.lru_cache(maxsize=256, typed=True)
def _common(loss: TorchLoss, reduction: str, *options: Any) -> tuple[Any, ...]:
    """Return how the most common case is called: what comes of it, its kernel, and what that is asked for."""
    return (
        Call(loss, options, reduction),
        loss.make(*options)._bound,
        Request(VALUE_AND_GRAD, None, None, reduction=reduction, check=loss.checks),
    )

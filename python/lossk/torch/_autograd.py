"""Losses in torch's graph: value and gradient in one pass forward, the gradient handed over backward."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch.autograd.graph import increment_version

from .._arrays import number_tensor, pair_of
from .._families import VALUE_AND_GRAD
from ._call import Call
from ._explain import stand_aside
from ._layout import are_contiguous, laid_out
from ._losses import TorchLoss
from ._operators import traced
from ._tensors import HALVES, torch_decides, what_decides

# Export gives fake tensors, which torch's own functions take.
_is_compiling = torch.compiler.is_dynamo_compiling


class LossFunction(torch.autograd.Function):
    """A loss in the graph.

    Reduced to a number, it computes its gradient together with its value, and keeps it for the first backward pass; a
    further one (``retain_graph``) computes it from what was saved. One number a sample keeps nothing.
    """

    @staticmethod
    def forward(ctx: Any, z: Any, y: Any, x: Any, w: Any, call: Call, results: list[Any]) -> Any:
        """Return the loss, the last of the results; what else there is of them is the gradient, which is kept."""
        value = results.pop()
        ctx.call, ctx.kept = call, results
        ctx.save_for_backward(z, y, x, w)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        """Return the gradients times `upstream`, for the inputs that want one."""
        call, kept, wanted = ctx.call, ctx.kept, ctx.needs_input_grad
        if torch.is_grad_enabled():
            stand_aside(call.loss.name, "derivatives that can be differentiated again (create_graph=True)")
            return (*_by_torch(call, ctx.saved_tensors, wanted, upstream, create_graph=True), None, None, None)
        grad, by_third = None, None
        try:
            grad = kept.pop()
            if (factor := upstream.item()) != 1:
                grad = _scaled(grad, factor)
        except IndexError:  # for a second time, or nothing was kept
            pass
        except RuntimeError:  # a batch of upstream gradients, under vmap
            kept.append(grad)
            grad = grad * upstream
        saved: Any = None
        if grad is None:
            saved = ctx.saved_tensors  # once: checkpointing computes them anew for each look
            grad, by_third = _computed(call, saved, upstream, wanted[2])
        by_target = None
        if wanted[1]:
            by_target = grad.neg() if wanted[0] else grad.neg_()
            if saved is not None:
                by_target = laid_out(by_target, call.target_order(*saved, upstream))
        return grad if wanted[0] else None, by_target, by_third, None, None, None


# What Function.apply ends in, after a look for transforms of torch.func, which `torch_decides` had already.
_apply = super(torch.autograd.Function, LossFunction).apply


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
    places = [i for i in range(3) if wanted[i]]
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
        try:
            return kept[0].mul_(factor) if (factor := upstream.item()) != 1 else kept[0], None, None
        except RuntimeError:  # a batch of upstream gradients, under vmap
            return kept[0] * upstream, None, None
        finally:
            kept.clear()


def _may_be_marked(z: Any) -> bool:
    """Tell whether torch lets the history of this tensor change: not where it is one of several views, say."""
    creation = torch._C._autograd
    return not z._is_view() or creation._get_creation_meta(z) == creation.CreationMeta.DEFAULT


def _may_overwrite(loss: TorchLoss, z: Any, reduction: str) -> bool:
    """Tell whether the gradient may be where the logits are; raise where that would change a leaf."""
    if reduction == "none" or not (torch.is_grad_enabled() and z.requires_grad):
        return False
    if z.dtype is torch.float16 or z.is_neg():
        return False
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
) -> Any:
    """Return the loss of tensors, by kernels where they can and by torch where not."""
    if _is_compiling():
        return traced(Call(loss, options, reduction, wide, normalizer), z, y, x, w)
    if torch_decides():
        stand_aside(loss.name, what_decides())
        return Call(loss, options, reduction, wide, normalizer).by_torch(z, y, x, w)
    if loss.of_labels is not None and x is w is normalizer is None and reduction != "none" and not inplace:
        # The most common case by itself, in half of the time of what follows.
        pair = pair_of(z, y, loss.of_labels)
        if pair is not None and z.requires_grad and not y.requires_grad and torch.is_grad_enabled():
            try:
                call, kernel, before, after = _common(loss, reduction, *options)
                value, grad = kernel(*before, *pair, *after)
                results = [torch.from_numpy(grad), number_tensor(value, z.dtype is torch.float32)]
                return _apply(z, y, None, None, call, results)
            except loss.refusals:
                pass
    if why := loss.why_not(z, y, x, w, reduction):
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
    return _apply(z, y, x, w, call, results)


@functools.lru_cache(maxsize=256, typed=True)
def _common(loss: TorchLoss, reduction: str, *options: Any) -> tuple[Any, ...]:
    """Return how the most common case is called."""
    return Call(loss, options, reduction), *loss.make(*options)._direct(VALUE_AND_GRAD, reduction)

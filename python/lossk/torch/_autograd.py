"""Losses in torch's graph: value and gradient in one pass forward, the gradient handed over backward."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch.autograd.graph import increment_version

from .._arrays import Array
from .._families import GRAD, GRAD_AND_HESS, VALUE, VALUE_AND_GRAD
from ._losses import Arrays, TorchLoss
from ._operators import traced
from ._tensors import HALVES, array_of, arrays_of, tensor_of, torch_decides, value_tensor

# Export gives fake tensors, which torch's own functions take.
_is_compiling = torch.compiler.is_dynamo_compiling


class Call(NamedTuple):
    """A loss with its options.

    `wide` gives a float32 loss of 16 bits, `inplace` leaves the gradient in the logits, `normalizer` divides a sum.
    """

    loss: TorchLoss
    options: tuple[Any, ...]
    reduction: str
    wide: bool = False
    inplace: bool = False
    normalizer: float | None = None

    def by_torch(self, z: Any, y: Any, x: Any, w: Any) -> Any:
        """Return the loss from torch's own operations."""
        if self.wide:
            z, y, x, w = (t.float() if t is not None and t.dtype in HALVES else t for t in (z, y, x, w))
        value = self.loss.by_torch(z, y, x, w, self.options, self.reduction)
        return value if self.normalizer is None else value / self.normalizer

    def value(self, z: Any, y: Any, x: Any, w: Any) -> Any:
        """Return the loss."""
        return self._tensor(self._run(VALUE, arrays_of(z, y, x, w)), z)

    def value_and_grad(self, z: Any, y: Any, x: Any, w: Any) -> tuple[Any, Any]:
        """Return the loss and its gradient with respect to `z`, from one pass."""
        arrays = arrays_of(z, y, x, w)
        if not self.inplace:
            value, grad = self._run(VALUE_AND_GRAD, arrays)
            return value_tensor(value, torch.float32 if self.wide else z.dtype), tensor_of(grad)
        value, _ = self._run(VALUE_AND_GRAD, arrays, arrays[0])
        increment_version(z)
        return self._tensor(value, z), z.detach()

    def grads(self, z: Any, y: Any, x: Any, w: Any, upstream: Any, of_third: bool) -> tuple[Any, Any]:
        """Return the gradients with respect to `z` and, if wanted, the third input, times what comes from above."""
        arrays, verb = arrays_of(z, y, x, w), GRAD_AND_HESS if of_third else GRAD
        if self.reduction == "none":
            return _tensors(self.loss.run(verb, arrays, self.options, "none", cotangent=array_of(upstream)))
        factor = upstream.item()
        divisor = self.normalizer or self.loss.divisor(arrays, self.options, self.reduction)
        if factor > 0 and 0 < divisor / factor < np.inf:
            # Scaled before it is rounded: a factor is there to keep small gradients of 16 bits.
            return _tensors(self.loss.run(verb, arrays, self.options, "mean", divisor / factor))
        grads = _tensors(self._run(verb, arrays))
        for grad in grads:
            if grad is not None:
                grad.mul_(factor)
        return grads

    def _run(self, verb: int, arrays: Arrays, out: Array | None = None) -> Any:
        reduction = self.reduction if self.normalizer is None else "mean"
        return self.loss.run(verb, arrays, self.options, reduction, self.normalizer, None, out)

    def _tensor(self, value: Any, z: Any) -> Any:
        return value_tensor(value, torch.float32 if self.wide else z.dtype)


def _tensors(grads: Any) -> tuple[Any, Any]:
    if isinstance(grads, tuple):
        return tensor_of(grads[0]), tensor_of(grads[1])
    return tensor_of(grads), None


class LossFunction(torch.autograd.Function):
    """A loss in the graph.

    Reduced to a number, it computes its gradient together with its value, and keeps it for the first backward pass; a
    further one (``retain_graph``) computes it from what was saved. One number a sample keeps nothing.
    """

    @staticmethod
    def forward(ctx: Any, z: Any, y: Any, x: Any, w: Any, call: Call) -> Any:
        """Return the loss; keep the gradient."""
        ctx.call, ctx.kept = call, []
        if call.reduction == "none" or (x is not None and x.requires_grad):
            ctx.save_for_backward(z, y, x, w)
            return call.value(z, y, x, w)
        value, grad = call.value_and_grad(z, y, x, w)
        ctx.kept.append(grad)
        ctx.save_for_backward(None if call.inplace else z, y, x, w)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        """Return the gradients times `upstream`, for the inputs that want one."""
        call: Call = ctx.call
        wanted = ctx.needs_input_grad
        if torch.is_grad_enabled():
            return _differentiable(call, ctx.saved_tensors, wanted, upstream)
        grad, by_third = _kept(ctx.kept, call, upstream), None
        if grad is None:
            _refuse_overwritten(call, ctx.saved_tensors[0])
            grad, by_third = _computed(call, ctx.saved_tensors, upstream, wanted[2])
        by_target = None
        if wanted[1]:
            by_target = grad.neg() if wanted[0] else grad.neg_()
        return grad if wanted[0] else None, by_target, by_third, None, None


# What Function.apply ends in, after a look for transforms of torch.func, which `torch_decides` had already.
_apply = super(torch.autograd.Function, LossFunction).apply


def _kept(kept: list[Any], call: Call, upstream: Any) -> Any:
    """Return the gradient of the forward pass, once, times `upstream`; None where it must be computed."""
    try:
        grad = kept.pop()
    except IndexError:
        return None
    try:
        factor = upstream.item()
    except RuntimeError:  # a batch of them, under vmap
        kept.append(grad)
        return grad * upstream
    if factor == 1:
        return grad
    if grad.dtype is torch.float16 and not call.inplace:
        return None
    return grad.mul_(factor)


def _computed(call: Call, saved: tuple[Any, ...], upstream: Any, of_third: bool) -> tuple[Any, Any]:
    z, y, x, w = saved
    try:
        return call.grads(z, y, x, w, upstream, of_third)
    except RuntimeError:  # a batch of upstream gradients, under vmap: torch's operations know it
        grads = _by_torch(call, saved, (True, False, of_third), upstream, create_graph=False)
        return grads[0], grads[2]


def _differentiable(call: Call, saved: tuple[Any, ...], wanted: Any, upstream: Any) -> Any:
    """Return gradients that can be differentiated again: torch's own."""
    _refuse_overwritten(call, saved[0])
    return (*_by_torch(call, saved, wanted, upstream, create_graph=True), None, None)


def _by_torch(call: Call, saved: tuple[Any, ...], wanted: Any, upstream: Any, create_graph: bool) -> list[Any]:
    with torch.enable_grad():
        value = call.by_torch(*saved)
    places = [i for i in range(3) if wanted[i]]
    grads = torch.autograd.grad(value, [saved[i] for i in places], upstream, create_graph=create_graph)
    found: list[Any] = [None, None, None]
    for place, grad in zip(places, grads, strict=True):
        found[place] = grad
    return found


def _refuse_overwritten(call: Call, z: Any) -> None:
    if z is None:
        raise RuntimeError(
            f"lossk.torch.{call.loss.name}: got a further derivative of a call with inplace=True, wanted one backward "
            "pass: the logits hold the gradient"
        )


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
        value = traced(loss, z.float() if wide else z, y, x, w, options, reduction)
        return value if normalizer is None else value / normalizer
    if not loss.takes(z, y, x, w, reduction) or torch_decides():
        return Call(loss, options, reduction, wide, False, normalizer).by_torch(z, y, x, w)
    wide = z.dtype in HALVES and (wide or (loss.widens and torch.is_autocast_enabled("cpu")))
    inplace = inplace and _may_overwrite(loss, z)
    call = Call(loss, options, reduction, wide, inplace, normalizer)
    try:
        if torch.is_grad_enabled():
            if z.requires_grad or (x is not None and x.requires_grad and not y.requires_grad):
                return _apply(z, y, x, w, call)
            if y.requires_grad:
                return _apply(y, z, x, w, call)
        return call.value(z, y, x, w)
    except loss.refusals:
        pass
    return call.by_torch(z, y, x, w)


def _may_overwrite(loss: TorchLoss, z: Any) -> bool:
    """Tell whether the gradient may be where the logits are; raise where that would change a leaf."""
    if not (torch.is_grad_enabled() and z.requires_grad) or z.dtype is torch.float16 or z.is_neg():
        return False
    if z.is_leaf:
        raise RuntimeError(
            f"lossk.torch.{loss.name}: got a leaf that requires a gradient, which inplace would overwrite"
        )
    return True

"""Losses in torch's graph: value and gradient in one pass forward, the gradient handed over backward."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.autograd.graph import increment_version

from .._arrays import Array, array_of, arrays_of, number_tensor, pair_of
from .._families import GRAD, GRAD_AND_HESS, VALUE, VALUE_AND_GRAD
from ._losses import Arrays, TorchLoss
from ._operators import traced
from ._tensors import HALVES, tensor_of, torch_decides, value_tensor

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

    def results(self, z: Any, y: Any, x: Any, w: Any) -> list[Any]:
        """Return the loss, last, and before it what a backward pass wants to be kept: its gradient, from one pass."""
        if self.reduction == "none" or (x is not None and x.requires_grad):
            return [self.value(z, y, x, w)]
        arrays = arrays_of(z, y, x, w)
        if not self.inplace:
            value, grad = self._run(VALUE_AND_GRAD, arrays)
            return [tensor_of(grad), self._tensor(value, z)]
        value, _ = self._run(VALUE_AND_GRAD, arrays, arrays[0])
        return [z.detach(), self._tensor(value, z)]

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
    def forward(ctx: Any, z: Any, y: Any, x: Any, w: Any, call: Call, results: list[Any]) -> Any:
        """Return the loss, the last of the results; what else there is of them is the gradient, which is kept."""
        value = results.pop()
        ctx.call, ctx.kept = call, results
        if call.inplace:
            increment_version(z)
            z = None
        ctx.save_for_backward(z, y, x, w)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        """Return the gradients times `upstream`, for the inputs that want one."""
        call, kept, wanted = ctx.call, ctx.kept, ctx.needs_input_grad
        if torch.is_grad_enabled():
            return _differentiable(call, ctx.saved_tensors, wanted, upstream)
        grad, by_third = None, None
        try:
            grad = kept.pop()
            if (factor := upstream.item()) != 1:
                grad = _scaled(call, grad, factor)
        except IndexError:  # for a second time, or nothing was kept
            pass
        except RuntimeError:  # a batch of upstream gradients, under vmap
            kept.append(grad)
            grad = grad * upstream
        if grad is None:
            _refuse_overwritten(call, ctx.saved_tensors[0])
            grad, by_third = _computed(call, ctx.saved_tensors, upstream, wanted[2])
        by_target = None
        if wanted[1]:
            by_target = grad.neg() if wanted[0] else grad.neg_()
        return grad if wanted[0] else None, by_target, by_third, None, None, None


# What Function.apply ends in, after a look for transforms of torch.func, which `torch_decides` had already.
_apply = super(torch.autograd.Function, LossFunction).apply


def _scaled(call: Call, grad: Any, factor: float) -> Any:
    """Return a gradient times a factor; None where it must be computed again, lest small numbers are lost."""
    return None if grad.dtype is torch.float16 and not call.inplace else grad.mul_(factor)


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
    return (*_by_torch(call, saved, wanted, upstream, create_graph=True), None, None, None)


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
    if torch_decides():
        return Call(loss, options, reduction, wide, False, normalizer).by_torch(z, y, x, w)
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
    if not loss.takes(z, y, x, w, reduction):
        return Call(loss, options, reduction, wide, False, normalizer).by_torch(z, y, x, w)
    wide = z.dtype in HALVES and (wide or (loss.widens and torch.is_autocast_enabled("cpu")))
    inplace = inplace and _may_overwrite(loss, z)
    call = Call(loss, options, reduction, wide, inplace, normalizer)
    try:
        if torch.is_grad_enabled():
            if z.requires_grad or (x is not None and x.requires_grad and not y.requires_grad):
                return _apply(z, y, x, w, call, call.results(z, y, x, w))
            if y.requires_grad:
                return _apply(y, z, x, w, call, call.results(y, z, x, w))
        return call.value(z, y, x, w)
    except loss.refusals:
        pass
    return call.by_torch(z, y, x, w)


@functools.lru_cache(maxsize=256, typed=True)
def _common(loss: TorchLoss, reduction: str, *options: Any) -> tuple[Any, ...]:
    """Return how the most common case is called."""
    return Call(loss, options, reduction), *loss.make(*options)._direct(VALUE_AND_GRAD, reduction)


def _may_overwrite(loss: TorchLoss, z: Any) -> bool:
    """Tell whether the gradient may be where the logits are; raise where that would change a leaf."""
    if not (torch.is_grad_enabled() and z.requires_grad) or z.dtype is torch.float16 or z.is_neg():
        return False
    if z.is_leaf:
        raise RuntimeError(
            f"lossk.torch.{loss.name}: got a leaf that requires a gradient, which inplace would overwrite"
        )
    return True

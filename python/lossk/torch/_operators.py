"""The same losses as operators of torch.library, which compilers put into their graphs.

``lossk::loss(z, y, x, w, name, options, reduction)`` is the loss that torch calls `name`, `options` its options as
numbers; ``lossk::loss_and_grad`` also returns the gradient, ``lossk::loss_vjp`` the gradient alone, times an upstream
gradient, ``lossk::loss_both_grads`` those with respect to `z` and `x`.
"""

from __future__ import annotations

from typing import Any

import torch

from .._arrays import array_of, arrays_of
from .._families import GRAD, GRAD_AND_HESS, VALUE, VALUE_AND_GRAD
from ._losses import LOSSES, Pointwise, TorchLoss
from ._tensors import is_plain, tensor_of, value_tensor

_INPUTS = "Tensor z, Tensor y, Tensor? x, Tensor? w, str name, float[] options, str reduction"


def _value(z: Any, y: Any, x: Any, w: Any, name: str, options: list[float], reduction: str) -> Any:
    loss = LOSSES[name]
    value = loss.run(VALUE, arrays_of(z, y, x, w), loss.from_numbers(options), reduction)
    return value_tensor(value, z.dtype)


def _value_and_grad(z: Any, y: Any, x: Any, w: Any, name: str, options: list[float], reduction: str) -> Any:
    loss = LOSSES[name]
    value, grad = loss.run(VALUE_AND_GRAD, arrays_of(z, y, x, w), loss.from_numbers(options), reduction)
    return value_tensor(value, z.dtype), tensor_of(grad)


def _vjp(z: Any, y: Any, x: Any, w: Any, name: str, options: list[float], upstream: Any) -> Any:
    loss = LOSSES[name]
    arrays = arrays_of(z, y, x, w)
    return tensor_of(loss.run(GRAD, arrays, loss.from_numbers(options), "none", cotangent=array_of(upstream)))


def _both(z: Any, y: Any, x: Any, w: Any, name: str, options: list[float], reduction: str) -> Any:
    loss = LOSSES[name]
    grads = loss.run(GRAD_AND_HESS, arrays_of(z, y, x, w), loss.from_numbers(options), reduction)
    return tensor_of(grads[0]), tensor_of(grads[1])


def _fake_value(z: Any, y: Any, x: Any, w: Any, name: str, options: list[float], reduction: str) -> Any:
    if reduction != "none":
        return z.new_empty(())
    return z.new_empty(z.shape if isinstance(LOSSES[name], Pointwise) else z.shape[:1][: z.dim() - 1] + z.shape[2:])


def _fake_grad(z: Any, name: str) -> Any:
    """Return what a gradient looks like: contiguous, along the class axis for losses of rows."""
    if z.dim() <= 2 or isinstance(LOSSES[name], Pointwise) or name == "kl_div":
        return z.new_empty(z.shape)
    return z.new_empty((z.shape[0], *z.shape[2:], z.shape[1])).movedim(-1, 1)


def new_operator(name: str, function: Any, schema: str) -> Any:
    """Return a new operator of lossk's namespace, for tensors on the CPU."""
    return torch.library.custom_op(f"lossk::{name}", function, mutates_args=(), device_types="cpu", schema=schema)


value_operator = new_operator("loss", _value, f"({_INPUTS}) -> Tensor")
value_and_grad_operator = new_operator("loss_and_grad", _value_and_grad, f"({_INPUTS}) -> (Tensor, Tensor)")
vjp_operator = new_operator("loss_vjp", _vjp, f"({_INPUTS.replace('str reduction', 'Tensor upstream')}) -> Tensor")
both_operator = new_operator("loss_both_grads", _both, f"({_INPUTS}) -> (Tensor, Tensor)")
value_operator.register_fake(_fake_value)
value_and_grad_operator.register_fake(lambda z, *rest: (z.new_empty(()), _fake_grad(z, rest[3])))
both_operator.register_fake(lambda z, *rest: (z.new_empty(z.shape), z.new_empty(z.shape)))
vjp_operator.register_fake(lambda z, *rest: _fake_grad(z, rest[3]))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.name, ctx.options, ctx.reduction = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, upstream: Any) -> Any:
    refuse_second(ctx.name)
    inputs, third = (*ctx.saved_tensors, ctx.name, ctx.options), None
    if ctx.needs_input_grad[2]:
        grad, third = (grad * upstream for grad in both_operator(*inputs, ctx.reduction))
    elif ctx.reduction == "none":
        grad = vjp_operator(*inputs, upstream)
    else:
        grad = value_and_grad_operator(*inputs, ctx.reduction)[1] * upstream
    return _of_inputs(ctx, grad, third)


def _save_grad(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.name = inputs[4]
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1])


def _backward_of_pair(ctx: Any, upstream: Any, _: Any) -> Any:
    refuse_second(ctx.name)
    return _of_inputs(ctx, ctx.saved_tensors[0] * upstream)


def _of_inputs(ctx: Any, grad: Any, third: Any = None) -> tuple[Any, ...]:
    """Return gradients of all arguments; that of the target, where an even loss has one, is minus the other."""
    return grad if ctx.needs_input_grad[0] else None, -grad if ctx.needs_input_grad[1] else None, third, *(None,) * 4


def refuse_second(name: str) -> None:
    """Raise where the gradient of an operator is to be differentiated again."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            f"lossk.torch: second derivatives of the compiled {name} are not implemented; "
            f"use torch.nn.functional.{name}"
        )


value_operator.register_autograd(_backward, setup_context=_save)
value_and_grad_operator.register_autograd(_backward_of_pair, setup_context=_save_grad)


def traced(loss: TorchLoss, z: Any, y: Any, x: Any, w: Any, options: tuple[Any, ...], reduction: str) -> Any:
    """Put the loss into the graph that is being traced: as an operator where it fits, else as torch's own."""
    if not (is_plain(z) and is_plain(y) and z.numel() > 0 and loss.takes(z, y, x, w, reduction)):
        return loss.by_torch(z, y, x, w, options, reduction)
    numbers = [float(option) for option in options]
    by_third = x is not None and x.requires_grad
    if reduction != "none" and not by_third and torch.is_grad_enabled() and (z.requires_grad or y.requires_grad):
        value, _ = value_and_grad_operator(z, y, x, w, loss.name, numbers, reduction)
        return value
    return value_operator(z, y, x, w, loss.name, numbers, reduction)

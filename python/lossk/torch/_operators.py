"""The same losses as operators of torch.library, which compilers put into their graphs.

``lossk::loss(z, y, x, w, name, options, reduction, wide)`` is the loss that torch calls `name`, `options` its options
as numbers; ``lossk::loss_and_grad`` also returns the gradient, ``lossk::loss_vjp`` the gradient alone, times an
upstream gradient, ``lossk::loss_both_grads`` those with respect to `z` and `x`.
"""

from __future__ import annotations

from typing import Any

import torch

from ._call import Call
from ._exchange import is_exporting
from ._explain import stand_aside
from ._layout import laid_out
from ._losses import LOSSES, Pointwise
from ._tensors import HALVES, is_plain

_INPUTS = "Tensor z, Tensor y, Tensor? x, Tensor? w, str name, float[] options"


def _call(name: str, options: list[float], reduction: str, wide: bool = False) -> Call:
    return Call(LOSSES[name], LOSSES[name].from_numbers(options), reduction, wide)


def _value(z: Any, y: Any, x: Any, w: Any, name: str, options: list[float], reduction: str, wide: bool = False) -> Any:
    return _call(name, options, reduction, wide).value(z, y, x, w)


def _value_and_grad(z: Any, y: Any, x: Any, w: Any, name: str, options: list[float], reduction: str) -> Any:
    return _call(name, options, reduction).value_and_grad(z, y, x, w)


def _vjp(
    z: Any, y: Any, x: Any, w: Any, name: str, options: list[float], upstream: Any, reduction: str = "none"
) -> Any:
    return _call(name, options, reduction).grads(z, y, x, w, upstream, False)[0]


def _both(
    z: Any, y: Any, x: Any, w: Any, name: str, options: list[float], upstream: Any, reduction: str = "none"
) -> Any:
    return _call(name, options, reduction).grads(z, y, x, w, upstream, True)


def _fake_value(z: Any, y: Any, x: Any, w: Any, name: str, options: Any, reduction: str, wide: bool = False) -> Any:
    dtype = torch.float32 if wide else z.dtype
    if reduction != "none":
        return z.new_empty((), dtype=dtype)
    shape = z.shape if isinstance(LOSSES[name], Pointwise) else z.shape[:1][: z.dim() - 1] + z.shape[2:]
    return _call(name, options, reduction).value_as_torch_s(z.new_empty(shape, dtype=dtype), z, y, x, w)


def _fake_grads(z: Any, y: Any, x: Any, w: Any, name: str, options: Any, upstream: Any, reduction: str = "none") -> Any:
    """Return what gradients with respect to `z` and `x` look like."""
    grads = [z.new_empty(t.shape) for t in (z, x) if t is not None]
    above = upstream if reduction == "none" else None
    return _call(name, options, reduction).grads_as_torch_s(grads, z, y, x, w, above)


def _fake_value_and_grad(z: Any, y: Any, x: Any, w: Any, name: str, options: Any, reduction: str) -> Any:
    grad = _fake_grads(z, y, x, w, name, options, None, reduction)[0]
    return _fake_value(z, y, x, w, name, options, reduction), grad


def new_operator(name: str, function: Any, schema: str) -> Any:
    """Return a new operator of lossk's namespace, for tensors on the CPU."""
    return torch.library.custom_op(f"lossk::{name}", function, mutates_args=(), device_types="cpu", schema=schema)


_ABOVE = f'{_INPUTS}, Tensor upstream, str reduction="none"'
value_operator = new_operator("loss", _value, f"({_INPUTS}, str reduction, bool wide=False) -> Tensor")
value_and_grad_operator = new_operator(
    "loss_and_grad", _value_and_grad, f"({_INPUTS}, str reduction) -> (Tensor, Tensor)"
)
vjp_operator = new_operator("loss_vjp", _vjp, f"({_ABOVE}) -> Tensor")
both_operator = new_operator("loss_both_grads", _both, f"({_ABOVE}) -> (Tensor, Tensor)")
value_operator.register_fake(_fake_value)
value_and_grad_operator.register_fake(_fake_value_and_grad)
vjp_operator.register_fake(lambda *inputs: _fake_grads(*inputs)[0])
both_operator.register_fake(_fake_grads)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.name, ctx.options, ctx.reduction, _ = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, upstream: Any) -> Any:
    refuse_second(ctx.name)
    saved: Any = ctx.saved_tensors
    third = None
    inputs: Any = (*saved, ctx.name, ctx.options, upstream, ctx.reduction)
    if ctx.needs_input_grad[2]:
        grad, third = both_operator(*inputs)
    else:
        grad = vjp_operator(*inputs)
    z, y, x, w = saved
    order = _call(ctx.name, ctx.options, ctx.reduction).target_order(z, y, x, w, upstream)
    return *_of_both(ctx, grad, order), third, *(None,) * 5


def _of_both(ctx: Any, grad: Any, target_order: Any) -> tuple[Any, Any]:
    """Return gradients with respect to prediction and target; the latter, of an even loss, is minus the former."""
    return grad if ctx.needs_input_grad[0] else None, laid_out(-grad, target_order) if ctx.needs_input_grad[1] else None


def _save_grad(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.name, ctx.options, ctx.reduction = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.target_order = _call(ctx.name, ctx.options, ctx.reduction).target_order(*tensors)
    ctx.save_for_backward(output[1])


def _backward_of_pair(ctx: Any, upstream: Any, _: Any) -> Any:
    refuse_second(ctx.name)
    return *_of_both(ctx, ctx.saved_tensors[0] * upstream, ctx.target_order), *(None,) * 5


def refuse_second(name: str) -> None:
    """Raise where the gradient of an operator is to be differentiated again."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            f"{name}: second derivatives of the compiled {name} are not implemented: got create_graph=True, wanted "
            f"False, eager mode, or torch.nn.functional.{name}"
        )


value_operator.register_autograd(_backward, setup_context=_save)
value_and_grad_operator.register_autograd(_backward_of_pair, setup_context=_save_grad)


def traced(call: Call, z: Any, y: Any, x: Any, w: Any) -> Any:
    """Put the loss into the graph that is being traced: as an operator where it fits, else as torch's own.

    Programs that are exported hold torch's operators, as they are to run without lossk.
    """
    loss, reduction = call.loss, call.reduction
    why = "export" if is_exporting() else loss.why_not(z, y, x, w, reduction)
    if not why and not (is_plain(z) and is_plain(y) and z.numel() > 0):
        why = "tensors that are sparse or empty"
    if why:
        stand_aside(loss.name, why)
        return call.by_torch(z, y, x, w)
    inputs = (z, y, x, w, loss.name, [float(option) for option in call.options], reduction)
    wide, by_third = loss.is_wide(z, call.wide), x is not None and x.requires_grad
    wanted = torch.is_grad_enabled() and (z.requires_grad or y.requires_grad)
    # Gradients of 16 bits are computed when the factor is known, which may be there to keep small ones.
    if reduction == "none" or by_third or not wanted or z.dtype in HALVES:
        value = value_operator(*inputs, wide)
    else:
        value, _ = value_and_grad_operator(*inputs)
    return value if call.normalizer is None else value / call.normalizer

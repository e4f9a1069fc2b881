"""Where torch puts the axes of its results in memory: how strides of inputs decide those of results."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from ._tensors import REFUSALS

# Sizes and strides of a tensor with the same order of axes and at most two elements an axis; and: does it hold labels?
Form = tuple[tuple[int, ...], tuple[int, ...], bool]
Order = tuple[int, ...]


def are_contiguous(*tensors: Any) -> bool:
    """Tell whether all are contiguous; then so are torch's results."""
    for t in tensors:  # noqa: SIM110  # a generator takes twice the time, and small calls come here
        if t is not None and not t.is_contiguous():
            return False
    return True


def laid_out(tensor: Any, order: Order | None) -> Any:
    """Return a tensor of the same values, dense, with its axes in this order in memory; itself where it is so."""
    if order is None:
        return tensor.contiguous()
    ordered = tensor.permute(order)
    if ordered.is_contiguous():
        return tensor
    return ordered.contiguous().permute([order.index(axis) for axis in range(len(order))])


def result_as_torch_s(result: Any, function: Callable[..., Any], arguments: Any, tensors: Sequence[Any]) -> Any:
    """Return what ``function(*tensors, *arguments)`` returns with torch's strides."""
    return laid_out(result, None if are_contiguous(*tensors) else torch_orders(function, arguments, tensors)[0])


def grads_as_torch_s(
    grads: Sequence[Any],
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    tensors: Sequence[Any],
    upstream: Any = None,
) -> tuple[Any, ...]:
    """Return gradients with respect to the first of the tensors, None among them, with torch's strides."""
    orders: tuple[Order | None, ...] = (None,) * len(tensors)
    if not are_contiguous(*tensors, upstream):
        orders = torch_orders(function, arguments, tensors, [grad is not None for grad in grads], upstream)[1:]
    return tuple(None if grad is None else laid_out(grad, order) for grad, order in zip(grads, orders, strict=False))


def torch_orders(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    tensors: Sequence[Any],
    wanted: Sequence[bool] = (),
    upstream: Any = None,
) -> tuple[Order | None, ...]:
    """Return the order of axes of what ``function(*tensors, *arguments)`` returns, and of each tensor's gradient.

    None stands for a contiguous result, and for a gradient that is not `wanted`.
    """
    forms = tuple(None if t is None else _form(t) for t in tensors)
    above = None if upstream is None else _form(upstream)
    return _orders(function, arguments, forms, (*wanted, *(False,) * (len(forms) - len(wanted))), above)


def _form(t: Any) -> Form:
    """Return sizes and strides as small as they may be; those that are given may be symbols of a compiler."""
    strides, step, dense = [0] * t.dim(), 1, 1
    for axis in sorted(range(t.dim() - 1, -1, -1), key=t.stride):
        if t.stride(axis) != 0:
            if t.shape[axis] != 1 and t.stride(axis) != dense:
                step *= 2
            strides[axis], dense = step, t.stride(axis) * t.shape[axis]
            step *= 1 if t.shape[axis] == 1 else 2
    return tuple(1 if n == 1 else 2 for n in t.shape), tuple(strides), not t.dtype.is_floating_point


@functools.lru_cache(maxsize=1024)
def _orders(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    forms: tuple[Form | None, ...],
    wanted: tuple[bool, ...],
    above: Form | None,
) -> tuple[Order | None, ...]:
    """Ask torch, in a thread of its own, where no mode, autocast or tracing of the caller's is on."""

    def ask() -> tuple[Order | None, ...]:
        orders: list[Order | None] = [None] * (1 + len(forms))
        tensors: list[Any] = [None if form is None else _sample(form) for form in forms]
        leaves = {i: tensors[i].requires_grad_() for i, want in enumerate(wanted) if want}
        try:
            value = function(*tensors, *arguments)
            orders[0] = _order(value)
            if leaves:
                upstream = torch.ones_like(value) if above is None else _sample(above)
                for i, grad in zip(leaves, torch.autograd.grad(value, leaves.values(), upstream), strict=True):
                    orders[1 + i] = _order(grad)
        except (*REFUSALS, IndexError):
            pass  # torch refuses what kernels take, and has no layout for it: contiguous
        return tuple(orders)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(ask).result()


def _sample(form: Form) -> Any:
    sizes, strides, are_labels = form
    size = 1 + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
    # Numbers that are predictions, probabilities, variances and weights alike.
    memory = torch.zeros(size, dtype=torch.int64) if are_labels else torch.full((size,), 0.5, dtype=torch.float32)
    return memory.as_strided(sizes, strides)


def _order(t: Any) -> Order | None:
    return None if t.is_contiguous() else tuple(sorted(range(t.dim()), key=lambda axis: -t.stride(axis)))

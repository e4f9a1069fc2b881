"""Losses of logits, and of a last layer, whose classes are split over the ranks of ``torch.distributed``.

Inputs are this rank's part, or a `DTensor` that is sharded over its last axis, as under
``torch.distributed.tensor.parallel.loss_parallel``::

    loss = lossk.torch.distributed.cross_entropy(logits, labels)  # of this rank's classes, or a DTensor
    loss.backward()
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..distributed import VocabParallelCrossEntropy, VocabParallelLinearCrossEntropy
from ._exchange import arrays_of
from ._tensors import is_plain, tensor_of, value_tensor

__all__ = ["cross_entropy", "linear_cross_entropy"]


class _Loss(torch.autograd.Function):
    """A loss in the graph: gradients are made with the value, and handed over backward."""

    @staticmethod
    def forward(ctx: Any, call: Any, rows: bool, *tensors: Any) -> Any:
        """Return the loss; keep the gradients of the tensors that want one."""
        ctx.rows, ctx.kept = rows, None
        arrays = arrays_of(*(t if t is None else t.detach().contiguous() for t in tensors))
        if not any(ctx.needs_input_grad):
            value = call(*arrays)
        else:
            value, grads = call.value_and_grad(*arrays)
            ctx.kept = [
                tensor_of(g) if g is not None else None for g in (grads if isinstance(grads, tuple) else [grads])
            ]
        return value_tensor(value, tensors[0].dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        """Return the gradients times `upstream`."""
        if ctx.kept is None:
            raise RuntimeError(
                "lossk.torch.distributed: got a second backward pass, wanted one: gradients are not kept"
            )
        factor = upstream.unsqueeze(-1) if ctx.rows else upstream
        wanted = ctx.needs_input_grad[2:]
        # Of a layer without bias there is a gradient None at the end.
        pairs = zip(ctx.kept[: len(wanted)], wanted, strict=True)
        grads = [grad.mul_(factor) if want else None for grad, want in pairs]
        ctx.kept = None
        return None, None, *grads


class _Call:
    """A loss, and the arguments of its calls that no gradient goes to."""

    def __init__(self, layer: Any, target: Any, options: dict[str, Any]) -> None:
        self.layer, self.target, self.options = layer, target, options

    def __call__(self, *inputs: Any) -> Any:
        return self.layer(*self._arranged(inputs), **self.options)

    def value_and_grad(self, *inputs: Any) -> Any:
        return self.layer.value_and_grad(*self._arranged(inputs), **self.options)

    def _arranged(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Put the target where the loss has it: second of two, third of a layer's."""
        first, *rest = inputs
        return (first, self.target) if not rest else (first, rest[0], self.target, *rest[1:])


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: Any = "mean",
    label_smoothing: float = 0.0,
    *,
    group: Any = None,
    z_loss: float = 0.0,
    softcap: float | None = None,
    equal_bits: bool = True,
    check: bool = True,
) -> Any:
    """Return ``torch.nn.functional.cross_entropy`` of logits whose classes are split over ranks.

    Parameters
    ----------
    input : Tensor (N, c), or DTensor (N, C) with the placement ``Shard(1)``
        Logits of this rank's classes; ranks hold consecutive ones.
    target : Tensor (N,) of integers, or DTensor that is replicated
        Labels over all classes, the same on all ranks.
    weight : Tensor (C,), optional
        Of all classes.
    ignore_index, reduction, label_smoothing
        As in torch.
    group : torch.distributed.ProcessGroup, optional
        The default group; of a DTensor that of its mesh.
    z_loss, softcap, equal_bits, check
        As in `lossk.distributed.VocabParallelCrossEntropy`.

    Returns
    -------
    Tensor
        The loss, the same on all ranks. Its gradient is that of this rank's logits, made with the value.

    Notes
    -----
    Every call agrees on options and shards by two small exchanges; make a
    `lossk.distributed.VocabParallelCrossEntropy` once where that counts.

    Examples
    --------
    >>> import torch, lossk.torch.distributed as over_ranks
    >>> logits = torch.zeros(2, 4, requires_grad=True)  # a process without a group holds all classes
    >>> loss = over_ranks.cross_entropy(logits, torch.tensor([0, 3]))
    >>> loss.backward()
    >>> round(loss.item(), 4), logits.grad[0].tolist()
    (1.3863, [-0.375, 0.125, 0.125, 0.125])
    """
    if input.dim() != 2:
        raise ValueError(f"input: got shape {tuple(input.shape)}, wanted (N, C)")
    logits, group = _local("input", input, 1, group)
    layer = VocabParallelCrossEntropy(
        group,
        logits.shape[-1],
        weight=None if weight is None else weight.detach().numpy(),
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        softcap=softcap,
        equal_bits=equal_bits,
        check=check,
    )
    call = _Call(layer, _labels(target), {"reduction": reduction})
    return _Loss.apply(call, reduction == "none", logits)


def linear_cross_entropy(
    input: Any,
    linear_weight: Any,
    target: Any,
    linear_bias: Any = None,
    *,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: Any = "mean",
    label_smoothing: float = 0.0,
    group: Any = None,
    z_loss: float = 0.0,
    softcap: float | None = None,
    chunk_bytes: int = 64 << 20,
    equal_bits: bool = True,
    check: bool = True,
) -> Any:
    """Return the cross-entropy of ``input @ linear_weight.T + linear_bias`` without its logits, classes over ranks.

    Parameters
    ----------
    input : Tensor (N, D)
        The same on all ranks; so is its gradient.
    linear_weight : Tensor (c, D), or DTensor (C, D) with the placement ``Shard(0)``
        Of this rank's classes.
    target : Tensor (N,) of integers
        Labels over all classes, the same on all ranks.
    linear_bias : Tensor (c,), or DTensor, optional
        Of this rank's classes.
    weight, ignore_index, reduction, label_smoothing, group, z_loss, softcap, equal_bits, check
        As in `cross_entropy`; `reduction` "mean" or "sum".
    chunk_bytes
        As in `lossk.distributed.VocabParallelLinearCrossEntropy`.

    Returns
    -------
    Tensor
        The loss, the same on all ranks.

    Examples
    --------
    >>> import torch, lossk.torch.distributed as over_ranks
    >>> x, w = torch.ones(2, 3, requires_grad=True), torch.zeros(4, 3, requires_grad=True)
    >>> loss = over_ranks.linear_cross_entropy(x, w, torch.tensor([0, 3]))
    >>> loss.backward()
    >>> round(loss.item(), 4), w.grad[0].tolist()
    (1.3863, [-0.25, -0.25, -0.25])
    """
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction: got {reduction!r}, wanted 'mean' or 'sum'")
    w, group = _local("linear_weight", linear_weight, 0, group)
    bias = None if linear_bias is None else _local("linear_bias", linear_bias, 0, group)[0]
    layer = VocabParallelLinearCrossEntropy(
        group,
        w.shape[0],
        weight=None if weight is None else weight.detach().numpy(),
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        softcap=softcap,
        chunk_bytes=chunk_bytes,
        equal_bits=equal_bits,
        check=check,
    )
    call = _Call(layer, _labels(target), {"reduction": reduction})
    inputs = (input, w) if bias is None else (input, w, bias)
    return _Loss.apply(call, False, *inputs)


def _local(name: str, tensor: Any, axis: int, group: Any) -> tuple[Any, Any]:
    """Return this rank's part of a tensor whose classes are on an axis, and its group."""
    if is_plain(tensor):
        return tensor, group
    from torch.distributed.tensor import DTensor

    if not isinstance(tensor, DTensor):
        raise TypeError(f"{name}: got {type(tensor).__name__}, wanted a dense tensor on the CPU, or a DTensor")
    placements, mesh = tensor.placements, tensor.device_mesh
    if mesh.ndim != 1 or not placements[0].is_shard(axis):
        raise ValueError(f"{name}: got a DTensor placed {placements}, wanted Shard({axis}) on a mesh of one axis")
    return tensor.to_local(), mesh.get_group()


def _labels(target: Any) -> Any:
    local = target if is_plain(target) else target.to_local()
    return np.ascontiguousarray(local.numpy())

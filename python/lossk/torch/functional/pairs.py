"""Losses of pairs and triplets as torch.nn.functional has them."""

from __future__ import annotations

from typing import Any

import torch

from .._explain import stand_aside
from .._originals import Original
from .._pairs import COSINE_EMBEDDING, MARGIN_RANKING, TRIPLET_MARGIN, evaluate
from .._tensors import torch_decides
from ._reduction import chosen

__all__ = [
    "cosine_embedding_loss",
    "margin_ranking_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


def margin_ranking_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Return the ranking loss of pairs of scores: `lossk.MarginRanking`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> x1, x2 = torch.tensor([2.0, 0.0]), torch.tensor([1.0, 1.0])
    >>> lossk.torch.margin_ranking_loss(x1, x2, torch.ones(2), margin=0.5)
    tensor(0.7500)
    """
    return evaluate(MARGIN_RANKING, (input1, input2, target), (margin,), chosen(size_average, reduce, reduction))


def cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Return the cosine embedding loss of pairs of vectors: `lossk.CosineEmbedding`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> x1, x2 = torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]])
    >>> lossk.torch.cosine_embedding_loss(x1, x2, torch.ones(1))
    tensor(0.0400)
    """
    return evaluate(COSINE_EMBEDDING, (input1, input2, target), (margin,), chosen(size_average, reduce, reduction))


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Return the triplet margin loss: `lossk.TripletMargin`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> anchor, positive, negative = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 5.5]])
    >>> lossk.torch.triplet_margin_loss(anchor, positive, negative)
    tensor(0.5000)
    """
    reduction = chosen(size_average, reduce, reduction)
    return evaluate(TRIPLET_MARGIN, (anchor, positive, negative), (margin, p, eps, swap), reduction)


_with_distance = Original("triplet_margin_with_distance_loss")


def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Any = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """Return the triplet margin loss of a distance: `lossk.TripletMargin` where it is a norm of differences.

    Such are None, ``torch.pairwise_distance`` and ``torch.nn.PairwiseDistance(p, eps)``; with any other function of two
    tensors torch computes the distances, and the loss of them.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> anchor, positive, negative = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 5.5]])
    >>> lossk.torch.triplet_margin_with_distance_loss(anchor, positive, negative)
    tensor(0.5000)
    """
    tensors = (anchor, positive, negative)
    norm = _norm_of(distance_function)
    if norm is None:
        stand_aside("triplet_margin_with_distance_loss", "a distance that is no norm of differences")
    elif margin > 0 and not (torch_decides() or TRIPLET_MARGIN.why_not(tensors)):
        return evaluate(TRIPLET_MARGIN, tensors, (margin, *norm, swap), reduction)
    named = {"distance_function": distance_function, "margin": margin, "swap": swap, "reduction": reduction}
    return _with_distance(tensors, *tensors, **named)


def _norm_of(distance: Any) -> tuple[float, float] | None:
    """Return p and eps of a distance that is the norm of ``x1 - x2 + eps``; None of others."""
    if distance is None or distance in (torch.pairwise_distance, torch.nn.functional.pairwise_distance):
        return 2.0, 1e-6
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    plain = type(distance) is torch.nn.PairwiseDistance and not distance.keepdim
    if not plain or any(getattr(distance, name, None) for name in hooks):
        return None
    return distance.norm, distance.eps

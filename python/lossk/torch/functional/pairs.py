"""Losses of pairs and triplets as torch.nn.functional has them."""

from __future__ import annotations

from typing import Any

from .._pairs import COSINE_EMBEDDING, MARGIN_RANKING, TRIPLET_MARGIN, evaluate
from ._reduction import chosen

__all__ = ["cosine_embedding_loss", "margin_ranking_loss", "triplet_margin_loss"]


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

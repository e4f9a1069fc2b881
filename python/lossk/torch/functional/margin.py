"""Losses of margins and distances as torch.nn.functional has them."""

from __future__ import annotations

from typing import Any

from .._autograd import evaluate
from .._losses import HINGE_EMBEDDING, SOFT_MARGIN
from ._reduction import chosen

__all__ = ["hinge_embedding_loss", "soft_margin_loss"]


def soft_margin_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Return the logistic loss of targets of -1 and 1: `lossk.Logistic`, which does not overflow as torch's does.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.soft_margin_loss(torch.tensor([1000.0]), torch.tensor([-1.0]))
    tensor(1000.)
    """
    return evaluate(SOFT_MARGIN, input, target, None, None, (), chosen(size_average, reduce, reduction))


def hinge_embedding_loss(
    input: Any,
    target: Any,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Return the hinge loss of distances: `lossk.HingeEmbedding`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> distances = torch.tensor([0.5, 0.25, 2.0])
    >>> lossk.torch.hinge_embedding_loss(distances, torch.tensor([1.0, -1.0, -1.0]), reduction="none")
    tensor([0.5000, 0.7500, 0.0000])
    """
    return evaluate(HINGE_EMBEDDING, input, target, None, None, (margin,), chosen(size_average, reduce, reduction))

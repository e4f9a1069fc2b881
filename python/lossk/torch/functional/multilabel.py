"""Losses of rows with any number of true classes as torch.nn.functional has them."""

from __future__ import annotations

from typing import Any

from .._autograd import evaluate
from .._losses import MULTILABEL_MARGIN, MULTILABEL_SOFT_MARGIN
from ._reduction import chosen

__all__ = ["multilabel_margin_loss", "multilabel_soft_margin_loss"]


def multilabel_margin_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Return the hinge loss of sets of labels, each row of the target a list that ends at -1: `lossk.MultiLabelMargin`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> z, labels = torch.tensor([[0.1, 0.2, 0.4, 0.8]]), torch.tensor([[3, 0, -1, 1]])
    >>> lossk.torch.multilabel_margin_loss(z, labels)
    tensor(0.8500)
    """
    return evaluate(MULTILABEL_MARGIN, input, target, None, None, (), chosen(size_average, reduce, reduction))


def multilabel_soft_margin_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Return the mean over classes of the binary cross-entropy of logits: `lossk.MultiLabelSoftMargin`.

    Inputs of more than two axes, and weights that are not one a class, are torch's own.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.multilabel_soft_margin_loss(torch.zeros(2, 3), torch.ones(2, 3))
    tensor(0.6931)
    """
    return evaluate(MULTILABEL_SOFT_MARGIN, input, target, None, weight, (), chosen(size_average, reduce, reduction))

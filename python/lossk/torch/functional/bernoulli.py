"""Binary cross-entropy as torch.nn.functional has it."""

from __future__ import annotations

from typing import Any

from .._autograd import evaluate
from .._losses import BCE, BCE_WITH_LOGITS
from ._reduction import chosen

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits"]


def binary_cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Return the binary cross-entropy of probabilities: `lossk.BinaryCrossEntropy`.

    Weights are broadcast; the mean divides by the number of elements.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.binary_cross_entropy(torch.tensor([0.5, 0.25]), torch.tensor([1.0, 0.0]))
    tensor(0.4904)
    """
    return evaluate(BCE, input, target, None, weight, (), chosen(size_average, reduce, reduction))


def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    """Return the binary cross-entropy of logits: `lossk.BinaryCrossEntropyWithLogits`.

    Weights are broadcast; the mean divides by the number of elements. `pos_weight` is one number, one a class (the last
    axis) or one an element; other shapes are torch's own. An infinite logit on the target's side costs nothing.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> z, y = torch.tensor([0.0, 1000.0]), torch.tensor([1.0, 0.0])
    >>> lossk.torch.binary_cross_entropy_with_logits(z, y, reduction="none", pos_weight=torch.tensor(3.0))
    tensor([   2.0794, 1000.0000])
    """
    reduction = chosen(size_average, reduce, reduction)
    return evaluate(BCE_WITH_LOGITS, input, target, pos_weight, weight, (), reduction)

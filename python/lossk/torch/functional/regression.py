"""Regression losses as torch.nn.functional has them."""

from __future__ import annotations

from typing import Any

from .._autograd import evaluate
from .._losses import HUBER, L1, MSE, SMOOTH_L1
from ._reduction import chosen

__all__ = ["huber_loss", "l1_loss", "mse_loss", "smooth_l1_loss"]


def mse_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """Return the squared error: `lossk.SquaredError`; with weights the mean divides by their sum.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.mse_loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0]))
    tensor(2.5000)
    """
    return evaluate(MSE, input, target, None, weight, (), chosen(size_average, reduce, reduction))


def l1_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """Return the absolute error: `lossk.AbsoluteError`; with weights the mean divides by their sum.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.l1_loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0]))
    tensor(1.5000)
    """
    return evaluate(L1, input, target, None, weight, (), chosen(size_average, reduce, reduction))


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    """Return the Huber loss: `lossk.Huber`; the mean divides by the number of elements, weights or not.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.huber_loss(torch.tensor([0.5, 3.0]), torch.zeros(2), reduction="none")
    tensor([0.1250, 2.5000])
    """
    return evaluate(HUBER, input, target, None, weight, (delta,), reduction)


def smooth_l1_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Any:
    """Return the smooth absolute error: `lossk.SmoothL1`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.smooth_l1_loss(torch.tensor([0.5, 3.0]), torch.zeros(2), reduction="none", beta=2.0)
    tensor([0.0625, 2.0000])
    """
    return evaluate(SMOOTH_L1, input, target, None, None, (beta,), chosen(size_average, reduce, reduction))

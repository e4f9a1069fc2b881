"""Negative log-likelihoods as torch.nn.functional has them."""

from __future__ import annotations

from typing import Any

import torch

from .._autograd import evaluate
from .._exchange import PLAIN, is_exporting
from .._explain import stand_aside
from .._losses import GAUSSIAN, POISSON
from .._tensors import torch_decides
from ._reduction import chosen

__all__ = ["gaussian_nll_loss", "poisson_nll_loss"]


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Return the negative log-likelihood of counts under a Poisson distribution: `lossk.PoissonNLL`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.poisson_nll_loss(torch.tensor([0.0, 0.0]), torch.tensor([0.0, 3.0]))
    tensor(1.)
    """
    reduction = chosen(size_average, reduce, reduction)
    return evaluate(POISSON, input, target, None, None, (log_input, full, eps), reduction)


def gaussian_nll_loss(
    input: Any,
    target: Any,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Any:
    """Return the negative log-likelihood under a Gaussian distribution with variance `var`: `lossk.GaussianNLL`.

    `var` is a number, or a tensor like `input`, or without its last axis, or with length 1 along one axis.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> z, y, var = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0]), torch.tensor([1.0, 4.0])
    >>> lossk.torch.gaussian_nll_loss(z, y, var, reduction="none")
    tensor([0.5000, 1.1931])
    """
    seen = is_exporting() if torch.compiler.is_compiling() else torch_decides()
    spread = None if seen else _spread(input, var)
    if spread is None:
        stand_aside("gaussian_nll_loss", "a mode or transform, or a variance that does not go with the input")
        return GAUSSIAN.original((input, target, var), input, target, var, full=full, eps=eps, reduction=reduction)
    return evaluate(GAUSSIAN, input, target, spread, None, (full, eps), reduction)


def _spread(input: Any, var: Any) -> Any:
    """Return the variance in the shape of `input`; None where it does not fit."""
    if type(input) not in PLAIN or (type(var) not in PLAIN and not isinstance(var, float)):
        return None
    if isinstance(var, float):
        return input.new_full((), var).expand(input.shape) if var >= 0 and input.is_floating_point() else None
    if var.shape == input.shape:
        return var
    if var.shape == input.shape[:-1]:
        var = var.unsqueeze(-1)
    different = [axis for axis, n in enumerate(input.shape) if var.shape[axis : axis + 1] != (n,)]
    one_axis = var.dim() == input.dim() and len(different) == 1 and var.shape[different[0]] == 1
    return var.expand(input.shape) if one_axis else None

"""Losses of rows of classes as torch.nn.functional has them."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from .._autograd import evaluate
from .._losses import CROSS_ENTROPY, KL_DIV, MULTI_MARGIN, NLL_LOSS
from .._tensors import torch_decides
from ._reduction import chosen

__all__ = ["cross_entropy", "kl_div", "multi_margin_loss", "nll_loss"]


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    inplace: bool = False,
) -> Any:
    """Return the cross-entropy of logits with labels or probabilities; `lossk.CrossEntropy` says how it is computed.

    As in torch, but: labels are of any integer type, a row that is ignored has gradient 0 whatever its logits hold,
    and a class of probability 0 costs nothing at a logit of -infinity.

    Parameters
    ----------
    input : Tensor, shape (C,), (N, C) or (N, C, d1, ...)
        Logits.
    target : Tensor
        Labels, shape (), (N,) or (N, d1, ...), or probabilities of the shape of `input`.
    weight : Tensor (C,), optional
        Weight of each class.
    size_average, reduce : bool, optional
        What torch had before `reduction`.
    ignore_index : int
        Rows with this label do not count.
    reduction : {"mean", "sum", "none"}
        ``"mean"`` divides by the rows' class weights, with probabilities by the number of rows.
    label_smoothing : float
        The share of the target that is spread evenly over all classes.
    inplace : bool
        lossk's own: let the gradient overwrite `input`, which must be neither a leaf nor a view of one and is of no use
        afterwards; one backward pass only. Without effect where no gradient is wanted and where torch computes the
        loss.

    Raises
    ------
    IndexError, ValueError, RuntimeError
        As in torch; RuntimeError if `inplace` would overwrite a leaf, and with ``reduction="none"`` or in float16,
        whose gradients are computed in the backward pass.

    References
    ----------
    ``torch.nn.functional.cross_entropy``.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    >>> loss = lossk.torch.cross_entropy(logits, torch.tensor([0, -100]))
    >>> loss.backward()
    >>> logits.grad
    tensor([[-0.2130,  0.1065,  0.1065],
            [ 0.0000,  0.0000,  0.0000]])
    """
    reduction = chosen(size_average, reduce, reduction)
    options = (ignore_index, label_smoothing)
    return evaluate(CROSS_ENTROPY, input, target, None, weight, options, reduction, inplace=inplace)


def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Return the negative log-likelihood of labels, of log-probabilities: `lossk.NLL`.

    Arguments are those of `cross_entropy`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.nll_loss(torch.tensor([[-1.0, -2.0], [-3.0, -4.0]]), torch.tensor([0, 1]))
    tensor(2.5000)
    """
    reduction = chosen(size_average, reduce, reduction)
    return evaluate(NLL_LOSS, input, target, None, weight, (ignore_index,), reduction)


def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """Return the hinge loss of scores over several classes: `lossk.MultiMargin`.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.multi_margin_loss(torch.tensor([[1.0, 0.5, -3.0]]), torch.tensor([0]))
    tensor(0.1667)
    """
    reduction = chosen(size_average, reduce, reduction)
    return evaluate(MULTI_MARGIN, input, target, None, weight, (p, margin), reduction)


def kl_div(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Any:
    """Return the Kullback-Leibler divergence of probabilities from log-probabilities: `lossk.KLDivergence`.

    ``"batchmean"`` divides by the length of the first axis, ``"mean"``, with a warning as in torch, by the number of
    elements; ``"none"`` is torch's own. A probability of 0 costs nothing at a log-probability of -infinity.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> p, q = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.25, 0.75]])
    >>> lossk.torch.kl_div(q.log(), p, reduction="batchmean")
    tensor(0.1438)
    """
    modern = reduction == "mean" and size_average is None and reduce is None
    reduction, why = chosen(size_average, reduce, reduction), None
    if modern and not torch.compiler.is_compiling() and not torch_decides():
        why = KL_DIV.why_not(input, target, None, None, reduction)
        if not why:  # else torch warns
            warnings.warn(
                "kl_div: reduction='mean' divides by the number of elements; 'batchmean' is the mean of the "
                "divergences",
                stacklevel=2,
            )
    return evaluate(KL_DIV, input, target, None, None, (log_target,), reduction, why=why)

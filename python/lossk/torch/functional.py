"""Losses and softmax with the names and signatures of torch.nn.functional.

Tensors on the CPU of float32, float64, float16 and (where ml_dtypes is installed) bfloat16 go to lossk's kernels,
without a copy; the gradient is computed with the value, in one pass. Everything else, and everything that torch
refuses, goes to torch's own function: other devices, subclasses of Tensor, broadcasting, transforms of
torch.func, gradients that lossk does not have. Second derivatives are torch's.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch.nn import _reduction as legacy

from ._autograd import evaluate
from ._explain import stand_aside
from ._linear import linear_cross_entropy
from ._losses import (
    BCE,
    BCE_WITH_LOGITS,
    CROSS_ENTROPY,
    GAUSSIAN,
    HINGE_EMBEDDING,
    HUBER,
    KL_DIV,
    L1,
    MSE,
    MULTI_MARGIN,
    NLL_LOSS,
    POISSON,
    SMOOTH_L1,
    SOFT_MARGIN,
)
from ._softmax import log_softmax, softmax
from ._tensors import PLAIN, torch_decides

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "linear_cross_entropy",
    "log_softmax",
    "mse_loss",
    "multi_margin_loss",
    "nll_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
]


def _chosen(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """Return the reduction, which the arguments of old override."""
    if size_average is None and reduce is None:
        return reduction
    if torch.compiler.is_compiling():  # which does not put functions that return no tensor into a graph
        mean, reduced = size_average is None or size_average, reduce is None or reduce
        return "none" if not reduced else "mean" if mean else "sum"
    return str(legacy.legacy_get_string(size_average, reduce))


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
        afterwards; one backward pass only. Without effect where no gradient is wanted, with ``reduction="none"``, in
        float16 and where torch computes the loss.

    Raises
    ------
    IndexError, ValueError, RuntimeError
        As in torch; RuntimeError if `inplace` would overwrite a leaf.

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
    reduction = _chosen(size_average, reduce, reduction)
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
    reduction = _chosen(size_average, reduce, reduction)
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
    reduction = _chosen(size_average, reduce, reduction)
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
    seen = torch.compiler.is_compiling() or torch_decides()
    if modern and not seen and not KL_DIV.why_not(input, target, None, None, reduction):
        warnings.warn(
            "kl_div: reduction='mean' divides by the number of elements; 'batchmean' is the mean of the divergences",
            stacklevel=2,
        )
    return evaluate(KL_DIV, input, target, None, None, (log_target,), _chosen(size_average, reduce, reduction))


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
    return evaluate(MSE, input, target, None, weight, (), _chosen(size_average, reduce, reduction))


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
    return evaluate(L1, input, target, None, weight, (), _chosen(size_average, reduce, reduction))


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
    return evaluate(SMOOTH_L1, input, target, None, None, (beta,), _chosen(size_average, reduce, reduction))


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
    return evaluate(SOFT_MARGIN, input, target, None, None, (), _chosen(size_average, reduce, reduction))


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
    return evaluate(HINGE_EMBEDDING, input, target, None, None, (margin,), _chosen(size_average, reduce, reduction))


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
    return evaluate(BCE, input, target, None, weight, (), _chosen(size_average, reduce, reduction))


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
    reduction = _chosen(size_average, reduce, reduction)
    return evaluate(BCE_WITH_LOGITS, input, target, pos_weight, weight, (), reduction)


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
    reduction = _chosen(size_average, reduce, reduction)
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
    seen = torch.compiler.is_exporting() if torch.compiler.is_compiling() else torch_decides()
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

"""The losses of torch.nn.functional: their options there, and the class of lossk that computes each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .. import (
    NLL,
    AbsoluteError,
    BinaryCrossEntropy,
    BinaryCrossEntropyWithLogits,
    CrossEntropy,
    GaussianNLL,
    HingeEmbedding,
    Huber,
    KLDivergence,
    Logistic,
    MultiLabelMargin,
    MultiLabelSoftMargin,
    MultiMargin,
    PoissonNLL,
    SmoothL1,
    SquaredError,
)
from .._arrays import Array
from .._request import GRAD_AND_HESS, Fields
from ..losses._base import product_of_weights
from ._exchange import PLAIN
from ._originals import Original
from ._tensors import FLOATS, HALVES, INTEGERS, REFUSALS, is_plain

# Prediction, target, third input and weight.
Arrays = tuple[Array, Array, Array | None, Array | None]


class TorchLoss:
    """A loss as torch calls it: which class of lossk computes it, and torch's function for everything else.

    `options` are torch's names of what the class is made from, in its order, and their types. `third` is torch's name
    of an input besides prediction, target and weight. A loss that is `even` is the same when prediction and target
    change places.
    """

    # Does `run` know the gradient with respect to the third input? Does autocast make float32 of 16 bits?
    third_has_grad = False
    widens = True
    # Does torch look whether inputs are in the loss's domain?
    checks = False
    # What the second tensor of the most common case is: labels, or like the first; None: there is no such case.
    of_labels: bool | None = None
    refusals: tuple[type[Exception], ...] = REFUSALS

    def __init__(
        self, name: str, make: Callable[..., Any], third: str = "", even: bool = False, **options: type
    ) -> None:
        self.name, self.third, self.even, self.options = name, third, even, options
        self.original = Original(name)
        self.make = functools.lru_cache(maxsize=64, typed=True)(make)

    def by_torch(self, z: Any, y: Any, x: Any, w: Any, options: tuple[Any, ...], reduction: str) -> Any:
        """Call torch's own function."""
        keywords = dict(zip(self.options, options, strict=True))
        if x is not None:
            keywords[self.third] = x
        if w is not None:
            keywords["weight"] = w
        return self.original((z, y, x, w), z, y, reduction=reduction, **keywords)

    def formula(self, z: Any, y: Any, x: Any, w: Any, options: tuple[Any, ...], reduction: str) -> Any:
        """Return by torch's operations what lossk takes: without warnings, and of labels of every type."""
        return self.by_torch(z, y.long() if y.dtype in INTEGERS else y, x, w, options, reduction)

    def from_numbers(self, numbers: list[float]) -> tuple[Any, ...]:
        """Return options as they were before operators made floats of them."""
        return tuple(kind(number) for kind, number in zip(self.options.values(), numbers, strict=True))

    def is_wide(self, z: Any, wide: bool) -> bool:
        """Tell whether the loss of these predictions is float32 of 16 bits, as it is where `wide` or under autocast."""
        return z.dtype in HALVES and (wide or (self.widens and torch.is_autocast_enabled("cpu")))

    def why_not(self, z: Any, y: Any, x: Any, w: Any, reduction: str) -> str:
        """Return why lossk cannot compute this or the gradients wanted, which torch then does or refuses; "" if it can.

        Every look at a tensor costs a tenth of a microsecond; that it is dense, NumPy looks at.
        """
        if not (type(z) in PLAIN and type(y) in PLAIN):
            return "no plain tensors"
        if not (z.is_cpu and y.is_cpu):
            return "tensors that are not on the CPU"
        if z.dtype not in FLOATS:
            return "a type that kernels do not know"
        if not self.fits(z, y, x, w, reduction):
            return "types or shapes that do not go together without conversion, or a reduction of torch alone"
        if (
            (y.requires_grad and not self.even)
            or (x is not None and x.requires_grad and not self.third_has_grad)
            or (w is not None and w.requires_grad)
        ):
            return "a gradient that kernels do not have"
        return ""

    def fits(self, z: Any, y: Any, x: Any, w: Any, reduction: str) -> bool:
        """Tell whether types and shapes fit together."""
        raise NotImplementedError

    def divisor(self, arrays: Arrays, options: tuple[Any, ...], reduction: str) -> float:
        """Return what the reduction divides the sum by."""
        raise NotImplementedError

    def run(self, asked: Fields, options: tuple[Any, ...], cotangent: Array | None = None) -> Any:
        """Return what the verb returns; `cotangent` has an entry a sample, and goes with reduction "none".

        The request's arrays are torch's: its weight is one of samples or of classes.
        """
        raise NotImplementedError


class Pointwise(TorchLoss):
    """A loss of tensors of one shape.

    Where `mean` is "weights", it divides by their sum; else by the number of elements, weights or not.
    """

    of_labels = False

    def __init__(self, *names: Any, mean: str = "elements", checks: bool = False, **options: Any) -> None:
        super().__init__(*names, **options)
        self.checks = checks
        self.divides_by_weights = mean == "weights"

    def fits(self, z: Any, y: Any, x: Any, w: Any, reduction: str) -> bool:
        return (
            y.dtype is z.dtype
            and y.shape == z.shape
            and (w is None or (self._weight_fits(w, z) and w.dtype is z.dtype and is_plain(w)))
            and (x is None or (self._third_fits(x, z) and x.dtype is z.dtype and is_plain(x)))
        )

    def _weight_fits(self, w: Any, z: Any) -> bool:
        return bool(w.shape == z.shape)

    def _third_fits(self, x: Any, z: Any) -> bool:
        return bool(x.shape == z.shape)

    def divisor(self, arrays: Arrays, options: tuple[Any, ...], reduction: str) -> float:
        z, _, _, w = arrays
        if reduction == "sum":
            return 1.0
        return float(w.sum(dtype=np.float64)) if w is not None and self.divides_by_weights else float(z.size)

    def run(self, asked: Fields, options: tuple[Any, ...], cotangent: Array | None = None) -> Any:
        verb, z, y, x, w, reduction, normalizer, num_threads, out = asked
        if w is not None:
            w = np.broadcast_to(w, z.shape)
            if normalizer is None and reduction == "mean" and not self.divides_by_weights:
                normalizer = z.size
        if cotangent is not None:
            w = product_of_weights(z, cotangent, w, z.shape)
        loss, kernel = (self.make(*options), None) if x is None else self._loss(verb, x, options)
        return loss._run((verb, z, y, x, w, reduction, normalizer, num_threads, out, self.checks), kernel)

    def _loss(self, verb: int, x: Array, options: tuple[Any, ...]) -> tuple[Any, Any]:
        """Return a loss with a third input, and a kernel in place of its own."""
        raise NotImplementedError


class Binary(Pointwise):
    """A loss whose weights are broadcast to the prediction; its third input, if any, weighs the positive class."""

    def _weight_fits(self, w: Any, z: Any) -> bool:
        try:
            return bool(torch.broadcast_shapes(w.shape, z.shape) == z.shape)
        except RuntimeError:
            return False

    def _third_fits(self, x: Any, z: Any) -> bool:
        return bool((x.numel() == 1 and x.dim() <= z.dim()) or x.shape == z.shape[-1:] or x.shape == z.shape)

    def _loss(self, verb: int, x: Array, options: tuple[Any, ...]) -> tuple[Any, Any]:
        if x.size == 1:
            return self.make(float(x.item())), None
        return BinaryCrossEntropyWithLogits(x if x.dtype.kind == "f" else x.astype(np.float32)), None


class Gaussian(Pointwise):
    """A loss with a variance for each target; the verb of two derivatives gives those of mean and variance."""

    third_has_grad = True
    widens = False

    def _loss(self, verb: int, x: Array, options: tuple[Any, ...]) -> tuple[Any, Any]:
        loss = self.make(*options)
        return loss, loss._kernel_of("both") if verb == GRAD_AND_HESS else None


class Rows(TorchLoss):
    """A loss of rows along torch's class axis: the only one, or the second of several."""

    of_labels: bool | None = True

    def __init__(self, *names: Any, most_axes: int | None = None, **options: Any) -> None:
        super().__init__(*names, **options)
        self._most_axes = most_axes
        if "ignore_index" not in self.options:
            self.refusals = (*REFUSALS, IndexError)  # a wrong label is another error in torch here

    def fits(self, z: Any, y: Any, x: Any, w: Any, reduction: str) -> bool:
        axes = z.dim()
        if axes == 0 or z.shape[class_axis(axes)] == 0 or (self._most_axes is not None and axes > self._most_axes):
            return False
        if w is not None and not (is_plain(w) and w.dtype is z.dtype and w.shape == z.shape[class_axis(axes) :][:1]):
            return False
        return self._target_fits(z, y)

    def _target_fits(self, z: Any, y: Any) -> bool:
        if y.dtype in INTEGERS and y.dim() == z.dim() - 1:
            return bool(y.shape == (z.shape[1:] if z.dim() == 1 else z.shape[:1] + z.shape[2:]))
        return "label_smoothing" in self.options and y.dtype is z.dtype and y.shape == z.shape

    def divisor(self, arrays: Arrays, options: tuple[Any, ...], reduction: str) -> float:
        z, y, _, w = arrays
        if reduction == "sum":
            return 1.0
        rows = z.size // max(1, z.shape[class_axis(z.ndim)])
        if y.dtype.kind not in "iu" or "ignore_index" not in self.options:
            return float(rows)
        counted = y[y != options[list(self.options).index("ignore_index")]]
        return float(counted.size if w is None else w[counted].sum(dtype=np.float64))

    def run(self, asked: Fields, options: tuple[Any, ...], cotangent: Array | None = None) -> Any:
        verb, z, y, _, w, *how = asked
        if w is None:
            loss = self.make(*options)
        else:
            w = w if w.dtype.kind == "f" else w.astype(np.float32)
            loss = self.make.__wrapped__(*options, weight=w)
        return loss._run((verb, z, y, None, cotangent, *how, self.checks, False, False, -1 if z.ndim <= 2 else 1))


class Divergence(Rows):
    """The Kullback-Leibler divergence: torch's sums over all elements, lossk's over rows; the sums are the same."""

    of_labels = None

    def fits(self, z: Any, y: Any, x: Any, w: Any, reduction: str) -> bool:
        known = reduction in ("mean", "batchmean", "sum")
        return known and z.dim() > 0 and z.numel() > 0 and y.dtype is z.dtype and y.shape == z.shape

    def formula(self, z: Any, y: Any, x: Any, w: Any, options: tuple[Any, ...], reduction: str) -> Any:
        value = torch.kl_div(z, y, 1 if reduction == "mean" else 2, log_target=options[0])
        return value / z.shape[0] if reduction == "batchmean" else value

    def divisor(self, arrays: Arrays, options: tuple[Any, ...], reduction: str) -> float:
        z = arrays[0]
        return {"mean": float(z.size), "batchmean": float(z.shape[0]), "sum": 1.0}[reduction]

    def run(self, asked: Fields, options: tuple[Any, ...], cotangent: Array | None = None) -> Any:
        verb, z, y, _, _, reduction, normalizer, num_threads, out = asked
        if normalizer is None:
            normalizer = self.divisor((z, y, None, None), options, reduction)
        how = "mean", normalizer, num_threads, out, self.checks, False, False, -1
        return self.make(*options)._run((verb, z, y, None, cotangent, *how))


class Sets(Rows):
    """A loss of one or two axes with any number of true classes: lists of labels, or a number for each class."""

    of_labels = None
    widens = False

    def fits(self, z: Any, y: Any, x: Any, w: Any, reduction: str) -> bool:
        known = reduction in ("mean", "sum", "none") and 0 < z.dim() <= 2 and z.numel() > 0
        weighs = w is None or (is_plain(w) and w.dtype is z.dtype and w.shape == z.shape[-1:])
        if not (known and weighs and y.shape == z.shape):
            return False
        if self.make.__wrapped__ is not MultiLabelMargin:
            return y.dtype is z.dtype
        if y.dtype not in INTEGERS or torch.compiler.is_dynamo_compiling():  # which cannot look into lists
            return y.dtype in INTEGERS
        # torch counts a label twice that a list has twice, and refuses numbers below -1 and behind the end.
        lists = y.sort(dim=-1).values
        twice = (lists[..., 1:] == lists[..., :-1]) & (lists[..., 1:] >= 0)
        return not bool(twice.any()) and bool((lists >= -1).all()) and bool((lists < z.shape[-1]).all())


def class_axis(axes: int) -> int:
    """Return where torch has the classes of a tensor with so many axes."""
    return 0 if axes == 1 else 1


def _cross_entropy(ignore_index: int, label_smoothing: float, weight: Array | None = None) -> CrossEntropy:
    return CrossEntropy(weight, _number(ignore_index), label_smoothing)


def _nll(ignore_index: int, weight: Array | None = None) -> NLL:
    return NLL(weight, _number(ignore_index))


def _number(ignore_index: int) -> int:
    if ignore_index is None:  # lossk's for no label, and no number to torch
        raise TypeError("ignore_index: got None, wanted an integer")
    return ignore_index


MSE = Pointwise("mse_loss", SquaredError, even=True, mean="weights")
L1 = Pointwise("l1_loss", AbsoluteError, even=True, mean="weights")
HUBER = Pointwise("huber_loss", Huber, even=True, delta=float)
SMOOTH_L1 = Pointwise("smooth_l1_loss", SmoothL1, even=True, beta=float)
SOFT_MARGIN = Pointwise("soft_margin_loss", Logistic)
HINGE_EMBEDDING = Pointwise("hinge_embedding_loss", HingeEmbedding, margin=float)
POISSON = Pointwise("poisson_nll_loss", PoissonNLL, log_input=bool, full=bool, eps=float)
GAUSSIAN = Gaussian("gaussian_nll_loss", GaussianNLL, third="var", even=True, checks=True, full=bool, eps=float)
BCE = Binary("binary_cross_entropy", BinaryCrossEntropy, checks=True)
BCE_WITH_LOGITS = Binary("binary_cross_entropy_with_logits", BinaryCrossEntropyWithLogits, third="pos_weight")
CROSS_ENTROPY = Rows("cross_entropy", _cross_entropy, ignore_index=int, label_smoothing=float)
NLL_LOSS = Rows("nll_loss", _nll, ignore_index=int)
MULTI_MARGIN = Rows("multi_margin_loss", MultiMargin, most_axes=2, p=int, margin=float)
MULTILABEL_MARGIN = Sets("multilabel_margin_loss", MultiLabelMargin)
MULTILABEL_SOFT_MARGIN = Sets("multilabel_soft_margin_loss", MultiLabelSoftMargin)
KL_DIV = Divergence("kl_div", KLDivergence, log_target=bool)

LOSSES = {
    loss.name: loss
    for loss in (
        *(MSE, L1, HUBER, SMOOTH_L1, SOFT_MARGIN, HINGE_EMBEDDING, POISSON, GAUSSIAN, BCE, BCE_WITH_LOGITS),
        *(CROSS_ENTROPY, NLL_LOSS, MULTI_MARGIN, MULTILABEL_MARGIN, MULTILABEL_SOFT_MARGIN, KL_DIV),
    )
}

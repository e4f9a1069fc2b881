"""Losses and softmax as modules: torch.nn's classes, whose forward calls lossk.

Arguments, states, ``repr`` and ``isinstance`` are those of the class of the same name in torch.nn; what the loss is,
`lossk.torch.functional` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from . import functional

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CTCLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "LogSoftmax",
    "MSELoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "Softmax",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]


def _forward(function: Callable[..., Any], *attributes: str) -> Callable[..., Any]:
    """Return a forward that calls the function with these attributes of the module."""

    def forward(self: Any, *inputs: Any, **named: Any) -> Any:
        return function(*inputs, **named, **{name: getattr(self, name) for name in attributes})

    return forward


class CrossEntropyLoss(nn.CrossEntropyLoss):
    """`cross_entropy` as a module.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.CrossEntropyLoss(label_smoothing=0.1)(torch.zeros(2, 4), torch.tensor([0, 3]))
    tensor(1.3863)
    """

    forward = _forward(functional.cross_entropy, "weight", "ignore_index", "reduction", "label_smoothing")


class CTCLoss(nn.CTCLoss):
    """`ctc_loss` as a module."""

    forward = _forward(functional.ctc_loss, "blank", "reduction", "zero_infinity")


class NLLLoss(nn.NLLLoss):
    """`nll_loss` as a module."""

    forward = _forward(functional.nll_loss, "weight", "ignore_index", "reduction")


class MultiMarginLoss(nn.MultiMarginLoss):
    """`multi_margin_loss` as a module."""

    forward = _forward(functional.multi_margin_loss, "p", "margin", "weight", "reduction")


class MultiLabelMarginLoss(nn.MultiLabelMarginLoss):
    """`multilabel_margin_loss` as a module."""

    forward = _forward(functional.multilabel_margin_loss, "reduction")


class MultiLabelSoftMarginLoss(nn.MultiLabelSoftMarginLoss):
    """`multilabel_soft_margin_loss` as a module."""

    forward = _forward(functional.multilabel_soft_margin_loss, "weight", "reduction")


class MarginRankingLoss(nn.MarginRankingLoss):
    """`margin_ranking_loss` as a module."""

    forward = _forward(functional.margin_ranking_loss, "margin", "reduction")


class CosineEmbeddingLoss(nn.CosineEmbeddingLoss):
    """`cosine_embedding_loss` as a module."""

    forward = _forward(functional.cosine_embedding_loss, "margin", "reduction")


class TripletMarginLoss(nn.TripletMarginLoss):
    """`triplet_margin_loss` as a module."""

    forward = _forward(functional.triplet_margin_loss, "margin", "p", "eps", "swap", "reduction")


class TripletMarginWithDistanceLoss(nn.TripletMarginWithDistanceLoss):
    """`triplet_margin_with_distance_loss` as a module."""

    _attributes = ("distance_function", "margin", "swap", "reduction")
    forward = _forward(functional.triplet_margin_with_distance_loss, *_attributes)


class KLDivLoss(nn.KLDivLoss):
    """`kl_div` as a module."""

    forward = _forward(functional.kl_div, "reduction", "log_target")


class MSELoss(nn.MSELoss):
    """`mse_loss` as a module."""

    forward = _forward(functional.mse_loss, "reduction")


class L1Loss(nn.L1Loss):
    """`l1_loss` as a module."""

    forward = _forward(functional.l1_loss, "reduction")


class HuberLoss(nn.HuberLoss):
    """`huber_loss` as a module."""

    forward = _forward(functional.huber_loss, "reduction", "delta")


class SmoothL1Loss(nn.SmoothL1Loss):
    """`smooth_l1_loss` as a module."""

    forward = _forward(functional.smooth_l1_loss, "reduction", "beta")


class SoftMarginLoss(nn.SoftMarginLoss):
    """`soft_margin_loss` as a module."""

    forward = _forward(functional.soft_margin_loss, "reduction")


class HingeEmbeddingLoss(nn.HingeEmbeddingLoss):
    """`hinge_embedding_loss` as a module."""

    forward = _forward(functional.hinge_embedding_loss, "margin", "reduction")


class BCELoss(nn.BCELoss):
    """`binary_cross_entropy` as a module."""

    forward = _forward(functional.binary_cross_entropy, "weight", "reduction")


class BCEWithLogitsLoss(nn.BCEWithLogitsLoss):
    """`binary_cross_entropy_with_logits` as a module."""

    forward = _forward(functional.binary_cross_entropy_with_logits, "weight", "reduction", "pos_weight")


class PoissonNLLLoss(nn.PoissonNLLLoss):
    """`poisson_nll_loss` as a module."""

    forward = _forward(functional.poisson_nll_loss, "log_input", "full", "eps", "reduction")


class GaussianNLLLoss(nn.GaussianNLLLoss):
    """`gaussian_nll_loss` as a module."""

    forward = _forward(functional.gaussian_nll_loss, "full", "eps", "reduction")


class Softmax(nn.Softmax):
    """`softmax` as a module."""

    forward = _forward(functional.softmax, "dim")


class LogSoftmax(nn.LogSoftmax):
    """`log_softmax` as a module."""

    forward = _forward(functional.log_softmax, "dim")


if hasattr(nn, "LinearCrossEntropyLoss"):  # older releases of torch do not have it
    __all__ += ["LinearCrossEntropyLoss"]

    class LinearCrossEntropyLoss(nn.LinearCrossEntropyLoss):
        """`linear_cross_entropy` as a module, with the layer in it."""

        def forward(self, input: Any, target: Any) -> Any:
            """Return the loss."""
            shape = (self.num_classes, *self.out_features)
            weight, bias = self.linear.weight, self.linear.bias
            return functional.linear_cross_entropy(
                input,
                weight if not self.out_features else weight.reshape(*shape, self.linear.in_features),
                target,
                linear_bias=bias if bias is None or not self.out_features else bias.reshape(shape),
                weight=self.weight,
                reduction=self.reduction,
                ignore_index=self.ignore_index,
                label_smoothing=self.label_smoothing,
                options=self.options,
            )

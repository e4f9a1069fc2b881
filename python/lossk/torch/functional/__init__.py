"""Losses and softmax with the names and signatures of torch.nn.functional.

Tensors on the CPU of float32, float64, float16 and (where ml_dtypes is installed) bfloat16 go to lossk's kernels,
without a copy; the gradient is computed with the value, in one pass. Everything else, and everything that torch
refuses, goes to torch's own function: other devices, subclasses of Tensor, broadcasting, transforms of
torch.func, gradients that lossk does not have. Second derivatives are torch's.
"""

from .._ctc import ctc_loss
from .._linear import linear_cross_entropy
from .._softmax import log_softmax, softmax
from .bernoulli import *
from .likelihood import *
from .margin import *
from .multilabel import *
from .pairs import *
from .regression import *
from .rows import *

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cross_entropy",
    "ctc_loss",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "linear_cross_entropy",
    "log_softmax",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]

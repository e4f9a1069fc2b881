"""Loss, activation and optimizer kernels for CPUs: fused, exact, reproducible to the bit.

A loss is an object; arrays, how to reduce and where to write are arguments of its verbs::

    loss, dlogits = lossk.CrossEntropy(label_smoothing=0.1).value_and_grad(logits, labels)
"""

from . import information
from ._rows import RowStats
from ._runtime import (
    available_isas,
    get_num_threads,
    isa,
    set_isa,
    set_num_threads,
    show_versions,
    threads,
)
from .activations import SELU, LeakyReLU, ReLU, Sigmoid, Softplus, Tanh
from .bernoulli import BinaryCrossEntropy, BinaryCrossEntropyWithLogits, Focal
from .binary import Exponential, Hinge, HingeEmbedding, Logistic, SquaredHinge
from .cross_entropy import CrossEntropy
from .likelihood import Gamma, GaussianNLL, PoissonNLL, Tweedie
from .linear import LinearCrossEntropy
from .optimizers import SGD, Adagrad, Adam, AdamW, Lion, RMSprop, StepResult, clip_grad_norm
from .regression import AbsoluteError, Huber, LogCosh, PseudoHuber, Quantile, SmoothL1, SquaredError
from .row_functions import log_softmax, logsumexp, softmax
from .rows import NLL, KLDivergence, MultiMargin

__version__ = "0.1.0"

__all__ = [
    "NLL",
    "SELU",
    "SGD",
    "AbsoluteError",
    "Adagrad",
    "Adam",
    "AdamW",
    "BinaryCrossEntropy",
    "BinaryCrossEntropyWithLogits",
    "CrossEntropy",
    "Exponential",
    "Focal",
    "Gamma",
    "GaussianNLL",
    "Hinge",
    "HingeEmbedding",
    "Huber",
    "KLDivergence",
    "LeakyReLU",
    "LinearCrossEntropy",
    "Lion",
    "LogCosh",
    "Logistic",
    "MultiMargin",
    "PoissonNLL",
    "PseudoHuber",
    "Quantile",
    "RMSprop",
    "ReLU",
    "RowStats",
    "Sigmoid",
    "SmoothL1",
    "Softplus",
    "SquaredError",
    "SquaredHinge",
    "StepResult",
    "Tanh",
    "Tweedie",
    "available_isas",
    "clip_grad_norm",
    "get_num_threads",
    "information",
    "isa",
    "log_softmax",
    "logsumexp",
    "set_isa",
    "set_num_threads",
    "show_versions",
    "softmax",
    "threads",
]

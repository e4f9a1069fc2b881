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
from .binary import Hinge, SquaredHinge
from .cross_entropy import CrossEntropy
from .optimizers import SGD
from .regression import AbsoluteError, Huber, SquaredError
from .row_functions import log_softmax, logsumexp, softmax
from .rows import NLL, KLDivergence, MultiMargin

__version__ = "0.1.0"

__all__ = [
    "NLL",
    "SELU",
    "SGD",
    "AbsoluteError",
    "CrossEntropy",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LeakyReLU",
    "MultiMargin",
    "ReLU",
    "RowStats",
    "Sigmoid",
    "Softplus",
    "SquaredError",
    "SquaredHinge",
    "Tanh",
    "available_isas",
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

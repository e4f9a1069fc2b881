"""Loss, activation and optimizer kernels for CPUs: fused, exact, reproducible to the bit.

A loss is an object; arrays, how to reduce and where to write are arguments of its verbs::

    loss, dlogits = lossk.CrossEntropy(label_smoothing=0.1).value_and_grad(logits, labels)
"""

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
from .activations import log_softmax, logsumexp, softmax
from .binary import Hinge, SquaredHinge
from .cross_entropy import CrossEntropy
from .optimizers import SGD, Adagrad, Adam, AdamW, Lion, RMSprop, StepResult, clip_grad_norm
from .regression import AbsoluteError, Huber, SquaredError
from .rows import NLL, KLDivergence, MultiMargin

__version__ = "0.1.0"

__all__ = [
    "NLL",
    "SGD",
    "AbsoluteError",
    "Adagrad",
    "Adam",
    "AdamW",
    "CrossEntropy",
    "Hinge",
    "Huber",
    "KLDivergence",
    "Lion",
    "MultiMargin",
    "RMSprop",
    "RowStats",
    "SquaredError",
    "SquaredHinge",
    "StepResult",
    "available_isas",
    "clip_grad_norm",
    "get_num_threads",
    "isa",
    "log_softmax",
    "logsumexp",
    "set_isa",
    "set_num_threads",
    "show_versions",
    "softmax",
    "threads",
]

"""Loss, activation and optimizer kernels for CPUs: fused, exact, reproducible to the bit.

A loss is an object; arrays, how to reduce and where to write are arguments of its verbs::

    loss, dlogits = lossk.CrossEntropy(label_smoothing=0.1).value_and_grad(logits, labels)
"""

from . import activations, bernoulli, binary, information, likelihood, regression, rows
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
from .activations import *
from .bernoulli import *
from .binary import *
from .cross_entropy import CrossEntropy
from .likelihood import *
from .linear import LinearCrossEntropy
from .optimizers import SGD, Adagrad, Adam, AdamW, Lion, RMSprop, StepResult, clip_grad_norm
from .regression import *
from .row_functions import log_softmax, logsumexp, softmax
from .rows import *

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "CrossEntropy",
    "LinearCrossEntropy",
    "Lion",
    "RMSprop",
    "RowStats",
    "StepResult",
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

# A loss or an activation is public by its own module's list.
__all__ += activations.__all__
__all__ += bernoulli.__all__
__all__ += binary.__all__
__all__ += likelihood.__all__
__all__ += regression.__all__
__all__ += rows.__all__

"""Loss, activation and optimizer kernels for CPUs: fused, exact, reproducible to the bit.

A loss is an object; arrays, how to reduce and where to write are arguments of its verbs::

    loss, dlogits = lossk.CrossEntropy(label_smoothing=0.1).value_and_grad(logits, labels)
"""

import importlib as _importlib
import typing as _typing

from . import activations, information
from ._linear import LinearCrossEntropy
from ._names import meant as _meant
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
from .losses import RowStats
from .losses import bernoulli as _bernoulli
from .losses import cross_entropy as _cross_entropy
from .losses import ctc as _ctc
from .losses import divergences as _divergences
from .losses import gaussian_nll as _gaussian_nll
from .losses import insensitive as _insensitive
from .losses import likelihood as _likelihood
from .losses import margin as _margin
from .losses import multilabel as _multilabel
from .losses import overlap as _overlap
from .losses import pairs as _pairs
from .losses import regression as _regression
from .losses import relative as _relative
from .losses import rows as _rows
from .losses import triplet as _triplet
from .losses.bernoulli import *
from .losses.cross_entropy import *
from .losses.ctc import *
from .losses.divergences import *
from .losses.gaussian_nll import *
from .losses.insensitive import *
from .losses.likelihood import *
from .losses.margin import *
from .losses.multilabel import *
from .losses.overlap import *
from .losses.pairs import *
from .losses.regression import *
from .losses.relative import *
from .losses.rows import *
from .losses.triplet import *
from .optimizers import (
    ASGD,
    LAMB,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lion,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
    StepResult,
    clip_grad_norm,
)
from .row_functions import log_softmax, logsumexp, softmax

__version__ = "0.1.0"

__all__ = [
    "ASGD",
    "LAMB",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "LinearCrossEntropy",
    "Lion",
    "NAdam",
    "RAdam",
    "RMSprop",
    "RowStats",
    "Rprop",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
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
__all__ += _bernoulli.__all__
__all__ += _cross_entropy.__all__
__all__ += _ctc.__all__
__all__ += _divergences.__all__
__all__ += _gaussian_nll.__all__
__all__ += _insensitive.__all__
__all__ += _likelihood.__all__
__all__ += _margin.__all__
__all__ += _multilabel.__all__
__all__ += _overlap.__all__
__all__ += _pairs.__all__
__all__ += _regression.__all__
__all__ += _relative.__all__
__all__ += _rows.__all__
__all__ += _triplet.__all__


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


if not _typing.TYPE_CHECKING:  # to which any name would be there

    def __getattr__(name: str) -> _typing.Any:
        if name == "objectives":  # needs nothing but NumPy, but few need it
            return _importlib.import_module("lossk.objectives")
        text = f"module 'lossk' has no attribute {name!r}"
        if name in ("torch", "sklearn", "distributed", "cli"):
            text += f" until it is imported: import lossk.{name}"
        elif not name.startswith("_") and (call := _meant(name, {public: globals()[public] for public in __all__})):
            text += f": is {call} meant?"
        raise AttributeError(text)

"""Optimizers: in-place updates of lists or dicts of arrays, and the clipping of gradients.

A step over all parameters is one call, and one parallel region::

    >>> import numpy as np, lossk
    >>> w, b = np.array([1.0, -2.0]), np.array(0.5)
    >>> adamw = lossk.AdamW({"w": w, "b": b}, lr=0.1)
    >>> adamw.step({"w": np.array([3.0, 4.0]), "b": np.array(0.0)}, max_norm=1.0)
    StepResult(applied=True, grad_norm=5.0)
    >>> w.round(3)
    array([ 0.899, -2.098])
"""

from ._base import OPTIMIZERS, Optimizer
from ._plan import StepResult
from .adadelta import Adadelta
from .adagrad import Adagrad
from .adam import Adam, AdamW
from .adamax import Adamax
from .asgd import ASGD
from .clip import clip_grad_norm
from .lamb import LAMB
from .lion import Lion
from .nadam import NAdam, RAdam
from .rmsprop import RMSprop
from .rprop import Rprop
from .schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
from .sgd import SGD

__all__ = [
    "ASGD",
    "LAMB",
    "OPTIMIZERS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "StepResult",
    "clip_grad_norm",
]

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
from .adagrad import Adagrad
from .adam import Adam, AdamW
from .clip import clip_grad_norm
from .lion import Lion
from .rmsprop import RMSprop
from .sgd import SGD

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Lion",
    "Optimizer",
    "RMSprop",
    "StepResult",
    "clip_grad_norm",
]

"""Which losses fit which model, and their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn.utils._param_validation import InvalidParameterError

from .. import (
    BinaryCrossEntropy,
    CrossEntropy,
    Gamma,
    GaussianNLL,
    HingeEmbedding,
    MultiMargin,
    PoissonNLL,
    SquaredLogarithmicError,
    Tweedie,
)
from .._arrays import Array
from ..losses import LOSSES, PointwiseLoss
from ..losses import Loss as Loss
from ..losses.bernoulli import LogitLoss as LogitLoss
from ..losses.margin import MarginLoss

ROWS = (CrossEntropy, MultiMargin)
TWO_CLASSES = (MarginLoss, LogitLoss)
# Of predictions that are no linear scores: distances, probabilities, a mean and a variance, numbers above 0.
OTHERS = (HingeEmbedding, BinaryCrossEntropy, GaussianNLL, SquaredLogarithmicError)

CLASSIFICATION = {n: cls for n, cls in LOSSES.items() if issubclass(cls, ROWS + TWO_CLASSES) and cls not in OTHERS}
REGRESSION = {
    n: cls
    for n, cls in LOSSES.items()
    if issubclass(cls, PointwiseLoss) and not issubclass(cls, TWO_CLASSES) and cls not in OTHERS
}


def chosen(model: object, loss: Any, accepted: Mapping[str, type[Loss]]) -> Loss:
    """Return the loss that a parameter means: an instance, or the name of one with its defaults."""
    if isinstance(loss, str) and loss in accepted:
        return accepted[loss]()
    if type(loss) in accepted.values():
        return loss  # type: ignore[no-any-return]
    classes = ", ".join(cls.__name__ for cls in accepted.values())
    raise InvalidParameterError(
        f"The 'loss' parameter of {type(model).__name__} must be an instance of a class of lossk among {{{classes}}} "
        f"or a str among {{{', '.join(map(repr, accepted))}}}. Got {loss!r} instead."
    )


def has_log_link(loss: Any) -> bool:
    """Return whether scores are logarithms of predictions."""
    return isinstance(loss, Gamma | Tweedie) or (isinstance(loss, PoissonNLL) and loss.log_input)


def check_targets(loss: Any, y: Array) -> None:
    """Raise where targets are outside the domain of a loss."""
    above = isinstance(loss, Gamma) or (isinstance(loss, Tweedie) and loss.power >= 2)
    bounded = above or isinstance(loss, PoissonNLL) or (isinstance(loss, Tweedie) and loss.power > 0)
    if bounded and not (y > 0 if above else y >= 0).all():
        raise ValueError(f"y: got {y.min()}, wanted numbers {'above' if above else 'of at least'} 0 for {loss!r}")

"""Statistics of rows that a pass over their logits knows besides the loss."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._arrays import Array


class _RowArrays(NamedTuple):
    lse: Array
    correct: NDArray[np.bool_]


class RowStats(_RowArrays):
    """What a pass over rows of logits knows besides the loss, one entry a row.

    Attributes
    ----------
    lse : ndarray
        log(sum(exp(z))) of each row, in the dtype of the logits (softcapped, if the loss caps them).
    correct : ndarray of bool
        Is the label the first largest logit? (With probabilities as targets: the first largest probability.) False
        for ignored rows and rows with NaN.
    filtered : float
        The share of ``dz`` that `LinearCrossEntropy`'s `filter_eps` left out of the gradients; 0 elsewhere. Not one of
        the two items that this pair has.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> loss, stats = lossk.CrossEntropy()(np.zeros((2, 4)), np.array([0, 3]), stats=True)
    >>> stats.lse.round(4), stats.correct
    (array([1.3863, 1.3863]), array([ True, False]))
    """

    filtered: float = 0.0


def with_stats(result: tuple[Any, Array, NDArray[np.bool_]]) -> Any:
    """Return what a verb returns, and the statistics last."""
    main, lse, correct = result
    stats = RowStats(lse, correct)
    return (*main, stats) if isinstance(main, tuple) else (main, stats)

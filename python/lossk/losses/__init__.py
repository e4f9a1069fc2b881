"""The losses of arrays: a module a family, `LOSSES` by their kernels' names, and what families share."""

from . import bernoulli as bernoulli
from . import cross_entropy as cross_entropy
from . import ctc as ctc
from . import divergences as divergences
from . import gaussian_nll as gaussian_nll
from . import insensitive as insensitive
from . import likelihood as likelihood
from . import margin as margin
from . import multilabel as multilabel
from . import overlap as overlap
from . import pairs as pairs
from . import regression as regression
from . import relative as relative
from . import rows as rows
from . import triplet as triplet
from ._base import LOSSES, Loss
from ._pairs import PAIR_LOSSES, PairLoss
from ._pointwise import PointwiseLoss
from ._rows import RowLoss
from ._stats import RowStats

__all__ = ["LOSSES", "PAIR_LOSSES", "Loss", "PairLoss", "PointwiseLoss", "RowLoss", "RowStats"]

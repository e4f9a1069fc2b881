"""What linear models have in common: parameters, checks of input, and what a fit leaves behind."""

from __future__ import annotations

import functools
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from .. import optimizers
from .._arrays import Array
from ..optimizers import Optimizer
from ..optimizers._averages import Averaging
from ._descent import Descent, Samples
from ._objective import Objective
from ._schedules import RATES

# By name, as scikit-learn writes them. SGD has the momentum of scikit-learn's networks.
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    **{name.lower(): cls for name, cls in optimizers.OPTIMIZERS.items() if not issubclass(cls, Averaging)},
    "sgd": functools.partial(optimizers.SGD, momentum=0.9, nesterov=True),
}


class Task(NamedTuple):
    """What is minimised: a loss, the targets of labels, what a sample adds to the divisor, the number of scores."""

    loss: Any
    table: Array | None
    divisor: float
    columns: int


class LinearModel(BaseEstimator):
    """What linear models have in common."""

    coef_: Array
    intercept_: Array
    loss_curve_: list[float]
    validation_curve_: list[float]
    n_iter_: int
    _optimizer_state: dict[str, Any]

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "loss": "no_validation",
        "optimizer": [StrOptions(set(OPTIMIZERS)), callable],
        "learning_rate": [StrOptions(set(RATES))],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), None],
        "penalty": [StrOptions({"l1", "l2", "elasticnet"}), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "fit_intercept": ["boolean"],
        "shuffle": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        loss: Any = "squared_error",
        *,
        optimizer: Any = "adam",
        learning_rate: str = "adaptive",
        learning_rate_init: float = 0.05,
        power_t: float = 0.5,
        batch_size: int | None = 256,
        max_iter: int = 1000,
        tol: float | None = 1e-5,
        n_iter_no_change: int | None = None,
        penalty: str | None = "l2",
        alpha: float = 1e-4,
        l1_ratio: float = 0.15,
        fit_intercept: bool = True,
        shuffle: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int | bool = 0,
    ) -> None:
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.shuffle = shuffle
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn should know of the model."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # ---- input ----------------------------------------------------------------------------------------------------

    def _checked(self, x: Any, y: Any, sample_weight: Any, first: bool, **options: Any) -> tuple[Any, Any, Any]:
        """Return arrays of one type without rows of weight 0."""
        dtype = [np.float64, np.float32] if first else self.coef_.dtype
        x, y = validate_data(self, x, y, accept_sparse="csr", dtype=dtype, order="C", reset=first, **options)
        if sample_weight is None:
            return x, y, None
        w = _check_sample_weight(sample_weight, x, dtype=x.dtype, ensure_non_negative=True)
        if not w.any():
            raise ValueError("sample_weight: got weights that are all zero, wanted one above 0")
        return (x, y, w) if w.all() else (x[w > 0], y[w > 0], w[w > 0])

    def _scores(self, x: Any) -> Array:
        """Return scores (n, C)."""
        check_is_fitted(self)
        x = validate_data(self, x, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        scores: Array = x @ np.atleast_2d(self.coef_).T + self.intercept_
        return scores

    # ---- descent --------------------------------------------------------------------------------------------------

    def _fit(self, samples: Samples, task: Task, dtype: Any, partial: bool, stratify: Any = None) -> None:
        """Descend by one epoch, or until the loss stops falling; then set what has been learned."""
        x, y, w = samples
        if w is not None:
            samples = Samples(x, y, (w / w.mean(dtype=np.float64)).astype(dtype))
        seed = check_random_state(self.random_state).randint(2**31)
        held_out = None
        if self.early_stopping:
            if partial:
                raise ValueError("early_stopping: got True, wanted False in partial_fit, which is one epoch")
            samples, held_out = self._split(samples, seed, stratify)
        goes_on = (partial or self.warm_start) and hasattr(self, "coef_")
        if goes_on and self.coef_.shape[-1] != x.shape[1]:
            raise ValueError(f"X: got {x.shape[1]} features, wanted {self.coef_.shape[-1]}, with which to go on")
        kept = self.coef_.reshape(task.columns, -1).T if goes_on else np.zeros((x.shape[1], task.columns))
        weights = np.array(kept, dtype, order="C")
        intercept = np.array(self.intercept_ if goes_on else np.zeros(task.columns), dtype)

        rows = len(samples.y) if self.batch_size is None else min(self.batch_size, len(samples.y))
        bias = intercept if self.fit_intercept else None
        objective = Objective(task.loss, weights, bias, rows, task.table, task.divisor)
        optimizer = self._make_optimizer(objective.params)
        continued = partial and goes_on and hasattr(self, "_optimizer_state")
        curves: tuple[list[float], list[float]] = (list(self.loss_curve_) if continued else [], [])
        if continued:
            optimizer.load_state_dict(self._optimizer_state | {"lr": optimizer.lr})
        first_epoch = len(curves[0])
        run = Descent(self, objective, optimizer, rows, seed)
        with np.errstate(over="ignore", invalid="ignore"):
            n_iter = run.epochs(samples, held_out, curves, first_epoch, partial)

        self.coef_, self.intercept_ = weights.T, intercept
        self.loss_curve_, self.n_iter_ = curves[0], first_epoch + n_iter
        self._optimizer_state = optimizer.state_dict()
        if held_out is not None:
            self.validation_curve_ = curves[1]
        elif hasattr(self, "validation_curve_"):
            del self.validation_curve_

    def _split(self, samples: Samples, seed: int, stratify: Any) -> tuple[Samples, Samples]:
        """Hold out a part of the samples for validation."""
        parts = np.arange(len(samples.y))
        options = {"test_size": self.validation_fraction, "random_state": seed, "stratify": stratify}
        train, test = (np.sort(part) for part in train_test_split(parts, **options))
        x, y, w = samples
        return tuple(Samples(x[p], y[p], None if w is None else w[p]) for p in (train, test))  # type: ignore[return-value]

    def _make_optimizer(self, params: list[Array]) -> Optimizer:
        make: Any = OPTIMIZERS[self.optimizer] if isinstance(self.optimizer, str) else self.optimizer
        if isinstance(self.optimizer, str) or isinstance(make, type):
            make = functools.partial(make, lr=self.learning_rate_init)
        made = make(params)
        if not isinstance(made, Optimizer):
            raise TypeError(f"optimizer: got {made!r} from a call with parameters, wanted an optimizer of lossk")
        if isinstance(made, Averaging):
            raise TypeError(f"optimizer: got {made!r}, wanted one whose parameters are the model, not their average")
        return made

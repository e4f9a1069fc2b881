"""Linear models that descend along gradients of mini-batches: parameters, epochs, when to stop."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from .. import optimizers
from .._arrays import Array
from ..optimizers import Optimizer
from ._objective import Objective, Penalty
from ._schedules import FACTOR, RATES, SMALLEST_SHARE, Plateau, patience, rate, show

# By name, as scikit-learn writes them. SGD has the momentum of scikit-learn's networks.
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    **{name.lower(): cls for name, cls in optimizers.OPTIMIZERS.items()},
    "sgd": functools.partial(optimizers.SGD, momentum=0.9, nesterov=True),
}


class Samples(NamedTuple):
    """Rows x (n, D), their targets y, and their weights (n,), which have a mean of 1."""

    x: Any
    y: Array
    w: Array | None

    def batches(self, size: int, order: Array | None, buffer: Array | None) -> Iterator[Samples]:
        """Yield batches; with an order their rows are copied to the buffer, without one they are views."""
        x, y, w = self
        if order is not None:
            y, w = y[order], None if w is None else w[order]
        for start in range(0, len(y), size):
            part: Any = slice(start, start + size)
            if order is None:
                batch = x[part]
            elif buffer is None:
                batch = x[order[part]]
            else:
                batch = x.take(order[part], axis=0, out=buffer[: len(y) - start], mode="clip")
            yield Samples(batch, y[part], None if w is None else w[part])


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
        x, y = validate_data(
            self, x, y, accept_sparse="csr", dtype=[np.float64, np.float32], order="C", reset=first, **options
        )
        if sample_weight is None:
            return x, y, None
        w = _check_sample_weight(sample_weight, x, dtype=x.dtype, ensure_non_negative=True)
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
            if not len(w):
                raise ValueError("sample_weight: got weights that are all zero, wanted one above 0")
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
        return made


class Descent:
    """Epochs of a model: batches, steps, learning rates, curves."""

    def __init__(self, model: Any, objective: Objective, optimizer: Optimizer, rows: int, seed: int) -> None:
        self._model, self._objective, self._optimizer = model, objective, optimizer
        self._rows, self._seed, self._lr = rows, seed, optimizer.lr
        share = {"l1": 1.0, "elasticnet": model.l1_ratio}.get(model.penalty, 0.0)
        alpha = 0.0 if model.penalty is None else model.alpha
        self._penalty = Penalty(alpha * share, alpha * (1 - share))

    def epochs(
        self,
        samples: Samples,
        held_out: Samples | None,
        curves: tuple[list[float], list[float]],
        at: int,
        partial: bool,
    ) -> int:
        """Descend; `curves`, of training and validation, grow. Returns the number of epochs."""
        model, params = self._model, self._objective.params
        plateau = Plateau(model.tol, model.n_iter_no_change or patience(len(samples.y), self._rows))
        best = [p.copy() for p in params]
        last = 1 if partial else model.max_iter
        done, stopped = 0, partial
        adaptive = self._lr
        for done in range(1, last + 1):
            curves[0].append(self._epoch(samples, at + done - 1))
            watched = curves[0][-1]
            if held_out is not None:
                watched = self._mean_loss(held_out)
                curves[1].append(watched)
            if not np.isfinite(curves[0][-1] + watched):
                raise ValueError(
                    f"Floating-point overflow: the loss is {curves[0][-1]} after epoch {at + done}. "
                    "Scale the data with StandardScaler, or lower learning_rate_init."
                )
            if plateau.improved(watched) and held_out is not None:
                best = [p.copy() for p in params]
            if not partial and plateau.reached() and (held_out is not None or model.learning_rate != "cosine"):
                stopped = model.learning_rate != "adaptive" or self._lr * FACTOR < adaptive * SMALLEST_SHARE
                self._lr *= FACTOR if model.learning_rate == "adaptive" else 1.0
            if model.verbose:
                show(at + done, at + last, watched, self._optimizer.lr, stopped or done == last)
            if stopped:
                break
        if held_out is not None:
            for p, kept in zip(params, best, strict=True):
                p[...] = kept
        if not stopped and model.tol is not None and model.learning_rate != "cosine":
            warnings.warn(
                f"Maximum number of iterations ({last}) reached and the loss still falls: raise max_iter or tol.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return done

    def _epoch(self, samples: Samples, epoch: int) -> float:
        """Go once through the samples; returns their mean loss on the way and the penalty at the end."""
        model, objective, weights = self._model, self._objective, self._objective.params[0]
        n, total = len(samples.y), 0.0
        order = buffer = None
        if model.shuffle and self._rows < n:
            order = np.random.default_rng((self._seed, epoch)).permutation(n)
            if isinstance(samples.x, np.ndarray):
                buffer = np.empty((self._rows, samples.x.shape[1]), samples.x.dtype)
        for i, (x, y, w) in enumerate(samples.batches(self._rows, order, buffer)):
            self._optimizer.lr = self._lr * rate(
                model.learning_rate, epoch + i * self._rows / n, model.max_iter, model.power_t
            )
            total += objective.value_and_grads(x, y, w) * len(y)
            self._penalty.pull(weights, objective.grads[0])
            self._optimizer.step(objective.grads)
            self._penalty.project(weights)
        return total / n + self._penalty.value(weights)

    def _mean_loss(self, samples: Samples) -> float:
        batches = samples.batches(self._rows, None, None)
        totals = (self._objective.value_and_grads(*batch) * len(batch.y) for batch in batches)
        return sum(totals) / (len(samples.y) if samples.w is None else float(samples.w.sum(dtype=np.float64)))

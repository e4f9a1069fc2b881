"""CTC: sequences of labels in longer sequences of predictions, wherever they are."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core
from .._arrays import Array, Output, arithmetic, contiguous, empty, float64, floats, is_integer, read_array
from .._keywords import Reduction, Value
from .._parameters import Frozen, boolean, dataclass_transform
from ._targets import as_labels

__all__ = ["CTC"]


@dataclass_transform(frozen_default=True, eq_default=False)
def _frozen(cls: type[CTC]) -> type[CTC]:
    return dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)


class _Problem(NamedTuple):
    """The arguments of a verb as kernels want them: labels one after another, and where each sample's begin."""

    z: Array
    labels: NDArray[np.int64]
    first: NDArray[np.int64]
    times: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How many labels each sample has."""
        return np.diff(self.first)


@_frozen
class CTC(Frozen):
    r"""Connectionist temporal classification: labels in order, at times that nobody has told.

    A path has a class at each time; what it says are its classes, each run of one class taken once, without the blanks.
    The loss of a sample is the negative logarithm of the probability of all paths that say its labels::

        loss = -log(sum over paths of exp(z[0, path[0]] + ... + z[T - 1, path[T - 1]]))

    where ``z`` are logarithms of probabilities, as `log_softmax` gives them. The gradient is that of the logits behind
    them, as PyTorch has it: `log_softmax` hands it on as it is. With ``occupied[t, c]`` the probability that a path of
    these labels has class ``c`` at ``t``::

        grad[t, c] = exp(z[t, c]) - occupied[t, c]

    Samples go to threads; the states of one are vectors. All is done with logarithms, relative to the largest of each
    time, so that float32 keeps digits over thousands of times.

    Parameters
    ----------
    blank : int
        The class that says nothing, in [0, C).
    zero_infinity : bool
        Whether loss and gradient are 0 where no path is possible: more labels, with a blank between equal ones, than
        times. Else the loss is infinite there and the gradient NaN.

    Raises
    ------
    ValueError, TypeError
        If a parameter is not as above.

    References
    ----------
    ``torch.nn.functional.ctc_loss``; Graves et al., "Connectionist temporal classification", 2006.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z = np.log(np.full((3, 1, 2), 0.5))  # 3 times, 1 sample, blank and one label
    >>> float(np.exp(-lossk.CTC()(z, [[1]], reduction="sum")))  # 6 of 8 paths: not 000, nor 101
    0.75
    """

    blank: int = 0
    zero_infinity: bool = False

    def __post_init__(self) -> None:
        if not is_integer(self.blank) or self.blank < 0:
            raise ValueError(f"blank: got {self.blank!r}, wanted an integer, at least 0")
        boolean("zero_infinity", self.zero_infinity)

    # ---- verbs -----------------------------------------------------------------------------------------------------

    def __call__(
        self,
        z: ArrayLike,
        target: ArrayLike,
        input_lengths: ArrayLike | None = None,
        target_lengths: ArrayLike | None = None,
        *,
        reduction: Reduction = "mean",
        num_threads: int | None = None,
    ) -> Value:
        """Return the loss.

        Parameters
        ----------
        z : array_like of float32, float64, float16 or bfloat16, (T, N, C)
            Logarithms of probabilities: times, samples, classes.
        target : array_like of integers, (N, S) or (sum of target_lengths,)
            Labels of each sample, no blanks; a row a sample, or one after another.
        input_lengths, target_lengths : array_like of integers, (N,), optional
            How many times, and how many labels, of each sample count; by default all.
        reduction : {"mean", "sum", "none"}
            ``"mean"`` divides each loss by its number of labels, at least 1, and the sum by N, as PyTorch does.
        num_threads : int, optional
            Threads of this call; the result does not depend on it.

        Returns
        -------
        float or ndarray
            A float, added up in float64; with ``"none"`` one value a sample (float32 for 16-bit types).

        Raises
        ------
        TypeError, ValueError
            Where an argument is not as above; the message says what was got and what is wanted.
        """
        problem = self._problem(z, target, input_lengths, target_lengths)
        divisors = _divisors(reduction, problem)
        return _reduced(reduction, self._run(problem, divisors, None, num_threads), divisors, problem.z)

    def value_and_grad(
        self,
        z: ArrayLike,
        target: ArrayLike,
        input_lengths: ArrayLike | None = None,
        target_lengths: ArrayLike | None = None,
        *,
        reduction: Reduction = "mean",
        num_threads: int | None = None,
        out: Array | None = None,
    ) -> tuple[Value, Array]:
        """Return the loss and its gradient, from one pass; `out` is an array like `z`, `z` itself or apart from it."""
        problem = self._problem(z, target, input_lengths, target_lengths)
        divisors = _divisors(reduction, problem)
        place = _Place(out, z, problem.z)
        losses = self._run(problem, 1 / divisors, place, num_threads)
        return _reduced(reduction, losses, divisors, problem.z), place.filled()

    def grad(
        self,
        z: ArrayLike,
        target: ArrayLike,
        input_lengths: ArrayLike | None = None,
        target_lengths: ArrayLike | None = None,
        *,
        reduction: Reduction = "mean",
        num_threads: int | None = None,
        out: Array | None = None,
    ) -> Array:
        """Return the gradient; see `value_and_grad`."""
        how: dict[str, Any] = {"reduction": reduction, "num_threads": num_threads, "out": out}
        return self.value_and_grad(z, target, input_lengths, target_lengths, **how)[1]

    def vjp(
        self,
        z: ArrayLike,
        target: ArrayLike,
        cotangent: ArrayLike,
        input_lengths: ArrayLike | None = None,
        target_lengths: ArrayLike | None = None,
        *,
        num_threads: int | None = None,
        out: Array | None = None,
    ) -> Array:
        """Return each sample's gradient times its entry of `cotangent`, (N,)."""
        problem = self._problem(z, target, input_lengths, target_lengths)
        factors = float64("cotangent", cotangent)
        if factors.shape != problem.times.shape:
            raise ValueError(f"cotangent: got shape {factors.shape}, wanted {problem.times.shape}, one entry a sample")
        place = _Place(out, z, problem.z)
        self._run(problem, factors, place, num_threads)
        return place.filled()

    def reference(
        self,
        z: ArrayLike,
        target: ArrayLike,
        input_lengths: ArrayLike | None = None,
        target_lengths: ArrayLike | None = None,
        *,
        reduction: Reduction = "mean",
        derivatives: bool = False,
    ) -> Value:
        """Return the loss from the formula in plain float64 NumPy; with `derivatives`: (value, gradient)."""
        problem = self._problem(z, target, input_lengths, target_lengths)
        divisors = _divisors(reduction, problem)
        wide = float64("z", problem.z)
        losses, gradient = np.empty(len(problem.times)), np.zeros(wide.shape)
        for n, times in enumerate(problem.times):
            labels = problem.labels[problem.first[n] : problem.first[n + 1]]
            losses[n], gradient[:times, n] = self._reference(wide[:times, n], labels)
        value = _reduced(reduction, losses, divisors, wide)
        return (value, gradient / divisors[:, None]) if derivatives else value

    def _reference(self, z: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[float, NDArray[np.float64]]:
        """Return loss and gradient of one sample, (T, C): the lattice of labels with a blank before and after each."""
        states = np.full(2 * len(labels) + 1, self.blank)
        states[1::2] = labels
        s = np.arange(len(states))
        back = s[:, None] - s  # steps from one state to another; two leave a blank out between labels that differ
        leads = (back == 0) | (back == 1) | ((back == 2) & (states != self.blank) & (states[:, None] != states))
        # Before time t, and after it: -inf where no path leads.
        before, after = np.full((2, len(z) + 1, len(states)), -np.inf)
        before[0, 0] = after[-1, -2:] = 0
        with np.errstate(divide="ignore", invalid="ignore"):
            way = np.log(leads)
            for t, row in enumerate(z[:, states]):
                before[t + 1] = np.logaddexp.reduce(way + before[t], axis=1) + row
            for t, row in reversed(list(enumerate(z[:, states]))):
                after[t] = np.logaddexp.reduce(way + (after[t + 1] + row)[:, None], axis=0)
            loss = -np.logaddexp.reduce(before[-1, -2:])
            if np.isnan(z[:, states]).any():  # of states that no path may be in, too
                loss = np.nan
            if loss == np.inf and self.zero_infinity:
                return 0.0, np.zeros(z.shape)
            gradient = np.exp(z)
            for state, paths in zip(states, np.exp(before[1:] + after[1:] + loss).T, strict=True):
                gradient[:, state] -= paths
        return float(loss), gradient if np.isfinite(loss) else np.full(z.shape, np.nan)

    # ---- arguments -------------------------------------------------------------------------------------------------

    def _problem(self, z: Any, target: Any, input_lengths: Any, target_lengths: Any) -> _Problem:
        array = floats("z", z, "target", target)
        if array.ndim != 3 or array.shape[2] <= self.blank:
            raise ValueError(f"z: got shape {array.shape}, wanted (T, N, C), C above {self.blank}, the blank")
        samples, y = array.shape[1], as_labels(read_array("target", target, "integer labels"))
        if y.ndim not in (1, 2) or (y.ndim == 2 and len(y) != samples):
            raise ValueError(f"target: got shape {y.shape}, wanted ({samples}, S) or one axis of all labels")
        if y.ndim == 1 and target_lengths is None:
            raise TypeError("target_lengths: got None, wanted integers, as target has one axis")
        times = _lengths("input_lengths", input_lengths, samples, array.shape[0])
        lengths = _lengths("target_lengths", target_lengths, samples, y.shape[-1])
        first = np.concatenate([[0], np.cumsum(lengths)])
        if y.ndim == 2:
            labels = y[np.arange(y.shape[1]) < lengths[:, None]]
        elif first[-1] != len(y):
            raise ValueError(f"target: got {len(y)} labels, wanted {first[-1]}, the sum of target_lengths")
        else:
            labels = y
        wrong = (labels < 0) | (labels >= array.shape[2]) | (labels == self.blank)
        if wrong.any():
            at = int(np.argmax(wrong))
            sample = int(np.searchsorted(first, at, side="right")) - 1
            wanted = f"a class in [0, {array.shape[2]}) that is not {self.blank}, the blank"
            raise ValueError(
                f"target: got {labels[at]}, label {at - first[sample]} of sample {sample}, wanted {wanted}"
            )
        return _Problem(array, np.array(labels, np.int64), first, times)

    def _run(self, problem: _Problem, factors: Array, place: _Place | None, num_threads: Any) -> NDArray[np.float64]:
        losses = np.empty(len(problem.times))
        packed = problem.z, problem.labels, problem.first, problem.times, np.ascontiguousarray(factors)
        to, whole = (None, False) if place is None else (place.to, place.direct)
        _core.ctc(*packed, int(self.blank), bool(self.zero_infinity), losses, to, num_threads, whole)
        return losses


class _Place:
    """Where a gradient goes: the user's array where kernels can write to it, else one that is copied there."""

    def __init__(self, out: Any, given: Any, z: Array) -> None:
        own = given if isinstance(given, np.ndarray) else z
        self._output = None if out is None else Output("out", out, own, {})
        self.direct = self._output is not None and contiguous("out", out, z.dtype) is out
        self.to: Array = out if self.direct else empty("gradient", z.shape, z.dtype)

    def filled(self) -> Array:
        """Return the gradient where it was wanted."""
        return self.to if self._output is None else self._output.fill(self.to)


def _lengths(name: str, given: Any, samples: int, most: int) -> NDArray[np.int64]:
    if given is None:
        return np.full(samples, most, np.int64)
    array = read_array(name, given, "integers")
    if array.dtype.kind not in ("iu" if array.size > 0 else "iuf"):  # an empty list is one of float64
        raise TypeError(f"{name}: got dtype {array.dtype}, wanted integers")
    if array.shape != (samples,):
        raise ValueError(f"{name}: got shape {array.shape}, wanted ({samples},), one a sample")
    wrong = (array < 0) | (array > most)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(f"{name}: got {array[at]} of sample {at}, wanted an integer in [0, {most}]")
    return np.array(array, np.int64)


def _divisors(reduction: str, problem: _Problem) -> NDArray[np.float64]:
    """Return what each sample's loss and gradient are divided by."""
    samples = len(problem.times)
    if reduction == "mean":
        return np.maximum(problem.lengths, 1) * float(samples)
    if reduction not in ("sum", "none"):
        raise ValueError(f"reduction: got {reduction!r}, wanted 'mean', 'sum' or 'none'")
    return np.ones(samples)


def _reduced(reduction: str, losses: NDArray[np.float64], divisors: NDArray[np.float64], z: Array) -> Value:
    return losses.astype(arithmetic(z.dtype)) if reduction == "none" else float((losses / divisors).sum())

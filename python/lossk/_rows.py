"""What losses of rows have in common: labels or probabilities, class weights, the class axis, statistics of rows."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._arrays import Array, arithmetic, as_array, class_axis, float64, floats, is_integer, weights_like
from ._families import (
    GRAD,
    GRAD_AND_HESS,
    VALUE,
    VALUE_AND_GRAD,
    Direct,
    Each,
    GradOptions,
    Loss,
    Options,
    Reduction,
    Reference,
    Total,
    Value,
    constant_array,
    divisor_of,
    fill_outputs,
    prepare_outputs,
    product_of_weights,
    reduce_reference,
)
from ._targets import labels_or_probabilities

if TYPE_CHECKING:
    from typing_extensions import Unpack

# Outputs of the softmax kernels, numbered as row_output in src/cpp/base/types.hpp.
LOSS, SOFTMAX, LOG_SOFTMAX = range(3)
# Label smoothing, z-loss and soft cap of those that have none.
NO_OPTIONS = (0.0, 0.0, 0.0)


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


class RowOptions(Options, total=False):
    """Keywords of every verb of rows that reduces."""

    axis: int


class RowGradOptions(RowOptions, GradOptions, total=False):
    """Keywords of every verb of rows that writes a gradient as well."""


class RowLoss(Loss):
    """A loss of rows `z` over one axis, with a label or a target like `z` for each row."""

    # Labels, probabilities, or either as targets?
    _takes_labels: ClassVar[bool] = True
    _takes_probabilities: ClassVar[bool] = False
    # Does a label's class weight multiply the row's loss (else the formula weighs)? Does the mean divide by it?
    _class_weights_multiply: ClassVar[bool] = True
    _class_weights_divide: ClassVar[bool] = False
    # Are derivatives exactly 0 but at the label?
    _only_label: ClassVar[bool] = False

    _index: int
    _parameters: tuple[float, ...]
    _ignored: int | None
    _weights: dict[np.dtype[Any], Array]

    def __post_init__(self) -> None:
        self._check()
        ignored = getattr(self, "ignore_index", None)
        if ignored is not None:
            ignored = _check_label("ignore_index", ignored)
            self._set("ignore_index", ignored)
        weights: dict[np.dtype[Any], Array] = {}
        if getattr(self, "weight", None) is not None:
            weights = _class_weights(self.weight)  # type: ignore[attr-defined]
            self._set("weight", weights[np.dtype(np.float64)])
        self._set("_ignored", ignored)
        self._set("_weights", weights)
        self._set("_index", _core.rows_kernels.get(self._kernel))

    def _check(self) -> None:
        """Raise where a parameter is not what the formula wants, and set `_parameters`."""
        self._set("_parameters", ())

    # ---- verbs --------------------------------------------------------------------------------------------------

    @overload
    def __call__(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        reduction: Total = "mean",
        stats: Literal[False] = False,
        **options: Unpack[RowOptions],
    ) -> float: ...
    @overload
    def __call__(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        reduction: Each,
        stats: Literal[False] = False,
        **options: Unpack[RowOptions],
    ) -> Array: ...
    @overload
    def __call__(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        reduction: Reduction = "mean",
        stats: bool,
        **options: Unpack[RowOptions],
    ) -> Any: ...
    def __call__(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
        stats: bool = False,
        axis: int = -1,
    ) -> Value:
        """Return the loss.

        Parameters
        ----------
        z : array_like of float32, float64, float16 or bfloat16, shape (..., C)
            Logits or log-probabilities, as the class says.
        target : array_like of integers, shape (...), or of numbers, shape (..., C)
            Labels of any integer type (of float32 and float64 where every one is an integer), or probabilities, as the
            class says.
        sample_weight : array_like, shape (...), optional
            Factor of each row's loss; enters the divisor of ``"mean"``.
        reduction : {"mean", "sum", "none"}
            ``"none"`` gives one loss a row.
        normalizer : float, optional
            Divisor of ``"mean"`` in place of the rows' weight: the token count over accumulated batches, say.
        num_threads : int, optional
            Threads of this call; the result does not depend on it.
        stats : bool
            Also return a `RowStats` from the same pass.
        axis : int
            The class axis of `z` (and of probabilities).

        Returns
        -------
        float or ndarray
            A float, accumulated in float64; with ``"none"`` an array of the labels' shape. With `stats`: a tuple of
            that and a `RowStats`.

        Raises
        ------
        IndexError
            If a label is neither in [0, C) nor ignored by the loss; the message names the row and the label.
        TypeError, ValueError
            Where an argument is not as above; the message says what was got and what is wanted.
        """
        return self._run(VALUE, z, target, sample_weight, reduction, normalizer, num_threads, None, stats, axis)

    def grad(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
        out: Array | None = None,
        stats: bool = False,
        axis: int = -1,
    ) -> Any:
        """Return the gradient with respect to `z`, an array like `z`.

        Parameters are those of calling the loss. With ``reduction="none"`` each row's gradient is its own, unscaled.
        `out` is the array to write to: of the shape and dtype of `z`, writeable, and either `z` itself or separate
        memory; nothing is written where anything raises.
        """
        return self._run(GRAD, z, target, sample_weight, reduction, normalizer, num_threads, out, stats, axis)

    @overload
    def value_and_grad(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        reduction: Total = "mean",
        stats: Literal[False] = False,
        **options: Unpack[RowGradOptions],
    ) -> tuple[float, Array]: ...
    @overload
    def value_and_grad(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        reduction: Each,
        stats: Literal[False] = False,
        **options: Unpack[RowGradOptions],
    ) -> tuple[Array, Array]: ...
    @overload
    def value_and_grad(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        reduction: Reduction = "mean",
        stats: bool,
        **options: Unpack[RowGradOptions],
    ) -> Any: ...
    def value_and_grad(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
        out: Array | None = None,
        stats: bool = False,
        axis: int = -1,
    ) -> Any:
        """Return (loss, gradient), with `stats` (loss, gradient, `RowStats`), from one pass over the rows.

        See calling the loss and `grad`. With ``out=z`` the gradient overwrites its input: no array besides (rows of
        many classes in 16 bits, or with soft capping, need scratch memory).
        """
        return self._run(VALUE_AND_GRAD, z, target, sample_weight, reduction, normalizer, num_threads, out, stats, axis)

    def grad_and_hess(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
        out: tuple[Array, Array] | None = None,
        stats: bool = False,
        axis: int = -1,
    ) -> Any:
        """Return gradient and diagonal second derivative with respect to `z`; `out` is a pair of arrays."""
        return self._run(GRAD_AND_HESS, z, target, sample_weight, reduction, normalizer, num_threads, out, stats, axis)

    def vjp(
        self,
        z: ArrayLike,
        target: ArrayLike,
        cotangent: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        num_threads: int | None = None,
        out: Array | None = None,
        stats: bool = False,
        axis: int = -1,
    ) -> Any:
        """Return each row's gradient times its entry of `cotangent`, which has the shape of the labels."""
        z = floats("z", z, "target", target) if not isinstance(z, np.ndarray) else z
        at = class_axis(z, axis)
        weight = product_of_weights(z, cotangent, sample_weight, z.shape[:at] + z.shape[at + 1 :])
        return self._run(GRAD, z, target, weight, "none", None, num_threads, out, stats, axis)

    def reference(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        axis: int = -1,
        derivatives: bool = False,
    ) -> Value:
        """Return what calling the loss returns, from the formula in plain float64 NumPy: the specification.

        With ``derivatives=True``: (value, gradient, second derivative), as the verbs return them.
        """
        z64 = float64("z", z)
        at = class_axis(z64, axis)
        probabilities = z64.dtype if self._takes_probabilities else None
        y = labels_or_probabilities(target, z64.shape, at, self._takes_labels, probabilities)
        z64 = np.moveaxis(z64, at, -1)
        r = np.ones(z64.shape[:-1]) if sample_weight is None else float64("sample_weight", sample_weight)
        divisors, counts, touched = r, np.ones(r.shape, bool), np.ones(z64.shape, bool)
        if y.dtype.kind in "iu":
            counts = counts if self._ignored is None else y != self._ignored
            y = np.where(counts, y, 0).astype(np.int64)
            weighted = r * self._weights[np.dtype(np.float64)][y] if self._weights else r
            divisors = weighted if self._class_weights_divide else divisors
            r = weighted if self._class_weights_multiply else r
            if self._only_label:
                touched = np.arange(z64.shape[-1]) == y[..., None]
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            value, *others = self._reference(z64, y)
            value = np.where(counts, value * r, 0.0)
            others = [np.moveaxis(d * r[..., None], -1, axis) for d in others]
        divisor = divisor_of(reduction, float(divisors[counts].sum()), normalizer)
        touched = np.moveaxis(touched & counts[..., None], -1, axis)
        return reduce_reference(reduction, value, tuple(others), divisor, derivatives, touched)

    def _reference(self, z: NDArray[np.float64], y: Array) -> Reference:
        """Return value (...), gradient and second derivative (..., C) of rows, in float64; `y` labels or targets."""
        raise NotImplementedError

    # ---- the way to the kernels ---------------------------------------------------------------------------------

    def _run(
        self,
        verb: int,
        z: Any,
        target: Any,
        w: Any,
        reduction: str,
        normalizer: Any,
        threads: Any,
        out: Any,
        stats: bool,
        axis: int,
    ) -> Any:
        if target is None:
            raise TypeError(f"target: got None, wanted {self._wanted}")
        if type(axis) is int and axis == -1:
            result = self._call(verb, z, target, w, reduction, normalizer, threads, out, stats)
            if result is not NotImplemented:
                return _with_stats(result) if stats else result
        others = {name: a for name, a in (("target", target), ("sample_weight", w)) if isinstance(a, np.ndarray)}
        z = z if isinstance(z, np.ndarray) else floats("z", z)
        at = class_axis(z, axis)
        rows = floats("z", np.moveaxis(as_array("z", z), at, -1), "target", target)
        outputs = prepare_outputs(verb, out, z, others)
        probabilities = rows.dtype if self._takes_probabilities else None
        target = labels_or_probabilities(target, z.shape, at, self._takes_labels, probabilities)
        z, w = rows, None if w is None else weights_like("sample_weight", w, rows)
        result = self._call(verb, z, target, w, reduction, normalizer, threads, None, stats)
        main = fill_outputs(verb, outputs, _move_classes(verb, result[0] if stats else result, at))
        return _with_stats((main, *result[1:])) if stats else main

    def _direct(self, verb: int, reduction: str) -> Direct:
        """Return the call for arrays that are as kernels want them, classes last, and nothing else."""
        return functools.partial(self._call, verb), (), (None, reduction, None, None, None, False)

    def _call(
        self,
        verb: int,
        z: Any,
        target: Any,
        w: Any,
        reduction: str,
        normalizer: Any,
        threads: Any,
        out: Any,
        stats: bool,
    ) -> Any:
        """Run the kernel; returns what the verb returns, with `stats` (that, lse, correct)."""
        known: Any = None
        if stats:  # before anything is written, as `out` may be `z`
            known = _core.softmax(
                LOSS, VALUE, z, target, NO_OPTIONS, None, self._ignored, None, "sum", None, threads, None, True
            )
            if known is NotImplemented:
                return known
        weight = self._weights[arithmetic(getattr(z, "dtype", None))] if self._weights else None
        result = _core.rows(
            self._index,
            self._parameters,
            verb,
            z,
            target,
            weight,
            self._ignored,
            w,
            reduction,
            normalizer,
            threads,
            out,
        )
        return (result, *known[1:]) if stats and result is not NotImplemented else result

    @property
    def _wanted(self) -> str:
        kinds = ("integer labels", self._takes_labels), ("floating-point probabilities", self._takes_probabilities)
        return " or ".join(kind for kind, taken in kinds if taken)


def _check_label(name: str, value: object) -> int:
    if not is_integer(value):
        raise TypeError(f"{name}: got {value!r}, wanted an integer")
    if not -(2**63) <= value < 2**63:  # type: ignore[operator]
        raise ValueError(f"{name}: got {value}, wanted a 64-bit integer")
    return int(value)  # type: ignore[call-overload, no-any-return]


def _class_weights(weight: ArrayLike) -> dict[np.dtype[Any], Array]:
    array = as_array("weight", weight)
    if array.dtype.kind not in "fiu" or array.ndim != 1:
        raise TypeError(f"weight: got dtype {array.dtype} and shape {array.shape}, wanted one real number a class")
    return constant_array("weight", array)


def _move_classes(verb: int, main: Any, axis: int) -> Any:
    """Bring the class axis of gradients back to where the caller has it."""
    if verb == VALUE:
        return main
    if verb == GRAD:
        return np.moveaxis(main, -1, axis)
    if verb == VALUE_AND_GRAD:
        return main[0], np.moveaxis(main[1], -1, axis)
    return tuple(np.moveaxis(d, -1, axis) for d in main)


def _with_stats(result: tuple[Any, Array, NDArray[np.bool_]]) -> Any:
    main, lse, correct = result
    stats = RowStats(lse, correct)
    return (*main, stats) if isinstance(main, tuple) else (main, stats)

"""What losses of rows have in common: labels or probabilities, class weights, the class axis, statistics of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core
from .._arrays import Array, as_array, class_axis, float64, floats, weights_like
from .._keywords import (
    Reduction,
    RowsGradToEach,
    RowsGradToTotal,
    RowsGradWithStats,
    RowsToEach,
    RowsToTotal,
    RowsWithStats,
    Value,
)
from .._parameters import class_weights, label
from .._request import (
    GRAD,
    GRAD_AND_HESS,
    LOSS,
    STATS,
    VALUE,
    VALUE_AND_GRAD,
    Fields,
    Kernel,
    Request,
    fill_outputs,
    prepare_outputs,
)
from ._base import Loss, Reference, product_of_weights, reduce_reference
from ._stats import with_stats
from ._targets import labels_or_probabilities

if TYPE_CHECKING:
    from typing_extensions import Unpack


class RowLoss(Loss):
    """A loss of rows `z` over one axis, with a label or a target like `z` for each row."""

    # Labels, probabilities, or either as targets?
    _takes_labels: ClassVar[bool] = True
    _takes_probabilities: ClassVar[bool] = False
    _elements: ClassVar[str] = "probabilities"  # what targets of the shape of z are, for people
    # Does a label's class weight multiply the row's loss (else the formula weighs)? Does the mean divide by it?
    _class_weights_multiply: ClassVar[bool] = True
    _class_weights_divide: ClassVar[bool] = False
    # Are derivatives exactly 0 but at the label?
    _only_label: ClassVar[bool] = False

    _bound: Kernel
    _parameters: tuple[float, ...] = ()
    _ignored: int | None = None
    # Class weights for arithmetic in float32 and in float64.
    _weights: tuple[Array, Array] | None = None

    def __post_init__(self) -> None:
        self._check()
        if getattr(self, "ignore_index", None) is not None:
            self._set("_ignored", label("ignore_index", self.ignore_index))  # type: ignore[attr-defined]
            self._set("ignore_index", self._ignored)
        if getattr(self, "weight", None) is not None:
            weights = class_weights(self.weight)  # type: ignore[attr-defined]
            self._set("_weights", weights)
            self._set("weight", weights[1])
        self._set("_bound", self._bind())

    def _check(self) -> None:
        """Raise where a parameter is not what the formula wants, and set `_parameters`."""

    def _bind(self) -> Kernel:
        return _core.rows(_core.rows_kernels[self._kernel], self._parameters, self._weights, self._ignored)

    # ---- verbs --------------------------------------------------------------------------------------------------

    @overload
    def __call__(self, z: ArrayLike, target: ArrayLike, **options: Unpack[RowsToTotal]) -> float: ...
    @overload
    def __call__(self, z: ArrayLike, target: ArrayLike, **options: Unpack[RowsToEach]) -> Array: ...
    @overload
    def __call__(self, z: ArrayLike, target: ArrayLike, **options: Unpack[RowsWithStats]) -> Any: ...
    def __call__(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        check: bool = True,
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
            Labels of any integer type or bool (of float32 and float64 where every one is an integer), or probabilities,
            as the class says.
        sample_weight : array_like, shape (...), optional
            Factor of each row's loss; enters the divisor of ``"mean"``.
        reduction : {"mean", "sum", "none"}
            ``"none"`` gives one loss a row.
        normalizer : float, optional
            Divisor of ``"mean"`` in place of the rows' weight: the token count over accumulated batches, say.
        check : bool
            Raise where a probability of a row that counts is below 0 (NaN is not); labels are always checked.
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
        how = reduction, normalizer, num_threads, None, check, False, stats, axis
        return self._run((VALUE, z, target, None, sample_weight, *how))

    def grad(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        check: bool = True,
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
        how = reduction, normalizer, num_threads, out, check, False, stats, axis
        return self._run((GRAD, z, target, None, sample_weight, *how))

    @overload
    def value_and_grad(
        self, z: ArrayLike, target: ArrayLike, **options: Unpack[RowsGradToTotal]
    ) -> tuple[float, Array]: ...
    @overload
    def value_and_grad(
        self, z: ArrayLike, target: ArrayLike, **options: Unpack[RowsGradToEach]
    ) -> tuple[Array, Array]: ...
    @overload
    def value_and_grad(self, z: ArrayLike, target: ArrayLike, **options: Unpack[RowsGradWithStats]) -> Any: ...
    def value_and_grad(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        check: bool = True,
        num_threads: int | None = None,
        out: Array | None = None,
        stats: bool = False,
        axis: int = -1,
    ) -> Any:
        """Return (loss, gradient), with `stats` (loss, gradient, `RowStats`), from one pass over the rows.

        See calling the loss and `grad`. With ``out=z`` the gradient overwrites its input: no array besides (long
        rows in 16 bits, or with soft capping, need scratch memory).
        """
        how = reduction, normalizer, num_threads, out, check, False, stats, axis
        return self._run((VALUE_AND_GRAD, z, target, None, sample_weight, *how))

    def grad_and_hess(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        check: bool = True,
        num_threads: int | None = None,
        out: tuple[Array, Array] | None = None,
        stats: bool = False,
        axis: int = -1,
    ) -> Any:
        """Return gradient and diagonal second derivative with respect to `z`; `out` is a pair of arrays."""
        how = reduction, normalizer, num_threads, out, check, False, stats, axis
        return self._run((GRAD_AND_HESS, z, target, None, sample_weight, *how))

    def vjp(
        self,
        z: ArrayLike,
        target: ArrayLike,
        cotangent: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        check: bool = True,
        num_threads: int | None = None,
        out: Array | None = None,
        stats: bool = False,
        axis: int = -1,
    ) -> Any:
        """Return each row's gradient times its entry of `cotangent`, which has the shape of the labels."""
        z = floats("z", z, "target", target) if not isinstance(z, np.ndarray) else z
        at = class_axis(z, axis)
        weight = product_of_weights(z, cotangent, sample_weight, z.shape[:at] + z.shape[at + 1 :])
        return self._run((GRAD, z, target, None, weight, "none", None, num_threads, out, check, False, stats, axis))

    def reference(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        check: bool = True,
        axis: int = -1,
        derivatives: bool = False,
    ) -> Value:
        """Return what calling the loss returns, from the formula in plain float64 NumPy: the specification.

        With ``derivatives=True``: (value, gradient, second derivative), as the verbs return them.
        """
        how = reduction, normalizer, None, None, check, False, False, axis
        self._run((VALUE, z, target, None, sample_weight, *how))  # raises where kernels do
        z64 = float64("z", z)
        at = class_axis(z64, axis)
        probabilities = z64.dtype if self._takes_probabilities else None
        y = labels_or_probabilities(target, z64.shape, at, self._takes_labels, probabilities)
        z64 = np.moveaxis(z64, at, -1)
        r = np.ones(z64.shape[:-1]) if sample_weight is None else float64("sample_weight", sample_weight)
        divisors, counts, touched = r, r != 0, np.ones(z64.shape, bool)
        if y.dtype.kind in "iu":
            labelled = np.ones(y.shape, bool) if self._ignored is None else y != self._ignored
            counts &= labelled
            y = np.where(labelled, y, 0).astype(np.int64)
            weighted = r if self._weights is None else r * self._weights[1][y]
            divisors = weighted if self._class_weights_divide else divisors
            r = weighted if self._class_weights_multiply else r
            if self._only_label:
                touched = np.arange(z64.shape[-1]) == y[..., None]
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            value, *others = self._reference(z64, y)
            value = np.where(counts, value * r, 0.0)
            others = [np.moveaxis(d * r[..., None], -1, axis) for d in others]
        divisor = float(divisors[counts].sum()) if normalizer is None else normalizer
        touched = np.moveaxis(touched & counts[..., None], -1, axis)
        return reduce_reference(reduction, value, tuple(others), divisor, derivatives, touched)

    def _reference(self, z: NDArray[np.float64], y: Array) -> Reference:
        """Return value (...), gradient and second derivative (..., C) of rows, in float64; `y` labels or targets."""
        raise NotImplementedError

    # ---- the way to the kernels ---------------------------------------------------------------------------------

    def _run(self, asked: Fields) -> Any:
        stats = asked[STATS]
        result = self._call_with_stats(asked) if stats else self._bound(asked)
        if result is NotImplemented:
            return self._run_prepared(asked)
        return with_stats(result) if stats else result

    def _call_with_stats(self, asked: Fields) -> Any:
        """Run the kernel after another one for statistics: before anything is written, as `out` may be `z`."""
        plain: dict[str, Any] = {
            "sample_weight": None,
            "reduction": "sum",
            "normalizer": None,
            "out": None,
            "check": False,
        }
        of_rows = Request(*asked)._replace(verb=VALUE, **plain)
        known = _core.softmax(LOSS, None, None, self._ignored)(of_rows)
        result = known if known is NotImplemented else self._bound(asked)
        return result if result is NotImplemented else (result, *known[1:])

    def _run_prepared(self, asked: Fields) -> Any:
        """Run on arrays that kernels could not read or write as they were, classes last."""
        verb, z, target, _, w, reduction, normalizer, num_threads, out, check, _, stats, axis = asked
        if target is None:
            raise TypeError(f"target: got None, wanted {self._wanted}")
        others = {name: a for name, a in (("target", target), ("sample_weight", w)) if isinstance(a, np.ndarray)}
        z = z if isinstance(z, np.ndarray) else floats("z", z)
        at = class_axis(z, axis)
        rows = floats("z", np.moveaxis(as_array("z", z), at, -1), "target", target)
        outputs = prepare_outputs(verb, out, z, others)
        probabilities = rows.dtype if self._takes_probabilities else None
        y = labels_or_probabilities(target, z.shape, at, self._takes_labels, probabilities, self._elements)
        w = None if w is None else weights_like("sample_weight", w, rows)
        prepared = (verb, rows, y, None, w, reduction, normalizer, num_threads, None, check, False, stats)
        if not stats:
            return fill_outputs(verb, outputs, _move_classes(verb, self._bound(prepared), at))
        main, *known = self._call_with_stats(prepared)
        return with_stats((fill_outputs(verb, outputs, _move_classes(verb, main, at)), *known))

    @property
    def _wanted(self) -> str:
        kinds = ("integer labels", self._takes_labels), ("floating-point probabilities", self._takes_probabilities)
        return " or ".join(kind for kind, taken in kinds if taken)


def _move_classes(verb: int, main: Any, axis: int) -> Any:
    """Bring the class axis of gradients back to where the caller has it."""
    if verb == VALUE:
        return main
    if verb == GRAD:
        return np.moveaxis(main, -1, axis)
    if verb == VALUE_AND_GRAD:
        return main[0], np.moveaxis(main[1], -1, axis)
    return tuple(np.moveaxis(d, -1, axis) for d in main)

"""Losses of single samples: the verbs, and the way to the kernels."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core
from .._arrays import Array, floats, targets_like, weights_like
from .._keywords import Reduction, SamplesGradToEach, SamplesGradToTotal, SamplesToEach, SamplesToTotal, Value
from .._request import (
    GRAD,
    GRAD_AND_HESS,
    VALUE,
    VALUE_AND_GRAD,
    Fields,
    Kernel,
    fill_outputs,
    prepare_outputs,
)
from ._base import Loss, Reference, product_of_weights, reference_inputs, weighted_reference

if TYPE_CHECKING:
    from typing_extensions import Unpack


class PointwiseLoss(Loss):
    """A loss of predictions `z` and targets `y` of one shape, sample by sample."""

    _bound: Kernel
    # What a formula with a third input calls it: an array of the shape of z, or of the length of its last axis.
    _third: str = ""
    # Where that is a parameter of the loss: arrays for arithmetic in float32 and in float64.
    _constant: tuple[Array, Array] | None = None

    def __post_init__(self) -> None:
        self._check()
        self._set("_bound", self._bind(self._kernel, self._numbers()))

    def _bind(self, kernel: str, parameters: tuple[float, ...]) -> Kernel:
        return _core.pointwise(_core.pointwise_kernels[kernel], parameters, self._constant)

    def _check(self) -> None:
        """Raise where a parameter is not what the formula wants."""

    def _numbers(self) -> tuple[float, ...]:
        """Return the parameters of the kernel, in its order."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return tuple(float(getattr(self, field.name)) for field in fields)

    def _reference(self, z: NDArray[np.float64], y: NDArray[np.float64]) -> Reference:
        """Return value, gradient and second derivative per sample, in float64."""
        raise NotImplementedError

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
        """Draw predictions and targets from the loss's domain, for tests and benchmarks."""
        return rng.normal(size=shape).astype(dtype), rng.normal(size=shape).astype(dtype)

    # ---- verbs --------------------------------------------------------------------------------------------------

    @overload
    def __call__(self, z: ArrayLike, y: ArrayLike, **options: Unpack[SamplesToTotal]) -> float: ...
    @overload
    def __call__(self, z: ArrayLike, y: ArrayLike, **options: Unpack[SamplesToEach]) -> Array: ...
    def __call__(
        self,
        z: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        ignore_nan: bool = False,
        check: bool = True,
        num_threads: int | None = None,
    ) -> Value:
        """Return the loss.

        Parameters
        ----------
        z : array_like of float32, float64, float16 or bfloat16, any shape
            Predictions.
        y : array_like, the shape of `z`, or one number
            Targets; converted to the dtype of `z`. One number, in an array without axes too, is the target of every
            sample; no other array broadcasts.
        sample_weight : array_like, the shape of `z`, optional
            Factor of each sample's loss.
        reduction : {"mean", "sum", "none"}
            ``"mean"`` divides the sum by the number of samples, or by the sum of their weights.
        normalizer : float, optional
            Divisor of ``"mean"`` in place of that.
        ignore_nan : bool
            Samples whose target is NaN do not count: they are in neither sum nor divisor, their value and derivatives
            are exactly 0, whatever else they hold. Otherwise their value and gradient are NaN.
        check : bool
            Raise where a target that counts is outside the loss's domain (NaN is in every domain).
        num_threads : int, optional
            Threads of this call; the result does not depend on it.

        Returns
        -------
        float or ndarray
            A float, accumulated in float64; with ``"none"`` an array like `z` (float32 for 16-bit types).

        Raises
        ------
        TypeError, ValueError
            Where an argument is not as above, or a target outside the loss's domain; the message says what was got and
            what is wanted.
        """
        return self._run(
            (VALUE, z, y, None, sample_weight, reduction, normalizer, num_threads, None, check, ignore_nan)
        )

    def grad(
        self,
        z: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        ignore_nan: bool = False,
        check: bool = True,
        num_threads: int | None = None,
        out: Array | None = None,
    ) -> Array:
        """Return the gradient with respect to `z`, an array like `z`.

        Parameters are those of calling the loss. With ``reduction="none"`` each sample's gradient is its own,
        unscaled. `out` is the array to write to: of the shape and dtype of `z`, writeable, and either `z` itself
        or separate memory; nothing is written where anything raises.
        """
        result: Array = self._run(
            (GRAD, z, y, None, sample_weight, reduction, normalizer, num_threads, out, check, ignore_nan)
        )
        return result

    @overload
    def value_and_grad(
        self, z: ArrayLike, y: ArrayLike, **options: Unpack[SamplesGradToTotal]
    ) -> tuple[float, Array]: ...
    @overload
    def value_and_grad(
        self, z: ArrayLike, y: ArrayLike, **options: Unpack[SamplesGradToEach]
    ) -> tuple[Array, Array]: ...
    def value_and_grad(
        self,
        z: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        ignore_nan: bool = False,
        check: bool = True,
        num_threads: int | None = None,
        out: Array | None = None,
    ) -> tuple[Value, Array]:
        """Return the loss and its gradient, from one pass over the data; see calling the loss and `grad`."""
        asked = (VALUE_AND_GRAD, z, y, None, sample_weight, reduction, normalizer, num_threads, out, check, ignore_nan)
        result: tuple[Value, Array] = self._run(asked)
        return result

    def grad_and_hess(
        self,
        z: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        ignore_nan: bool = False,
        check: bool = True,
        num_threads: int | None = None,
        out: tuple[Array, Array] | None = None,
    ) -> tuple[Array, Array]:
        """Return gradient and diagonal second derivative with respect to `z`; `out` is a pair of arrays."""
        asked = (GRAD_AND_HESS, z, y, None, sample_weight, reduction, normalizer, num_threads, out, check, ignore_nan)
        result: tuple[Array, Array] = self._run(asked)
        return result

    def vjp(
        self,
        z: ArrayLike,
        y: ArrayLike,
        cotangent: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        ignore_nan: bool = False,
        check: bool = True,
        num_threads: int | None = None,
        out: Array | None = None,
    ) -> Array:
        """Return each sample's gradient times its entry of `cotangent`, which has the shape of `z`."""
        z = z if isinstance(z, np.ndarray) else floats("z", z, "y", y)
        weight = product_of_weights(z, cotangent, sample_weight, z.shape)
        result: Array = self._run((GRAD, z, y, None, weight, "none", None, num_threads, out, check, ignore_nan))
        return result

    def reference(
        self,
        z: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        ignore_nan: bool = False,
        check: bool = True,
        derivatives: bool = False,
    ) -> Value:
        """Return what calling the loss returns, from the formula in plain float64 NumPy: the specification.

        With ``derivatives=True``: (value, gradient, second derivative), as the verbs return them.
        """
        asked = (VALUE, z, y, None, sample_weight, reduction, normalizer, None, None, check, ignore_nan)
        self._run(asked)  # raises where kernels do
        z64, y64 = reference_inputs(z, y)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            parts = self._reference(z64, y64)
        known = ~np.isnan(y64) if ignore_nan else None
        return weighted_reference(parts, sample_weight, reduction, normalizer, derivatives, known)

    # ---- the way to the kernels ---------------------------------------------------------------------------------

    def _run(self, asked: Fields, kernel: Kernel | None = None) -> Any:
        """Run the loss's own kernel, or one of those that it has besides."""
        kernel = kernel or self._bound
        result = kernel(asked)
        return self._run_prepared(asked, kernel) if result is NotImplemented else result

    def _run_prepared(self, asked: Fields, kernel: Kernel) -> Any:
        """Run on arrays that kernels could not read or write as they were."""
        verb, z, y, x, w, reduction, normalizer, num_threads, out, *others = asked
        named = (("y", y), ("sample_weight", w), (self._third, x))
        given = {name: a for name, a in named if isinstance(a, np.ndarray)}
        as_given, z = z, floats("z", z, "y", y)
        outputs = prepare_outputs(verb, out, as_given if isinstance(as_given, np.ndarray) else z, given)
        y = targets_like(y, z)
        w = None if w is None else weights_like("sample_weight", w, z)
        x = self._prepared_third(x, z) if self._third else None
        return fill_outputs(
            verb, outputs, kernel((verb, z, y, x, w, reduction, normalizer, num_threads, None, *others))
        )

    def _prepared_third(self, given: Any, z: Array) -> Array:
        x = weights_like(self._third, given if self._constant is None else self._constant[1], z)
        if x.shape != z.shape and x.shape != z.shape[-1:]:
            raise ValueError(f"{self._third}: got shape {x.shape}, wanted {z.shape} or {z.shape[-1:]}")
        return x

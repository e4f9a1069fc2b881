"""Losses of pairs and triplets of rows: verbs with a gradient for every input, and the way to the kernels."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core
from .._arrays import Array, Output, allocated, float64, floats, floats_like, share_memory, weights_like
from .._keywords import Reduction, Value
from .._parameters import Frozen, dataclass_transform
from .._request import GRAD, VALUE, VALUE_AND_GRAD, Fields, Kernel
from ._base import product_of_weights, reduce_reference

# Every loss of pairs and triplets, by the kernel's name.
PAIR_LOSSES: dict[str, type[PairLoss]] = {}

_Class = TypeVar("_Class", bound="PairLoss")


@dataclass_transform(frozen_default=True, eq_default=False)
def pair_loss(cls: type[_Class]) -> type[_Class]:
    """Make a class a frozen dataclass and enter it in the catalogue."""
    PAIR_LOSSES[cls._kernel] = dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
    return cls


class PairLoss(Frozen):
    """A loss of several inputs of one shape, each of which has a gradient."""

    _kernel: ClassVar[str]
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({},)
    _inputs: ClassVar[tuple[str, ...]] = ("x1", "x2")
    # Does each sample have a target? Is every element a sample by itself, not every row?
    _takes_target: ClassVar[bool] = True
    _single: ClassVar[bool] = False

    _bound: Kernel

    def __post_init__(self) -> None:
        self._check()
        self._set("_bound", _core.pairs(_core.pairs_kernels[self._kernel], self._numbers(), self._inputs))

    def _check(self) -> None:
        """Raise where a parameter is not what the formula wants."""

    def _numbers(self) -> tuple[float, ...]:
        """Return the parameters of the kernel, in its order."""
        return tuple(float(getattr(self, field.name)) for field in dataclasses.fields(self))  # type: ignore[arg-type]

    def _check_target(self, y: Array, w: Array | None) -> None:
        """Raise where a target is outside the loss's domain."""

    def _reference(self, *inputs: NDArray[np.float64]) -> tuple[Any, ...]:
        """Return the value of each sample, and the gradient of each input, in float64."""
        raise NotImplementedError

    # ---- verbs, of inputs that subclasses name ----------------------------------------------------------------------

    def _verb(self, verb: int, inputs: tuple[Any, ...], y: Any, w: Any, *how: Any, check: bool = True) -> Any:
        asked = (verb, inputs, y, w, *how)
        is_plain = [isinstance(a, np.ndarray) and a.dtype.kind == "f" for a in (y, w)]
        # Else it is checked once it is prepared.
        if check and self._takes_target and is_plain[0] and (w is None or (is_plain[1] and w.shape == y.shape)):
            self._check_target(y, w)
        result = self._bound(asked)
        return self._run_prepared(asked, check) if result is NotImplemented else result

    def _run_prepared(self, asked: Fields, check: bool) -> Any:
        """Run on arrays that kernels could not read or write as they were."""
        verb, given, y, w, reduction, normalizer, num_threads, out = asked
        first = floats(self._inputs[0], given[0])
        inputs = (first, *(floats_like(n, a, first) for n, a in zip(self._inputs[1:], given[1:], strict=True)))
        samples = first.shape if self._single else first.shape[:-1]
        outputs = self._outputs(out, given, first, {"y": y, "sample_weight": w}) if verb != VALUE else ()
        if self._takes_target:
            y = weights_like("y", y, first)
            if y.ndim == 0:
                y = allocated("y", samples, y.dtype, functools.partial(np.full, samples, y))
        w = None if w is None else weights_like("sample_weight", w, first)
        if check and self._takes_target:
            self._check_target(y, w)
        result = self._bound((verb, inputs, y, w, reduction, normalizer, num_threads, None))
        if not outputs:
            return result
        fresh = result[1] if verb == VALUE_AND_GRAD else result
        gradients = tuple(output.fill(g) for output, g in zip(outputs, fresh, strict=True))
        return (result[0], gradients) if verb == VALUE_AND_GRAD else gradients

    def _outputs(self, out: Any, given: tuple[Any, ...], like: Array, others: dict[str, Any]) -> tuple[Output, ...]:
        if out is None:
            return ()
        if not isinstance(out, tuple) or len(out) != len(self._inputs):
            kind = type(out).__name__
            raise TypeError(f"out: got {kind}, wanted a tuple of {len(self._inputs)} arrays or None, one an input")
        made = []
        for i, (name, one) in enumerate(zip(self._inputs, out, strict=True)):
            apart = {**dict(zip(self._inputs, given, strict=True)), **others}
            own = apart.pop(name)
            apart = {n: a for n, a in apart.items() if isinstance(a, np.ndarray)}
            made.append(Output(f"out[{i}]", one, own if isinstance(own, np.ndarray) else like, apart, name))
            for k in range(i):
                if share_memory(one, out[k]):
                    raise ValueError(f"out[{i}]: got memory that overlaps out[{k}], wanted separate memory")
        return tuple(made)

    def _vjp(
        self, inputs: tuple[Any, ...], y: Any, cotangent: Any, w: Any, num_threads: Any, out: Any, check: bool = True
    ) -> Any:
        first = floats(self._inputs[0], inputs[0])
        weight = product_of_weights(first, cotangent, w, first.shape if self._single else first.shape[:-1])
        return self._verb(GRAD, inputs, y, weight, "none", None, num_threads, out, check=check)

    def _whole_reference(
        self,
        given: tuple[Any, ...],
        y: Any,
        w: Any,
        reduction: str,
        normalizer: float | None,
        derivatives: bool,
        check: bool = True,
    ) -> Value:
        self._verb(VALUE, given, y, w, reduction, normalizer, None, None, check=check)  # raises where kernels do
        inputs = [float64(name, a) for name, a in zip(self._inputs, given, strict=True)]
        samples = inputs[0].shape if self._single else inputs[0].shape[:-1]
        if self._takes_target:
            inputs.append(np.broadcast_to(float64("y", y), samples))
        weight = np.ones(samples) if w is None else float64("sample_weight", w)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            value, *gradients = self._reference(*inputs)
            value = np.where(weight != 0, value * weight, 0.0)
            of_rows = weight if self._single else weight[..., None]
            gradients = [np.where(of_rows != 0, g * of_rows, 0.0) for g in gradients]
        divisor = float(weight.sum()) if normalizer is None else normalizer
        total = reduce_reference(reduction, value, tuple(gradients), divisor, derivatives, of_rows != 0)
        return (total[0], tuple(total[1:])) if derivatives else total


class LossOfTwo(PairLoss):
    """A loss of two inputs and a target of -1 or 1, a sample each."""

    def _check_target(self, y: Array, w: Array | None) -> None:
        wrong = np.abs(y) - 1 != 0
        wrong &= ~np.isnan(y)
        if w is not None and w.shape == y.shape:
            wrong &= w != 0
        if wrong.any():
            at = int(np.argmax(wrong))
            raise ValueError(f"y: got {y.flat[at]} at flat index {at}, wanted -1 or 1")

    def __call__(
        self,
        x1: ArrayLike,
        x2: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        check: bool = True,
        num_threads: int | None = None,
    ) -> Value:
        """Return the loss.

        Parameters
        ----------
        x1, x2 : array_like of float32, float64, float16 or bfloat16
            Inputs of one shape and dtype, (..., D) or any, as the class says.
        y : array_like, or one number
            Target of each sample, -1 or 1; one number, in an array without axes too, is that of every sample.
        sample_weight : array_like, optional
            Factor of each sample's loss.
        reduction : {"mean", "sum", "none"}
            ``"mean"`` divides the sum by the number of samples, or by the sum of their weights.
        normalizer : float, optional
            Divisor of ``"mean"`` in place of that.
        check : bool
            Raise where a target is outside the loss's domain.
        num_threads : int, optional
            Threads of this call; the result does not depend on it.

        Returns
        -------
        float or ndarray
            A float, accumulated in float64; with ``"none"`` one value a sample (float32 for 16-bit types).

        Raises
        ------
        TypeError, ValueError
            Where an argument is not as above; the message says what was got and what is wanted.
        """
        return self._verb(VALUE, (x1, x2), y, sample_weight, reduction, normalizer, num_threads, None, check=check)

    def grad(
        self,
        x1: ArrayLike,
        x2: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        check: bool = True,
        num_threads: int | None = None,
        out: tuple[Array, Array] | None = None,
    ) -> tuple[Array, Array]:
        """Return the gradients with respect to `x1` and `x2`; `out` is a pair of arrays, each its input or apart."""
        result: tuple[Array, Array] = self._verb(
            GRAD, (x1, x2), y, sample_weight, reduction, normalizer, num_threads, out, check=check
        )
        return result

    def value_and_grad(
        self,
        x1: ArrayLike,
        x2: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        check: bool = True,
        num_threads: int | None = None,
        out: tuple[Array, Array] | None = None,
    ) -> tuple[Value, tuple[Array, Array]]:
        """Return the loss and both gradients, from one pass over the data; see calling the loss and `grad`."""
        result: tuple[Value, tuple[Array, Array]] = self._verb(
            VALUE_AND_GRAD, (x1, x2), y, sample_weight, reduction, normalizer, num_threads, out, check=check
        )
        return result

    def vjp(
        self,
        x1: ArrayLike,
        x2: ArrayLike,
        y: ArrayLike,
        cotangent: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        check: bool = True,
        num_threads: int | None = None,
        out: tuple[Array, Array] | None = None,
    ) -> tuple[Array, Array]:
        """Return each sample's gradients times its entry of `cotangent`."""
        result: tuple[Array, Array] = self._vjp((x1, x2), y, cotangent, sample_weight, num_threads, out, check)
        return result

    def reference(
        self,
        x1: ArrayLike,
        x2: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        check: bool = True,
        derivatives: bool = False,
    ) -> Value:
        """Return the loss from the formula in plain float64 NumPy; with `derivatives`: (value, gradients)."""
        return self._whole_reference((x1, x2), y, sample_weight, reduction, normalizer, derivatives, check)

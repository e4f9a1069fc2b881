"""What losses have in common: frozen parameters, the verbs, reductions, and the way to the kernels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypedDict, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._arrays import Array, Output, arithmetic, as_array, float64, floats, targets_like, weights_like
from ._names import call_text

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack
    from typing_extensions import dataclass_transform as dataclass_transform
else:

    def dataclass_transform(**_: bool) -> Callable[[Any], Any]:
        """Tell type checkers what `loss` does; nothing at run time (typing has it from Python 3.11 on)."""
        return lambda function: function


# A float, or with reduction="none" an array of per-sample values.
Value: TypeAlias = Any

# Reductions that give a float, that gives a value a sample, and any.
Total: TypeAlias = Literal["mean", "sum"]
Each: TypeAlias = Literal["none"]
Reduction: TypeAlias = Literal["mean", "sum", "none"]


class Options(TypedDict, total=False):
    """Keywords of every verb that reduces, beside `reduction`."""

    sample_weight: ArrayLike | None
    normalizer: float | None
    num_threads: int | None


class GradOptions(Options, total=False):
    """Keywords of every verb that writes a gradient as well."""

    out: Array | None


# The verbs, numbered as in src/cpp/base/types.hpp.
VALUE, GRAD, VALUE_AND_GRAD, GRAD_AND_HESS = range(4)

Reference = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

# A function, and its arguments before and after two arrays.
Direct = tuple[Callable[..., Any], tuple[Any, ...], tuple[Any, ...]]

# Every loss with a kernel, by the kernel's name: what tests and benchmarks go through.
LOSSES: dict[str, type[Loss]] = {}

_Class = TypeVar("_Class", bound="Loss")


@dataclass_transform(frozen_default=True, eq_default=False)
def loss(cls: type[_Class]) -> type[_Class]:
    """Make a class a frozen dataclass and enter it in the catalogue."""
    LOSSES[cls._kernel] = dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
    return cls


def check_number(name: str, value: object, wanted: str, accept: Callable[[float], bool]) -> float:
    """Return a parameter of a loss or an optimizer as a float, or say what was got and what is wanted."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name}: got {value!r}, wanted {wanted}")
    try:
        number = float(value)
    except OverflowError:  # an integer beyond float64
        number = float("inf")
    if not accept(number):
        raise ValueError(f"{name}: got {value!r}, wanted {wanted}")
    return number


# Parameters are as float32 can multiply and divide by them; beyond, formulas would give NaN.
SMALLEST, LARGEST = 1e-30, 1e30


def positive(name: str, value: object) -> float:
    """Check that a parameter is a number above 0 that float32 can divide by."""
    wanted = f"a finite number above 0, from {SMALLEST} to {LARGEST}"
    return check_number(name, value, wanted, lambda x: SMALLEST <= x <= LARGEST)


def finite(name: str, value: object) -> float:
    """Check that a parameter is a finite number."""
    return check_number(name, value, f"a finite number, at most {LARGEST} in size", lambda x: abs(x) <= LARGEST)


def boolean(name: str, value: object) -> bool:
    """Check that a parameter is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: got {value!r}, wanted True or False")
    return bool(value)


def at_least_0(name: str, value: object) -> float:
    """Check that a parameter is a finite number, at least 0."""
    return check_number(name, value, f"a finite number, at least 0, at most {LARGEST}", lambda x: 0 <= x <= LARGEST)


class Frozen:
    """What its fields define: frozen, hashable, picklable, equal where class and parameters are."""

    def __new__(cls, *parameters: object, **named: object) -> Self:
        """Refuse arrays in the place of parameters: those are for the verbs."""
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        if sum(map(_is_array, parameters)) > sum(field.type == "Any" for field in fields):
            wanted = ", ".join(field.name for field in fields) or "nothing"
            raise TypeError(f"{cls.__name__}: got arrays, wanted {wanted}; arrays go to lossk.{call_text(cls)}")
        return super().__new__(cls)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _key(self) -> tuple[object, ...]:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        values = (getattr(self, field.name) for field in fields)
        return tuple((v.shape, v.tobytes()) if isinstance(v, np.ndarray) else v for v in values)

    def __repr__(self) -> str:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        shown = ", ".join(f"{field.name}={_shown(getattr(self, field.name))}" for field in fields)
        return f"{type(self).__name__}({shown})"

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, Frozen):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash((type(self), self._key()))

    def __reduce__(self) -> tuple[Callable[..., Frozen], tuple[object, ...]]:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return _rebuild, (type(self), {field.name: getattr(self, field.name) for field in fields})


def _is_array(value: object) -> bool:
    return isinstance(value, list | tuple) or (hasattr(value, "__array__") and not isinstance(value, np.generic))


def _shown(value: object) -> str:
    if isinstance(value, np.ndarray):
        return repr(value.tolist()) if value.size <= 16 else f"<{value.size} weights>"
    return repr(value)


def _rebuild(cls: type[Frozen], fields: dict[str, object]) -> Frozen:
    return cls(**fields)


class Loss(Frozen):
    """A loss: its fields define it, its calls take arrays."""

    # The kernel's name in src/cpp/registry.hpp.
    _kernel: ClassVar[str]
    # Further kernels of the class.
    _also: ClassVar[tuple[str, ...]] = ()
    # Constructor arguments that tests and benchmarks go through.
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({},)


class PointwiseLoss(Loss):
    """A loss of predictions `z` and targets `y` of one shape, sample by sample."""

    _index: int
    _parameters: tuple[float, ...]

    def __post_init__(self) -> None:
        self._check()
        self._set("_index", _core.pointwise_kernels[self._kernel])
        self._set("_parameters", self._numbers())

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
    def __call__(
        self, z: ArrayLike, y: ArrayLike, *, reduction: Total = "mean", **options: Unpack[Options]
    ) -> float: ...
    @overload
    def __call__(self, z: ArrayLike, y: ArrayLike, *, reduction: Each, **options: Unpack[Options]) -> Array: ...
    def __call__(
        self,
        z: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
    ) -> Value:
        """Return the loss.

        Parameters
        ----------
        z : array_like of float32, float64, float16 or bfloat16, any shape
            Predictions.
        y : array_like, the shape of `z`, or one number
            Targets; converted to the dtype of `z`. One number is the target of every sample; no array broadcasts.
        sample_weight : array_like, the shape of `z`, optional
            Factor of each sample's loss.
        reduction : {"mean", "sum", "none"}
            ``"mean"`` divides the sum by the number of samples, or by the sum of their weights.
        normalizer : float, optional
            Divisor of ``"mean"`` in place of that.
        num_threads : int, optional
            Threads of this call; the result does not depend on it.

        Returns
        -------
        float or ndarray
            A float, accumulated in float64; with ``"none"`` an array like `z` (float32 for 16-bit types).

        Raises
        ------
        TypeError, ValueError
            Where an argument is not as above; the message says what was got and what is wanted.
        """
        return self._run(VALUE, z, y, sample_weight, reduction, normalizer, num_threads, None)

    def grad(
        self,
        z: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
        out: Array | None = None,
    ) -> Array:
        """Return the gradient with respect to `z`, an array like `z`.

        Parameters are those of calling the loss. With ``reduction="none"`` each sample's gradient is its own,
        unscaled. `out` is the array to write to: of the shape and dtype of `z`, writeable, and either `z` itself
        or separate memory; nothing is written where anything raises.
        """
        result: Array = self._run(GRAD, z, y, sample_weight, reduction, normalizer, num_threads, out)
        return result

    @overload
    def value_and_grad(
        self, z: ArrayLike, y: ArrayLike, *, reduction: Total = "mean", **options: Unpack[GradOptions]
    ) -> tuple[float, Array]: ...
    @overload
    def value_and_grad(
        self, z: ArrayLike, y: ArrayLike, *, reduction: Each, **options: Unpack[GradOptions]
    ) -> tuple[Array, Array]: ...
    def value_and_grad(
        self,
        z: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
        out: Array | None = None,
    ) -> tuple[Value, Array]:
        """Return the loss and its gradient, from one pass over the data; see calling the loss and `grad`."""
        result: tuple[Value, Array] = self._run(
            VALUE_AND_GRAD, z, y, sample_weight, reduction, normalizer, num_threads, out
        )
        return result

    def grad_and_hess(
        self,
        z: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
        out: tuple[Array, Array] | None = None,
    ) -> tuple[Array, Array]:
        """Return gradient and diagonal second derivative with respect to `z`; `out` is a pair of arrays."""
        result: tuple[Array, Array] = self._run(
            GRAD_AND_HESS, z, y, sample_weight, reduction, normalizer, num_threads, out
        )
        return result

    def vjp(
        self,
        z: ArrayLike,
        y: ArrayLike,
        cotangent: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        num_threads: int | None = None,
        out: Array | None = None,
    ) -> Array:
        """Return each sample's gradient times its entry of `cotangent`, which has the shape of `z`."""
        z = floats("z", z, "y", y)
        weight = product_of_weights(z, cotangent, sample_weight, z.shape)
        result: Array = self._run(GRAD, z, y, weight, "none", None, num_threads, out)
        return result

    def reference(
        self,
        z: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        derivatives: bool = False,
    ) -> Value:
        """Return what calling the loss returns, from the formula in plain float64 NumPy: the specification.

        With ``derivatives=True``: (value, gradient, second derivative), as the verbs return them.
        """
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            parts = self._reference(*reference_inputs(z, y))
        return weighted_reference(parts, sample_weight, reduction, normalizer, derivatives)

    # ---- the way to the kernels ---------------------------------------------------------------------------------

    # What a formula with a third input calls it: an array of the shape of z, or of the length of its last axis.
    _third: str = ""
    # Where that is a parameter of the loss: one array for each type of arithmetic.
    _constant: dict[np.dtype[Any], Array] | None = None

    def _run(
        self,
        verb: int,
        z: Any,
        y: Any,
        w: Any,
        reduction: str,
        normalizer: Any,
        threads: Any,
        out: Any,
        x: Any = None,
        kernel: int | None = None,
    ) -> Any:
        """Run the loss's own kernel, or one of those that it has besides."""
        if kernel is None:
            kernel = self._index
        if self._constant is not None:
            x = self._constant[arithmetic(getattr(z, "dtype", None))]
        result = _core.pointwise(kernel, self._parameters, verb, z, y, w, reduction, normalizer, threads, out, x)
        if result is NotImplemented:
            return self._run_prepared(kernel, verb, z, y, w, reduction, normalizer, threads, out, x)
        return result

    def _direct(self, verb: int, reduction: str) -> Direct:
        """Return the kernel's call for arrays that are as kernels want them, and nothing else."""
        return _core.pointwise, (self._index, self._parameters, verb), (None, reduction, None, None, None, None)

    def _run_prepared(
        self,
        kernel: int,
        verb: int,
        z: Any,
        y: Any,
        w: Any,
        reduction: str,
        normalizer: Any,
        threads: Any,
        out: Any,
        x: Any,
    ) -> Any:
        """Run on arrays that kernels could not read or write as they were."""
        named = (("y", y), ("sample_weight", w), (self._third, x))
        given = {name: a for name, a in named if isinstance(a, np.ndarray)}
        as_given, z = z, floats("z", z, "y", y)
        outputs = prepare_outputs(verb, out, as_given if isinstance(as_given, np.ndarray) else z, given)
        y = targets_like(y, z)
        w = None if w is None else weights_like("sample_weight", w, z)
        if self._constant is not None:
            x = self._constant[arithmetic(z.dtype)]
        if self._third:
            x = weights_like(self._third, x, z)
            if x.shape != z.shape and x.shape != z.shape[-1:]:
                raise ValueError(f"{self._third}: got shape {x.shape}, wanted {z.shape} or {z.shape[-1:]}")
        arguments = (w, reduction, normalizer, threads, None, x)
        return fill_outputs(verb, outputs, _core.pointwise(kernel, self._parameters, verb, z, y, *arguments))


def constant_array(name: str, value: ArrayLike) -> dict[np.dtype[Any], Array]:
    """Return read-only copies of an array parameter, one for each type of arithmetic."""
    array = as_array(name, value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: got dtype {array.dtype}, wanted real numbers")
    copies = {np.dtype(d): np.array(array, dtype=d) for d in (np.float64, np.float32)}
    for copy in copies.values():
        copy.flags.writeable = False
    return copies


def reference_inputs(z: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return predictions and targets in float64, of one shape as kernels want them."""
    z64 = float64("z", z)
    y64 = targets_like(y, z64)
    if y64.shape != z64.shape:
        raise ValueError(f"y: got shape {y64.shape}, wanted {z64.shape}, the shape of z")
    return z64, y64


def weighted_reference(
    parts: Reference, sample_weight: ArrayLike | None, reduction: str, normalizer: float | None, derivatives: bool
) -> Value:
    """Weight and reduce the reference of a pointwise loss."""
    w = np.ones_like(parts[0]) if sample_weight is None else float64("sample_weight", sample_weight)
    value, grad, hess = (w * part for part in parts)
    divisor = divisor_of(reduction, float(w.sum()), normalizer)
    return reduce_reference(reduction, value, (grad, hess), divisor, derivatives)


def divisor_of(reduction: str, counted: float, normalizer: float | None) -> float:
    """Return what a mean divides by; a normalizer is refused where kernels refuse it."""
    if normalizer is None:
        return counted
    if reduction != "mean":
        raise ValueError(f"normalizer: got {normalizer!r}, wanted None unless reduction is 'mean'")
    return check_number("normalizer", normalizer, "a finite number above 0", lambda x: 0 < x < float("inf"))


def product_of_weights(z: Array, cotangent: Any, sample_weight: Any, shape: tuple[int, ...]) -> Array:
    """Return upstream gradient times sample weight, in the type of the arithmetic on `z`."""
    upstream = weights_like("cotangent", cotangent, z)
    if upstream.shape != shape:
        raise ValueError(f"cotangent: got shape {upstream.shape}, wanted {shape}, one entry a sample")
    if sample_weight is None:
        return upstream
    weight = weights_like("sample_weight", sample_weight, z)
    if weight.shape != shape:
        raise ValueError(f"sample_weight: got shape {weight.shape}, wanted {shape}, one weight a sample")
    return np.asarray(upstream * weight)


def reduce_reference(
    reduction: str,
    value: Array,
    derivatives: tuple[Array, ...],
    divisor: float,
    with_derivatives: bool,
    counts: Any = True,
) -> Value:
    """Reduce per-sample values and scale derivatives as the kernels do; exact 0 where a sample does not count."""
    total: Value
    if reduction == "none":
        total, scale = value, 1.0
    elif reduction == "sum":
        total, scale = float(value.sum()), 1.0
    elif reduction == "mean":
        with np.errstate(divide="ignore", invalid="ignore"):
            total, scale = float(np.divide(value.sum(), divisor)), float(np.divide(1.0, divisor))
    else:
        raise ValueError(f"reduction: got {reduction!r}, wanted 'mean', 'sum' or 'none'")
    if not with_derivatives:
        return total
    with np.errstate(invalid="ignore"):
        return (total, *(np.where(counts, d * scale, 0.0) for d in derivatives))


def prepare_outputs(
    verb: int, out: Any, z: Array, others: dict[str, Array], input_name: str = "z"
) -> tuple[Output, ...]:
    """Check a user's `out` for a call whose arrays must be prepared first."""
    if out is None or verb == VALUE:
        return ()
    if verb != GRAD_AND_HESS:
        return (Output("out", out, z, others, input_name),)
    if not isinstance(out, tuple) or tuple.__len__(out) != 2:
        raise TypeError(f"out: got {type(out).__name__}, wanted a tuple of two arrays")
    pair = Output("out[0]", out[0], z, others), Output("out[1]", out[1], z, others)
    if np.may_share_memory(out[0], out[1]):
        raise ValueError("out[1]: got memory that overlaps out[0], wanted separate memory")
    return pair


def fill_outputs(verb: int, outputs: tuple[Output, ...], result: Any) -> Any:
    """Put fresh results where the user wanted them; returns what the verb returns."""
    if not outputs:
        return result
    if verb == GRAD:
        return outputs[0].fill(result)
    if verb == VALUE_AND_GRAD:
        return result[0], outputs[0].fill(result[1])
    return outputs[0].fill(result[0]), outputs[1].fill(result[1])

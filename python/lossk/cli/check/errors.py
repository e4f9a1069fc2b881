"""How far kernels are from their references: one number per quantity, and what it may be.

Errors are relative to ``|reference| + floor``, where the floor is what an absolute tolerance allows near 0; derivatives
in 16 bits are counted in units of their last place. Where a pointwise loss is a difference of large terms, what it
changes by when an input moves by two units in the last place of the arithmetic is no error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossk._linear import LinearCrossEntropy
from lossk._runtime import versions
from lossk.activations import ACTIVATIONS, GATED
from lossk.losses import LOSSES, PAIR_LOSSES, Loss, PointwiseLoss
from lossk.losses.ctc import CTC
from lossk.optimizers import OPTIMIZERS

Array = NDArray[Any]

SIZES = (1, 7, 64, 513, 20_011)
ROWS = ((33, 2), (9, 10), (5, 65), (3, 1000), (2, 20_011))
STEPS = 5
PARAMETERS = 100.0  # floors of parameters, which are about 1, over those of derivatives


@dataclass(frozen=True)
class Error:
    """The error of one quantity, with its tolerance."""

    quantity: str
    error: float
    tolerance: float

    @property
    def share(self) -> float:
        """How much of the tolerance is used; NaN counts as infinitely much."""
        return float("inf") if np.isnan(self.error) else self.error / self.tolerance


@dataclass(frozen=True)
class Tolerance:
    """Relative tolerances of values and derivatives, and the floors below which they are absolute."""

    value: float
    grad: float
    floor: float


TOLERANCES = {"float64": Tolerance(1e-12, 1e-12, 2e-3), "float32": Tolerance(1e-6, 1e-5, 1e-2)}
NARROW_VALUE = Tolerance(2e-6, 1.0, 1e-2)


def _relative(got: Any, want: Any, floor: float, slack: Any = 0.0) -> float:
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.where(got == want, 0.0, np.maximum(np.abs(got - want) - slack, 0) / (np.abs(want) + floor))
    return float(np.max(apart, initial=0.0))


def _steps(got: Array, want: Array, slack: Any) -> float:
    """Count the numbers of got's type between the two, at most; none where they are as close as f32 can say."""
    with np.errstate(over="ignore"):
        rounded = np.asarray(want, np.float32).astype(got.dtype)
    a, b = (x.view(np.int16).astype(np.int64) for x in (got, rounded))
    a, b = (np.where(x < 0, -(2**15) - x, x) for x in (a, b))
    near = np.abs(got.astype(np.float64) - want) <= slack
    return float(np.max(np.where(near, 0, np.abs(a - b)), initial=0))


def _slacks(loss: Any, arrays: list[Array], reduction: str, dtype: Any) -> list[Any]:
    """Return what value and derivatives of a pointwise loss change by where inputs move by two last places."""
    if not isinstance(loss, PointwiseLoss):
        return [0.0, 0.0, 0.0]
    step = 1e-7
    options: dict[str, Any] = {"reduction": reduction, "derivatives": True, "check": False}
    at = loss.reference(*arrays, **options)
    slacks = [np.zeros_like(part) for part in at]
    for i in range(2):
        moved = loss.reference(*(a * (1 + step) if i == j else a for j, a in enumerate(arrays)), **options)
        slacks = [slack + np.abs(new - old) for slack, new, old in zip(slacks, moved, at, strict=True)]
    eps = np.finfo(np.float64 if dtype == np.float64 else np.float32).eps
    return [slack * 2 * float(eps) / step for slack in slacks]


def value_error(got: Any, want: Any, dtype: str, scale: float = 1.0, slack: Any = 0.0) -> Error:
    """Compare values, whose floor is a share of their usual size."""
    tolerance = TOLERANCES.get(dtype, NARROW_VALUE)
    floor = tolerance.floor * max(float(np.mean(np.abs(want))), 1e-300) * 100 * scale
    return Error("value", _relative(got, want, floor, slack), tolerance.value)


def array_error(quantity: str, got: Array, want: Array, scale: float = 1.0, slack: Any = 0.0) -> Error:
    """Compare arrays of derivatives or outputs."""
    if got.dtype.itemsize == 2:
        return Error(f"{quantity}, last places", _steps(got, want, 1e-7 * scale + slack), 1.0)
    tolerance = TOLERANCES[got.dtype.name]
    return Error(quantity, _relative(got, want, tolerance.floor * scale, slack), tolerance.grad)


def _narrowed(a: Array, dtype: Any) -> Array:
    return a if a.dtype.kind in "iu" else a.astype(dtype)


def loss_errors(cls: type[Loss], dtype: Any, rng: np.random.Generator) -> Iterator[Error]:
    """Compare every variant of a loss: value, gradient and second derivative of samples, and the mean."""
    shapes: Any = [(n,) for n in SIZES] if issubclass(cls, PointwiseLoss) else ROWS
    for kwargs in cls._variants:
        loss: Any = cls(**kwargs)
        cancelling = 1 + (getattr(loss, "softcap", None) or 0.0)  # soft capping subtracts numbers as large as the cap
        for shape in shapes:
            drawn = cls._draw(rng, shape, np.float32)  # type: ignore[attr-defined]
            arrays = [_narrowed(a, dtype) for a in drawn]
            wide = [_narrowed(a, np.float64) for a in arrays]
            for reduction in ("none", "mean"):
                value, grad, hess = loss.reference(*wide, reduction=reduction, derivatives=True)
                slacks = _slacks(loss, wide, reduction, dtype)
                got, g = loss.value_and_grad(*arrays, reduction=reduction)
                yield value_error(got, value, np.dtype(dtype).name, cancelling, slacks[0])
                yield array_error("gradient", g, grad, cancelling, slacks[1])
            g, h = loss.grad_and_hess(*arrays, reduction="mean")
            yield array_error("gradient", g, grad, cancelling, slacks[1])
            yield array_error("second derivative", h, hess, 3 * cancelling, slacks[2])


def pair_errors(cls: Any, dtype: Any, rng: np.random.Generator) -> Iterator[Error]:
    """Compare a loss of pairs or triplets: values, and the gradient of every input."""
    for kwargs in cls._variants:
        loss = cls(**kwargs)
        for shape in ROWS:
            arrays = [a.astype(dtype) for a in cls._draw(rng, shape, np.float32)]
            for reduction in ("none", "mean"):
                wide = [a.astype(np.float64) for a in arrays]
                value, wanted = loss.reference(*wide, reduction=reduction, derivatives=True)
                got, gradients = loss.value_and_grad(*arrays, reduction=reduction)
                yield value_error(got, value, np.dtype(dtype).name)
                for name, gradient, want in zip(loss._inputs, gradients, wanted, strict=True):
                    yield array_error(f"gradient of {name}", gradient, want, 10.0)  # differences of vectors, about 1


def ctc_errors(cls: Any, dtype: Any, rng: np.random.Generator) -> Iterator[Error]:
    """Compare CTC: losses, and gradients, which are differences of probabilities."""
    for times, classes, labels in ((20, 5, 8), (200, 40, 60)):
        z = rng.normal(size=(times, 3, classes))
        z = (z - np.log(np.exp(z).sum(axis=-1, keepdims=True))).astype(dtype)
        target = rng.integers(1, classes, (3, labels))
        want, of_z = cls().reference(z, target, reduction="none", derivatives=True)
        got, gradient = cls().value_and_grad(z, target, reduction="none")
        yield array_error("value", got, want)
        yield array_error("gradient", gradient, of_z, PARAMETERS)


def activation_errors(cls: Any, dtype: Any, rng: np.random.Generator) -> Iterator[Error]:
    """Compare an activation's value and derivative."""
    for kwargs in cls._variants:
        function = cls(**kwargs)
        for n in SIZES:
            x = (3 * rng.normal(size=n)).astype(dtype)
            value, derivative = function.reference(x.astype(np.float64))
            yield array_error("value", function(x), value)
            yield array_error("derivative", function.derivative(x), derivative)


def gated_errors(cls: Any, dtype: Any, rng: np.random.Generator) -> Iterator[Error]:
    """Compare the value of a gated activation, and its gradients along ones; tests compare that of a slope, a sum."""
    for n in SIZES:
        x, gate = ((3 * rng.normal(size=(2, 2 * n))).astype(dtype) for _ in range(2))
        function, inputs = cls(), {"GLU": (x,), "PReLU": (x, gate[0])}.get(cls.__name__, (x, gate))
        value, *wanted = function.reference(*(a.astype(np.float64) for a in inputs))
        got = function(*inputs)
        yield array_error("value", got, value)
        found = function.vjp(*inputs, np.ones_like(got))
        pairs = zip(found if isinstance(found, tuple) else (found,), wanted, strict=True)
        for gradient, want in pairs:
            if gradient.ndim == 2:
                yield array_error("gradient", gradient, want, 10)  # products with gates, of which one cancels


def optimizer_errors(cls: Any, dtype: Any, rng: np.random.Generator) -> Iterator[Error]:
    """Compare parameters after a few steps; in 16 bits, where each step rounds, after one."""
    steps = 1 if np.dtype(dtype).itemsize == 2 else STEPS
    for kwargs in cls._variants:
        start = rng.normal(size=SIZES[-1]).astype(dtype)
        grads = [rng.normal(size=start.size).astype(dtype) for _ in range(steps)]
        p = start.copy()
        optimizer = cls([p], **kwargs)
        want, _ = optimizer.reference(start, grads)
        for grad in grads:
            optimizer.step([grad])
        yield array_error("parameters", p, want, PARAMETERS)


def softmax_errors(name: str, dtype: Any, rng: np.random.Generator) -> Iterator[Error]:
    """Compare softmax, log_softmax or logsumexp."""
    import lossk

    for shape in ROWS:
        x = (3 * rng.normal(size=shape)).astype(dtype)
        wide = x.astype(np.float64)
        top = wide.max(axis=-1, keepdims=True)
        lse = np.log(np.exp(wide - top).sum(axis=-1, keepdims=True)) + top
        want = {"softmax": np.exp(wide - lse), "log_softmax": wide - lse, "logsumexp": lse[..., 0]}[name]
        yield array_error("value", getattr(lossk, name)(x), want)


def linear_errors(cls: Any, dtype: Any, rng: np.random.Generator) -> Iterator[Error]:
    """Compare LinearCrossEntropy in several chunks."""
    rows, features, classes = 500, 24, 2003
    x, w = rng.normal(size=(rows, features)).astype(dtype), rng.normal(size=(classes, features)).astype(dtype)
    target = rng.integers(0, classes, rows)
    loss = cls(chunk_bytes=1 << 20)
    got, gradients = loss.value_and_grad(x, w, target, reduction="sum")
    value, *wanted = loss.reference(x, w, target, reduction="sum", derivatives=True)
    yield value_error(got, value, np.dtype(dtype).name)
    for name, gradient, want in zip(("dx", "dw"), gradients, wanted, strict=False):
        if np.dtype(dtype).name != "bfloat16" or versions()["bfloat16 products"] == "FMA":
            yield array_error(name, gradient, want, PARAMETERS)  # sums of many products, about 1
        else:  # of products of bf16, dz among them
            error = np.abs(gradient.astype(np.float64) - want).max() / np.abs(want).max()
            yield Error(f"{name}, of the largest", float(error), 2.0**-8)


Measure = Callable[[Any, np.random.Generator], Iterator[Error]]


def kernels() -> dict[str, Measure]:
    """Return what there is to check: a name, and a function of type and random numbers that yields errors."""

    def of(function: Any, subject: Any) -> Measure:
        return lambda dtype, rng: function(subject, dtype, rng)

    found = {cls.__name__: of(loss_errors, cls) for cls in LOSSES.values()}
    found |= {cls.__name__: of(pair_errors, cls) for cls in PAIR_LOSSES.values()}
    found |= {"CTC": of(ctc_errors, CTC)}
    found |= {name: of(softmax_errors, name) for name in ("softmax", "log_softmax", "logsumexp")}
    found |= {"LinearCrossEntropy": of(linear_errors, LinearCrossEntropy)}
    found |= {cls.__name__: of(activation_errors, cls) for cls in ACTIVATIONS.values()}
    found |= {cls.__name__: of(gated_errors, cls) for cls in GATED.values()}
    found |= {cls.__name__: of(optimizer_errors, cls) for cls in OPTIMIZERS.values()}
    return found

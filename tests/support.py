"""What test files share: cases drawn from the registry of losses, tolerances, layouts and guarded memory."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import itertools
import mmap
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import lossk
from lossk._arrays import as_array
from lossk.losses import LOSSES, Loss, PointwiseLoss

Array = NDArray[Any]

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
REDUCTIONS = ("mean", "sum", "none")
REGISTER_BYTES = {"base": 16, "neon": 16, "x86-64-v3": 32, "x86-64-v4": 64}

# Around register widths, tiles and blocks (512) and chunks (16384).
SIZES = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 129, 511, 513, 1025)
LARGE_SIZES = (16383, 16384, 16385, 40001)


# ---- cases from the registry --------------------------------------------------------------------------------------


class GaussianOfTwo(lossk.GaussianNLL):
    """GaussianNLL as a loss of two arrays, for what all losses are tested for: the variance is |y|, an exact number."""


def _with_variance(verb: str) -> Callable[..., Any]:
    def call(self: Any, z: Any, y: Any, *others: Any, **options: Any) -> Any:
        return getattr(lossk.GaussianNLL, verb)(self, z, y, np.abs(as_array("y", y)), *others, **options)

    return call


for _verb in ("__call__", "grad", "value_and_grad", "grad_and_hess", "vjp", "reference"):
    setattr(GaussianOfTwo, _verb, _with_variance(_verb))

# Where a loss takes z and y from, if not from all numbers.
DOMAINS = {"binary_cross_entropy": (0.0, 1.0)}

STAND_INS: dict[str, type[Loss]] = {"gaussian_nll": GaussianOfTwo}


@dataclasses.dataclass(frozen=True)
class Case:
    """A loss of the registry with the constructor arguments of one of its variants."""

    kernel: str
    variant: int

    @property
    def kwargs(self) -> dict[str, Any]:
        return LOSSES[self.kernel]._variants[self.variant]

    def plain(self) -> Any:
        return LOSSES[self.kernel](**self.kwargs)

    def make(self) -> Any:
        """The loss, as one of two arrays."""
        return STAND_INS.get(self.kernel, LOSSES[self.kernel])(**self.kwargs)

    @property
    def pointwise(self) -> bool:
        return issubclass(LOSSES[self.kernel], PointwiseLoss)

    def shapes(self, n: int) -> tuple[tuple[int, ...], ...]:
        """Shapes of predictions with n elements; for row losses n rows and n classes."""
        return ((n,),) if self.pointwise else ((3, n), (n, 3)) if n < 5000 else ((2, n),)

    def sample_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape if self.pointwise else shape[:-1]

    def __str__(self) -> str:
        arguments = ",".join(f"{name}={value}" for name, value in self.kwargs.items())
        return f"{LOSSES[self.kernel].__name__}({arguments})"


CASES = tuple(Case(kernel, i) for kernel, cls in LOSSES.items() for i in range(len(cls._variants)))
FIRST_CASES = tuple(case for case in CASES if case.variant == 0)

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_pointwise_case = pytest.mark.parametrize("case", [c for c in CASES if c.pointwise], ids=str)
each_row_case = pytest.mark.parametrize("case", [c for c in CASES if not c.pointwise], ids=str)
each_loss = pytest.mark.parametrize("case", FIRST_CASES, ids=str)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@dataclasses.dataclass(frozen=True)
class Batch:
    """Arrays of one call."""

    z: Array
    target: Array
    weight: Array | None


def draw(case: Case, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, weighted: bool = False) -> Batch:
    z, target = LOSSES[case.kernel]._draw(rng, shape, dtype)[:2]
    weight = rng.uniform(0.25, 2.0, size=case.sample_shape(shape)).astype(dtype) if weighted else None
    return Batch(z, target, weight)


def run_verb(loss: Any, verb: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
    """What a verb returns, as a tuple; "value" is calling the loss."""
    result = loss(*args, **kwargs) if verb == "value" else getattr(loss, verb)(*args, **kwargs)
    return result if isinstance(result, tuple) else (result,)


VERBS = ("value", "grad", "value_and_grad", "grad_and_hess")


# ---- tolerances ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """The tolerances of SEMANTICS.md for arithmetic in one dtype."""

    value: float  # relative
    grad: float  # relative
    grad_atol: float  # absolute, per unit of weight


# In f64 SEMANTICS.md gives a relative tolerance alone; p - y cancels to 1e-16 of its terms, hence the absolute one.
TOLERANCE = {
    np.dtype(np.float32): Tolerance(1e-6, 1e-5, 1e-7),
    np.dtype(np.float64): Tolerance(1e-12, 1e-12, 2e-15),
}


def softcap_of(loss: Loss) -> float:
    return getattr(loss, "softcap", None) or 0.0


def value_atol(loss: Loss, dtype: Any) -> float:
    """Absolute tolerance of one sample's value.

    Pointwise values are products: none. A row's loss is log(1 + ...) - (z_t - max), both kept apart by the kernel; but
    with soft capping cap tanh(z_t / cap) - max cancels, with the rounding of numbers as large as the cap.
    """
    if isinstance(loss, PointwiseLoss):
        return 0.0
    eps = float(np.finfo(dtype).eps)
    return eps * (1 + 2 * softcap_of(loss))


def grad_atol(loss: Loss, dtype: Any) -> float:
    """Absolute tolerance of a derivative; with soft capping 1 - tanh^2 cancels, once more in its products."""
    return TOLERANCE[np.dtype(dtype)].grad_atol * (1 + softcap_of(loss))


def hess_atol(loss: Loss, dtype: Any) -> float:
    """Absolute tolerance of a second derivative: 1 - p of a confident row cancels in classes other than the label."""
    return 3 * grad_atol(loss, dtype)


# Losses that are differences: of terms that grow, and cancel near their minimum or where the loss changes its sign.
DIFFERENCES = {"poisson_nll", "gaussian_nll", "gamma", "tweedie"}


def rounding(loss: Any, z: Array, target: Array, weight: Array | None, dtype: Any) -> tuple[Any, Any, Any]:
    """What value and derivatives of a difference change by where inputs change by two units in the last place."""
    if loss._kernel not in DIFFERENCES:
        return 0.0, 0.0, 0.0
    step, y = 1e-7, target.astype(np.float64)

    def parts(z: Array, y: Array) -> list[Array]:
        return list(loss.reference(z, y, sample_weight=weight, reduction="none", derivatives=True))

    moved = zip(parts(z, y), parts(z * (1 + step), y), parts(z, y * (1 + step)), strict=True)
    factor = 2 * float(np.finfo(dtype).eps) / step
    value, grad, hess = ((np.abs(by_z - at) + np.abs(by_y - at)) * factor for at, by_z, by_y in moved)
    return value, grad, hess


def assert_close(got: Any, want: Any, rtol: float, atol: Any, what: str) -> None:
    """Equal within tolerance, NaN and infinities in the same places; the wanted value as rounded to got's dtype."""
    got = np.asarray(got)
    with np.errstate(over="ignore"):
        want = np.asarray(want).astype(got.dtype)
    assert got.shape == want.shape, f"{what}: got shape {got.shape}, wanted {want.shape}"
    if np.ndim(atol):  # each element has its own
        wrong = ~np.isclose(got, want, rtol=rtol, atol=atol, equal_nan=True)
        assert not wrong.any(), f"{what}: got {got[wrong]}, wanted {want[wrong]}"
        return
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol, equal_nan=True, err_msg=what)


def assert_matches_reference(
    loss: Any, batch: Batch, dtype: Any, verbs: tuple[str, ...] = VERBS, note: str = "", **options: Any
) -> None:
    """Every verb and reduction against the loss's reference."""
    tolerance = TOLERANCE[np.dtype(dtype)]
    z64 = batch.z.astype(np.float64)
    weight = None if batch.weight is None else batch.weight.astype(np.float64)
    arguments: dict[str, Any] = {"sample_weight": batch.weight, **options}
    norms = {}
    spread = rounding(loss, z64, batch.target, weight, dtype)
    for reduction in ("sum", "mean", "none"):
        value, grad, hess = loss.reference(
            z64, batch.target, sample_weight=weight, reduction=reduction, derivatives=True, **options
        )
        norms[reduction] = float(np.abs(grad).max(initial=0.0))
        # What "mean" divides by also divides the absolute tolerance.
        scale = norms["mean"] / norms["sum"] if reduction == "mean" and norms["sum"] > 0 else 1.0
        largest = 1.0 if batch.weight is None else float(batch.weight.max(initial=1.0))
        count = 1 if reduction == "none" else max(1, batch.z.size)
        v_spread = spread[0] if reduction == "none" else float(np.sum(spread[0]))
        v_atol = value_atol(loss, dtype) * largest * scale * count + v_spread * scale
        g_atol = grad_atol(loss, dtype) * largest * scale + spread[1] * scale
        for verb in verbs:
            what = f"{loss} {verb} {reduction} shape {batch.z.shape} weighted {batch.weight is not None} {note}"
            parts = run_verb(loss, verb, batch.z, batch.target, reduction=reduction, **arguments)
            if verb.startswith("value"):
                if reduction == "none":
                    assert parts[0].dtype == dtype, what
                else:
                    assert type(parts[0]) is float, what
                assert_close(parts[0], value, tolerance.value, v_atol, "value of " + what)
            if "grad" in verb:
                got = parts[-1] if verb == "value_and_grad" else parts[0]
                assert got.dtype == dtype, what
                assert_close(got, grad, tolerance.grad, g_atol, "gradient of " + what)
            if verb == "grad_and_hess":
                assert parts[1].dtype == dtype, what
                h_atol = hess_atol(loss, dtype) * largest * scale + spread[2] * scale
                assert_close(parts[1], hess, tolerance.grad, h_atol, "second derivative of " + what)


# ---- layouts ------------------------------------------------------------------------------------------------------


def contiguous_copy(a: Array) -> Array:
    return np.array(a, order="C")


def offset_by_one(a: Array) -> Array:
    """The same numbers, one element behind an aligned start."""
    memory = np.zeros(a.size + 17, a.dtype)
    start = (-memory.ctypes.data // a.itemsize) % (64 // a.itemsize) + 1
    view = memory[start : start + a.size].reshape(a.shape)
    view[...] = a
    return view


def misaligned(a: Array) -> Array:
    """The same numbers at an address that is no multiple of the element size."""
    memory = np.zeros(a.nbytes + a.itemsize, np.uint8)
    view = memory[1 : 1 + a.nbytes].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def every_second(a: Array) -> Array:
    memory = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    view = memory[..., ::2]
    view[...] = a
    return view


def reversed_memory(a: Array) -> Array:
    memory = np.zeros(a.shape, a.dtype)
    view = memory[::-1, ..., ::-1] if a.ndim > 1 else memory[::-1]
    view[...] = a
    return view


def fortran(a: Array) -> Array:
    return np.array(a, order="F")


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "contiguous": contiguous_copy,
    "offset by one": offset_by_one,
    "misaligned": misaligned,
    "every second": every_second,
    "reversed": reversed_memory,
    "Fortran": fortran,
}


@contextlib.contextmanager
def last_level_cache(nbytes: int) -> Iterator[None]:
    """The last-level cache is taken to be so large."""
    before = lossk._core.last_level_cache()
    lossk._core.pretend_last_level_cache(nbytes)
    try:
        yield
    finally:
        lossk._core.pretend_last_level_cache(before)


def results_past_caches() -> contextlib.AbstractContextManager[None]:
    """Results of any size are streamed, as large ones are, unless they are in place."""
    return last_level_cache(1)


def results_in_caches() -> contextlib.AbstractContextManager[None]:
    """No result is streamed."""
    return last_level_cache(2**60)


def at_offset(a: Array, elements: int) -> Array:
    """A copy that starts so many elements behind a multiple of 64 bytes, and what surrounds it: sevens."""
    per_line = 64 // a.itemsize
    memory = np.full(a.size + 3 * per_line, 7, a.dtype)
    start = (-memory.ctypes.data // a.itemsize) % per_line + elements
    memory[start : start + a.size] = a.reshape(-1)
    view: Array = memory[start : start + a.size].reshape(a.shape)
    assert view.ctypes.data % 64 == elements * a.itemsize
    return view


def assert_surroundings_kept(view: Array) -> None:
    """What surrounds an array from `at_offset` has not been written to."""
    memory = view.base if view.base.ndim == 1 else view.base.base
    assert (memory == 7).sum() >= 3 * (64 // view.itemsize), "the surroundings were written to"


# ---- guarded memory -----------------------------------------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def guarded(a: Array, at: str = "end") -> Array:
    """A contiguous copy whose first ("start") or last ("end") byte touches a page that cannot be read.

    The other end has such a page less than a page away.
    """
    page = mmap.PAGESIZE
    room = max(1, -(-a.nbytes // page)) * page
    memory = mmap.mmap(-1, room + 2 * page)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for guard in (base, base + page + room):
        if _libc.mprotect(guard, page, 0) != 0:  # PROT_NONE
            raise OSError(ctypes.get_errno(), "mprotect")
    first = page if at == "start" else page + room - a.nbytes
    view = np.frombuffer(memory, a.dtype, count=a.size, offset=first).reshape(a.shape)
    view[...] = a
    return view


def bits(a: Any) -> bytes:
    """The bytes of an array or a number, to compare to the bit."""
    return np.ascontiguousarray(np.asarray(a)).tobytes()


def product(**choices: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    """All combinations of the choices, as dicts."""
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))

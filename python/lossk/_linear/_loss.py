"""LinearCrossEntropy: parameters, verbs, and the reference."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import Array, float64, is_integer
from .._keywords import PlainToEach, PlainToTotal, Reduction, Value, WithStats
from .._parameters import Frozen, at_least_0, dataclass_transform
from ..losses.cross_entropy import CrossEntropy
from ._problem import TERMS, counting, integer_labels, make_problem
from ._results import make_outputs
from ._run import run

if TYPE_CHECKING:
    from typing_extensions import Unpack

SMALLEST_CHUNK = 1 << 20


@dataclass_transform(frozen_default=True, eq_default=False)
def _frozen(cls: type[LinearCrossEntropy]) -> type[LinearCrossEntropy]:
    return dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)


@_frozen
class LinearCrossEntropy(Frozen):
    r"""Cross-entropy of ``z = x @ w.T + bias``, the last layer of a language model or a recommender.

    The logits of all rows are never held at once: rows are taken in chunks, whose logits become sums and then gradients
    while they are in the caches. Rows whose label is `ignore_index` are left out before the product. With ``dz`` the
    gradient of `CrossEntropy`::

        dx = dz @ w    dw = dz.T @ x    dbias = sum of the rows of dz

    The products are lossk's own. Besides inputs and results at most `chunk_bytes` are allocated, whatever the number of
    rows and classes (inputs that are not C-contiguous arrays are copied first). The bits do not depend on the number of
    threads nor, in float32 and float64, on whether the CPU has AVX2 or AVX-512. AMX gives float32 other bits, unless
    `set_isa` or ``LOSSK_ISA`` names the instruction set.

    Where a chunk would hold few rows, `chunk_bytes` hold more rows and a window of classes, whose logits are
    computed twice. Where `dw` is of bfloat16, its memory keeps as many of their exponentials as fit, to 11
    significant bits, until it is written; these are computed once. Gradients of 16 bits are summed up in float32
    and rounded once; for a `dw` of 16 bits all rows have to be one chunk or, if that cannot be, are gone through
    again for other classes. An `out` of float32 for `dw` saves that, and so do `chunk_bytes` of twice the bytes of
    `w`.

    Inputs of bfloat16 are multiplied in pairs and added up in float32 where the CPU does that faster (AMX; AVX512-BF16
    of AMD); ``dz`` is rounded to bfloat16 for it, and denormals count as 0. Elsewhere they are widened, as float16 is.

    Parameters
    ----------
    weight, ignore_index, label_smoothing, z_loss, softcap
        As in `CrossEntropy`.
    chunk_bytes : int
        Extra memory in bytes, at least 2**20, and enough for 32 rows of `x` and of `dx`, logits of 252 classes (three
        times as much where a number is written as three bfloat16), and, with a bias, 16 bytes a class. More memory
        makes chunks of more rows, for each of which `w` is read and `dw` updated: from 256 rows on that is little
        compared with the products. The last bits of sums depend on it.
    precision : {"highest", "high", "medium"}
        How float32 inputs are multiplied, as in ``torch.set_float32_matmul_precision``. Other dtypes have one
        precision. AMX multiplies bfloat16 only. There each number is written as the sum of 3, 2 or 1 bfloat16, and a
        product as the sum of the 6, 3 or 1 largest products of those, added up in float32, the smallest first. For sums
        of 1,024 products of normally distributed numbers the root mean square error is 2.5e-7, 4.5e-6 or 2.3e-3. AMX
        takes denormals as 0, so that digits of numbers below ``2**-110`` are lost, and infinite inputs give NaN.
        Without AMX, "highest" and "high" multiply in float32, with an error of 3e-7. "medium" rounds to bfloat16 where
        the CPU multiplies that faster (AVX512-BF16 of AMD), and multiplies in float32 elsewhere.
    filter_eps : float
        Parts of ``dz``, 12 classes (28 with AMX) of 32 rows, are left out of `dx` and `dw` where every entry is
        smaller than this, before it is divided by what a mean divides by. 0: none. Of the sum of the losses, `dx`
        changes by less than `filter_eps` times the sum of ``|w|`` over classes, `dw` by less than that times the sum of
        ``|x|`` over rows.
        In a layer that has learned, most parts are below ``2**-12`` (Wijmans et al. 2025).

    Raises
    ------
    ValueError, TypeError
        If a parameter is not as above.

    References
    ----------
    Wijmans et al. 2025, "Cut Your Losses in Large-Vocabulary Language Models"; Hsu et al. 2024, "Liger Kernel";
    ``torch.nn.functional.linear`` followed by ``cross_entropy``, whose results these are.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> rng = np.random.default_rng(0)
    >>> x, w = rng.normal(size=(6, 4)), rng.normal(size=(10, 4))
    >>> target = np.array([1, 2, 3, -100, 5, 6])
    >>> loss, (dx, dw, dbias) = lossk.LinearCrossEntropy().value_and_grad(x, w, target)
    >>> bool(np.isclose(loss, lossk.CrossEntropy()(x @ w.T, target)))
    True
    >>> dx.shape, dw.shape, dbias
    ((6, 4), (10, 4), None)
    """

    weight: Any = None
    ignore_index: int | None = -100
    label_smoothing: float = 0.0
    z_loss: float = 0.0
    softcap: float | None = None
    chunk_bytes: int = 64 << 20
    precision: Literal["highest", "high", "medium"] = "highest"
    filter_eps: float = 0.0

    def __post_init__(self) -> None:
        if self.precision not in TERMS:
            raise ValueError(f"precision: got {self.precision!r}, wanted one of {', '.join(map(repr, TERMS))}")
        self._set("filter_eps", at_least_0("filter_eps", self.filter_eps))
        if not is_integer(self.chunk_bytes):
            raise TypeError(f"chunk_bytes: got {self.chunk_bytes!r}, wanted an integer, at least {SMALLEST_CHUNK}")
        if self.chunk_bytes < SMALLEST_CHUNK:
            raise ValueError(f"chunk_bytes: got {self.chunk_bytes}, wanted at least {SMALLEST_CHUNK}")
        options = (self.weight, self.ignore_index, self.label_smoothing, self.z_loss, self.softcap)
        loss = CrossEntropy(*options)
        for field in {f.name for f in dataclasses.fields(self)} & {f.name for f in dataclasses.fields(loss)}:
            self._set(field, getattr(loss, field))
        self._set("_loss", loss)

    _loss: ClassVar[CrossEntropy]

    # ---- verbs --------------------------------------------------------------------------------------------------

    @overload
    def __call__(
        self,
        x: ArrayLike,
        w: ArrayLike,
        target: ArrayLike,
        bias: ArrayLike | None = None,
        **options: Unpack[PlainToTotal],
    ) -> float: ...
    @overload
    def __call__(
        self,
        x: ArrayLike,
        w: ArrayLike,
        target: ArrayLike,
        bias: ArrayLike | None = None,
        **options: Unpack[PlainToEach],
    ) -> Array: ...
    @overload
    def __call__(
        self, x: ArrayLike, w: ArrayLike, target: ArrayLike, bias: ArrayLike | None = None, **options: Unpack[WithStats]
    ) -> Any: ...
    def __call__(
        self,
        x: ArrayLike,
        w: ArrayLike,
        target: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
        stats: bool = False,
    ) -> Value:
        """Return the loss.

        Parameters
        ----------
        x : array_like of float32, float64, float16 or bfloat16, shape (..., D)
            Inputs of the layer, one row a sample.
        w : array_like (C, D), of the dtype of `x`
            The layer's weights.
        target : array_like of integers, the shape of `x` without its last axis
            Labels.
        bias : array_like (C,), optional
            Added to the products; converted to their type.
        sample_weight, reduction, normalizer, num_threads
            As for `CrossEntropy`.
        stats : bool
            Also return `RowStats`; ignored rows have an lse of NaN. With gradients `RowStats.filtered` is the share of
            ``dz`` that `filter_eps` left out.

        Returns
        -------
        float or ndarray
            With ``reduction="none"`` one loss a sample. With `stats` a pair.

        Raises
        ------
        TypeError, ValueError, IndexError
            Where an argument is not as above, before anything is written; a label out of range is an IndexError.
        """
        factors = {"sample_weight": sample_weight}
        problem = make_problem(self._loss, x, w, target, bias, factors, reduction, normalizer, num_threads)
        value, row_stats = run(problem, self, None, stats)
        return (value, row_stats) if stats else value

    def value_and_grad(
        self,
        x: ArrayLike,
        w: ArrayLike,
        target: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
        stats: bool = False,
        wrt: Literal["all", "x"] = "all",
        out: Any = None,
    ) -> Any:
        """Return the loss and its gradients ``(dx, dw, dbias)``, from one pass over chunks of rows.

        `dbias` is None without `bias`. With ``wrt="x"`` the gradients are `dx` alone, at two thirds of the work. With
        ``reduction="none"`` gradients are those of the sum; `vjp` weighs samples. `out` holds arrays to write to, in
        the same form (``(dx, dw)`` will do without `bias`), C-contiguous and apart from the inputs; of 16-bit inputs
        `dw` and `dbias` may be float32. Other parameters are those of calling the loss; with `stats` the `RowStats`
        come last.
        """
        factors = {"sample_weight": sample_weight}
        problem = make_problem(self._loss, x, w, target, bias, factors, reduction, normalizer, num_threads)
        into = make_outputs(problem, wrt, out)
        value, row_stats = run(problem, self, into.plain(), stats, whole=out is not None)
        gradients = into.dx if wrt == "x" else tuple(into)
        return (value, gradients, row_stats) if stats else (value, gradients)

    def grad(self, x: ArrayLike, w: ArrayLike, target: ArrayLike, bias: ArrayLike | None = None, **options: Any) -> Any:
        """Return the gradients of `value_and_grad`, whose keywords these are."""
        return self.value_and_grad(x, w, target, bias, **options)[1]

    def vjp(
        self,
        x: ArrayLike,
        w: ArrayLike,
        target: ArrayLike,
        cotangent: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        num_threads: int | None = None,
        wrt: Literal["all", "x"] = "all",
        out: Any = None,
    ) -> Any:
        """Return the gradients of the sum of the samples' losses times `cotangent`, which has one entry a sample."""
        if cotangent is None:
            raise TypeError("cotangent: got None, wanted an array of one number a sample")
        factors = {"cotangent": cotangent, "sample_weight": sample_weight}
        problem = make_problem(self._loss, x, w, target, bias, factors, "sum", None, num_threads)
        into = make_outputs(problem, wrt, out)
        run(problem, self, into.plain(), False, whole=out is not None)
        return into.dx if wrt == "x" else tuple(into)

    def reference(
        self,
        x: ArrayLike,
        w: ArrayLike,
        target: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        derivatives: bool = False,
    ) -> Value:
        """Return what calling the loss returns, in plain float64 NumPy; with ``derivatives=True`` gradients as well."""
        # Raises where kernels do.
        make_problem(self._loss, x, w, target, bias, {"sample_weight": sample_weight}, reduction, normalizer, None)
        x64, w64 = float64("x", x), float64("w", w)
        z = x64 @ w64.T + (0.0 if bias is None else float64("bias", bias))
        options: dict[str, Any] = {"sample_weight": sample_weight, "reduction": reduction, "normalizer": normalizer}
        value, dz, _ = self._loss.reference(z, target, derivatives=True, **options)
        if not derivatives:
            return value
        flat = dz.reshape(-1, dz.shape[-1])
        # A row that is ignored or weighs 0 does not count, whatever it holds.
        counts = counting(integer_labels(target, x64.shape[:-1], len(w64), self.ignore_index), self.ignore_index)
        if sample_weight is not None:
            counts &= float64("sample_weight", sample_weight).reshape(-1) != 0
        rows = np.where(counts[:, None], x64.reshape(len(flat), x64.shape[-1]), 0.0)
        with np.errstate(invalid="ignore"):
            dx = np.where(counts.reshape(*dz.shape[:-1], 1), dz @ w64, 0.0)
        return value, dx, flat.T @ rows, None if bias is None else flat.sum(axis=0)

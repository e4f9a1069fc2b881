"""Losses of rows of logits: softmax cross-entropy with labels or probabilities."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._arrays import Array, arithmetic, as_array, class_axis, contiguous, floats, floats_like, is_integer, weights_like
from ._families import (
    GRAD,
    GRAD_AND_HESS,
    VALUE,
    VALUE_AND_GRAD,
    Loss,
    Value,
    at_least_0,
    check_number,
    fill_outputs,
    loss,
    positive,
    prepare_outputs,
    product_of_weights,
    reduce_reference,
)

# Outputs of the softmax kernels, numbered as row_output in src/cpp/base/types.hpp.
LOSS, SOFTMAX, LOG_SOFTMAX = range(3)


class RowStats(NamedTuple):
    """What a pass over rows of logits knows besides the loss, one entry a row.

    Attributes
    ----------
    lse : ndarray
        log(sum(exp(z))) of each row, in the dtype of the logits (softcapped, if the loss caps them).
    correct : ndarray of bool
        Is the label the first largest logit? (With probabilities as targets: the first largest probability.) False
        for ignored rows and rows with NaN.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> loss, stats = lossk.CrossEntropy()(np.zeros((2, 4)), np.array([0, 3]), stats=True)
    >>> stats.lse.round(4), stats.correct
    (array([1.3863, 1.3863]), array([ True, False]))
    """

    lse: Array
    correct: NDArray[np.bool_]


@loss
class CrossEntropy(Loss):
    r"""Softmax cross-entropy of logits with labels or probabilities, over the last axis.

    For a row of logits ``z`` with label ``t``, ``lp = z - logsumexp(z)``, class weights ``w``, ``e`` the label
    smoothing and ``C`` classes::

        loss = (1 - e) w[t] (-lp[t]) + (e / C) sum_c w[c] (-lp[c]) + z_loss logsumexp(z)**2
        dloss/dz[k] = p[k] (A + 2 z_loss lse) - (e / C) w[k] - (1 - e) w[t] [k = t],  A = (1 - e) w[t] + (e / C) sum w

    and for a row ``y`` of probabilities, with ``y' = y (1 - e) + e / C``::

        loss = -sum_c w[c] y'[c] lp[c] + z_loss logsumexp(z)**2

    ``reduction="mean"`` divides by the sum of ``w[t]`` (times the sample's weight) over the rows that count; with
    probabilities by the number of rows (by the sum of their sample weights). With no row that counts it is NaN and the
    gradient is 0. A row that holds NaN or +infinity, or -infinity alone, gives NaN; ``0 * -infinity`` is 0.

    Parameters
    ----------
    weight : array_like (C,), optional
        Weight of each class.
    ignore_index : int
        Rows with this label do not count: loss 0, gradient exactly 0 whatever their logits hold.
    label_smoothing : float
        In [0, 1]: the share of the target that is spread evenly over all classes.
    z_loss : float
        At least 0: factor of ``logsumexp(z)**2``, which keeps logits from drifting.
    softcap : float, optional
        Above 0: logits become ``softcap * tanh(z / softcap)`` first.

    Raises
    ------
    ValueError, TypeError
        If a parameter is not as above.

    References
    ----------
    ``torch.nn.functional.cross_entropy``, whose results these are; Szegedy et al. 2016 (label smoothing); Chowdhery
    et al. 2022, PaLM (z-loss); Gemma Team 2024 (soft capping); Milakov, Gimelshein 2018 (one pass over the logits).

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z = np.array([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    >>> ce = lossk.CrossEntropy()
    >>> round(ce(z, np.array([0, 1])), 6)
    0.669079
    >>> value, grad = ce.value_and_grad(z, np.array([0, -100]))
    >>> grad.round(3)
    array([[-0.213,  0.107,  0.107],
           [ 0.   ,  0.   ,  0.   ]])
    """

    kernel: ClassVar[str] = "cross_entropy"
    variants: ClassVar[tuple[dict[str, Any], ...]] = (
        {},
        {"label_smoothing": 0.1},
        {"z_loss": 1e-2},
        {"softcap": 3.0},
        {"ignore_index": 1, "label_smoothing": 0.3, "z_loss": 1e-3, "softcap": 5.0},
    )

    weight: Any = None
    ignore_index: int = -100
    label_smoothing: float = 0.0
    z_loss: float = 0.0
    softcap: float | None = None

    def __post_init__(self) -> None:
        smoothing = check_number("label_smoothing", self.label_smoothing, "a number in [0, 1]", lambda x: 0 <= x <= 1)
        self._set("label_smoothing", smoothing)
        self._set("z_loss", at_least_0("z_loss", self.z_loss))
        if self.softcap is not None:
            self._set("softcap", positive("softcap", self.softcap))
        if not is_integer(self.ignore_index):
            raise TypeError(f"ignore_index: got {self.ignore_index!r}, wanted an integer")
        if not -(2**63) <= self.ignore_index < 2**63:
            raise ValueError(f"ignore_index: got {self.ignore_index}, wanted a 64-bit integer")
        self._set("ignore_index", int(self.ignore_index))
        weights: dict[np.dtype[Any], Array] = {}
        if self.weight is not None:
            weights = _class_weights(self.weight)
            self._set("weight", weights[np.dtype(np.float64)])
        self._set("_weights", weights)
        self._set("_options", (self.label_smoothing, self.z_loss, self.softcap or 0.0))

    @staticmethod
    def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
        """Draw logits and labels, for tests and benchmarks."""
        return rng.normal(scale=3.0, size=shape).astype(dtype), rng.integers(0, shape[-1], size=shape[:-1])

    # ---- verbs --------------------------------------------------------------------------------------------------

    def __call__(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: str = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
        stats: bool = False,
        axis: int = -1,
    ) -> Value:
        """Return the loss.

        Parameters
        ----------
        z : array_like of float32, float64, float16 or bfloat16, shape (..., C)
            Logits.
        target : array_like of integers, shape (...), or of numbers, shape (..., C)
            Labels of any integer type, or probabilities.
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
            If a label is neither in [0, C) nor `ignore_index`; the message names the row and the label.
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
        reduction: str = "mean",
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

    def value_and_grad(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: str = "mean",
        normalizer: float | None = None,
        num_threads: int | None = None,
        out: Array | None = None,
        stats: bool = False,
        axis: int = -1,
    ) -> Any:
        """Return (loss, gradient), with `stats` (loss, gradient, `RowStats`), from one pass over the logits.

        See calling the loss and `grad`. ``out=z`` needs no memory besides: the gradient overwrites the logits.
        """
        return self._run(VALUE_AND_GRAD, z, target, sample_weight, reduction, normalizer, num_threads, out, stats, axis)

    def grad_and_hess(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: str = "mean",
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
        z = floats("z", z) if not isinstance(z, np.ndarray) else z
        at = class_axis(z, axis)
        weight = product_of_weights(z, cotangent, sample_weight, z.shape[:at] + z.shape[at + 1 :])
        return self._run(GRAD, z, target, weight, "none", None, num_threads, out, stats, axis)

    def reference(
        self,
        z: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: str = "mean",
        normalizer: float | None = None,
        axis: int = -1,
        derivatives: bool = False,
    ) -> Value:
        """Return what calling the loss returns, from the formula in plain float64 NumPy: the specification.

        With ``derivatives=True``: (value, gradient, second derivative), as the verbs return them.
        """
        z64 = np.moveaxis(np.asarray(z, np.float64), axis, -1)
        y = np.asarray(target)
        is_label = y.dtype.kind in "iu"
        classes, rows = z64.shape[-1], z64.shape[:-1]
        w = np.ones(classes) if self.weight is None else self.weight
        r = np.ones(rows) if sample_weight is None else np.asarray(sample_weight, np.float64)
        e = self.label_smoothing

        # The share of each class in the target, w y', and which rows count.
        counts = y != self.ignore_index if is_label else np.ones(rows, bool)
        if is_label:
            t = np.where(counts, y, 0).astype(np.int64)
            hard = np.arange(classes) == t[..., None]
            share = np.where(hard, (1 - e) * w[t][..., None], 0.0) + (e / classes) * w
            divisor = float((w[t] * r)[counts].sum())
        else:
            y = np.moveaxis(y.astype(np.float64), axis, -1)
            share = w * (y * (1 - e) + e / classes)
            divisor = float(r.sum())

        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            x = z64 if self.softcap is None else self.softcap * np.tanh(z64 / self.softcap)
            largest = x.max(axis=-1, keepdims=True)
            d = x - largest
            total = np.exp(d).sum(axis=-1, keepdims=True)
            p, lse = np.exp(d) / total, (largest + np.log(total))[..., 0]
            lp = d - np.log(total)
            value = -np.where(share != 0, share * lp, 0.0).sum(axis=-1) + self.z_loss * lse**2
            value = np.where(np.isnan(p).any(axis=-1), np.nan, value)
            slope = (share.sum(axis=-1) + 2 * self.z_loss * lse)[..., None]
            grad = p * slope - share
            hess = p * (1 - p) * slope + 2 * self.z_loss * p**2
            if self.softcap is not None:
                bend = 1 - (x / self.softcap) ** 2
                hess = hess * bend**2 + grad * (-2 * x / self.softcap**2) * bend
                grad = grad * bend
            value = np.where(counts, value * r, 0.0)
            grad, hess = (np.moveaxis(d * r[..., None], -1, axis) for d in (grad, hess))
        divisor = divisor if normalizer is None else normalizer
        counts = np.expand_dims(counts, axis)
        return reduce_reference(reduction, value, (grad, hess), divisor, derivatives, counts)

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
        stats = bool(stats)
        if type(axis) is int and axis == -1:
            result = self._call(verb, z, target, w, reduction, normalizer, threads, out, stats)
            if result is not NotImplemented:
                return _with_stats(result) if stats else result
        others = {name: a for name, a in (("target", target), ("sample_weight", w)) if isinstance(a, np.ndarray)}
        z = z if isinstance(z, np.ndarray) else floats("z", z)
        at = class_axis(z, axis)
        rows = floats("z", np.moveaxis(as_array("z", z), at, -1))
        outputs = prepare_outputs(verb, out, z, others)
        z = rows
        target = self._prepare_target(target, z, at)
        w = None if w is None else weights_like("sample_weight", w, z)
        result = self._call(verb, z, target, w, reduction, normalizer, threads, None, stats)
        main = fill_outputs(verb, outputs, _move_classes(verb, result[0] if stats else result, at))
        return _with_stats((main, *result[1:])) if stats else main

    def _call(self, verb: int, z: Any, target: Any, w: Any, *rest: Any) -> Any:
        weight = self._weights[arithmetic(getattr(z, "dtype", None))] if self._weights else None
        if self.ignore_index >= 0 and getattr(getattr(target, "dtype", None), "kind", "i") == "f":
            raise ValueError(
                f"ignore_index: got {self.ignore_index}, wanted a negative one: probabilities as targets have no label"
            )
        if target is None:
            raise TypeError("target: got None, wanted labels or probabilities")
        return _core.softmax(LOSS, verb, z, target, *self._options, weight, self.ignore_index, w, *rest)

    _weights: ClassVar[Any]
    _options: ClassVar[Any]

    def _prepare_target(self, target: Any, z: Array, axis: int) -> Array:
        y = as_array("target", target)
        if y.dtype.kind in "iu":
            if y.ndim == z.ndim and y.shape[axis] == z.shape[-1] and not isinstance(target, np.ndarray):
                y = y.astype(z.dtype)  # probabilities typed in by hand
            else:
                return contiguous(y, y.dtype)
        if y.dtype.kind != "f" and y.dtype.name != "bfloat16":
            raise TypeError(f"target: got dtype {y.dtype}, wanted integer labels or floating-point probabilities")
        if y.ndim != z.ndim:
            raise TypeError(
                f"target: got {y.dtype} of shape {y.shape}, wanted integer labels of shape {z.shape[:-1]} or "
                f"probabilities with a class axis"
            )
        return floats_like("target", np.moveaxis(y, axis, -1), z)


def _class_weights(weight: ArrayLike) -> dict[np.dtype[Any], Array]:
    array = as_array("weight", weight)
    if array.dtype.kind not in "fiu" or array.ndim != 1:
        raise TypeError(f"weight: got dtype {array.dtype} and shape {array.shape}, wanted one real number a class")
    copies = {np.dtype(d): np.array(array, dtype=d) for d in (np.float64, np.float32)}
    for copy in copies.values():
        copy.flags.writeable = False
    return copies


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

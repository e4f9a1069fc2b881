"""Losses of rows with any number of true classes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._arrays import Array, as_array, class_axis, floats, share_memory
from .._keywords import Value
from .._request import GRAD, GRAD_AND_HESS, VALUE, VALUE_AND_GRAD, Fields, prepare_outputs
from ._base import Reference, loss
from ._rows import RowLoss
from .bernoulli import of_logit

__all__ = ["MultiLabelMargin", "MultiLabelSoftMargin"]

# Where the derivatives are in what a verb returns.
DERIVATIVES: dict[int, tuple[int, ...]] = {VALUE: (), GRAD: (0,), VALUE_AND_GRAD: (1,), GRAD_AND_HESS: (0, 1)}


@loss
class MultiLabelSoftMargin(RowLoss):
    r"""Mean over classes of the binary cross-entropy of logits, over the last axis.

    For a row of ``C`` logits ``z`` with targets ``y`` in [0, 1], class weights ``w`` and ``p = sigmoid(z)``::

        loss = (1 / C) sum_k w[k] (-y[k] log p[k] - (1 - y[k]) log(1 - p[k]))
        dloss/dz[k] = (w[k] / C) (p[k] - y[k])

    Where ``z[k]`` is infinite on the target's side, it costs nothing. ``"mean"`` divides by the number of rows (by the
    sum of their sample weights), class weights or not.

    Parameters
    ----------
    weight : array_like (C,), optional
        Weight of each class.

    Raises
    ------
    TypeError
        If `weight` is not as above.

    References
    ----------
    ``torch.nn.functional.multilabel_soft_margin_loss``, whose results these are, but for NaN at infinite logits.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([[0.0, 1000.0, -1000.0]]), np.array([[1.0, 1.0, 1.0]])
    >>> round(lossk.MultiLabelSoftMargin()(z, y), 4)
    333.5644
    >>> lossk.MultiLabelSoftMargin(weight=[3.0, 1.0, 6.0]).grad(z, y)
    array([[-0.5,  0. , -2. ]])
    """

    _kernel: ClassVar[str] = "multi_label_soft_margin"
    _takes_labels: ClassVar[bool] = False
    _takes_probabilities: ClassVar[bool] = True

    weight: Any = None

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
        """Draw logits and hard targets, for tests and benchmarks."""
        return rng.normal(scale=3.0, size=shape).astype(dtype), (rng.uniform(size=shape) < 0.3).astype(dtype)

    def _reference(self, z: NDArray[np.float64], y: Array) -> Reference:
        factor = (1.0 if self.weight is None else self.weight) / z.shape[-1]
        p, q, value, grad = of_logit(z, y, 1 - y)
        return (value * factor).sum(axis=-1), grad * factor, p * q * factor


@loss
class MultiLabelMargin(RowLoss):
    r"""Multi-label hinge loss of scores with sets of labels, over the last axis.

    For a row of ``C`` scores ``z`` with a set of labels ``T``::

        loss = (1 / C) sum over t in T and k not in T of max(0, 1 - z[t] + z[k])
        dloss/dz[k] = (1 / C) number of t in T with 1 - z[t] + z[k] > 0;  at a label minus the number of such k

    The target is an array of the shape of `z`: of integers, each row the labels followed by -1 (what follows the first
    -1 does not count), or of floats, 0 where a class is no label. A label that a row has twice counts once. ``"mean"``
    divides by the number of rows. A row takes time in proportion to its labels times `C`.

    References
    ----------
    ``torch.nn.functional.multilabel_margin_loss``, whose results these are, but for labels that a row has twice.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z = np.array([[0.1, 0.2, 0.4, 0.8]])
    >>> loss = lossk.MultiLabelMargin()
    >>> value, grad = loss.value_and_grad(z, np.array([[3, 0, -1, 1]]))
    >>> round(value, 4), grad
    (0.85, array([[-0.5,  0.5,  0.5, -0.5]]))
    >>> round(loss(z, np.array([[1.0, 0.0, 0.0, 1.0]])), 4)
    0.85
    """

    _kernel: ClassVar[str] = "multi_label_margin"
    _elements: ClassVar[str] = "labels, or 0 and 1 of each class,"
    _takes_labels: ClassVar[bool] = False
    _takes_probabilities: ClassVar[bool] = True

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
        """Draw scores and sets of up to three labels, for tests and benchmarks; no hinge is near its corner."""
        y = np.zeros(shape, dtype)
        for _ in range(min(3, shape[-1] - 1)):
            np.put_along_axis(y, rng.integers(0, shape[-1], size=(*shape[:-1], 1)), 1, axis=-1)
        return (np.round(8 * rng.normal(size=shape)) / 8 + np.where(y != 0, 1 / 16, 0)).astype(dtype), y

    def _run(self, asked: Fields) -> Any:
        verb, z, target, third, w, reduction, normalizer, num_threads, out, *others, axis = asked
        how = reduction, normalizer, num_threads
        z = z if isinstance(z, np.ndarray) else floats("z", z, "target", target)
        target = label_mask(target, z, axis)
        written = out if isinstance(out, tuple) else (out,)
        apart = not any(isinstance(o, np.ndarray) and share_memory(o, z) for o in written)
        if apart and z.dtype.itemsize > 2:
            return super()._run((verb, z, target, third, w, *how, out, *others, axis))
        # Gradients are added up where they will be: not in z, and not in 16 bits.
        inputs = {name: a for name, a in (("target", target), ("sample_weight", w)) if isinstance(a, np.ndarray)}
        outputs = prepare_outputs(verb, out, z, inputs)
        wide = z.astype(np.float32) if z.dtype.itemsize == 2 else z
        found = super()._run((verb, wide, target, third, w, *how, None, *others, axis))
        parts = list(found) if isinstance(found, tuple) else [found]
        for k, at in enumerate(DERIVATIVES[verb]):
            parts[at] = parts[at].astype(z.dtype, copy=False)
            parts[at] = outputs[k].fill(parts[at]) if outputs else parts[at]
        return tuple(parts) if len(parts) > 1 else parts[0]

    def reference(self, z: Any, target: Any, *, axis: int = -1, **options: Any) -> Value:
        """Return what calling the loss returns, from the formula in plain float64 NumPy; see `RowLoss.reference`."""
        return super().reference(z, label_mask(target, as_array("z", z), axis), axis=axis, **options)

    def _reference(self, z: NDArray[np.float64], y: Array) -> Reference:
        value, grad, classes = np.zeros(z.shape[:-1]), np.zeros_like(z), z.shape[-1]
        for row in np.ndindex(z.shape[:-1]):
            label = y[row] != 0
            slack = 1 - z[row][label][:, None] + z[row][~label]
            value[row] = np.maximum(slack, 0.0).sum() / classes
            grad[row][label] = -(slack > 0).sum(axis=1) / classes
            grad[row][~label] = (slack > 0).sum(axis=0) / classes
        return value, grad, np.zeros_like(z)


def label_mask(target: Any, z: Array, axis: int) -> Any:
    """Return lists of labels, integers of the shape of `z`, as an array of 0 and 1; anything else as it is."""
    lists = target if isinstance(target, np.ndarray) else as_array("target", target)
    if lists.dtype.kind not in "iu" or lists.shape != z.shape or z.ndim == 0:
        return target
    at = class_axis(z, axis)
    lists = np.moveaxis(lists, at, -1)
    classes = lists.shape[-1]
    counted = np.logical_and.accumulate(lists >= 0, axis=-1)
    wrong = (lists >= classes) | (lists < -1)
    if wrong.any():
        row = ", ".join(str(int(i)) for i in np.argwhere(wrong)[0])
        raise IndexError(f"target[{row}]: got {lists[wrong][0]}, wanted a label in [0, {classes}), or -1 at the end")
    mask = np.zeros((*lists.shape[:-1], classes + 1), z.dtype)
    np.put_along_axis(mask, np.where(counted, lists.astype(np.int64), classes), 1, axis=-1)
    return np.moveaxis(mask[..., :-1], -1, at)

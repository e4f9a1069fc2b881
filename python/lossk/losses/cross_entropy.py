"""Softmax cross-entropy with labels or probabilities."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import _core
from .._arrays import Array
from .._parameters import at_least_0, check_number, finite
from .._request import LOSS, Fields, Kernel
from ._base import Reference, loss
from ._rows import RowLoss

__all__ = ["CrossEntropy"]

BENDS = "focal_gamma and poly_epsilon"


@loss
class CrossEntropy(RowLoss):
    r"""Softmax cross-entropy of logits with labels or probabilities, over the last axis.

    For a row of logits ``z`` with label ``t``, ``lp = z - logsumexp(z)``, class weights ``w``, ``e`` the label
    smoothing and ``C`` classes::

        loss = (1 - e) w[t] (-lp[t]) + (e / C) sum_c w[c] (-lp[c]) + z_loss logsumexp(z)**2
        dloss/dz[k] = p[k] (A + 2 z_loss lse) - (e / C) w[k] - (1 - e) w[t] [k = t],  A = (1 - e) w[t] + (e / C) sum w

    and for a row ``y`` of probabilities, with ``y' = y (1 - e) + e / C``::

        loss = -sum_c w[c] y'[c] lp[c] + z_loss logsumexp(z)**2

    With `focal_gamma` or `poly_epsilon`, for labels alone, ``m**focal_gamma (-lp[t] + poly_epsilon m)`` with
    ``m = 1 - p[t]`` takes the place of ``-lp[t]``: rows that are predicted well already weigh less, or more.

    ``reduction="mean"`` divides by the sum of ``w[t]`` (times the sample's weight) over the rows that count; with
    probabilities by the number of rows (by the sum of their sample weights). With no row that counts it is NaN and the
    gradient is 0. A row that holds NaN or +infinity, or -infinity alone, gives NaN; ``0 * -infinity`` is 0.

    Parameters
    ----------
    weight : array_like (C,), optional
        Weight of each class.
    ignore_index : int, optional
        Rows with this label do not count: loss 0, gradient exactly 0 whatever their logits hold. None: all rows count.
    label_smoothing : float
        In [0, 1]: the share of the target that is spread evenly over all classes.
    z_loss : float
        At least 0: factor of ``logsumexp(z)**2``, which keeps logits from drifting.
    softcap : float, optional
        From 1e-30 to 1e30: logits become ``softcap * tanh(z / softcap)`` first.
    focal_gamma : float
        At least 0: the focal loss of several classes. Not with label smoothing, nor with probabilities.
    poly_epsilon : float
        The first coefficient of Poly-1 (with `focal_gamma` of Poly-1 focal), finite. Not with label smoothing, nor with
        probabilities.

    Raises
    ------
    ValueError, TypeError
        If a parameter is not as above; ValueError from the verbs, if `focal_gamma` or `poly_epsilon` meets
        probabilities.

    References
    ----------
    ``torch.nn.functional.cross_entropy``, whose results these are; Szegedy et al. 2016 (label smoothing); Chowdhery
    et al. 2022, PaLM (z-loss); Gemma Team 2024 (soft capping); Lin et al. 2017 (focal loss); Leng et al. 2022, PolyLoss
    (Poly-1); Milakov, Gimelshein 2018 (one pass over the logits).

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

    _kernel: ClassVar[str] = "cross_entropy"
    _takes_probabilities: ClassVar[bool] = True
    _class_weights_multiply: ClassVar[bool] = False
    _class_weights_divide: ClassVar[bool] = True
    _variants: ClassVar[tuple[dict[str, Any], ...]] = (
        {},
        {"label_smoothing": 0.1},
        {"z_loss": 1e-2},
        {"softcap": 3.0},
        {"focal_gamma": 2.0, "z_loss": 1e-3},
        {"focal_gamma": 0.5, "poly_epsilon": 2.0},
        {"poly_epsilon": 1.0, "softcap": 5.0},
        {"ignore_index": 1, "label_smoothing": 0.3, "z_loss": 1e-3, "softcap": 5.0},
    )

    weight: Any = None
    ignore_index: int | None = -100
    label_smoothing: float = 0.0
    z_loss: float = 0.0
    softcap: float | None = None
    focal_gamma: float = 0.0
    poly_epsilon: float = 0.0

    def _check(self) -> None:
        smoothing = check_number("label_smoothing", self.label_smoothing, "a number in [0, 1]", lambda x: 0 <= x <= 1)
        self._set("label_smoothing", smoothing)
        self._set("z_loss", at_least_0("z_loss", self.z_loss))
        if self.softcap is not None:
            wanted = "None or a number from 1e-30 to 1e30, which float32 can divide by"
            self._set("softcap", check_number("softcap", self.softcap, wanted, lambda x: 1e-30 <= x <= 1e30))
        self._set("focal_gamma", at_least_0("focal_gamma", self.focal_gamma))
        self._set("poly_epsilon", finite("poly_epsilon", self.poly_epsilon))
        for name in ("focal_gamma", "poly_epsilon"):
            if getattr(self, name) and smoothing:
                got = f"{getattr(self, name)} with label_smoothing {smoothing}"
                raise ValueError(f"{name}: got {got}, wanted one of them alone")

    @property
    def _options(self) -> tuple[float, ...]:
        """The options as kernels take them: `cross_entropy_options` of base/softmax.hpp."""
        return self.label_smoothing, self.z_loss, self.softcap or 0.0, self.focal_gamma, self.poly_epsilon

    def _bind(self) -> Kernel:
        return _core.softmax(LOSS, self._options, self._weights, self._ignored)

    def _call_with_stats(self, asked: Fields) -> Any:
        return self._bound(asked)  # statistics come from the same pass

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
        """Draw logits and labels, for tests and benchmarks."""
        return rng.normal(scale=3.0, size=shape).astype(dtype), rng.integers(0, shape[-1], size=shape[:-1])

    def _reference(self, z: NDArray[np.float64], y: Array) -> Reference:
        e, classes = self.label_smoothing, z.shape[-1]
        w = np.ones(classes) if self.weight is None else self.weight
        # The share of each class in the target, w y'.
        if y.dtype.kind == "i":
            share = np.where(np.arange(classes) == y[..., None], (1 - e) * w[y][..., None], 0.0) + (e / classes) * w
        else:
            share = w * (y * (1 - e) + e / classes)
        x = z if self.softcap is None else self.softcap * np.tanh(z / self.softcap)
        largest = x.max(axis=-1, keepdims=True)
        d = x - largest
        total = np.exp(d).sum(axis=-1, keepdims=True)
        p, lse = np.exp(d) / total, (largest + np.log(total))[..., 0]
        lp = d - np.log(total)
        cost, slope, curve = -lp, 1.0, 0.0
        if self.focal_gamma or self.poly_epsilon:
            cost, slope, curve = self._bent(p, cost, y)
            curve *= share.sum(axis=-1, keepdims=True)
        value = np.where(share != 0, share * cost, 0.0).sum(axis=-1) + self.z_loss * lse**2
        share = share * slope
        value = np.where(np.isnan(p).any(axis=-1), np.nan, value)
        total_slope = (share.sum(axis=-1) + 2 * self.z_loss * lse)[..., None]
        grad = p * total_slope - share
        hess = p * (1 - p) * total_slope + 2 * self.z_loss * p**2 + curve
        if self.softcap is not None:
            bend = 1 - (x / self.softcap) ** 2
            hess = hess * bend**2 + grad * (-2 * x / self.softcap**2) * bend
            grad = grad * bend
        return value, grad, hess

    def _bent(self, p: NDArray[np.float64], cost: NDArray[np.float64], y: Array) -> tuple[Any, Any, Any]:
        """Return what gamma and epsilon make of the label's cost, by what slopes and curvature change with it."""
        if y.dtype.kind != "i":
            raise ValueError(f"target: got probabilities, wanted labels: {BENDS} are of the label's probability")
        g, epsilon, hard = self.focal_gamma, self.poly_epsilon, np.arange(p.shape[-1]) == y[..., None]
        m, p_t = (np.where(chosen, p, 0.0).sum(axis=-1, keepdims=True) for chosen in (~hard, hard))
        c = cost + epsilon * m
        f, r, rise = m**g, p_t / np.maximum(m, 1e-300), 1 + epsilon * p_t
        c_t = np.where(p_t == 0, 0.0, np.where(hard, c, 0.0).sum(axis=-1, keepdims=True))
        curve = f * (g * r * (2 * rise - c_t + (g - 1) * r * c_t) - epsilon * p_t)
        return f * c, f * (g * r * c_t + rise), curve * (p - hard) ** 2

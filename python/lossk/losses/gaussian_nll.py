"""Negative log-likelihood under a Gaussian distribution, whose variance is a third input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import Array, float64, floats
from .._keywords import Reduction, SamplesToEach, SamplesToTotal, Value
from .._parameters import boolean, positive
from .._request import GRAD, GRAD_AND_HESS, VALUE, VALUE_AND_GRAD, Kernel, Request
from ._base import Reference, loss, product_of_weights, reference_inputs, weighted_reference
from ._pointwise import PointwiseLoss

if TYPE_CHECKING:
    from typing_extensions import Unpack

# What a gradient is with respect to.
Wrt: TypeAlias = Literal["z", "var", "both"]

__all__ = ["GaussianNLL"]


@loss
class GaussianNLL(PointwiseLoss):
    """Negative log-likelihood under a Gaussian distribution with mean `z` and variance `var`.

    With ``v = max(var, eps)`` and ``r = z - y``::

        loss = (log(v) + r**2 / v) / 2                        and log(2 pi) / 2 if full
        dloss/dz = r / v                                      d2loss/dz2 = 1 / v
        dloss/dvar = (1 / v - r**2 / v**2) / 2                also where var < eps, as if v were var

    Every verb takes `var` after `y`: an array of the shape of `z`, or of the length of its last axis, repeated. `grad`,
    `value_and_grad` and `vjp` take ``wrt="z"``, ``"var"`` or ``"both"``; gradients with respect to `var` have the
    shape and dtype of `z`, one entry a sample. The rest is as with every pointwise loss.

    Parameters
    ----------
    full : bool
        Add the constant ``log(2 pi) / 2``?
    eps : float
        Above 0: the smallest variance that is taken as it is.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as above; from the verbs, if an entry of `var` is below 0, before anything is written.

    References
    ----------
    ``torch.nn.functional.gaussian_nll_loss``; Nix, Weigend, "Estimating the mean and variance of the target
    probability distribution", 1994.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y, var = np.array([1.0, 3.0]), np.array([0.0, 1.0]), np.array([1.0, 4.0])
    >>> lossk.GaussianNLL()(z, y, var, reduction="none").round(4)
    array([0.5   , 1.1931])
    >>> lossk.GaussianNLL().grad(z, y, var, reduction="sum", wrt="both")
    (array([1. , 0.5]), array([0., 0.]))
    """

    _kernel: ClassVar[str] = "gaussian_nll"
    _also: ClassVar[tuple[str, ...]] = ("gaussian_nll_var", "gaussian_nll_both")
    _variants: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"full": True, "eps": 0.1})

    full: bool = False
    eps: float = 1e-6
    _third = "var"
    _kernels: ClassVar[dict[str, Kernel]]

    def _check(self) -> None:
        self._set("full", boolean("full", self.full))
        self._set("eps", positive("eps", self.eps))
        names = zip(("z", "var", "both"), (self._kernel, *self._also), strict=True)
        self._set("_kernels", {wrt: self._bind(kernel, self._numbers()) for wrt, kernel in names})

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
        """Draw means, targets and variances, for tests and benchmarks."""
        var = rng.uniform(0.1, 3.0, size=shape)
        return rng.normal(size=shape).astype(dtype), rng.normal(size=shape).astype(dtype), var.astype(dtype)

    def _reference(self, z: np.ndarray, y: np.ndarray, var: Any = 1.0, wrt: Wrt = "z") -> Reference:
        v, r = np.maximum(var, self.eps), z - y
        share = r / v
        value = 0.5 * (np.log(v) + r * share) + (0.5 * np.log(2 * np.pi) if self.full else 0.0)
        by_var = 0.5 * (1 / v - share**2)
        if wrt == "both":
            return value, share, by_var
        if wrt == "var":
            return value, by_var, (share**2 - 0.5 / v) / v
        return value, share, np.broadcast_to(1 / v, z.shape)

    # ---- verbs, with var and wrt ------------------------------------------------------------------------------------

    @overload  # type: ignore[override]
    def __call__(self, z: ArrayLike, y: ArrayLike, var: ArrayLike, **options: Unpack[SamplesToTotal]) -> float: ...
    @overload
    def __call__(self, z: ArrayLike, y: ArrayLike, var: ArrayLike, **options: Unpack[SamplesToEach]) -> Array: ...
    def __call__(
        self,
        z: ArrayLike,
        y: ArrayLike,
        var: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        ignore_nan: bool = False,
        check: bool = True,
        num_threads: int | None = None,
    ) -> Value:
        """Return the loss: a float, or with ``reduction="none"`` an array like `z`; see `PointwiseLoss`."""
        return self._run((VALUE, z, y, var, sample_weight, reduction, normalizer, num_threads, None, check, ignore_nan))

    def grad(  # type: ignore[override]
        self,
        z: ArrayLike,
        y: ArrayLike,
        var: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        ignore_nan: bool = False,
        check: bool = True,
        num_threads: int | None = None,
        out: Any = None,
        wrt: Wrt = "z",
    ) -> Any:
        """Return the gradient with respect to `wrt`; with ``"both"`` two (from one pass), and `out` is a pair too."""
        verb = GRAD_AND_HESS if wrt == "both" else GRAD
        asked = (verb, z, y, var, sample_weight, reduction, normalizer, num_threads, out, check, ignore_nan)
        return self._run(asked, self._kernel_of(wrt))

    def value_and_grad(  # type: ignore[override]
        self,
        z: ArrayLike,
        y: ArrayLike,
        var: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        ignore_nan: bool = False,
        check: bool = True,
        num_threads: int | None = None,
        out: Any = None,
        wrt: Wrt = "z",
    ) -> tuple[Value, Any]:
        """Return (loss, gradient) from one pass; with ``wrt="both"`` (loss, (gradient, gradient)) from two."""
        asked = (VALUE_AND_GRAD, z, y, var, sample_weight, reduction, normalizer, num_threads, out, check, ignore_nan)
        kernel = self._kernel_of(wrt)
        if wrt != "both":
            result: tuple[Value, Array] = self._run(asked, kernel)
            return result
        of_both = Request(*asked)._replace(verb=GRAD_AND_HESS)
        return self._run(of_both._replace(verb=VALUE, out=None)), self._run(of_both, kernel)

    def grad_and_hess(  # type: ignore[override]
        self,
        z: ArrayLike,
        y: ArrayLike,
        var: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        ignore_nan: bool = False,
        check: bool = True,
        num_threads: int | None = None,
        out: tuple[Array, Array] | None = None,
    ) -> tuple[Array, Array]:
        """Return gradient and second derivative with respect to `z`; `out` is a pair of arrays."""
        asked = (GRAD_AND_HESS, z, y, var, sample_weight, reduction, normalizer, num_threads, out, check, ignore_nan)
        result: tuple[Array, Array] = self._run(asked)
        return result

    def vjp(  # type: ignore[override]
        self,
        z: ArrayLike,
        y: ArrayLike,
        var: ArrayLike,
        cotangent: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        ignore_nan: bool = False,
        check: bool = True,
        num_threads: int | None = None,
        out: Any = None,
        wrt: Wrt = "z",
    ) -> Any:
        """Return each sample's gradient times its entry of `cotangent`, which has the shape of `z`."""
        z = z if isinstance(z, np.ndarray) else floats("z", z, "y", y)
        weight = product_of_weights(z, cotangent, sample_weight, z.shape)
        verb = GRAD_AND_HESS if wrt == "both" else GRAD
        asked = (verb, z, y, var, weight, "none", None, num_threads, out, check, ignore_nan)
        return self._run(asked, self._kernel_of(wrt))

    def reference(  # type: ignore[override]
        self,
        z: ArrayLike,
        y: ArrayLike,
        var: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        normalizer: float | None = None,
        ignore_nan: bool = False,
        check: bool = True,
        derivatives: bool = False,
        wrt: Wrt = "z",
    ) -> Value:
        """Return the loss from the formula in plain float64 NumPy.

        With ``derivatives=True``: (value, gradient, second derivative) with respect to `wrt`, or with ``wrt="both"``
        (value, gradient, gradient).
        """
        self._kernel_of(wrt)
        asked = (VALUE, z, y, var, sample_weight, reduction, normalizer, None, None, check, ignore_nan)
        self._run(asked)  # raises where kernels do
        z64, y64 = reference_inputs(z, y)
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = self._reference(z64, y64, float64("var", var), wrt)
        known = ~np.isnan(y64) if ignore_nan else None
        return weighted_reference(parts, sample_weight, reduction, normalizer, derivatives, known)

    def _kernel_of(self, wrt: Wrt) -> Kernel:
        if wrt not in self._kernels:
            raise ValueError(f"wrt: got {wrt!r}, wanted 'z', 'var' or 'both'")
        return self._kernels[wrt]

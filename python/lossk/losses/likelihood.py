"""Negative log-likelihoods of one parameter: Poisson, gamma and Tweedie."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .._arrays import Array
from .._parameters import at_least_0, boolean, finite
from ._base import Reference, loss
from ._pointwise import PointwiseLoss

__all__ = ["Gamma", "PoissonNLL", "Tweedie"]


@loss
class PoissonNLL(PointwiseLoss):
    """Negative log-likelihood of counts `y` under a Poisson distribution, whose mean or its logarithm is `z`.

    With ``log_input``: ``exp(z) - y z``, gradient ``exp(z) - y``, second derivative ``exp(z)``. Without:
    ``z - y log(z + eps)``, gradient ``1 - y / (z + eps)``, second derivative ``y / (z + eps)**2``. Where `y` is 0, its
    term is, though the logarithm be infinite. `full` adds Stirling's approximation of ``log(y!)``,
    ``y log(y) - y + log(2 pi y) / 2``, where ``y > 1``. Shapes, dtypes and errors are those of every pointwise loss:
    see calling it.

    Parameters
    ----------
    log_input : bool
        Is `z` the logarithm of the mean? Else it is the mean.
    full : bool
        Add the term that does not depend on `z`?
    eps : float
        At least 0: keeps the logarithm finite where the mean is 0. Without effect with `log_input`.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not as above.

    References
    ----------
    ``torch.nn.functional.poisson_nll_loss``; with `log_input`, scikit-learn's ``HalfPoissonLoss``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.array([0.0, 0.0]), np.array([0.0, 3.0])
    >>> lossk.PoissonNLL()(z, y, reduction="none")
    array([1., 1.])
    >>> lossk.PoissonNLL().grad(z, y, reduction="sum")
    array([ 1., -2.])
    """

    _kernel: ClassVar[str] = "poisson_nll"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = (
        {},
        {"full": True},
        {"log_input": False},
        {"log_input": False, "full": True, "eps": 1e-3},
    )

    log_input: bool = True
    full: bool = False
    eps: float = 1e-8

    def _check(self) -> None:
        self._set("log_input", boolean("log_input", self.log_input))
        self._set("full", boolean("full", self.full))
        self._set("eps", at_least_0("eps", self.eps))

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
        """Draw means (or their logarithms) and counts, for tests and benchmarks."""
        return rng.uniform(0.05, 4.0, size=shape).astype(dtype), rng.poisson(3.0, size=shape).astype(dtype)

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        mean, log_mean = (np.exp(z), z) if self.log_input else (z, np.log(z + self.eps))
        value = mean - _term(mean, y, log_mean)
        if self.full:
            # mean - y log_mean + y log(y) - y, whose terms cancel where y is large.
            d = log_mean - np.log(y)
            above = y * (np.expm1(d) - np.where(np.isposinf(d), 0.0, d)) if self.log_input else z - y - _term(z, y, d)
            value = np.where(y > 1, above + 0.5 * np.log(2 * np.pi * y), value)
        if self.log_input:
            return value, mean - y, mean
        flat = ((y == 0) & ~np.isnan(z)) | np.isposinf(z)
        grad = np.where(flat, 1.0, (z - y + self.eps) / (z + self.eps))
        return value, grad, np.where(flat, 0.0, y / (z + self.eps) ** 2)


def _term(first: np.ndarray, y: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return ``y b`` of ``first - y b``: 0 where `y` is, and where the first is infinite and decides."""
    return np.where(np.isposinf(first), 0 * y, np.where(y == 0, 0.0, y * b))


@loss
class Gamma(PointwiseLoss):
    """Negative log-likelihood under a gamma distribution whose mean is ``exp(z)``: ``z + y exp(-z)``.

    Half the gamma deviance without its terms in `y` alone, ``-log(y) - 1``. Gradient ``1 - y exp(-z)``, second
    derivative ``y exp(-z)``, finite wherever this product is, though ``exp(-z)`` may not be. Targets are above 0.
    Shapes, dtypes and errors are those of every pointwise loss: see calling it.

    References
    ----------
    scikit-learn's ``HalfGammaLoss``; ``sklearn.linear_model.GammaRegressor``.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.log([1.0, 4.0]), np.array([2.0, 4.0])
    >>> lossk.Gamma()(z, y, reduction="none").round(4)
    array([2.    , 2.3863])
    >>> lossk.Gamma().grad(z, y, reduction="sum").round(12)
    array([-1.,  0.])
    """

    _kernel: ClassVar[str] = "gamma"

    @staticmethod
    def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
        """Draw logarithms of means and targets above 0, for tests and benchmarks."""
        return rng.normal(size=shape).astype(dtype), (0.05 + rng.gamma(2.0, size=shape)).astype(dtype)

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        e = _times_exp(y, -z)
        return np.where(np.isposinf(e), e, z + e), 1 - e, e


def _times_exp(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return ``y exp(x)``: 0 where `y` is, unless `x` is NaN."""
    root = np.exp(x / 2)  # exp(x) may overflow where the product does not
    return np.where((y == 0) & ~np.isnan(x), 0.0, y * root * root)


@loss
class Tweedie(PointwiseLoss):
    """Half the Tweedie deviance of targets `y` and predictions ``exp(z)``, without its terms in `y` alone.

    With ``p = power``, ``a = 2 - p`` and ``b = 1 - p``::

        p = 0            (exp(z) - y)**2 / 2                    squared error
        p = 1            exp(z) - y z                           Poisson; y log(y) - y is left out
        p = 2            z + y exp(-z)                          gamma; -log(y) - 1 is left out
        any other        exp(a z) / a - y exp(b z) / b          max(y, 0)**a / (a b) is left out

    As what is left out differs, the value is not continuous in `p` at 0, 1 and 2. The gradient
    ``exp(a z) - y exp(b z)`` and the second derivative ``a exp(a z) - b y exp(b z)`` are. Targets are real for
    ``p <= 0``, at least 0 for ``p < 2``, above 0 from ``p = 2`` on. Shapes, dtypes and errors are those of every
    pointwise loss: see calling it.

    Parameters
    ----------
    power : float
        Variance of `y` goes with its mean to this power; finite.

    Raises
    ------
    ValueError
        If `power` is not finite.

    References
    ----------
    scikit-learn's ``HalfTweedieLoss``, whose values these are; Jorgensen, *The Theory of Dispersion Models*, 1997.

    Examples
    --------
    >>> import numpy as np, lossk
    >>> z, y = np.log([1.0, 4.0]), np.array([0.0, 1.0])
    >>> lossk.Tweedie(power=1.5)(z, y, reduction="none").round(12)
    array([2., 5.])
    >>> lossk.Tweedie(power=1.5).grad(z, y, reduction="sum").round(12)
    array([1. , 1.5])
    """

    _kernel: ClassVar[str] = "tweedie"
    _variants: ClassVar[tuple[dict[str, Any], ...]] = (
        {},
        {"power": 0.0},
        {"power": 1.0},
        {"power": 2.0},
        {"power": 3.0},
        {"power": -0.7},
    )

    power: float = 1.5

    def _check(self) -> None:
        self._set("power", finite("power", self.power))

    _draw = staticmethod(Gamma._draw)

    def _reference(self, z: np.ndarray, y: np.ndarray) -> Reference:
        a, b = 2 - self.power, 1 - self.power
        first = np.exp(a * z) if a else np.ones_like(z)
        second = _times_exp(y, b * z) if b else y
        # Where both are infinite, the larger decides.
        if b >= 0:
            second = np.where(np.isposinf(first), 0 * y, second)
        if a < 0:
            first = np.where(np.isposinf(second), 0.0, first)
        grad = first - second
        hess = a * first - b * second if b else first
        if self.power == 0:
            return 0.5 * (np.exp(z) - y) ** 2, grad, hess
        # The limits of exp(a z) / a and exp(b z) / b, without constants, are z.
        p = first / a if a else np.where(np.isposinf(second), 0.0, z)
        q = second / b if b else _term(first, y, z)
        return p - q, grad, hess

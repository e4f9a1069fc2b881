"""Options of optimizers, checked."""

from __future__ import annotations

from .._arrays import is_integer
from .._parameters import check_number


def fraction(what: str, value: object) -> float:
    """Check that a number lies in [0, 1)."""
    return check_number(what, value, "a number in [0, 1)", lambda x: 0 <= x < 1)


def two_betas(betas: object) -> tuple[float, float]:
    """Check the factors of two running averages."""
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise TypeError(f"betas: got {betas!r}, wanted two numbers in [0, 1)")
    return fraction("betas[0]", betas[0]), fraction("betas[1]", betas[1])


def norm_limit(max_norm: object) -> float:
    """Check the largest norm of gradients; infinity does not clip."""
    return check_number("max_norm", max_norm, "a number, at least 0", lambda x: x >= 0)


def seed_of(seed: object) -> int | None:
    """Check the seed of stochastic rounding."""
    if seed is None:
        return None
    if not is_integer(seed):
        raise TypeError(f"stochastic_rounding: got {seed!r}, wanted a seed, an integer in [0, 2**64), or None")
    if not 0 <= int(seed) < 2**64:  # type: ignore[call-overload]
        raise ValueError(f"stochastic_rounding: got {seed!r}, wanted a seed, an integer in [0, 2**64), or None")
    return int(seed)  # type: ignore[call-overload, no-any-return]

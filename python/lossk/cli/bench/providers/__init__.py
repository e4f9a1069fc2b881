"""Who computes: one module per peer family, loaded only in that family's own process.

A family's module defines ``PROVIDERS: dict[str, Build]``. A build function takes a case, a mode, the inputs and the
number of threads, and returns a `Runner`, or None where the provider does not offer that kernel or mode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from lossk.cli.bench.cases import Case
from lossk.cli.bench.inputs import Inputs

CHECKED_STEPS = 3  # an optimizer is compared with the reference after so many steps


@dataclass(frozen=True)
class Outcome:
    """A result to compare: the loss value (if there is one) and the gradient, output or first parameter.

    For a linear layer `array` is the pair (dx, dw).
    """

    value: float | None
    array: Any


@dataclass
class Runner:
    """One thing to time.

    call: what is timed. outcome: turns what `call` returned into NumPy. prepare: run before each call, not timed
    (restores what an in-place call has overwritten). setup: run before each measurement, not timed. less: a call whose
    time is taken off. scale: a factor of the measured time. The last two are for yardsticks, which have no outcome.
    """

    call: Callable[[], Any]
    outcome: Callable[[Any], Outcome] = lambda _: Outcome(None, None)
    prepare: Callable[[], object] | None = None
    setup: Callable[[], object] | None = None
    less: Callable[[], Any] | None = None
    scale: float = 1.0


Build = Callable[[Case, str, Inputs, int], "Runner | None"]


@dataclass(frozen=True)
class Family:
    """A peer family: its module here, the package it needs, and whether it has to be pinned to obey a thread count."""

    module: str
    package: str
    pinned: bool = False


FAMILIES: dict[str, Family] = {
    "lossk": Family("lossk_", "lossk"),
    "numpy": Family("numpy_", "numpy"),
    "torch": Family("torch_eager", "torch"),
    "torch.compile": Family("torch_compile", "torch"),
    "jax": Family("jax_", "jax", pinned=True),
    "scikit-learn": Family("sklearn_", "sklearn"),
    "numba": Family("numba_", "numba"),
}
PEERS = tuple(name for name in FAMILIES if name != "lossk")
ONE_UFUNC = "numpy: one ufunc"
PLAIN = "lossk plain"  # the case without its option
STREAMED, STORED = "lossk streamed", "lossk stored"  # stores past the caches, or not, whatever lossk would choose
SLOW_TO_COMPILE = ("torch.compile", "numba")  # left out of --quick unless named


def is_yardstick(provider: str) -> bool:
    """Whether a row is there for scale only, never won or lost against: lossk otherwise than by default, one ufunc."""
    return provider == ONE_UFUNC or provider.startswith("lossk ")


def installed(family: str) -> bool:
    """Whether the family's package can be found; it is not imported."""
    return find_spec(FAMILIES[family].package) is not None


def load(family: str) -> dict[str, Build]:
    """Import the family's module and return its providers by name."""
    module = import_module(f"{__name__}.{FAMILIES[family].module}")
    providers: dict[str, Build] = module.PROVIDERS
    return providers

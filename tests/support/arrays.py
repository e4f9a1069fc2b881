"""Arrays in tests: their types, their bytes, combinations of choices."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def seeded() -> np.random.Generator:
    """The random numbers of every test."""
    return np.random.default_rng(20240229)


def in_turn(argument: str, values: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test with one value after another, from the same random numbers, as one case: thousands of them cost time.

    In other respects it is as `pytest.mark.parametrize`; the value at which a test failed is printed.
    """

    values = tuple(values)
    assert values, argument

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(**others: Any) -> None:
            for value in values:
                if "rng" in others:
                    others["rng"] = seeded()
                try:
                    test(**{argument: value}, **others)
                except BaseException:  # pytest's own, such as that nothing was raised, are no Exceptions
                    print(f"{argument}: {value}")
                    raise

        signature = inspect.signature(test)
        kept = [p for name, p in signature.parameters.items() if name != argument]
        run.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        return run

    return decorate


each_dtype = in_turn("dtype", DTYPES)


def bits(a: Any) -> bytes:
    """The bytes of an array or a number, to compare to the bit."""
    return np.ascontiguousarray(np.asarray(a)).tobytes()


def product(**choices: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    """All combinations of the choices, as dicts."""
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


INF, NAN = np.inf, np.nan

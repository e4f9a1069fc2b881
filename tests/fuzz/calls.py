"""One call: what it may be given besides, how it is spoiled, and what must hold of whatever it does."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from tests.fuzz.arrays import FLOATS, Array, Memory, Rng, chance, lay, pick, wide, wrong_array, wrong_label
from tests.support.arrays import NAN, bits

REFUSALS = (TypeError, ValueError, IndexError)


class FindingError(AssertionError):
    """What a call did that it must not."""


def demand(holds: Any, text: str) -> None:
    if not holds:
        raise FindingError(text)


@dataclasses.dataclass
class Call:
    """A call by keywords: arrays, options that results depend on, and how it is done."""

    what: str
    function: Callable[..., Any]
    arrays: dict[str, Any]
    options: dict[str, Any]
    # Returns in float64 what the function returns, given arrays and options by keywords.
    reference: Callable[..., list[Any]]
    # Returns the absolute error that each result may have, given arrays, options and the eps of the arithmetic: asked
    # for only where results are not within relative ones.
    slack: Callable[..., list[Any]]
    # The inputs that outputs are like, and whether several outputs are a tuple.
    like: tuple[str, ...] = ()
    # The classes of labels, where `target` holds such.
    classes: int = 0
    # Are 16 bits computed as float32 is, and rounded once? May outputs lie anywhere, or over their inputs?
    widens: bool = True
    free_outputs: bool = True
    takes_out: bool = True
    # Inputs that are converted to the type of the first one.
    converted: tuple[str, ...] = ("y", "target")
    # Returns where a result of these arrays may be anything.
    undecided: Callable[[dict[str, Any], Any], Any] | None = None
    how: dict[str, Any] = dataclasses.field(default_factory=dict)

    def draw_how(self, rng: Rng) -> None:
        """Draw layouts, threads, and where results go."""
        self.arrays = {name: lay(rng, a) if isinstance(a, np.ndarray) else a for name, a in self.arrays.items()}
        known = inspect.signature(self.function).parameters
        if "num_threads" in known:
            self.how["num_threads"] = pick(rng, (None, None, 1, 2, 3, 7))
        if "out" in known and self.like and chance(rng, 0.4):
            self.how["out"] = self._outputs(rng)

    def _outputs(self, rng: Rng) -> Any:
        made: list[Array] = []
        for name in self.like:
            a = self.arrays[name]
            if not self.free_outputs:
                made.append(np.full_like(wide(a, False), 7))
                continue
            own = chance(rng, 0.4) and a.flags.writeable and not any(a is b for b in made) and 0 not in a.strides
            made.append(a if own else lay(rng, np.full_like(wide(a), 7).astype(a.dtype), output=True))
        return made[0] if len(made) == 1 else tuple(made)

    def outputs(self) -> list[Array]:
        out = self.how.get("out")
        return [a for a in (out if isinstance(out, tuple | list) else (out,)) if isinstance(a, np.ndarray)]

    def as_converted(self, name: str) -> Any:
        a, first = self.arrays[name], next(iter(self.arrays.values()))
        a = np.float64(a) if type(a) in (int, float) and name in self.converted else a
        types = [getattr(x, "dtype", np.dtype(object)).newbyteorder("=") for x in (a, first)]
        numbers = types[1] in FLOATS and (types[0] in FLOATS or types[0] == np.longdouble)
        if name not in self.converted or self.classes or not numbers:
            return a
        converted = np.asarray(a).astype(types[1])
        return converted if isinstance(a, np.ndarray) else float(converted)

    def run(self) -> list[Any]:
        return flat(self.function(**self.arrays, **self.options, **self.how))


def flat(result: Any) -> list[Any]:
    """Return arrays and numbers of a result, nested or not, without None."""
    if isinstance(result, tuple | list):
        return [part for one in result for part in flat(one)]
    return [] if result is None else [result]


# ---- spoiling -------------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[Any, ...]] = {
    "num_threads": (0, -1, True, 2.5, "2", 10**9, 10**30, NAN, [2]),
    "reduction": ("avg", "Mean", None, 3, b"mean", ["mean"]),
    "normalizer": (0, -1.0, NAN, float("inf"), "x", True, [1.0]),
    "axis": (99, -99, 1.5, True, None, "0"),
}


def spoil(rng: Rng, call: Call) -> str:
    """Change one argument of a call to something wrong; returns which."""
    names = [*call.arrays, *(name for name in (*call.options, *call.how) if name in WRONG)]
    names += ["out"] if call.like and call.takes_out else []
    name = pick(rng, names)
    if name in call.arrays:
        is_label = name == "target" and call.classes and chance(rng, 0.7)
        a = call.arrays[name]
        call.arrays[name] = wrong_label(rng, np.asarray(a), call.classes) if is_label else wrong_array(rng, a)
    elif name == "out":
        call.how["out"] = _wrong_outputs(rng, call)
    else:
        where = call.options if name in call.options else call.how
        where[name] = pick(rng, WRONG[name])
    return name


def _wrong_outputs(rng: Rng, call: Call) -> Any:
    right = call._outputs(rng)
    several = list(right) if isinstance(right, tuple) else [right]
    at = int(rng.integers(len(several)))
    a = several[at]
    if chance(rng, 0.3):  # memory of an input, in another order or moved
        other = pick(rng, [b for b in call.arrays.values() if isinstance(b, np.ndarray)])
        memory = np.zeros(2 * a.size + 1, a.dtype)
        moved = memory[: a.size].reshape(a.shape)
        moved[...] = a
        several[at] = pick(rng, (other, other[::-1] if other.ndim else other, moved))
        if several[at] is moved and a.size > 1:
            call.arrays[call.like[at]] = memory[1 : a.size + 1].reshape(a.shape)
    else:
        read_only = a.copy()
        read_only.flags.writeable = False
        shared = np.lib.stride_tricks.as_strided(np.zeros(max(1, a.size), a.dtype), a.shape, (0,) * a.ndim)
        several[at] = pick(rng, (read_only, shared, wrong_array(rng, a)))
    return (
        several[0] if not isinstance(right, tuple) else pick(rng, (tuple(several), tuple(several), several, several[0]))
    )


# ---- what must hold -------------------------------------------------------------------------------------------------


class _WrongError(TypeError, ValueError):
    """What is wrong in type and shape."""


def real(name: str, value: Any, shape: tuple[int, ...]) -> Array:
    """Return real numbers of this shape in float64, for references that check nothing themselves."""
    a = np.asarray(value)
    if isinstance(value, np.ma.MaskedArray) or not (a.dtype.kind in "fiub" or a.dtype in FLOATS):
        raise (TypeError if a.shape == shape else _WrongError)(f"{name}: a {type(value).__name__} of {a.dtype}")
    if a.shape != shape:
        raise ValueError(f"{name}: shape {a.shape}, not {shape}")
    return a.astype(np.float64)


def attempt(call: Callable[[], Any]) -> tuple[Any, Exception | None]:
    try:
        return call(), None
    except REFUSALS as error:
        return None, error


def examine(call: Call, spoiled: str = "") -> str:
    """Make a call and raise `FindingError` where something does not hold; returns what became of it."""
    given = [a for a in call.arrays.values() if isinstance(a, np.ndarray)]
    outputs, memory = call.outputs(), Memory([*given, *call.outputs()])
    held = [a.copy() for a in outputs]
    plain_arrays = {name: wide(call.as_converted(name), call.widens) for name in call.arrays}
    plain_call = dataclasses.replace(
        call, arrays=plain_arrays, how={"num_threads": 1} if "num_threads" in call.how else {}
    )
    got, error = attempt(call.run)
    if error is not None:
        demand(memory.is_unchanged(), f"{error!r}, and memory has changed")
        _examine_refusal(call, error, spoiled, plain_call)
        return "refused"
    if outputs:
        named = [a for a in got if any(a is out for out in outputs)]
        demand(len(named) == len(outputs), "results are not the arrays of `out`")
    got = [a.copy() if isinstance(a, np.ndarray) else a for a in got]
    for out, before in zip(outputs, held, strict=True):
        out[...] = before
    demand(memory.is_unchanged(), "memory has changed that is no output")
    plain = plain_call.run()
    _same(got, plain)
    _examine_results(plain_call, plain)
    return "compared"


def _examine_results(call: Call, got: list[Any]) -> None:
    """Compare results of plain arrays with the reference: with what it gives for inputs moved by a few units."""
    wanted = call.reference(**call.arrays, **call.options)
    types = [np.asarray(a).dtype for a in call.arrays.values()]
    dtype = next((d for d in types if d in FLOATS), FLOATS[1])
    rtol = 1e-12 if dtype == np.float64 else 1e-5
    demand(len(got) == len(wanted), f"{len(got)} results, the reference has {len(wanted)}")
    for i, (a, b) in enumerate(zip(got, wanted, strict=True)):
        demand(np.shape(a) == np.shape(b), f"result {i} has shape {np.shape(a)}, the reference's has {np.shape(b)}")
    if not any(apart(a, b, rtol, 0.0).any() for a, b in zip(got, wanted, strict=True)):
        return
    eps = float(ml_dtypes.finfo(dtype).eps)
    slack = call.slack(call.arrays, call.options, eps)
    moved = [wanted, *_moved_references(call, 4 * eps)]
    for i, (a, atol) in enumerate(zip(got, slack, strict=True)):
        choices = [np.asarray(m[i], np.float64) for m in moved]
        wrong = np.all([apart(a, choice, rtol, atol) for choice in choices], axis=0)
        with np.errstate(all="ignore"):  # between two of them will do, as at a kink
            wide_a = np.asarray(a, np.float64)
            wrong &= ~((np.min(choices, axis=0) <= wide_a) & (wide_a <= np.max(choices, axis=0)))
        if call.options.get("reduction", "mean") == "mean":  # a divisor of 0 makes NaN or an infinity of anything
            wrong &= np.isfinite(a) | np.isfinite(choices[0])
        if call.undecided:
            wrong &= ~call.undecided(call.arrays, a)
        if wrong.any():
            at = np.argwhere(wrong)[:5].tolist()
            demand(False, f"result {i}: got {np.asarray(a)[wrong]}, the reference {choices[0][wrong]}, at {at}")


def _moved_references(call: Call, step: float) -> list[list[Any]]:
    unchecked = {**call.options, "check": False} if "check" in call.options else call.options
    if not call.widens:
        return []
    movable = [*call.like, *(("y", "target") if "check" in call.options and not call.classes else ())]
    made = []
    for name in movable:
        a = call.arrays.get(name)
        for sign in (1, -1) if isinstance(a, np.ndarray) and a.dtype in FLOATS else ():
            with np.errstate(all="ignore"):
                wider = np.asarray(a, np.float64) * (1 + sign * step)
            made.append(call.reference(**{**call.arrays, name: wider}, **unchecked))
    return made


def _examine_refusal(call: Call, error: Exception, spoiled: str, plain_call: Call) -> None:
    text = str(error)
    demand(": got " in text and "wanted" in text, f"words of {error!r}")
    if spoiled in call.how or text.startswith("out"):
        return  # the reference knows nothing of it
    _, theirs = attempt(lambda: call.reference(**call.arrays, **call.options))
    demand(theirs is not None, f"{error!r}, the reference is content")
    # Where several arguments are wrong, the two may look at another one first.
    same_argument = text.split(":")[0] == str(theirs).split(":")[0]
    demand(isinstance(theirs, type(error)) or not same_argument, f"{error!r}, the reference {theirs!r}")


def _same(got: list[Any], plain: list[Any]) -> None:
    """Neither layout nor threads nor outputs change bits; 16 bits are the result in float32, rounded once."""
    demand(len(got) == len(plain), f"{len(got)} results, {len(plain)} by the plain call")
    for i, (a, b) in enumerate(zip(got, plain, strict=True)):
        if isinstance(a, np.ndarray) and a.dtype.newbyteorder("=") != b.dtype:
            with np.errstate(over="ignore", invalid="ignore"):
                b = b.astype(a.dtype.newbyteorder("="))
            demand(_within_a_unit(a, b), f"result {i} is not that of the plain call, rounded: {a}, {b}")
            continue
        a = np.asarray(a).astype(np.asarray(b).dtype)
        demand(np.shape(a) == np.shape(b), f"result {i} has shape {np.shape(a)}, by the plain call {np.shape(b)}")
        same = bits(a) == bits(b) or np.array_equal(a, b, equal_nan=True)
        demand(same, f"result {i} has other bits than by the plain call: {a}, {b}")


def _within_a_unit(a: Array, b: Array) -> bool:
    if a.shape != b.shape or not np.array_equal(np.isnan(a), np.isnan(b)):
        return False
    a = a.astype(b.dtype)
    steps = [
        np.where(np.isnan(x), 0, np.ascontiguousarray(x).view(np.int16).astype(int).reshape(x.shape)) for x in (a, b)
    ]
    ordered = [np.where(s < 0, -(2**15) - s, s) for s in steps]
    return bool((np.abs(ordered[0] - ordered[1]) <= 1).all())


def apart(got: Any, want: Any, rtol: float, atol: Any) -> Array:
    """Where a result is not what was wanted, as rounded to the result's type."""
    got = np.asarray(got)
    with np.errstate(all="ignore"):
        want = np.asarray(want).astype(got.dtype)
        near = np.abs(got - want) <= atol + rtol * np.abs(want)
        # Near its largest number float32 may overflow on the way.
        near |= np.isinf(got) & (np.sign(got) == np.sign(want)) & (np.abs(want) > 1e37) & (rtol > 1e-9)
    return ~(near | (got == want) | (np.isnan(got) & np.isnan(want)))

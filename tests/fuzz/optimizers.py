"""Optimizers: a few steps of drawn parameters and gradients, the last of them wrong now and then."""

from __future__ import annotations

from typing import Any

import numpy as np

import lossk
from lossk.optimizers import OPTIMIZERS
from tests.fuzz.arrays import (
    FLOATS,
    IN_PLACE,
    Array,
    Memory,
    Rng,
    chance,
    draw_shape,
    lay,
    pick,
    with_specials,
    wrong_array,
)
from tests.fuzz.calls import apart, attempt, demand
from tests.support.arrays import bits


def steps(rng: Rng) -> tuple[str, str]:
    """Make steps, and compare parameters and state with the reference; returns what was done and what became of it."""
    name = pick(rng, list(OPTIMIZERS))
    variant = dict(pick(rng, OPTIMIZERS[name]._variants))
    narrow = chance(rng, 0.3)
    dtypes = FLOATS[2:] if narrow else FLOATS[:2]
    if narrow and chance(rng, 0.7):
        variant["master_weights"] = True
    start = [
        np.asarray(rng.normal(size=draw_shape(rng, None, 800))).astype(pick(rng, dtypes))
        for _ in range(pick(rng, (1, 1, 2, 3)))
    ]
    params = [np.asarray(pick(rng, IN_PLACE)(p)) if p.ndim and chance(rng, 0.4) else p.copy() for p in start]
    optimizer = OPTIMIZERS[name](params, lr=0.0517, **variant)
    what = f"{optimizer!r}.step of {[(p.dtype.name, p.shape) for p in params]}"
    try:
        return what, _steps(rng, optimizer, params, start)
    except AssertionError as finding:
        raise type(finding)(f"{what}: {finding}") from None


def _steps(rng: Rng, optimizer: Any, params: list[Array], start: list[Array]) -> str:
    options: dict[str, Any] = {"num_threads": pick(rng, (None, 1, 3))}
    if chance(rng, 0.3):
        options["max_norm"] = pick(rng, (0.0, 0.5, 3.0, float("inf")))
    if chance(rng, 0.2):
        options["grad_scale"] = pick(rng, (0.5, 64.0))
    taken: list[list[Array]] = [[] for _ in params]
    for _ in range(pick(rng, (1, 2, 3))):
        grads: list[Any] = [np.asarray(rng.normal(size=p.shape)).astype(p.dtype) for p in params]
        grads = [with_specials(rng, g) if chance(rng, 0.1) else g for g in grads]
        given = [None if chance(rng, 0.1) else lay(rng, g) for g in grads]
        memory = Memory([g for g in given if g is not None])
        refused = _spoiled(rng, optimizer, params, given, options)
        done = optimizer.step(given, **options)
        demand(memory.is_unchanged(), "gradients have changed")
        factor, applied = _clipping(given, options)
        demand(done.applied == applied, f"{done}, wanted applied={applied}")
        for own, g in zip(taken, given, strict=True):
            if applied and g is not None:
                own.append(np.asarray(g, np.float64) * factor)
    _examine(optimizer, params, start, taken)
    return "refused and compared" if refused else "compared"


def _clipping(grads: list[Any], options: dict[str, Any]) -> tuple[float, bool]:
    if not {"max_norm", "grad_scale"} & options.keys():
        return 1.0, True
    with np.errstate(all="ignore"):
        there = [np.asarray(g, np.float64) / options.get("grad_scale", 1.0) for g in grads if g is not None]
        norm = float(np.sqrt(sum(np.square(g).sum() for g in there)))
        limit = options.get("max_norm", np.inf)
        clip = min(1.0, limit / (norm + 1e-6)) if np.isfinite(limit) else 1.0
    return clip / options.get("grad_scale", 1.0), bool(np.isfinite(norm))


def _spoiled(rng: Rng, optimizer: Any, params: list[Array], grads: list[Any], options: dict[str, Any]) -> bool:
    """Try a step whose last gradient, or an option, is wrong: refused, it has changed nothing."""
    if not chance(rng, 0.3):
        return False
    wrong, how = list(grads), dict(options)
    if chance(rng, 0.7):
        wrong[-1] = wrong_array(rng, params[-1])
        if wrong[-1] is None or (
            isinstance(wrong[-1], np.ndarray | np.generic) and wrong[-1].shape == params[-1].shape
        ):
            wrong[-1] = pick(
                rng, ("text" if params[0].size == 0 else params[0], np.zeros((*params[-1].shape, 2)), "text")
            )
    else:
        how[pick(rng, ("max_norm", "grad_scale", "num_threads"))] = pick(rng, (-1, float("nan"), "x", True))
    memory, state = (
        Memory(params),
        {k: bits(v) if isinstance(v, np.ndarray) else v for k, v in optimizer.state_dict().items()},
    )
    _, error = attempt(lambda: optimizer.step(wrong, **how))
    demand(error is not None, f"a wrong step was made: {wrong[-1]!r}, {how}")
    demand(": got " in str(error) and "wanted" in str(error), f"words of {error!r}")
    demand(memory.is_unchanged(), f"{error!r}, and parameters have changed")
    after = {k: bits(v) if isinstance(v, np.ndarray) else v for k, v in optimizer.state_dict().items()}
    demand(after == state, f"{error!r}, and the state has changed")
    return True


def _examine(optimizer: Any, params: list[Array], start: list[Array], taken: list[list[Array]]) -> None:
    state = optimizer.state_dict()
    for i, (p, p0, grads) in enumerate(zip(params, start, taken, strict=True)):
        with np.errstate(all="ignore"):
            want, _ = optimizer.reference(p0.astype(np.float64), grads)
            moved = [optimizer.reference(p0.astype(np.float64), other)[0] for other in _moved(grads, p.dtype)]
        single = p.dtype.itemsize == 2
        if single and f"master_weight.{i}" in state:
            master = state[f"master_weight.{i}"]
            demand(
                np.array_equal(master.astype(p.dtype), p, equal_nan=True), f"parameter {i} is not its master rounded"
            )
            p, single = master, False
        tolerance = 0.02 if single else 5e-6 if p.dtype.itemsize == 4 else 1e-11
        # Which of an infinity and NaN comes of infinite gradients is left to the arithmetic.
        wrong = np.all([apart(p, by, tolerance, tolerance) for by in (want, *moved)], axis=0)
        wrong &= np.isfinite(p) | np.isfinite(want.astype(p.dtype))
        with np.errstate(all="ignore"):
            wrong &= ~((np.min(moved, axis=0) <= p) & (p <= np.max(moved, axis=0)))
        demand(not wrong.any(), f"parameter {i}: got {p[wrong]}, the reference {np.asarray(want)[wrong]}")


def _moved(grads: list[Array], dtype: Any) -> list[list[Array]]:
    """Return gradients a few units larger and smaller: all, and those of each step, which turns signs of sums."""
    step = 8 * float(np.finfo(np.float64 if dtype == np.float64 else np.float32).eps)
    steps = range(len(grads))
    return [
        [g * f if k in moved else g for k, g in enumerate(grads)]
        for f in (1 - step, 1 + step)
        for moved in (steps, *({k} for k in steps))
    ]


def clip(rng: Rng) -> tuple[str, str]:
    """Clip gradients, and compare them with their formula."""
    grads = [
        np.asarray(rng.normal(size=draw_shape(rng, None, 800))).astype(pick(rng, FLOATS))
        for _ in range(pick(rng, (1, 2, 3)))
    ]
    grads = [np.asarray(pick(rng, IN_PLACE)(g)) if g.ndim else g for g in grads]
    before, limit = [g.astype(np.float64) for g in grads], pick(rng, (0.0, 0.5, 3.0, float("inf")))
    if chance(rng, 0.2):
        wrong = [*grads, wrong_array(rng, grads[0]) if chance(rng, 0.5) else grads[0]]
        empty = isinstance(wrong[-1], np.ndarray) and wrong[-1].size == 0
        if (
            wrong[-1] is not None
            and not empty
            and not (isinstance(wrong[-1], np.ndarray) and wrong[-1] is not grads[0])
        ):
            memory = Memory(grads)
            _, error = attempt(lambda: lossk.clip_grad_norm(wrong, limit))
            demand(error is not None, f"clip_grad_norm took {wrong[-1]!r}")
            demand(": got " in str(error) and "wanted" in str(error), f"words of {error!r}")
            demand(memory.is_unchanged(), f"clip_grad_norm: {error!r}, and gradients have changed")
            return "clip_grad_norm", "refused"
    norm = lossk.clip_grad_norm(grads, limit, num_threads=pick(rng, (None, 1, 3)))
    want = float(np.sqrt(sum(np.square(g).sum() for g in before)))
    demand(abs(norm - want) <= 1e-6 * want, f"clip_grad_norm: got {norm}, the formula has {want}")
    factor = min(1.0, limit / (want + 1e-6))
    for g, b in zip(grads, before, strict=True):
        rtol = {2: 2.0**-7, 4: 1e-6, 8: 1e-12}[g.dtype.itemsize]
        demand(
            not apart(g, b * factor, rtol, 1e-7 if g.dtype.itemsize == 2 else 0.0).any(),
            f"clip_grad_norm: got {g}, wanted {b * factor}",
        )
    return "clip_grad_norm", "compared"

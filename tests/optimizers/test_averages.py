"""Averages of parameters: what they are, and parameters that change places with them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import lossk
from lossk.optimizers import OPTIMIZERS
from lossk.optimizers._averages import Averaging
from tests.support.arrays import bits
from tests.support.narrow import NARROW
from tests.support.optimizers import make

AVERAGING = [name for name, cls in OPTIMIZERS.items() if issubclass(cls, Averaging)]
CASES = [(name, variant) for name in AVERAGING for variant in OPTIMIZERS[name]._variants]
each_case = pytest.mark.parametrize(("name", "variant"), CASES, ids=str)


def test_the_average_of_asgd_is_the_mean_of_what_the_parameters_were(rng: np.random.Generator) -> None:
    p = rng.normal(size=7)
    asgd, seen = lossk.ASGD([p], lr=0.1, t0=2.0), []
    for _ in range(9):
        asgd.step([rng.normal(size=7)])
        seen.append(p.copy())
    (average,) = asgd.averaged()
    # Shares are 1 until t0 + 2, then 1/2, 1/3, ...: the mean of the last.
    np.testing.assert_allclose(average, np.mean(seen[3:], axis=0), rtol=1e-12)


@pytest.mark.parametrize("beta", [0.5, 0.9])
def test_schedule_free_sgd_is_that_of_the_paper(beta: float, rng: np.random.Generator) -> None:
    """z descends from gradients at y = (1 - beta) z + beta x, x is the mean of all z."""
    target, start = rng.normal(size=5), rng.normal(size=5)
    x, z = start.copy(), start.copy()
    p = start.copy()
    sgd = lossk.ScheduleFreeSGD([p], lr=0.3, momentum=beta)
    for t in range(1, 12):
        y = (1 - beta) * z + beta * x
        np.testing.assert_allclose(p, y, rtol=1e-12, atol=1e-14)
        sgd.step([p - target])
        z = z - 0.3 * (y - target)
        x = x + (z - x) / t
        np.testing.assert_allclose(sgd.averaged()[0], x, rtol=1e-11, atol=1e-13)


def test_schedule_free_adamw_is_that_of_the_paper(rng: np.random.Generator) -> None:
    """With a warm-up, whose squared rates weigh the average."""
    b1, b2, eps, decay, lr, warm = 0.9, 0.99, 1e-8, 0.05, 0.1, 4
    target, start = rng.normal(size=5), rng.normal(size=5)
    x, z, v, total = start.copy(), start.copy(), np.zeros(5), 0.0
    p = start.copy()
    adamw = lossk.ScheduleFreeAdamW([p], lr, (b1, b2), eps, weight_decay=decay, warmup_steps=warm, r=0.5)
    for t in range(1, 12):
        y = (1 - b1) * z + b1 * x
        np.testing.assert_allclose(p, y, rtol=1e-12, atol=1e-14)
        g = y - target
        adamw.step([p - target])
        v = b2 * v + (1 - b2) * g * g
        rate = lr * min(1, t / warm)
        z = z - rate * (g / (np.sqrt(v / (1 - b2**t)) + eps) + decay * y)
        weight = t**0.5 * rate**2
        total += weight
        x = x + weight / total * (z - x)
        np.testing.assert_allclose(adamw.averaged()[0], x, rtol=1e-10, atol=1e-12)


@each_case
def test_eval_and_train_change_places_to_the_bit(name: str, variant: dict[str, Any], rng: np.random.Generator) -> None:
    for dtype in (np.float64, np.float32, *NARROW):
        for masters in (False, True) if np.dtype(dtype).itemsize == 2 else (False,):
            params = {"a": rng.normal(size=(6, 5)).astype(dtype)[:, ::2], "b": np.ones((), dtype)}
            optimizer = make(name, params, {**variant, "master_weights": masters})
            before = optimizer.averaged()
            assert [bits(p) for p in before.values()] == [bits(p) for p in params.values()]
            for _ in range(3):
                optimizer.step({"a": rng.normal(size=(6, 3)).astype(dtype), "b": None})
            training = [bits(p) for p in params.values()]
            averages = [bits(p) for p in optimizer.averaged().values()]
            assert averages[1] == training[1]
            for _ in range(2):
                optimizer.eval()
                assert [bits(p) for p in params.values()] == averages
                assert [bits(p) for p in optimizer.averaged().values()] == averages
            for _ in range(2):
                optimizer.train()
                assert [bits(p) for p in params.values()] == training
            other = copy.copy(optimizer)
            optimizer.step({"a": np.ones((6, 3), dtype), "b": np.ones((), dtype)})
            assert bits(other.averaged()["a"]) != bits(optimizer.averaged()["a"])


@each_case
def test_steps_and_states_want_parameters_of_training(name: str, variant: dict[str, Any]) -> None:
    p = np.ones(3)
    optimizer = make(name, [p], variant)
    optimizer.step([np.ones(3)])
    state, training = optimizer.state_dict(), bits(p)
    optimizer.eval()
    average = bits(p)
    for call in (lambda: optimizer.step([np.ones(3)]), optimizer.state_dict, lambda: optimizer.load_state_dict(state)):
        with pytest.raises(
            RuntimeError, match=rf"{name}: got parameters that are averages since eval\(\), wanted train"
        ):
            call()
        assert bits(p) == average
    again = pickle.loads(pickle.dumps(optimizer))
    again.train()
    assert bits(again._params[0]) == training
    optimizer.train()
    optimizer.step([np.ones(3)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lamb_scales_moves_to_norms(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    p = [rng.normal(size=s).astype(dtype) for s in ((40_001,), (3, 5), ())] + [np.zeros(4, dtype)]
    before = [a.astype(np.float64) for a in p]
    lamb = lossk.LAMB(p, lr=0.25)
    lamb.step([rng.normal(size=a.shape).astype(dtype) for a in p])
    for a, b in zip(p[:3], before, strict=False):
        moved, size = np.linalg.norm(a - b), np.linalg.norm(b)
        assert moved == pytest.approx(0.25 * size, rel=1e-5)
    # A parameter of norm 0 makes the step of Adam.
    np.testing.assert_allclose(np.abs(p[3]), 0.25, rtol=1e-4)


def test_wrong_options_are_refused() -> None:
    for name, options, message in (
        ("Rprop", {"etas": (1.0, 1.2)}, r"etas\[0\]: got 1.0, wanted a number in \(0, 1\)"),
        ("Rprop", {"etas": (0.5, 1.0)}, r"etas\[1\]: got 1.0, wanted a finite number above 1"),
        ("Rprop", {"step_sizes": (2.0, 1.0)}, r"step_sizes: got \(2.0, 1.0\), wanted two numbers above 0"),
        ("ScheduleFreeSGD", {"momentum": 0.0}, r"momentum: got 0.0, wanted a number in \(0, 1\)"),
        ("ScheduleFreeAdamW", {"betas": (0.0, 0.9)}, r"betas\[0\]: got 0.0, wanted a number in \(0, 1\)"),
        ("ASGD", {"t0": -1.0}, r"t0: got -1.0, wanted a finite number, at least 0"),
        ("Adadelta", {"rho": 1.0}, r"rho: got 1.0, wanted a number in \[0, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            OPTIMIZERS[name]([np.ones(2)], **options)
    with pytest.raises(TypeError, match=r"etas: got 0.5, wanted two numbers"):
        lossk.Rprop([np.ones(2)], etas=0.5)  # type: ignore[arg-type]

"""Targets of objectives: rounds of boosting against the library's own objective, derivatives against NumPy's.

A round is one update of a booster that is there already: derivatives, and one tree a class. ``LOSSK_BENCH_BYTES`` is
what the largest case may take, by default half of the memory that is free.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interleaved import interleaved, timed
from pytest_benchmark.fixture import BenchmarkFixture

import lossk
from lossk import objectives
from lossk.cli.bench.kernels import Array, Runner
from lossk.cli.bench.run import median_ratio

ROUNDS = 9
FEATURES = 10
THREADS = lossk.get_num_threads()
CASES = [(rows, classes) for rows in (400_000, 4_000_000) for classes in (10, 100)]
Update = Callable[[], object]


def _free_bytes() -> float:
    free = {line.split()[0]: line.split()[1] for line in Path("/proc/meminfo").read_text("ascii").splitlines()}
    return float(os.environ.get("LOSSK_BENCH_BYTES", 1024 * int(free["MemAvailable:"]) / 2))


def _skip_unless_free(needed: int) -> None:
    if needed > _free_bytes():
        pytest.skip(f"takes about {needed / 2**30:.1f} GiB, and {_free_bytes() / 2**30:.1f} GiB are free for it")


class Labels:
    """What objectives ask of a data set: labels, and weights as the library has none."""

    def __init__(self, label: Array, weight: Array | None) -> None:
        self._label, self._weight = label, weight

    def get_label(self) -> Array:
        """Return the labels."""
        return self._label

    def get_weight(self) -> Array | None:
        """Return an empty array or None."""
        return self._weight


def _data(rows: int, classes: int) -> tuple[Array, Array]:
    """Features, and labels that depend on them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, FEATURES), np.float32)
    w = rng.standard_normal((FEATURES, classes), np.float32)
    y = np.empty(rows, np.float32)
    for i in range(0, rows, 10_000):  # no logits of all rows
        z = x[i : i + 10_000] @ w
        y[i : i + 10_000] = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
    return x, y


def _numpy(factor: float, floor: float) -> Callable[[Array, Any], tuple[Array, Array]]:
    """Return softmax cross-entropy as the libraries' documentation has it, in whole arrays."""

    def objective(z: Array, data: Any) -> tuple[Array, Array]:
        y = data.get_label().astype(np.intp)
        e = np.exp(z - z.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        h = np.maximum(factor * p * (1 - p), floor)
        p[np.arange(len(p)), y] -= 1
        return p.astype(np.float32), h.astype(np.float32)

    return objective


def _lightgbm(rows: int, classes: int) -> dict[str, Update]:
    lightgbm = pytest.importorskip("lightgbm", reason="lightgbm is not installed: nothing to compare with")
    data = lightgbm.Dataset(*_data(rows, classes)).construct()
    kinds = {
        "own": None,
        "numpy": _numpy(classes / (classes - 1), 0.0),
        "lossk": objectives.lightgbm(lossk.CrossEntropy()),
    }
    updates: dict[str, Update] = {}
    for name, objective in kinds.items():
        params = {"num_class": classes, "num_threads": THREADS, "verbose": -1, "boost_from_average": False}
        booster = lightgbm.Booster({"objective": "none" if objective else "multiclass", **params}, data)
        updates[name] = partial(booster.update, fobj=objective)
    return updates


def _xgboost(rows: int, classes: int) -> dict[str, Update]:
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed: nothing to compare with")
    data = xgboost.QuantileDMatrix(*_data(rows, classes), nthread=THREADS)
    kinds = {"own": None, "numpy": _numpy(2.0, 1e-6), "lossk": objectives.xgboost(lossk.CrossEntropy())}
    updates: dict[str, Update] = {}
    for name, objective in kinds.items():
        params = {
            "objective": "multi:softprob",
            "num_class": classes,
            "nthread": THREADS,
            "base_score": [0.0] * classes,
        }
        booster = xgboost.Booster(params, [data])

        def update(booster: Any = booster, objective: Any = objective) -> None:
            booster.update(data, booster.num_boosted_rounds(), objective)

        updates[name] = update
    return updates


# A library, what its margins and derivatives take an element in all boosters and in NumPy's code, and the largest ratio
# of a round's time with lossk's objective to one with the library's own.
LIBRARIES = {"lightgbm": (_lightgbm, 120, 1.1), "xgboost": (_xgboost, 80, 1.0)}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("rows", "classes"), CASES)
def test_rounds(benchmark: BenchmarkFixture, library: str, rows: int, classes: int) -> None:
    """Cost no more than rounds with the library's own objective; `gain` in `extra_info` is over rounds with NumPy's."""
    make, element, bound = LIBRARIES[library]
    _skip_unless_free(element * rows * classes)
    updates = make(rows, classes)
    for update in updates.values():
        update()  # what is allocated once, and the margins' place
    others = {name: timed(Runner(updates[name])) for name in ("own", "numpy")}
    own, seconds = interleaved(benchmark, Runner(updates["lossk"]), others, ROUNDS if rows < 10**6 else 5)
    cost, gain = (median_ratio(a, b) for a, b in ((own, seconds["own"]), (seconds["numpy"], own)))
    benchmark.extra_info |= {"rows": rows, "classes": classes, "cost": cost, "gain": gain, "threads": THREADS}
    assert cost <= bound, benchmark.extra_info


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("rows", "classes"), CASES)
def test_derivatives(benchmark: BenchmarkFixture, library: str, rows: int, classes: int) -> None:
    """Be 1.4 times as fast as NumPy's objective, on margins in the library's layout and type."""
    _skip_unless_free(80 * rows * classes)
    rng, in_order = np.random.default_rng(0), library == "xgboost"
    z: Array = rng.standard_normal((rows, classes), np.float32)
    z = z if in_order else np.asfortranarray(z, np.float64)
    data = Labels(rng.integers(0, classes, rows).astype(np.float32), np.empty(0) if in_order else None)
    own = Runner(partial(getattr(objectives, library)(lossk.CrossEntropy()), z, data))
    others = {"numpy": timed(Runner(partial(_numpy(2.0, 1e-6), z, data)))}
    taken, seconds = interleaved(benchmark, own, others, ROUNDS if rows < 10**6 else 5)
    gain = median_ratio(seconds["numpy"], taken)
    benchmark.extra_info |= {"rows": rows, "classes": classes, "gain": gain, "threads": THREADS}
    assert gain >= 1.4, benchmark.extra_info

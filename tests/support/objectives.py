"""Data, libraries and training for the tests of objectives; each library is missing with a printed reason."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn import datasets

from lossk import objectives


def library(name: str) -> Any:
    """Import a library, or skip the module's tests."""
    reason = f"{name} is not installed (pip install 'lossk[boosting]'): its objectives are not tried"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=reason)


@functools.cache
def friedman(n: int = 2000) -> tuple[Any, Any]:
    """Friedman's first problem, without noise."""
    x, y = datasets.make_friedman1(n, noise=0.0, random_state=0)
    return x, y


@functools.cache
def classes(name: str) -> tuple[Any, Any]:
    """Features and labels of a data set of scikit-learn."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return x, y


def weights(n: int) -> Any:
    """Sample weights, all different: no two splits are equally good."""
    return np.random.default_rng(1).uniform(0.5, 2.0, n)


def largest(a: Any, b: Any) -> float:
    """Return the largest difference, in units of the larger size."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / max(1.0, np.abs(b).max()))


def start(objective: Any, y: Any, w: Any = None) -> tuple[Any, Any]:
    """Return the init score, and one of each row."""
    s = objective.init_score(y, w)
    return s, np.tile(s, (len(y), 1)) if np.ndim(s) else np.full(len(y), s)


MAKERS = {"xgboost": objectives.xgboost, "lightgbm": objectives.lightgbm, "catboost": objectives.catboost}

"""
Objectives that train
=====================

Boosted trees take Newton steps, and the second derivative of a robust loss is nearly 0 where residuals are large. What
``lossk.objectives`` does about it, how it compares with the libraries' own objectives, and what it costs.
"""

# %%
# Friedman's first problem, and LightGBM with the same loss and two Hessians: its own second derivative, and one that
# majorises it.
import time
import warnings
from collections.abc import Callable
from typing import Any

import lightgbm
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits, make_friedman1

import lossk.objectives

warnings.filterwarnings("ignore", category=UserWarning, module="lightgbm")
x, y = make_friedman1(2000, noise=0.0, random_state=0)


def errors(objective: Any, **params: Any) -> np.ndarray:
    """Train 100 trees; returns the training MAE after each."""
    seen: dict[str, Any] = {}
    s = 0.0 if isinstance(objective, str) else objective.init_score(y)
    data = lightgbm.Dataset(x, y, init_score=None if isinstance(objective, str) else np.full(len(y), s))
    lightgbm.train(
        {"objective": objective, "metric": "l1", "verbose": -1, **params},
        data,
        100,
        valid_sets=[data],
        callbacks=[lightgbm.record_evaluation(seen)],
    )
    return np.array(seen["training"]["l1"])


make = lossk.objectives.lightgbm
curves = {
    "LogCosh": errors(make(lossk.LogCosh())),
    "LogCosh, true Hessian": errors(make(lossk.LogCosh(), hessian="true")),
    "AbsoluteError": errors(make(lossk.AbsoluteError())),
    "AbsoluteError, true Hessian": errors(make(lossk.AbsoluteError(), hessian="true")),
    "Huber(1)": errors(make(lossk.Huber(1.0))),
    "LightGBM's l1": errors("l1"),
    "LightGBM's huber": errors("huber", alpha=1.0),
}
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for name, curve in curves.items():
    axes.plot(curve, label=name, linestyle="--" if "true" in name else ":" if "LightGBM" in name else "-")
    print(f"{name:30} {curve[-1]:8.3f}")
axes.set(yscale="log", ylim=(0.15, 20), xlabel="trees", ylabel="training MAE")
_ = axes.legend()

# %%
# The true Hessian of the log-cosh overshoots, that of the absolute error is 0 and nothing moves. With Hessians that
# majorise, each is as good as LightGBM's own objective, which refits its leaves to medians, or better.
last = {name: curve[-1] for name, curve in curves.items()}
assert last["LogCosh, true Hessian"] > 4
assert last["AbsoluteError, true Hessian"] > 4
assert last["AbsoluteError"] <= 1.05 * last["LightGBM's l1"]
assert max(last["Huber(1)"], last["LogCosh"]) <= 1.05 * last["LightGBM's huber"]

# %%
# Where LightGBM's own objective has the same Hessian, predictions are the same. Of several classes:
x, y = load_digits(return_X_y=True)
objective = make(lossk.CrossEntropy())
s = objective.init_score(y)
params = {"num_class": 10, "verbose": -1}
data = lightgbm.Dataset(x, y, init_score=np.tile(s, (len(y), 1)))
ours = lightgbm.train({"objective": objective, **params}, data, 20)
own = lightgbm.train({"objective": "multiclass", **params}, lightgbm.Dataset(x, y), 20)
p = objective.inverse_link(ours.predict(x) + s)
print(f"largest difference of probabilities: {np.abs(p - own.predict(x)).max():.1e}")
assert np.abs(p - own.predict(x)).max() < 1e-5

# %%
# What a round's derivatives cost, of 100,000 rows and 10 classes in LightGBM's layout, and of the usual NumPy code:
rng = np.random.default_rng(0)
margins, labels = rng.normal(size=(10, 100_000)).T, rng.integers(0, 10, 100_000)


def in_numpy(labels: np.ndarray, margins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivatives of softmax cross-entropy as tutorials have them."""
    e = np.exp(margins - margins.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    h = 10 / 9 * p * (1 - p)
    p[np.arange(len(p)), labels] -= 1
    return p.astype(np.float32), h.astype(np.float32)


def fastest(function: Callable[..., Any]) -> float:
    """Return the shortest of ten times, in milliseconds."""
    times = []
    for _ in range(10):
        begin = time.perf_counter()
        function(labels, margins)
        times.append(1e3 * (time.perf_counter() - begin))
    return min(times)


for a, b in zip(objective(labels, margins), in_numpy(labels, margins), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
print(f"lossk {fastest(objective):.1f} ms, NumPy {fastest(in_numpy):.1f} ms")

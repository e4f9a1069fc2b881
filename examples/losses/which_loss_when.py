"""
Which loss when
===============

A loss is a question to the data, and the constant that answers it best tells which: the mean, the median, a quantile, a
share.

==============================  =========================================  =================  ==================
You predict                     Loss                                       Model returns      Best constant
==============================  =========================================  =================  ==================
a number, without outliers      `lossk.SquaredError`                       a number           mean
a number, with outliers         `lossk.AbsoluteError`                      a number           median
between the two                 `lossk.Huber`, `lossk.PseudoHuber`         a number           between the two
a bound held 9 times in 10      `lossk.Quantile`                           a number           quantile
a number and its noise          `lossk.GaussianNLL`                        mean and variance  mean and variance
a count                         `lossk.PoissonNLL`                         log of the rate    log of the mean
an amount above 0               `lossk.Gamma`                              log of the amount  log of the mean
an amount that may be 0         `lossk.Tweedie`                            log of the amount  log of the mean
yes or no                       `lossk.BinaryCrossEntropyWithLogits`       a logit            logit of the share
yes or no, positives are rare   the same with ``pos_weight``               a logit            share, reweighted
yes or no, without probability  `lossk.Hinge`                              a margin           1, or -1
one of several classes          `lossk.CrossEntropy`                       logits             log of the shares
several labels at once          `lossk.BinaryCrossEntropyWithLogits`       a logit a label    logit of each share
a distribution                  `lossk.CrossEntropy`                       logits             log of the mean
the same, from log p            `lossk.KLDivergence`                       log-probabilities  log of the mean
one of 100,000 classes          `lossk.LinearCrossEntropy`                 features, weights  log of the shares
==============================  =========================================  =================  ==================
"""

# %%
# Waiting times, of which most are short and a few very long, and the constant with the smallest loss:
from typing import Any

import numpy as np

import lossk
from lossk.cli.plot import losses as pictures

y = pictures.skewed_sample()
best = pictures.best_constant
np.testing.assert_allclose(best(lossk.SquaredError(), y), y.mean(), rtol=1e-9)
np.testing.assert_allclose(best(lossk.AbsoluteError(), y), np.median(y), rtol=1e-9)
np.testing.assert_allclose(best(lossk.Quantile(q=0.9), y), np.quantile(y, 0.9), rtol=1e-9)
assert np.median(y) < best(lossk.Huber(), y) < y.mean()
assert np.median(y) < best(lossk.PseudoHuber(), y) < y.mean()

figure = pictures.best_constants()

# %%
# A quantile is a bound: nine waiting times in ten are below that of 0.9. Who comes too late pays nine times as much as
# who comes too early.
assert round(float(np.mean(y <= best(lossk.Quantile(q=0.9), y))), 2) == 0.9
assert lossk.Quantile(q=0.9)(np.zeros(2), np.array([1.0, -1.0]), reduction="none").round(9).tolist() == [0.9, 0.1]

# %%
# Counts and amounts have losses whose model returns a logarithm, so that what it predicts is above 0. All of them fit
# the mean; they differ in how much an error counts where the mean is large.
counts = np.random.default_rng(0).poisson(3.0, 1001).astype(float)
np.testing.assert_allclose(np.exp(best(lossk.PoissonNLL(), counts)), counts.mean(), rtol=1e-9)


def at_the_mean(loss: Any, target: np.ndarray, constant: float) -> float:
    """Return the mean gradient at a constant: 0 where that is the best one."""
    return abs(float(np.mean(loss.grad(np.full_like(target, constant), target, reduction="none"))))


for loss in (lossk.PoissonNLL(), lossk.Gamma(), lossk.Tweedie()):
    assert at_the_mean(loss, y, np.log(y.mean())) < 1e-12, loss

# %%
# The same errors, twice as much as was predicted, at 1 and at 100: squares see the second alone, Poisson's likelihood
# weighs it by a hundred, and Gamma's, of ratios, as much as the first.
rate, amount = np.log([1.0, 100.0]), np.array([2.0, 200.0])
pulls = {
    "squared": lossk.SquaredError().grad(np.exp(rate), amount, reduction="none") * np.exp(rate),
    "Poisson": lossk.PoissonNLL().grad(rate, amount, reduction="none"),
    "Gamma": lossk.Gamma().grad(rate, amount, reduction="none"),
}
ratios = {name: round(float(pull[1] / pull[0])) for name, pull in pulls.items()}
print(ratios)
assert ratios == {"squared": 10_000, "Poisson": 100, "Gamma": 1}

# %%
# Of classes, cross-entropy fits their shares. With a quarter of positives, the best logit is that of 1/4; a weight of
# 3 moves it to that of 1/2, and a hinge only answers with the more frequent class.
yes = np.array([1.0, 0.0, 0.0, 0.0])
assert at_the_mean(lossk.BinaryCrossEntropyWithLogits(), yes, np.log(0.25 / 0.75)) < 1e-15
assert at_the_mean(lossk.BinaryCrossEntropyWithLogits(pos_weight=3.0), yes, 0.0) < 1e-15
margins = np.linspace(-2, 2, 401)
hinge = [lossk.Hinge()(np.full(4, z), 2 * yes - 1) for z in margins]
assert round(margins[np.argmin(hinge)], 9) == -1

# %%
# Of several classes it is the same, and a distribution as the target is a mixture of labels:
labels, shares = np.array([0, 0, 1, 2]), np.array([0.5, 0.25, 0.25])
logits = np.tile(np.log(shares), (4, 1))
assert np.abs(lossk.CrossEntropy().grad(logits, labels).sum(axis=0)).max() < 1e-15
assert np.abs(lossk.CrossEntropy().grad(logits[:1], shares[None])).max() < 1e-15
assert abs(lossk.KLDivergence()(logits[:1], shares[None])) < 1e-15

# %%
# ``lossk plot best-constants`` writes the picture as a PNG. Its code:
#
# .. literalinclude:: /../python/lossk/cli/plot/losses.py
#    :pyobject: best_constants

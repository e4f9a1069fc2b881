"""
Maximum likelihood: where losses come from
==========================================

The parameters under which the data were most likely are those whose loss is smallest: cross-entropy is minus the
logarithm of the likelihood of classes, the squared error that of numbers with Gaussian noise, but for constants.
"""

# %%
# Seven heads in ten tosses. The likelihood of the tosses is a product of ten probabilities; minus its logarithm is the
# sum of ten binary cross-entropies. It is smallest where the coin shows heads seven times in ten.
import numpy as np

import lossk

tosses = np.array([1.0, 1, 0, 1, 1, 0, 1, 1, 0, 1])
coin = lossk.BinaryCrossEntropy()
np.testing.assert_allclose(coin(np.full(10, 0.6), tosses, reduction="sum"), -np.log(0.6**7 * 0.4**3), rtol=1e-12)
bias = np.linspace(0.01, 0.99, 99)
costs = np.array([coin(np.full(10, p), tosses, reduction="sum") for p in bias])
print(f"best p {bias[costs.argmin()]:.2f}, -log likelihood {costs.min():.3f}")
assert round(bias[costs.argmin()], 2) == 0.7
assert round(costs.min(), 3) == 6.109

# %%
# What remains at the best is ten times the entropy of that coin: no belief can make the tosses cheaper.
np.testing.assert_allclose(costs.min(), 10 * lossk.information.entropy([0.7, 0.3]), rtol=1e-12)

# %%
# Two models look at three pictures, of a cat, a cat and a dog, and say how probable a cat is. The one under which the
# right answers were more likely, .504 against .18, has the smaller cross-entropy.
is_cat = np.array([1.0, 1.0, 0.0])
for said, likelihood, nll in (([0.9, 0.8, 0.3], 0.504, 0.685), ([0.6, 0.5, 0.4], 0.18, 1.715)):
    loss = coin(np.array(said), is_cat, reduction="sum")
    print(f"says {said}: likelihood {np.exp(-loss):.3f}, cross-entropy {loss:.3f}")
    assert round(np.exp(-loss), 3) == likelihood
    assert round(loss, 3) == nll

# %%
# Weights of five cats. If they scatter around their mean as a Gaussian of variance 1, minus the log-likelihood is half
# of the squared errors and a constant: both are smallest at the mean, 4.5 kg.
cats = np.array([3.6, 4.1, 4.4, 4.9, 5.5])
squared, gaussian = lossk.SquaredError(), lossk.GaussianNLL(full=True)
mean, ones = np.full(5, cats.mean()), np.ones(5)
assert round(cats.mean(), 12) == 4.5
for guess in (4.0, 4.5, 5.0):
    z = np.full(5, guess)
    difference = gaussian(z, cats, ones, reduction="sum") - squared(z, cats, reduction="sum") / 2
    np.testing.assert_allclose(difference, 5 * np.log(2 * np.pi) / 2, rtol=1e-12)
assert abs(gaussian.grad(mean, cats, ones, reduction="sum").sum()) < 1e-12

from lossk.cli.plot import information as pictures

figure = pictures.maximum_likelihood()

# %%
# The likelihood also has a best variance: the mean squared error, .428 here, where its gradient is 0.
variance = squared(mean, cats)
assert round(variance, 3) == 0.428
dvariance = gaussian.grad(mean, cats, np.full(5, variance), reduction="sum", wrt="var")
assert abs(dvariance.sum()) < 1e-12

# %%
# Least squares is maximum likelihood, then: the line that NumPy fits is where the gradient of the Gaussian likelihood
# by slope and intercept is 0.
rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, 100)
y = 1.5 * x - 0.5 + rng.normal(scale=0.7, size=100)
design = np.stack([x, np.ones(100)], axis=1)
line = np.linalg.lstsq(design, y, rcond=None)[0]
gradient = design.T @ gaussian.grad(design @ line, y, np.full(100, 0.49), reduction="sum")
print(f"slope {line[0]:.2f}, intercept {line[1]:.2f}")
assert line.round(2).tolist() == [1.45, -0.55]
assert np.abs(gradient).max() < 1e-10

# %%
# Where noise has long tails the absolute error is the likelihood (of Laplace's distribution), where targets are counts
# `lossk.PoissonNLL`: a loss says what one believes of the noise.
#
# ``lossk plot maximum-likelihood`` writes the picture as a PNG. Its code:
#
# .. literalinclude:: /../python/lossk/cli/plot/information.py
#    :pyobject: maximum_likelihood

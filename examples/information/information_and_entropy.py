"""
Information and entropy, in bits
================================

An event of probability ``p`` tells ``-log2(p)`` bits; entropy is the mean of that over all outcomes, cross-entropy what
they cost under a wrong belief, and the Kullback-Leibler divergence how much of that is due to the belief.
"""

# %%
# What is certain tells nothing, and each halving of the probability tells one bit more.
import warnings

import numpy as np

import lossk
from lossk.information import cross_entropy, entropy, information, kl_divergence

bits = information([1.0, 0.5, 0.25, 0.1, 0.001], base=2)
print(bits.round(3))
assert bits.round(3).tolist() == [0, 1, 2, 3.322, 9.966]

# %%
# Two independent events together have the product of their probabilities, and the sum of their information:
assert information(0.5 * 0.25, base=2) == information(0.5, base=2) + information(0.25, base=2) == 3

# %%
# Entropy is the mean information, ``-sum(p * log2(p))``. Four outcomes that are equally likely need two bits; the more
# one can guess, the less there is to tell.
equal, likely = [0.25, 0.25, 0.25, 0.25], [0.1, 0.1, 0.1, 0.7]
assert entropy(equal, base=2) == 2
assert round(entropy(likely, base=2), 3) == 1.357
np.testing.assert_allclose(entropy(likely, base=2), np.dot(likely, information(likely, base=2)), rtol=1e-12)

from lossk.cli.plot import information as pictures

figure = pictures.information_and_entropy()

# %%
# A text may give .031 bits for (0.001, 0.001, 0.001, 0.999), but these sum to 1.002 and are no probabilities. Scaled to
# 1, which is what ``normalize=True`` does, with a warning, the entropy is .034, a tenth more; so it is if the last one
# is meant to be 0.997.
sure = [0.001, 0.001, 0.001, 0.999]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    scaled = entropy(sure, base=2)
print(caught[0].message)
print(f"as it stands {entropy(sure, base=2, normalize=False):.4f}, scaled {scaled:.4f}")
assert round(entropy(sure, base=2, normalize=False), 4) == 0.0313
assert round(scaled, 4) == 0.0342
assert round(entropy([0.001, 0.001, 0.001, 0.997], base=2), 4) == 0.0342

# %%
# Who believes that all four are equal, and meets (0.1, 0.1, 0.1, 0.7), pays two bits an outcome where 1.357 would do.
# The difference, .643, is the divergence. It is not symmetric: the other way round it is .620.
cost, extra = cross_entropy(likely, equal, base=2), kl_divergence(likely, equal, base=2)
print(f"entropy {entropy(likely, base=2):.3f} + divergence {extra:.3f} = cross-entropy {cost:.3f}")
assert round(cost, 12) == 2
assert round(extra, 3) == 0.643
assert round(kl_divergence(equal, likely, base=2), 3) == 0.62
assert kl_divergence(likely, likely) == 0
assert kl_divergence(equal, [0.5, 0.5, 0, 0]) == np.inf  # what was held impossible happened

# %%
# A coin with heads nine times in ten tells .469 bits a toss; who believes it to be fair pays one bit.
coin, fair = [0.9, 0.1], [0.5, 0.5]
assert round(entropy(coin, base=2), 3) == 0.469
assert round(cross_entropy(coin, fair, base=2), 12) == 1
assert round(kl_divergence(coin, fair, base=2), 3) == 0.531
figure = pictures.entropy_of_a_coin()

# %%
# Losses are in nats, with the natural logarithm, as gradients are simplest so; a nat is ``1 / log(2)``, 1.443 bits. A
# classifier of four classes that learns nothing has a loss of ``log(4)``, 1.386 nats, which are those two bits.
nats = lossk.CrossEntropy()(np.zeros((1, 4)), np.array([2]))
assert round(nats, 3) == 1.386
assert round(nats / np.log(2), 12) == 2
assert round(1 / np.log(2), 3) == 1.443

# %%
# ``lossk plot information-and-entropy entropy-of-a-coin`` writes the pictures as PNGs. The code of the first:
#
# .. literalinclude:: /../python/lossk/cli/plot/information.py
#    :pyobject: information_and_entropy

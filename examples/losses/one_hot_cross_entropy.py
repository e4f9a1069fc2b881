"""
Cross-entropy of a one-hot target
=================================

With a target of one class, (0, 0, 0, 1, 0), cross-entropy is minus the logarithm of the probability that this class was
given, whatever the others got: predictions of 0.6, 0.7 and 0.8 cost 0.51, 0.36 and 0.22.
"""

# %%
# Three predictions, each better than the one before:
import warnings

import numpy as np

import lossk
from lossk.information import cross_entropy

target = np.array([0.0, 0.0, 0.0, 1.0, 0.0])
predictions = np.array([[0.1, 0.1, 0.1, 0.6, 0.1], [0.05, 0.1, 0.05, 0.7, 0.1], [0.05, 0.05, 0.05, 0.8, 0.05]])
losses = [cross_entropy(target, p) for p in predictions]
bits = [cross_entropy(target, p, base=2) for p in predictions]
for p, nats, bit in zip(predictions, losses, bits, strict=True):
    print(f"{p} costs {nats:.2f} nats, {bit:.2f} bits")
assert np.round(losses, 2).tolist() == [0.51, 0.36, 0.22]
assert np.round(bits, 2).tolist() == [0.74, 0.51, 0.32]

# %%
# All of the sum but one term is 0 times something, so that only the label's probability counts:
from lossk.cli.plot import losses as pictures

np.testing.assert_allclose(losses, lossk.information.information(predictions[:, 3]), rtol=1e-12)
figure = pictures.one_hot_cross_entropy()

# %%
# In training, the target is the label 3, and predictions are logarithms, `lossk.NLL`, or logits, `lossk.CrossEntropy`.
# Logarithms of probabilities are logits, too: their softmax gives the probabilities back.
logs, labels = np.log(predictions), np.array([3, 3, 3])
np.testing.assert_allclose(lossk.NLL()(logs, labels, reduction="none"), losses, rtol=1e-12)
value, grad = lossk.CrossEntropy().value_and_grad(logs, labels, reduction="none")
np.testing.assert_allclose(value, losses, rtol=1e-12)

# %%
# The gradient with respect to the logits is the prediction minus the target: what is too much goes down, what is too
# little goes up.
print(grad.round(2))
np.testing.assert_allclose(grad, predictions - target, atol=1e-12)

# %%
# Vectors in texts do not always sum to 1. As it stands, (0.01, 0.02, 0.03, 0.8, 0.05) costs 0.223; but its sum is 0.91,
# and the distribution that it is part of gives the label 0.8 / 0.91. `lossk.information` scales, and warns.
loose = np.array([0.01, 0.02, 0.03, 0.8, 0.05])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    scaled = cross_entropy(target, loose)
print(caught[0].message)
print(f"as it stands {cross_entropy(target, loose, normalize=False):.3f}, scaled {scaled:.3f}")
assert "a sum of 0.91" in str(caught[0].message)
assert round(cross_entropy(target, loose, normalize=False), 3) == 0.223
assert round(scaled, 3) == 0.129

# %%
# A softmax always scales:
assert round(lossk.CrossEntropy()(np.log(loose)[None], labels[:1]), 3) == 0.129

# %%
# ``lossk plot one-hot-cross-entropy`` writes the picture as a PNG. Its code:
#
# .. literalinclude:: /../python/lossk/cli/plot/losses.py
#    :pyobject: one_hot_cross_entropy

"""
Softmax, logarithm, NLL: cross-entropy in three steps
=====================================================

Behind a layer from 784 pixels to 10 classes, softmax makes probabilities, the logarithm makes them sums, and the
negative log-likelihood picks the label's: together they are cross-entropy, which one function computes better.
"""

# %%
# Five images of 28 x 28 pixels, here random ones, and a layer that knows nothing yet: with weights of 0, each class has
# the same probability, and the loss is ``log(10)``, 2.303. A new classifier that starts far above that has a bug.
import numpy as np

import lossk

rng = np.random.default_rng(0)
images, labels = rng.random((5, 784)), np.array([3, 0, 9, 3, 5])
weights, bias = np.zeros((10, 784)), np.zeros(10)
start = lossk.CrossEntropy()(images @ weights.T + bias, labels)
print(f"first loss {start:.3f}")
assert round(start, 3) == 2.303

# %%
# The three steps, with weights that are not 0:
weights = rng.normal(scale=784**-0.5, size=(10, 784))
logits = images @ weights.T + bias
p = lossk.softmax(logits)
log_p = np.log(p)
loss = lossk.NLL()(log_p, labels)
np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
np.testing.assert_allclose(loss, -log_p[np.arange(5), labels].mean(), rtol=1e-12)
np.testing.assert_allclose(loss, lossk.NLL()(lossk.log_softmax(logits), labels), rtol=1e-12)
np.testing.assert_allclose(loss, lossk.CrossEntropy()(logits, labels), rtol=1e-12)
print(f"in three steps {loss:.6f}, in one {lossk.CrossEntropy()(logits, labels):.6f}")

# %%
# One row, whose label is 3:
from lossk.cli.plot import layers as pictures

figure = pictures.softmax_log_nll()

# %%
# One step is more than shorter. Where a logit lies 800 below the largest, its probability is 0 in floating point, and
# the logarithm of that minus infinity; log-softmax never leaves the logarithms.
far = np.array([[0.0, 800.0]])
with np.errstate(divide="ignore"):
    assert np.log(lossk.softmax(far)).tolist() == [[-np.inf, 0]]
assert lossk.log_softmax(far).tolist() == [[-800, 0]]
assert lossk.CrossEntropy()(far, np.array([0])) == 800

# %%
# The gradient, too, is simpler than its parts: softmax minus one-hot, divided by the number of rows. Backwards through
# the three steps it is the same.
value, dlogits = lossk.CrossEntropy().value_and_grad(logits, labels)
np.testing.assert_allclose(dlogits, (p - np.eye(10)[labels]) / 5, atol=1e-15)
np.testing.assert_allclose(lossk.softmax.vjp(logits, lossk.NLL().grad(log_p, labels) / p), dlogits, atol=1e-15)

# %%
# Of the layer's weights, it is a product of matrices; `lossk.LinearCrossEntropy` is the layer and its loss in one.
dweights = dlogits.T @ images
fused, (_, by_fused, dbias) = lossk.LinearCrossEntropy().value_and_grad(images, weights, labels, bias)
np.testing.assert_allclose(fused, value, rtol=1e-12)
np.testing.assert_allclose(by_fused, dweights, atol=1e-12)
np.testing.assert_allclose(dbias, dlogits.sum(axis=0), atol=1e-12)
assert by_fused.shape == (10, 784)

# %%
# The derivative by one weight, measured: a change of 0.001 either way, and what it does to the loss.
up, down = weights.copy(), weights.copy()
up[3, 100] += 1e-3
down[3, 100] -= 1e-3
ce = lossk.CrossEntropy()
measured = (ce(images @ up.T, labels) - ce(images @ down.T, labels)) / 2e-3
print(f"measured {measured:.6f}, computed {dweights[3, 100]:.6f}")
np.testing.assert_allclose(measured, dweights[3, 100], rtol=1e-5)

# %%
# ``lossk plot softmax-log-nll`` writes the picture as a PNG. Its code:
#
# .. literalinclude:: /../python/lossk/cli/plot/layers.py
#    :pyobject: softmax_log_nll

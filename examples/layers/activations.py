"""
Activations and their derivatives
=================================

What sigmoid, tanh, ReLU, leaky ReLU, SELU and softplus make of a number, how much of a gradient they pass back, and the
derivatives of softmax, in which every output depends on every input.
"""

# %%
# An activation is called like a function, and ``derivative`` gives its slope. Where that is near 0, a layer learns
# nothing: sigmoid and tanh at both ends, ReLU wherever its input is negative.
import numpy as np

import lossk

x = np.array([-4.0, -1.0, 0.0, 1.0, 4.0])
slopes = {}
for f in (lossk.Sigmoid(), lossk.Tanh(), lossk.ReLU(), lossk.LeakyReLU(0.1), lossk.SELU(), lossk.Softplus()):
    slopes[type(f).__name__] = f.derivative(x).round(3).tolist()
    print(f"{type(f).__name__:10} slope", *(f"{slope:6.3f}" for slope in f.derivative(x)))
assert slopes == {
    "Sigmoid": [0.018, 0.197, 0.25, 0.197, 0.018],
    "Tanh": [0.001, 0.42, 1, 0.42, 0.001],
    "ReLU": [0, 0, 0, 1, 1],
    "LeakyReLU": [0.1, 0.1, 0.1, 1, 1],
    "SELU": [0.032, 0.647, 1.758, 1.051, 1.051],
    "Softplus": [0.018, 0.269, 0.5, 0.731, 0.982],
}

# %%
# All of them:
from lossk.cli.plot import layers as pictures

figure = pictures.activations()

# %%
# Some are written by others: the derivative of softplus is the sigmoid, that of the sigmoid ``s (1 - s)``, never above
# 1/4, and tanh is a sigmoid, stretched.
s, tanh = lossk.Sigmoid()(x), lossk.Tanh()
np.testing.assert_allclose(lossk.Softplus().derivative(x), s, rtol=1e-12)
np.testing.assert_allclose(lossk.Sigmoid().derivative(x), s * (1 - s), rtol=1e-12)
np.testing.assert_allclose(tanh(x), 2 * lossk.Sigmoid()(2 * x) - 1, rtol=1e-12, atol=1e-15)
np.testing.assert_allclose(tanh.derivative(x), 1 - tanh(x) ** 2, rtol=1e-9)

# %%
# SELU's two constants are chosen so that normal numbers come out with mean 0 and variance 1, layer after layer.
out = lossk.SELU()(np.random.default_rng(0).normal(size=1_000_000))
print(f"mean {out.mean():.2f}, variance {out.var():.2f}")
assert round(abs(out.mean()), 2) == 0
assert round(out.var(), 2) == 1

# %%
# ``vjp`` multiplies a gradient that arrives from behind by the slope, in one pass; that is all of backpropagation
# through an activation.
behind = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
np.testing.assert_allclose(tanh.vjp(x, behind), behind * tanh.derivative(x), rtol=1e-12)

# %%
# Softmax is no function of numbers one by one: of its outputs ``p``, the i-th changes with the j-th input by
# ``p[i] (1 - p[i])`` where ``i = j``, and by ``-p[i] p[j]`` elsewhere. ``vjp`` with a unit vector is a row of that.
z = np.log([0.1, 0.2, 0.3, 0.4])
p = lossk.softmax(z)
jacobian = np.array([lossk.softmax.vjp(z, unit) for unit in np.eye(4)])
print(jacobian.round(2))
np.testing.assert_allclose(np.diag(jacobian), p * (1 - p), rtol=1e-12)
np.testing.assert_allclose(jacobian, np.diag(p) - np.outer(p, p), rtol=1e-9)
np.testing.assert_allclose(np.diag(jacobian), [0.09, 0.16, 0.21, 0.24], rtol=1e-12)
np.testing.assert_allclose(jacobian[0, 1:], [-0.02, -0.03, -0.04], rtol=1e-12)

# %%
# A row sums to 0, as probabilities always sum to 1.
assert np.abs(jacobian.sum(axis=1)).max() < 1e-15
figure = pictures.softmax_jacobian()

# %%
# ``lossk plot activations softmax-jacobian`` writes the pictures as PNGs. The code of the first:
#
# .. literalinclude:: /../python/lossk/cli/plot/layers.py
#    :pyobject: activations

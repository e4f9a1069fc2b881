"""
The gradient, and how far to follow it
======================================

The gradient says in which direction a loss grows fastest, and descent goes the other way; too small a learning rate
crawls, one too large flies off, and in between the loss falls by a constant factor a step.
"""

# %%
# A gradient is the slope by each parameter: what the loss does if one of them changes a little. A line through 256
# points, and the gradient of its mean squared error by slope and intercept, measured and computed:
import numpy as np

import lossk
from lossk.cli.plot import descent

mse = lossk.SquaredError()
design, y = descent.line_data()
w = np.array([-1.6, 2.0])
gradient = design.T @ mse.grad(design @ w, y)
tiny = 1e-6 * np.eye(2)
measured = [(mse(design @ (w + d), y) - mse(design @ (w - d), y)) / 2e-6 for d in tiny]
print(f"computed {gradient.round(4)}, measured {np.round(measured, 4)}")
np.testing.assert_allclose(measured, gradient, rtol=1e-6)

# %%
# Of all directions of the same length, none makes the loss fall faster than against the gradient:
angles = np.linspace(0, 2 * np.pi, 361)
falls = [mse(design @ w, y) - mse(design @ (w + 1e-4 * np.array([np.cos(a), np.sin(a)])), y) for a in angles]
best = angles[np.argmax(falls)]
steepest = -gradient / np.linalg.norm(gradient)
assert np.dot(steepest, [np.cos(best), np.sin(best)]) > 0.9999

# %%
# How far to go is the learning rate. On ``x**2`` the gradient is ``2 x``, and a step multiplies the distance from the
# minimum by ``1 - 2 lr``. After 25 steps from 1:
arrived = {}
for lr in (0.01, 0.3, 0.5, 1.0, 1.05):
    x = np.array([1.0])
    sgd = lossk.SGD([x], lr=lr)
    for _ in range(25):
        sgd.step([mse.grad(x, 0.0)])
    arrived[lr] = float(x[0])
    print(f"lr {lr}: x = {x[0]:.2g}")
    np.testing.assert_allclose(x[0], (1 - 2 * lr) ** 25, rtol=1e-9)
assert round(arrived[0.01], 2) == 0.6  # too small: it crawls
assert abs(arrived[0.3]) < 1e-9  # right
assert arrived[0.5] == 0  # one over the curvature, 2: there in a single step
assert arrived[1.0] == -1  # two over the curvature: from side to side for ever
assert round(arrived[1.05], 1) == -10.8  # too large: it flies off

# %%
# The same in two dimensions:
figure = descent.learning_rates()

# %%
# ``python examples/descent/learning_rates.py`` opens a window in which the slider moves.
from matplotlib import pyplot as plt

figure = descent.learning_rate_slider()
plt.show()

# %%
# ``lossk plot learning-rates`` writes the first picture as a PNG. Its code:
#
# .. literalinclude:: /../python/lossk/cli/plot/descent.py
#    :pyobject: learning_rates

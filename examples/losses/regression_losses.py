"""
Squared, absolute, Huber and pseudo-Huber errors
================================================

What one sample costs, and how hard it pulls on the fit, by its residual ``r``, prediction minus target: the squared
error pulls without bound, the absolute error always alike, Huber and pseudo-Huber change from one to the other at
``delta``.
"""

# %%
# Four residuals, and what they cost. `lossk.SquaredError` is ``r**2`` without a factor of one half, the two Hubers are
# ``r**2 / 2`` near 0.
import numpy as np

import lossk

r = np.array([0.1, 1.0, 5.0, 8.0])
losses = (
    lossk.SquaredError(),
    lossk.AbsoluteError(),
    lossk.Huber(delta=0.25),
    lossk.PseudoHuber(delta=0.25),
    lossk.Huber(delta=5.0),
    lossk.PseudoHuber(delta=5.0),
)
cost = {repr(loss): loss(r, 0.0, reduction="none").round(3).tolist() for loss in losses}
for name, values in cost.items():
    print(f"{name:25}", *(f"{value:8.3f}" for value in values))
assert cost == {
    "SquaredError()": [0.01, 1.0, 25.0, 64.0],
    "AbsoluteError()": [0.1, 1.0, 5.0, 8.0],
    "Huber(delta=0.25)": [0.005, 0.219, 1.219, 1.969],
    "PseudoHuber(delta=0.25)": [0.005, 0.195, 1.189, 1.938],
    "Huber(delta=5.0)": [0.005, 0.5, 12.5, 27.5],
    "PseudoHuber(delta=5.0)": [0.005, 0.495, 10.355, 22.17],
}

# %%
# ``delta`` is where Huber's parabola ends and its line begins; the slope of the line is ``delta``. Pseudo-Huber bends
# there gradually: at ``r = delta`` its slope is ``delta / sqrt(2)``, and it reaches ``delta`` only in the limit.
for delta in (0.25, 5.0):
    at = np.array([delta / 2, delta, 2 * delta, 1000 * delta])
    slopes = [loss(delta).grad(at, 0.0, reduction="none") / delta for loss in (lossk.Huber, lossk.PseudoHuber)]
    assert slopes[0].tolist() == [0.5, 1, 1, 1]
    assert slopes[1].round(3).tolist() == [0.447, 0.707, 0.894, 1]

# %%
# Over the residual:
from lossk.cli.plot import losses as pictures

figure = pictures.regression_losses()

# %%
# The smaller ``delta``, the sooner the line begins. ``python examples/losses/regression_losses.py`` opens a window in
# which the slider moves.
from matplotlib import pyplot as plt

figure = pictures.delta_slider()
plt.show()

# %%
# An outlier shows what the slopes mean. Ten measurements of the same thing, one of them wrong: the squared error fits
# their mean, which follows the outlier, the absolute error their median, which does not.
measured = np.array([1.0, 1.2, 0.9, 1.1, 1.0, 0.8, 1.1, 0.9, 1.0, 9.0])
candidates = np.linspace(0, 10, 1001)
fits = {}
for loss in (lossk.SquaredError(), lossk.Huber(delta=5.0), lossk.Huber(delta=0.25), lossk.AbsoluteError()):
    costs = [loss(np.full_like(measured, c), measured) for c in candidates]
    fits[repr(loss)] = round(float(candidates[np.argmin(costs)]), 2)
print(fits)
assert fits == {"SquaredError()": 1.8, "Huber(delta=5.0)": 1.56, "Huber(delta=0.25)": 1.03, "AbsoluteError()": 1.0}

# %%
# Pseudo-Huber is sometimes printed with ``r**2 / delta`` under the root, where ``(r / delta)**2`` is meant. That is
# ``delta`` times the loss with ``sqrt(delta)`` in its place. At ``delta = 1`` nobody sees the mistake; elsewhere the
# loss is no longer ``r**2 / 2`` near 0, but ``delta * r**2 / 2``, and its slope ends at ``delta**1.5``.
for delta, near, far in ((1.0, 1.0, 1.0), (0.25, 0.25, 0.5), (5.0, 5.0, 2.236)):
    misprint, right = lossk.PseudoHuber(delta=delta**0.5), lossk.PseudoHuber(delta=delta)
    np.testing.assert_allclose(delta * misprint(r, 0.0), delta**2 * np.mean(np.sqrt(1 + r**2 / delta) - 1))
    ratios = [delta * misprint.grad(at, 0.0) / right.grad(at, 0.0) for at in (np.array([1e-6]), np.array([1e6]))]
    print(f"delta {delta}: pulls {ratios[0][0]:.3f} times as hard near 0, {ratios[1][0]:.3f} times far away")
    np.testing.assert_allclose(np.ravel(ratios), [near, far], rtol=1e-3)

# %%
# ``lossk plot regression-losses`` writes the first picture as a PNG. Its code:
#
# .. literalinclude:: /../python/lossk/cli/plot/losses.py
#    :pyobject: regression_losses

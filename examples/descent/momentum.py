"""
Momentum leaves a local minimum
===============================

Plain descent stays in the first valley, momentum carries over the hill to the deeper one; and PyTorch and Keras write
momentum in two forms, which are the same until the learning rate changes.
"""

# %%
# The same start and learning rate, with and without momentum, on ``x**4 / 4 - x**2 + 0.35 x``:
import numpy as np

import lossk
from lossk.cli.plot import descent

slope = descent.double_well_slope
ends = {m: float(descent.walk(slope, 2.2, 200, lr=0.02, momentum=m)[-1, 0]) for m in (0.0, 0.9)}
for m, end in ends.items():
    print(f"momentum {m}: arrives at x = {end:.2f}, height {descent.double_well(np.array(end)):.2f}")
assert {m: round(end, 2) for m, end in ends.items()} == {0.0: 1.32, 0.9: -1.49}
assert [round(float(descent.double_well(np.array(end))), 2) for end in ends.values()] == [0.98, -0.01]

# %%
# The way there:
figure = descent.momentum()

# %%
# Momentum sums up the gradients of earlier steps. While the gradient stays the same, steps grow to ``1 / (1 - 0.9)``,
# ten times the plain one's:
steps = -np.diff(descent.walk(np.ones_like, 0.0, 100, lr=0.02, momentum=0.9)[:, 0]) / 0.02
print(steps[[0, 1, 2, 99]].round(2))
assert steps[[0, 1, 2, 99]].round(2).tolist() == [1, 1.9, 2.71, 10]

# %%
# PyTorch's form keeps the sum of gradients, ``b = momentum * b + g``, and steps by ``-lr * b``. Keras' form keeps a
# velocity, with the learning rate in it: ``velocity = momentum * velocity - lr * g``, and steps by that. In one line it
# is ``w += momentum * velocity - lr * g``, with the velocity *before* the step. By hand, and by lossk:
w, velocity, by_hand = 2.2, 0.0, [2.2]
for _ in range(50):
    g = float(slope(np.array(w)))
    w += 0.9 * velocity - 0.02 * g
    velocity = 0.9 * velocity - 0.02 * g
    by_hand.append(w)
keras = descent.walk(slope, 2.2, 50, lr=0.02, momentum=0.9, style="keras")[:, 0]
torch = descent.walk(slope, 2.2, 50, lr=0.02, momentum=0.9, style="torch")[:, 0]
np.testing.assert_allclose(keras, by_hand, rtol=1e-9)
np.testing.assert_allclose(torch, keras, rtol=1e-9)

# %%
# With the velocity *after* the step in that line, it is Nesterov's momentum, which looks ahead:
w, velocity, ahead = 2.2, 0.0, [2.2]
for _ in range(50):
    g = float(slope(np.array(w)))
    velocity = 0.9 * velocity - 0.02 * g
    w += 0.9 * velocity - 0.02 * g
    ahead.append(w)
nesterov = descent.walk(slope, 2.2, 50, lr=0.02, momentum=0.9, style="keras", nesterov=True)[:, 0]
np.testing.assert_allclose(nesterov, ahead, rtol=1e-9)
assert np.abs(nesterov - keras).max() > 0.1

# %%
# The forms differ where the learning rate changes. Set to 0 after two steps with a gradient of 1, PyTorch's form stands
# still at once, and Keras' rolls on with the velocity that it has:
for style, places in (("torch", [-0.1, -0.29, -0.29]), ("keras", [-0.1, -0.29, -0.461])):
    x = np.zeros(1)
    sgd = lossk.SGD([x], lr=0.1, momentum=0.9, style=style)
    seen = []
    for lr in (0.1, 0.1, 0.0):
        sgd.lr = lr
        sgd.step([np.ones(1)])
        seen.append(float(x[0]))
    print(f"{style}: {np.round(seen, 3)}")
    np.testing.assert_allclose(seen, places, rtol=1e-9)

# %%
# How much momentum is enough to get over the hill: 0.9 is, 0.88 is not. ``python examples/descent/momentum.py`` opens a
# window in which the slider moves.
from matplotlib import pyplot as plt

assert descent.walk(slope, 2.2, 300, lr=0.02, momentum=0.88)[-1, 0] > 1
assert descent.walk(slope, 2.2, 300, lr=0.02, momentum=0.9)[-1, 0] < -1
figure = descent.momentum_slider()
plt.show()

# %%
# ``lossk plot momentum`` writes the first picture as a PNG. Its code:
#
# .. literalinclude:: /../python/lossk/cli/plot/descent.py
#    :pyobject: momentum

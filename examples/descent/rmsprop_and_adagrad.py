"""
RMSprop and Adagrad: a step size of its own for each coordinate
===============================================================

Both divide a gradient by the root of its earlier squares, so that steep and flat directions get steps of the same size;
Adagrad sums the squares up and slows down, RMSprop averages them and forgets.
"""

# %%
# The first step of Adagrad is the learning rate in every coordinate, whatever the gradient. That of RMSprop is
# ``1 / sqrt(1 - alpha)`` times as long, ten times with ``alpha = 0.99``, since its average starts at 0.
import numpy as np

import lossk
from lossk.cli.plot import descent

for optimizer, first in ((lossk.Adagrad, 0.1), (lossk.RMSprop, 1.0)):
    w = np.zeros(3)
    optimizer([w], lr=0.1).step([np.array([1000.0, 1.0, -0.01])])
    print(f"{optimizer.__name__:8} {w.round(4)}")
    np.testing.assert_allclose(w, [-first, -first, first], rtol=1e-4)

# %%
# While the gradient stays 1, Adagrad's t-th step is ``lr / sqrt(t)``, and RMSprop's comes down to ``lr``:
adagrad = -np.diff(descent.walk(np.ones_like, 0.0, 1000, lossk.Adagrad, lr=0.1)[:, 0])
rmsprop = -np.diff(descent.walk(np.ones_like, 0.0, 1000, lossk.RMSprop, lr=0.1)[:, 0])
t = np.arange(1, 1001)
np.testing.assert_allclose(adagrad, 0.1 / np.sqrt(t), rtol=1e-6)
np.testing.assert_allclose(rmsprop, 0.1 / np.sqrt(1 - 0.99**t), rtol=1e-6)
print(f"100th step: Adagrad {adagrad[99]:.3f}, RMSprop {rmsprop[99]:.3f}")
assert round(adagrad[99], 3) == 0.01
assert round(rmsprop[99], 3) == 0.126
assert round(rmsprop[999], 3) == 0.1

# %%
# A bowl a hundred times as steep in ``y`` as in ``x``. The learning rate of SGD must stay below ``2 / 100`` because of
# ``y``, and in ``x`` it crawls. Adagrad and RMSprop treat both alike.
start = (-3.0, 2.0)
ends = {
    "SGD": descent.walk(descent.bowl_slope, start, 60, lr=0.018)[-1],
    "Adagrad": descent.walk(descent.bowl_slope, start, 60, lossk.Adagrad, lr=0.5)[-1],
    "RMSprop": descent.walk(descent.bowl_slope, start, 60, lossk.RMSprop, lr=0.05)[-1],
}
for name, (x, y) in ends.items():
    print(f"{name:8} after 60 steps x = {x:6.3f}, y = {y:6.3f}")
assert [round(x, 3) for x, _ in ends.values()] == [-1.009, -0.017, -0.008]
assert max(abs(y) for _, y in ends.values()) < 1e-4
figure = descent.adaptive_steps()

# %%
# SGD with a learning rate above ``2 / 100`` flies off, however slowly ``x`` moves:
assert abs(descent.walk(descent.bowl_slope, start, 60, lr=0.021)[-1, 1]) > 100

# %%
# As each coordinate is divided by its own history, a loss measured in other units changes nothing: with all gradients
# times 1,000, the path is the same but for ``eps``.
for optimizer in (lossk.Adagrad, lossk.RMSprop):
    path = descent.walk(descent.bowl_slope, start, 60, optimizer, lr=0.05)
    louder = descent.walk(lambda w: 1000 * descent.bowl_slope(w), start, 60, optimizer, lr=0.05)
    np.testing.assert_allclose(louder, path, atol=1e-5)

# %%
# ``lossk plot adaptive-steps`` writes the picture as a PNG. Its code:
#
# .. literalinclude:: /../python/lossk/cli/plot/descent.py
#    :pyobject: adaptive_steps

"""
Momentum leaves a local minimum
===============================

Plain descent stays in the first valley; momentum carries over the hill to the lower one.
"""

# %%
# The same start and learning rate, with and without momentum, on ``x**4 / 4 - x**2 + 0.35 x``:
import numpy as np

import lossk

for momentum in (0.0, 0.9):
    x = np.array([2.2])
    sgd = lossk.SGD([x], lr=0.02, momentum=momentum)
    for _ in range(200):
        sgd.step([x**3 - 2 * x + 0.35])
    print(f"momentum {momentum}: arrives at x = {x[0]:.2f}")

# %%
# The way there:
from lossk.cli.plot import descent

figure = descent.momentum()

# %%
# ``lossk plot momentum`` writes the picture as a PNG. Its code:
#
# .. literalinclude:: /../python/lossk/cli/plot/descent.py
#    :pyobject: momentum

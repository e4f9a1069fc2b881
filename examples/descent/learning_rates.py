"""
Learning rates
==============

Too small a learning rate crawls, one too large flies off; in between the loss falls by a constant factor a step.
"""

# %%
# On a parabola of curvature 2 a step multiplies the distance to the minimum by ``1 - 2 lr``:
import numpy as np

import lossk

for lr in (0.01, 0.3, 1.05):
    x = np.array([1.0])
    sgd = lossk.SGD([x], lr=lr)
    for _ in range(25):
        sgd.step([lossk.SquaredError().grad(x, 0.0)])
    print(f"lr {lr}: after 25 steps x = {x[0]:.2g}")

# %%
# In two dimensions:
from lossk.cli.plot import descent

figure = descent.learning_rates()

# %%
# ``lossk plot learning-rates`` writes the picture as a PNG. Its code:
#
# .. literalinclude:: /../python/lossk/cli/plot/descent.py
#    :pyobject: learning_rates

"""
Batch sizes
===========

Full-batch, mini-batch and stochastic gradient descent fit a line to the same 256 points. Small batches wander, but
reach the valley after far fewer samples.
"""

# %%
# The gradient of a batch is that of all samples, and noise. Its spread falls with the root of the batch's size.
import numpy as np

import lossk

rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, 4096)
y = 1.5 * x + rng.normal(scale=0.7, size=x.size)
pull = lossk.SquaredError().grad(np.zeros_like(x), y, reduction="none") * x  # of each sample on the slope
for batch in (1, 16, 256):
    spread = pull.reshape(-1, batch).mean(axis=1).std()
    print(f"{batch:4} samples a batch: gradient {pull.mean():.2f} ± {spread:.2f}")

# %%
# On the surface of the loss:
from lossk.cli.plot import descent

figure = descent.batch_sizes()

# %%
# ``lossk plot batch-sizes`` writes the picture as a PNG. Its code:
#
# .. literalinclude:: /../python/lossk/cli/plot/descent.py
#    :pyobject: batch_sizes

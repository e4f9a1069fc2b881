"""
Batch, stochastic and mini-batch descent
========================================

All samples a step, one sample a step, or a few: the fewer, the cheaper and the noisier a step is. On one surface, what
each of the three costs, and where it ends.
"""

# %%
# The gradient of a batch is that of all samples, and noise, whose spread falls with the root of the batch's size:
# sixteen times the samples, a quarter of the noise.
import numpy as np

import lossk

rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, 4096)
y = 1.5 * x + rng.normal(scale=0.7, size=x.size)
pull = lossk.SquaredError().grad(np.zeros_like(x), y, reduction="none") * x  # of each sample on the slope
spread = {batch: float(pull.reshape(-1, batch).mean(axis=1).std()) for batch in (1, 16, 256)}
for batch, noise in spread.items():
    print(f"{batch:4} samples a batch: gradient {pull.mean():.2f} ± {noise:.2f}")
assert round(pull.mean(), 2) == -0.99
assert [round(noise, 2) for noise in spread.values()] == [1.18, 0.29, 0.08]
np.testing.assert_allclose(spread[1] / spread[16], 4, rtol=0.15)
np.testing.assert_allclose(spread[1] / spread[256], 16, rtol=0.3)

# %%
# Fitting a line to 256 points from the same start, with the same learning rate. A pass over all samples, an *epoch*, is
# one step of full batches, 16 of mini-batches, 256 of single samples. *Near* is the first step whose loss is less than
# 0.1 above the smallest there is, *settled* how far above it the last 100 of 320 steps are.
from lossk.cli.plot import descent

design, y = descent.line_data()
mse = lossk.SquaredError()
smallest = mse(design @ np.linalg.lstsq(design, y, rcond=None)[0], y)
table = {}
for name, batch in (("batch", 256), ("mini-batch", 16), ("stochastic", 1)):
    _, loss = descent.descend(design, y, batch, lr=0.12, steps=320)
    near = int(np.argmax(loss < smallest + 0.1))
    table[name] = {"steps": near, "samples": near * batch, "settled": float((loss[-100:] - smallest).mean())}
    print(f"{name:11} near after {near:3} steps, {near * batch:5} samples; settled {table[name]['settled']:.4f} above")

# %%
# Full batches need the most samples and end at the minimum. Single samples are near after the fewest and never come to
# rest. Mini-batches are in between in both; as their samples share a call and its overhead, they are what people use.
assert [table[name]["samples"] for name in table] == [24 * 256, 23 * 16, 14]
assert [round(table[name]["settled"], 4) for name in table] == [0, 0.0028, 0.0798]

figure = descent.batch_sizes()

# %%
# What single samples lack is a learning rate that falls: the noise falls with it. Ten epochs from the same start, with
# a rate that falls like one over the number of steps:
rng = np.random.default_rng(0)
w = np.array([-1.6, 2.0])
sgd = lossk.SGD([w], lr=0.12)
for step, i in enumerate(rng.integers(0, 256, 2560)):
    sgd.lr = 0.12 / (1 + step / 50)
    sgd.step([design[i] * mse.grad(design[i : i + 1] @ w, y[i : i + 1])])
print(f"stochastic, falling learning rate: {mse(design @ w, y) - smallest:.4f} above")
assert round(mse(design @ w, y) - smallest, 4) == 0.0023

# %%
# ``lossk plot batch-sizes`` writes the picture as a PNG. Its code:
#
# .. literalinclude:: /../python/lossk/cli/plot/descent.py
#    :pyobject: batch_sizes

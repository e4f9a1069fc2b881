"""
A saddle and two starting points
================================

Where the gradient is 0 there need not be a minimum: descent that starts on the ridge of a saddle ends at the saddle,
and descent that starts a hair beside it rests there for a while and then finds a minimum.
"""

# %%
# ``x**2 / 2 + y**4 / 4 - y**2 / 2`` has a saddle at (0, 0), a minimum along ``x`` and a maximum along ``y``, and minima
# of height -1/4 at (0, -1) and (0, 1). Two starting points, (1.5, 0) and (1.5, 0.001):
import numpy as np

import lossk
from lossk.cli.plot import descent

assert descent.saddle_slope(np.zeros(2)).tolist() == [0, 0]
paths = {y: descent.walk(descent.saddle_slope, (1.5, y), 120, lr=0.1) for y in (0.0, 0.001, -0.001)}
for y, path in paths.items():
    print(f"from y = {y}: after 120 steps at {path[-1].round(3)}, height {descent.saddle(*path[-1]):.3f}")
assert paths[0.0][-1].round(3).tolist() == [0, 0]
assert paths[0.001][-1].round(3).tolist() == [0, 1]
assert paths[-0.001][-1].round(3).tolist() == [0, -1]
assert round(descent.saddle(*paths[0.001][-1]), 3) == -0.25

# %%
# A curve of the loss cannot tell a saddle from a minimum: it is flat for dozens of steps.
figure = descent.saddle_point()

# %%
# Near the saddle a step multiplies ``x`` by ``1 - lr`` and ``y`` by ``1 + lr``. From 0.001 to 0.5 along ``y`` takes
# ``log(500) / log(1.1)``, 65 steps and some more where the slope bends; ten times nearer the ridge, 24 more.
near = paths[0.001]
np.testing.assert_allclose(near[1:20] / near[:19], np.tile([0.9, 1.1], (19, 1)), rtol=1e-5)
steps = {y: int(np.argmax(descent.walk(descent.saddle_slope, (1.5, y), 200, lr=0.1)[:, 1] > 0.5)) for y in (1e-3, 1e-4)}
print(f"steps until y = 0.5: {steps}")
assert round(np.log(500) / np.log(1.1)) == 65
assert steps == {1e-3: 67, 1e-4: 67 + 24}

# %%
# Momentum leaves sooner, and the noise of small batches is enough to leave the ridge: with gradients off by 0.01 even
# the first starting point gets away.
fast = descent.walk(descent.saddle_slope, (1.5, 0.001), 120, lr=0.1, momentum=0.9)
leaves = int(np.argmax(fast[:, 1] > 0.5))
print(f"with momentum y = 0.5 is passed after {leaves} steps")
assert leaves == 25

rng = np.random.default_rng(0)
noisy = descent.walk(lambda w: descent.saddle_slope(w) + rng.normal(scale=0.01, size=2), (1.5, 0.0), 120, lr=0.1)
assert round(abs(noisy[-1, 1]), 1) == 1

# %%
# RMSprop divides by the size of the gradient, however small it is, and so hardly notices the saddle:
scaled = descent.walk(descent.saddle_slope, (1.5, 0.001), 120, lossk.RMSprop, lr=0.02)
print(f"RMSprop passes y = 0.5 after {np.argmax(scaled[:, 1] > 0.5)} steps")
assert np.argmax(scaled[:, 1] > 0.5) == 3

# %%
# ``lossk plot saddle-point`` writes the picture as a PNG. Its code:
#
# .. literalinclude:: /../python/lossk/cli/plot/descent.py
#    :pyobject: saddle_point

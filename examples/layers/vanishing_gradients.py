"""
Vanishing and exploding gradients
=================================

On its way back, a gradient is multiplied once by every layer, so that in deep networks it vanishes or explodes unless
activation and weights keep its size; clipping limits what is left of the explosions.
"""

# %%
# The slope of a sigmoid is at most 1/4. Through ten of them a gradient is multiplied by at most ``0.25**10``, a
# millionth:
import numpy as np

import lossk

x, gradient = np.zeros(1), np.ones(1)
for _ in range(10):
    gradient = lossk.Sigmoid().vjp(x, gradient)
print(f"after ten sigmoids {gradient[0]:.2e}")
assert gradient[0] == 0.25**10
assert round(gradient[0] * 1e6, 2) == 0.95

# %%
# With weights between the layers, their size matters as well. Thirty random layers of 64 units; *gain* is the standard
# deviation of a weight, times the root of the layer's width. ReLU lets half of the numbers through, for which a gain of
# the root of 2 makes up (He et al. 2015); with a gain of 3 gradients explode.
from lossk.cli.plot import layers as pictures

ends = {name: pictures.gradient_norms(f, gain)[0] for name, f, gain in pictures.NETWORKS}
for name, norm in ends.items():
    print(f"{name:16} first layer's gradient is {norm:.1e} of the last one's")
assert [f"{norm:.1e}" for norm in ends.values()] == ["7.3e-19", "2.0e-01", "1.2e+00", "5.4e+00", "3.4e+09"]

figure = pictures.vanishing_gradients()

# %%
# Clipping scales all gradients together, if their common norm is above a limit: the direction stays, the step does not
# fly off. (3, 4) has the norm 5.
grads = [np.array([3.0]), np.array([4.0])]
norm = lossk.clip_grad_norm(grads, max_norm=1.0)
print(f"norm {norm}, clipped to {grads[0][0]:.2f} and {grads[1][0]:.2f}")
assert norm == 5
np.testing.assert_allclose(np.ravel(grads), [0.6, 0.8], rtol=1e-6)

# %%
# A gradient below the limit stays as it is: clipping does nothing against vanishing.
small = [np.array([0.3]), np.array([0.4])]
lossk.clip_grad_norm(small, max_norm=1.0)
assert np.ravel(small).tolist() == [0.3, 0.4]

# %%
# An optimizer clips on the way, without writing the gradients, and leaves out a step that is not finite. Descent on
# ``x**4`` from 3 with a learning rate of 0.1: the first gradient is 108, which without clipping leads to -7.8, and a
# few steps later past all numbers.
taken: dict[str, list[float]] = {}
for name, limit in (("as it is", None), ("clipped", 1.0)):
    w = np.array([3.0])
    sgd = lossk.SGD([w], lr=0.1)
    taken[name] = []
    for _ in range(100):
        with np.errstate(over="ignore", invalid="ignore"):
            sgd.step([4 * w**3], max_norm=limit)
        taken[name].append(float(w[0]))
    print(f"{name:9}", *(f"{place:.4g}" for place in (*taken[name][:3], taken[name][-1])))
np.testing.assert_allclose(taken["as it is"][:3], [-7.8, 182.0208, -2412072], rtol=1e-6)
assert not np.isfinite(taken["as it is"][-1])
np.testing.assert_allclose(taken["clipped"][:3], [2.9, 2.8, 2.7], rtol=1e-6)
assert round(taken["clipped"][-1], 2) == 0.12

# %%
# ``lossk plot vanishing-gradients`` writes the picture as a PNG. Its code:
#
# .. literalinclude:: /../python/lossk/cli/plot/layers.py
#    :pyobject: gradient_norms

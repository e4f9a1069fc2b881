"""
Activations and their derivatives
=================================

An activation is called like a function; ``derivative`` gives its slope, and ``vjp`` passes a gradient back.
"""

# %%
# Where the derivative is near 0, a layer learns nothing from its gradient.
import numpy as np

import lossk

x = np.array([-4.0, -1.0, 0.0, 1.0, 4.0])
for function in (lossk.Sigmoid(), lossk.Tanh(), lossk.ReLU(), lossk.LeakyReLU(0.1), lossk.SELU(), lossk.Softplus()):
    print(f"{function!r:32} slope {function.derivative(x).round(3)}")

# %%
# All of them:
from lossk.cli.plot import curves

figure = curves.activations()

# %%
# ``lossk plot activations`` writes the picture as a PNG. Its code:
#
# .. literalinclude:: /../python/lossk/cli/plot/curves.py
#    :pyobject: activations

"""
Regression losses and outliers
==============================

What one sample costs, and how hard it pulls on the fit, by its residual. The squared error pulls without bound; the
absolute error, Huber and pseudo-Huber do not, and so forgive outliers.
"""

# %%
# Ten measurements of the same thing, one of them wrong. The constant that minimises a loss is where its gradient is 0.
import numpy as np

import lossk

measured = np.array([1.0, 1.2, 0.9, 1.1, 1.0, 0.8, 1.1, 0.9, 1.0, 9.0])
candidates = np.linspace(0, 10, 1001)
for loss in (lossk.SquaredError(), lossk.Huber(delta=1.0), lossk.PseudoHuber(delta=0.25), lossk.AbsoluteError()):
    cost = [loss(np.full_like(measured, c), measured) for c in candidates]
    print(f"{loss!r:30} fits {candidates[np.argmin(cost)]:.2f}")

# %%
# The mean follows the outlier, the median does not; ``delta`` moves between the two. Over the residual:
from lossk.cli.plot import curves

figure = curves.regression_losses()

# %%
# ``lossk plot regression-losses`` writes the picture as a PNG. Its code:
#
# .. literalinclude:: /../python/lossk/cli/plot/curves.py
#    :pyobject: regression_losses

"""
Classification losses over the margin
=====================================

What a sample costs by the margin with which it is classified: hinge and its square stop at a margin of 1, cross-
entropy never stops, and the exponential punishes mistakes hardest.
"""

# %%
# A right and sure, an unsure, and a wrong and sure answer; gradients say how hard each one pulls.
import numpy as np

import lossk

margin, label = np.array([4.0, 0.0, -4.0]), np.ones(3)
for loss in (lossk.Hinge(), lossk.SquaredHinge(), lossk.Logistic(), lossk.Exponential()):
    value, grad = loss.value_and_grad(margin, label, reduction="none")
    print(f"{loss!r:28} costs {value.round(3)}, pulls {grad.round(3)}")

# %%
# Over margins and probabilities:
from lossk.cli.plot import curves

figure = curves.classification_losses()

# %%
# ``lossk plot classification-losses`` writes the picture as a PNG. Its code:
#
# .. literalinclude:: /../python/lossk/cli/plot/curves.py
#    :pyobject: classification_losses

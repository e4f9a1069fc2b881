"""
Entropy of a coin
=================

Entropy is what a toss tells, cross-entropy what it costs to believe in the wrong coin; the gap is the Kullback-Leibler
divergence.
"""

# %%
# A coin that shows heads nine times in ten, in bits:
import numpy as np

import lossk

coin, fair = np.array([0.9, 0.1]), np.array([0.5, 0.5])
print(f"entropy        {lossk.information.entropy(coin, base=2):.3f}")
print(f"cross-entropy  {lossk.information.cross_entropy(coin, fair, base=2):.3f}")
print(f"divergence     {lossk.information.kl_divergence(coin, fair, base=2):.3f}")

# %%
# Over all coins:
from lossk.cli.plot import curves

figure = curves.entropy_of_a_coin()

# %%
# ``lossk plot entropy-of-a-coin`` writes the picture as a PNG. Its code:
#
# .. literalinclude:: /../python/lossk/cli/plot/curves.py
#    :pyobject: entropy_of_a_coin

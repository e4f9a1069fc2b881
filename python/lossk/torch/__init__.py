"""Losses for PyTorch: the names and signatures of torch.nn.functional and torch.nn, on lossk's kernels.

Nothing else in lossk imports torch. Functions and modules are here and in `activations`, `functional` and `modules`::

    loss = lossk.torch.cross_entropy(logits, labels)  # in place of torch.nn.functional.cross_entropy
    loss.backward()

`install` puts the functions under torch.nn.functional, so that a script gains as it is.
"""

from . import activations, functional, modules, optim
from ._explain import explain
from ._install import install, installed, uninstall
from ._transformers import causal_lm_loss
from .activations import *
from .clip import clip_grad_norm_
from .functional import *
from .modules import *

__all__ = ["activations", "causal_lm_loss", "clip_grad_norm_", "explain", "functional", "modules", "optim"]
__all__ += ["install", "installed", "uninstall"]
__all__ += activations.__all__
__all__ += functional.__all__
__all__ += modules.__all__

"""lossk under the names of PyTorch."""

from . import optim
from .clip import clip_grad_norm_

__all__ = ["clip_grad_norm_", "optim"]

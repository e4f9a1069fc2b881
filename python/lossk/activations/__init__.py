"""Activations: a function of each number, or of numbers and their gates, and what they pass back."""

from ._base import ACTIVATIONS as ACTIVATIONS
from ._base import Activation as Activation
from .exponential import CELU, ELU, SELU, LogSigmoid, Softplus
from .gated import GATED as GATED
from .gated import GLU, PReLU, SwiGLU
from .piecewise import Hardshrink, Hardsigmoid, Hardswish, Hardtanh, LeakyReLU, ReLU, ReLU6, Softshrink
from .smooth import GELU, Mish, Sigmoid, SiLU, Softsign, Tanh, Tanhshrink

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "Mish",
    "PReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Softshrink",
    "Softsign",
    "SwiGLU",
    "Tanh",
    "Tanhshrink",
]

"""Softmax cross-entropy of a linear layer's outputs, without ever holding all of them."""

from ._loss import LinearCrossEntropy

__all__ = ["LinearCrossEntropy"]

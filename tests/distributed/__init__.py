"""Losses, gradients and optimizers over ranks."""

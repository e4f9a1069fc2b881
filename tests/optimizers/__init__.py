"""Optimizers: steps, state, clipping, 16 bits, turns."""

"""Losses and functions of rows of logits: cross-entropy and the others, softmax, entropies."""

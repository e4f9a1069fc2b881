"""Activations: results, outputs, arguments."""

"""Losses: what holds for all of them, and pointwise ones."""

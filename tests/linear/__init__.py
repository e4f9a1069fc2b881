"""Cross-entropy of a linear layer: results, products, memory."""

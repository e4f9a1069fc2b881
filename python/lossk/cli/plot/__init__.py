"""``lossk plot``: the pictures that people learn losses, activations and gradient steps from.

``style`` holds what all pictures share; the other modules draw them, each registered by name with ``picture``. Every
curve comes from lossk's own kernels.
"""

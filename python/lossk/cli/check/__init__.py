"""``lossk check``: every kernel of the installed package on every ISA of this CPU, against plain float64 NumPy.

``errors`` measures, ``command`` goes through kernels, types and ISAs and prints the table.
"""

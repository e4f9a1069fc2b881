"""The side-by-side benchmark: lossk, its bandwidth twin and every installed peer, interleaved in one run.

Read in this order (each module imports only modules above it):

========== =====================================================================================================
cases      what is measured: kernels, shapes, modes, and the memory streams of each (the registry)
inputs     the arrays of a case, the same in every process
providers/ who computes it: one module per peer family, each a dict of functions
worker     one process per family: builds, checks its results, times calls when told
pool       the parent's end of those processes
reference  the float64 result that all are compared with
results    what a run yields, as dataclasses and as JSON
measure    the run: rounds in random order, medians of per-round ratios
report, markdown, figure   the same results as terminal tables, as Markdown, as a picture
command    ``lossk bench``
========== =====================================================================================================

``cases`` to ``results`` need NumPy only.
"""

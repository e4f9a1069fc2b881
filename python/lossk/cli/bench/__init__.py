"""The side-by-side benchmark: lossk, its limits and every installed peer, interleaved in one run.

Read in this order (each module imports only modules above it):

=============== ================================================================================================
cases           what can be measured: kernels, shapes, modes, and the memory streams of each
suites          which cases a run measures; `targets` has those of its own
inputs          the arrays of a case, the same in every process
memory          what memory is free, and how much a call takes
providers/      who computes it: one module per peer family, each a dict of functions; lossk's own has the yardsticks
worker          one process per family: builds, checks its results, times calls when told
pool            the parent's end of those processes
reference       the float64 result that all are compared with
growth, company two parts in processes of their own (`child`): time per element, and lossk beside other libraries
series, results what a run yields, as dataclasses and as JSON
measure, run    a case: rounds in random order, medians of per-round ratios; a whole run
targets         what has to be reached, and the verdict on a run
report, markdown, series_tables   the same results as terminal tables and as Markdown
figure, limits_figure, growth_figure            the same results as pictures
command         ``lossk bench``
=============== ================================================================================================

`cases` to `results` need NumPy only.
"""

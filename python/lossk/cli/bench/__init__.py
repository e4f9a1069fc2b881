"""``lossk bench``: lossk, its limits and every installed peer, interleaved in one run.

cases: what can be measured, and what has to be reached. inputs: arrays of a case, and float64 results. kernels:
lossk's calls and yardsticks. peers_numpy, peers_graph: other libraries'. worker: a process per peer family. results:
what a run yields, as JSON and in words. run: rounds in random order, ratios. report, markdown, limits_figure: the
results as tables and picture. command: the command line. Each imports only modules before it. See bench/README.md.
"""

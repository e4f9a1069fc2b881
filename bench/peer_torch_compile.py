"""``torch.compile`` (inductor) of a few functions, one graph, shapes fixed; autograd through the compiled graph."""

from __future__ import annotations

import torch
import torch._dynamo
import torch._inductor.config

from lossk.cli.bench.cases import Case
from lossk.cli.bench.kernels import Build, Inputs, Runner
from lossk.cli.bench.peers import torch_functions, torch_runner

COMPILED = ("CrossEntropy", "softmax", "Huber", "Hinge")  # each shape takes its time


def build(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build torch.compile's call for a case and mode."""
    if case.kernel not in COMPILED:
        return None
    torch.set_num_threads(threads)
    torch._inductor.config.cpp.threads = threads  # part of inductor's cache key, unlike torch.get_num_threads()
    torch._dynamo.reset()  # every case is compiled anew: no recompile limit, no dynamic shapes
    function = torch_functions()[case.kernel]
    compiled = torch.compile(lambda *arrays: function(*arrays), fullgraph=True, dynamic=False)
    return torch_runner(compiled, mode, inputs)


PROVIDERS: dict[str, Build] = {"torch.compile": build}

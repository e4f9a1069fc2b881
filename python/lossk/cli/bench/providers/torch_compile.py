"""`torch.compile` (inductor) of the same functions, one graph, shapes fixed; autograd through the compiled graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch._dynamo
import torch._inductor.config

from lossk.cli.bench.cases import AUTOGRAD, FRESH, MAP_FRESH, Case
from lossk.cli.bench.inputs import Inputs
from lossk.cli.bench.providers import Build, Runner
from lossk.cli.bench.providers.torch_eager import LOSSES, MAPS, gradient_runner, map_runner, value_runner


def _compiled(function: Callable[..., Any], threads: int) -> Callable[..., Any]:
    torch.set_num_threads(threads)
    torch._inductor.config.cpp.threads = threads  # part of inductor's cache key, unlike torch.get_num_threads()
    torch._dynamo.reset()  # every case is compiled anew: no recompile limit, no dynamic shapes

    def traced(*args: Any) -> Any:
        return function(*args)

    compiled: Callable[..., Any] = torch.compile(traced, fullgraph=True, dynamic=False)
    return compiled


def build(case: Case, mode: str, inputs: Inputs, threads: int) -> Runner | None:
    """Build torch.compile's call for a case and mode."""
    if case.kind not in ("rows", "row map", "pointwise") or mode not in ("value", FRESH, AUTOGRAD, MAP_FRESH):
        return None
    if case.kind == "row map":
        return map_runner(_compiled(MAPS[case.kernel], threads), mode, inputs)
    if case.kernel not in LOSSES:
        return None
    loss = _compiled(LOSSES[case.kernel], threads)
    return value_runner(loss, inputs) if mode == "value" else gradient_runner(loss, inputs)


PROVIDERS: dict[str, Build] = {"torch.compile": build}

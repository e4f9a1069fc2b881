"""torch's own functions, as they were when lossk.torch was imported: `install` puts lossk's in their place."""

from __future__ import annotations

import types
from typing import Any

import torch
from torch.overrides import has_torch_function

_module = {key: value for key, value in vars(torch.nn.functional).items() if key != "__name__"}


class Original:
    """A function of torch.nn.functional.

    Such functions hand themselves to ``__torch_function__`` by the name that they have in their module, where lossk's
    may be, which tables of users do not know. So one is called in a copy of the module where somebody is to see it.
    """

    def __init__(self, name: str) -> None:
        self.function = function = _module[name]
        self._seen = types.FunctionType(function.__code__, _module, name, function.__defaults__)
        self._seen.__kwdefaults__ = function.__kwdefaults__

    def __call__(self, tensors: tuple[Any, ...], *arguments: Any, **named: Any) -> Any:
        """Call it; `tensors` are those of its arguments that may have a ``__torch_function__``."""
        function = self._seen if has_torch_function(tensors) else self.function
        return function(*arguments, **named)

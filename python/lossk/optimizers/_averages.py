"""Optimizers that keep an average of the parameters, to predict with."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import Array, arithmetic
from ._base import Optimizer
from ._plan import StepResult
from ._tensors import Gradients


class Averaging(Optimizer):
    """An optimizer whose state has an average of each parameter."""

    # Parameters as training left them, while the averages are in their place.
    _away: list[Array] | None = None

    def _average(self, p: Any, state: dict[str, Any]) -> Any:
        """Return the average of a parameter that has made steps."""
        raise NotImplementedError

    def averaged(self) -> list[Array] | dict[str, Array]:
        """Return copies of the averages, in a list or a dict as the parameters came; of a parameter without a step it.

        Raises
        ------
        RuntimeError
            If another thread is in a step of this optimizer, or saves or loads its state.
        """
        averages: list[Array] = self._turn.run("averaged", self._averages)
        return averages if self._keys is None else dict(zip(self._keys, averages, strict=True))

    def _averages(self) -> list[Array]:
        if self._away is not None:
            return [p.copy() for p in self._params]
        averages, slots = [], self._slots()
        for i, p in enumerate(self._params):
            if self._steps[i] == 0:
                averages.append(p.copy())
                continue
            state = dict(zip(slots, self._state[i], strict=True))
            wide = state.get("master_weight", p).astype(arithmetic(p.dtype))
            averages.append(np.asarray(self._average(wide, state)).astype(p.dtype).reshape(p.shape))
        return averages

    def eval(self) -> None:
        """Write the averages into the parameters, to predict with; what they were is kept until `train`.

        Does nothing where that has been done. Steps, and saving and loading of state, want `train` first.
        """
        self._turn.run("eval", self._go)

    def _go(self) -> None:
        if self._away is None:
            self._check_parameters()
            averages, kept = self._averages(), [p.copy() for p in self._params]
            self._away = kept
            for p, average in zip(self._params, averages, strict=True):
                p[...] = average

    def train(self) -> None:
        """Put the parameters back as they were before `eval`, to the bit; does nothing where they are so."""
        self._turn.run("train", self._come_back)

    def _come_back(self) -> None:
        if self._away is not None:
            self._check_parameters()
            for p, kept in zip(self._params, self._away, strict=True):
                p[...] = kept
            self._away = None

    def _check_training(self) -> None:
        if self._away is not None:
            raise RuntimeError(f"{type(self).__name__}: got parameters that are averages since eval(), wanted train()")

    def step(
        self,
        grads: Gradients,
        *,
        max_norm: float | None = None,
        grad_scale: float | None = None,
        num_threads: int | None = None,
    ) -> StepResult:
        self._check_training()
        return super().step(grads, max_norm=max_norm, grad_scale=grad_scale, num_threads=num_threads)

    step.__doc__ = Optimizer.step.__doc__

    def _copied_state(self) -> dict[str, Any]:
        self._check_training()
        return super()._copied_state()

    def _take_state(self, state: dict[str, Any]) -> None:
        self._check_training()
        super()._take_state(state)

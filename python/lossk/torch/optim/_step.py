"""What the optimizers share: a step by kernels, and by torch what kernels cannot do; loading of state."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from ...optimizers import Optimizer
from .._explain import stand_aside
from .._tensors import HALVES
from ._plan import GroupPlan, narrow_state

# Options that ask for torch's own step where they are true.
TORCHS = ("differentiable", "capturable", "foreach", "fused")


def unhooked(step: Any) -> Any:
    """Return a class's step without the hooks that torch has put around it: the caller's step runs them."""
    return step.__wrapped__ if getattr(step, "hooked", False) else step


class KernelStep:
    """Steps of a torch.optim.Optimizer by lossk's kernels.

    A class has torch's class of the same name behind this one, and says which it is, which options of a group its
    formula depends on, and which of lossk's optimizers, made of them, has this formula.
    """

    torch_class: ClassVar[Any]
    lossks: ClassVar[type[Optimizer]]
    options: ClassVar[tuple[str, ...]]

    param_groups: list[dict[str, Any]]
    state: Any

    def like(self, group: dict[str, Any]) -> Optimizer:
        """Return lossk's optimizer of these options, without parameters."""
        make: Any = self.lossks
        made: Optimizer = make([], group["lr"], **{option: group[option] for option in self.options})
        return made

    def step(self, closure: Any = None) -> Any:
        """Update all parameters that have a gradient.

        Parameters
        ----------
        closure : callable, optional
            Called first, with gradients enabled, to compute the loss anew and its gradients.

        Returns
        -------
        object
            What the closure returned.
        """
        if torch.compiler.is_compiling():
            return unhooked(self.torch_class.step)(self, closure)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        works = [self._look_at(i, group) for i, group in enumerate(self.param_groups)]
        # Torch's part first: it may refuse, and nothing is to be updated then.
        self._step_by_torch([rest for _, rest in works if rest is not None])
        found_inf, grad_scale = getattr(self, "found_inf", None), getattr(self, "grad_scale", None)
        if found_inf is not None and found_inf.item():
            return loss
        scale = 1.0 if grad_scale is None else 1.0 / grad_scale.item()
        for (work, _), group in zip(works, self.param_groups, strict=True):
            if work is not None:
                plan, formula, grads = work
                self._step_by_kernels(plan, formula, grads, -scale if group["maximize"] else scale, group)
        return loss

    def _look_at(self, i: int, group: dict[str, Any]) -> tuple[Any, dict[str, Any] | None]:
        """Return plan, formula and gradients of what kernels can do of a group, and the rest of the group."""
        if any(group.get(option) for option in TORCHS):
            return None, group
        try:
            formula = self._formula(i, group)
            plan, grads = self._plan(i, group, formula)
        except (KeyError, TypeError, ValueError):
            # Options, state or memory that kernels do not take, or that are wrong: torch knows which.
            return None, group
        theirs = [p for p in plan.theirs if p.grad is not None]
        return (plan, formula, grads), {**group, "params": theirs} if theirs else None

    def _formula(self, i: int, group: dict[str, Any]) -> Optimizer:
        """Return lossk's optimizer of a group's options, the last one where only the learning rate has changed."""
        values = [tuple(v) if isinstance(v := group[option], list) else v for option in self.options]
        if any(isinstance(value, torch.Tensor) for value in (*values, group["lr"])):
            raise TypeError("options that are tensors")
        formulas = self.__dict__.setdefault("_formulas", {})
        if i not in formulas or formulas[i][0] != values:
            formulas[i] = values, self.like(group)
        formula: Optimizer = formulas[i][1]
        formula.lr = group["lr"]
        return formula

    def _plan(self, i: int, group: dict[str, Any], formula: Optimizer) -> tuple[GroupPlan, list[Any]]:
        """Return the plan of a group, the last one where it still holds, and gradients."""
        plans = self.__dict__.setdefault("_plans", {})
        plan = plans.pop(i, None)
        grads = None
        if plan is not None and plan.kernel == formula._kernel()[0] and plan.holds(group, self.state):
            grads = plan.gradients()
        if grads is None:
            plan = GroupPlan(group, self.state, formula)
            grads = plan.gradients()
            assert grads is not None, "they have just been looked at"
        plans[i] = plan
        return plan, grads

    def _step_by_kernels(
        self, plan: GroupPlan, formula: Optimizer, grads: list[Any], scale: float, group: dict[str, Any]
    ) -> None:
        try:
            plan.step(formula, grads, scale)
        except ValueError:  # a gradient that shares memory with a parameter
            plan.forget_first()
            self.__dict__["_plans"].clear()
            self._step_by_torch([{**group, "params": plan.mine}])

    def _step_by_torch(self, groups: list[dict[str, Any]]) -> None:
        """Run torch's own step on these groups."""
        for p in (p for group in groups for p in group["params"]):
            if p.dtype in HALVES and p in self.state:
                narrow_state(p, self.state[p])
        if not groups:
            return
        stand_aside(f"optim.{type(self).__name__}", "options, parameters, gradients or state that kernels do not take")
        own, self.param_groups = self.param_groups, groups
        try:
            unhooked(self.torch_class.step)(self)
        finally:
            self.param_groups = own

    # ---- state ---------------------------------------------------------------------------------------------------

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.pop("_plans", None)
        super().__setstate__(state)  # type: ignore[misc]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state dict of torch's optimizer of this name or of this one.

        State of 16-bit parameters is taken over in float32: widened where torch saved it.
        """
        given: dict[str, Any] = {}
        hook = self.register_load_state_dict_pre_hook(lambda _, final: given.update(final))  # type: ignore[attr-defined]
        try:
            super().load_state_dict(state_dict)  # type: ignore[misc]
        finally:
            hook.remove()
        for saved, group in zip(given["param_groups"], self.param_groups, strict=True):
            for key, p in zip(saved["params"], group["params"], strict=True):
                if p.dtype in HALVES and key in given["state"]:
                    self._widen(p, given["state"][key])

    def _widen(self, p: Any, saved: dict[str, Any]) -> None:
        for slot, tensor in saved.items():
            if slot != "step" and torch.is_tensor(tensor) and p.is_cpu:
                self.state[p][slot] = tensor.to(device=p.device, dtype=torch.float32, copy=True)

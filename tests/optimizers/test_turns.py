"""An optimizer does one thing at a time, and all of it or nothing: other threads, interrupts, lists that change."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lossk
from lossk import _core
from tests.support.arrays import Array, bits

PARAMETERS: dict[str, Callable[[], Array]] = {
    "plain": lambda: np.ones(8, np.float32),
    "strided": lambda: np.ones(16, np.float32)[::2],
}
REFUSED = "got a call while another thread is in a step of this optimizer"


# What must not happen during a step.
DURING: dict[str, Callable[[Any], object]] = {
    "step": lambda optimizer: optimizer.step([np.ones(8, np.float32)]),
    "state_dict": lambda optimizer: optimizer.state_dict(),
    "load_state_dict": lambda optimizer: optimizer.load_state_dict({"steps.0": 0}),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
}


def errors_in_another_thread(work: Callable[[], object]) -> list[str]:
    errors = []

    def run() -> None:
        try:
            work()
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    return errors


class Interrupt(BaseException):
    """What Ctrl-C raises, but that it ends no test run."""


class Interrupting(np.ndarray):  # type: ignore[type-arg]
    """An array that Ctrl-C comes to as soon as Python writes to it."""

    def __setitem__(self, key: Any, value: Any) -> None:
        raise Interrupt


class Lying(list):  # type: ignore[type-arg]
    """A list that says it has one entry."""

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize("other", DURING)
@pytest.mark.parametrize("layout", PARAMETERS)
@pytest.mark.parametrize("steps_before", [0, 1, 3])
def test_what_another_thread_does_during_a_step_is_refused(steps_before: int, layout: str, other: str) -> None:
    """The first step, one whose arrays are as before, and one that must prepare them; of either layout."""
    p, g = PARAMETERS[layout](), np.ones(8, np.float32)
    adam = lossk.Adam([p], lr=0.1)
    for _ in range(steps_before):
        adam.step([g])
    formula, errors, asked = adam._formula, [], []

    def meanwhile(t: int) -> tuple[float, ...]:
        if not asked:
            asked.append(t)
            errors.extend(errors_in_another_thread(lambda: DURING[other](adam)))
        return formula(t)

    adam._formula = meanwhile  # type: ignore[method-assign]
    adam.step([g])
    assert len(errors) == 1
    assert REFUSED in errors[0]
    del adam._formula
    assert adam._steps == [steps_before + 1]
    alone = lossk.Adam([q := PARAMETERS[layout]()], lr=0.1)
    for _ in range(steps_before + 1):
        alone.step([g])
    assert bits(p) == bits(q)
    assert adam.step([g]).applied, "the next step has its turn"


def test_a_step_while_the_state_is_saved_is_refused() -> None:
    p, g = np.ones(8, np.float32), [np.ones(8, np.float32)]
    adam = lossk.Adam([p])
    adam.step(g)
    errors = []

    class Slow(np.ndarray):  # type: ignore[type-arg]
        def copy(self, *_: Any, **__: Any) -> Array:
            errors.extend(errors_in_another_thread(lambda: adam.step(g)))
            return np.array(self)

    adam._state[0][0] = adam._state[0][0].view(Slow)
    assert adam.state_dict()["steps.0"] == 1
    assert len(errors) == 1
    assert errors[0].startswith("step: " + REFUSED)


def test_nothing_interrupts_a_step_between_state_and_parameter() -> None:
    memory = np.ones(16, np.float32)
    sgd = lossk.SGD([memory[::2].view(Interrupting)], lr=1.0, momentum=0.5)
    for t, want in ((1, 0.0), (2, -1.5)):
        sgd.step([np.ones(8, np.float32)])
        assert sgd._steps == [t]
        assert (memory[::2] == want).all()
        assert (memory[1::2] == 1).all()


def test_nothing_interrupts_clipping_between_two_gradients() -> None:
    memory = np.full((2, 8), 3.0)
    gradients = [memory[0, ::2].view(Interrupting), memory[1, ::2]]
    assert lossk.clip_grad_norm(gradients, 1.0) == pytest.approx(np.sqrt(72))
    assert np.allclose(memory[:, ::2], 3 / np.sqrt(72))
    assert (memory[:, 1::2] == 3).all()


def test_an_interrupted_formula_changes_nothing() -> None:
    for layout in PARAMETERS:
        p, g = PARAMETERS[layout](), [np.ones(8, np.float32)]
        adam = lossk.Adam([p], lr=0.1)
        adam.step(g)
        before, state = bits(p), {k: bits(v) for k, v in adam.state_dict().items()}

        def interrupted(t: int) -> tuple[float, ...]:
            raise Interrupt

        adam._formula = interrupted  # type: ignore[method-assign]
        with pytest.raises(Interrupt):
            adam.step(g)
        del adam._formula
        assert bits(p) == before
        assert {k: bits(v) for k, v in adam.state_dict().items()} == state
        assert adam.step(g).applied


def test_a_formula_may_empty_the_list_of_steps() -> None:
    sgd = lossk.SGD([np.ones(2), np.ones(3), np.ones(4)], lr=1.0)
    sgd._steps = [1, 2, 3]
    formula = sgd._formula

    def emptying(t: int) -> tuple[float, ...]:
        sgd._steps.clear()
        return formula(t)

    sgd._formula = emptying  # type: ignore[method-assign]
    with pytest.raises((ValueError, IndexError)):
        sgd.step([np.ones(2), np.ones(3), np.ones(4)])


def test_lists_that_lie_about_their_length_are_refused() -> None:
    sgd = lossk.SGD([np.ones(2)], lr=1.0)
    for wrong in (Lying(), Lying([np.ones(2), np.ones(2)])):
        with pytest.raises(ValueError, match=r"grads: got \d arrays, wanted 1"):
            sgd.step(wrong)
    assert (sgd._params[0] == 1).all()
    assert lossk.clip_grad_norm(Lying([np.full(2, 3.0), np.full(2, 3.0)]), 1.0) == 6.0
    assert len(lossk.SGD(Lying([np.ones(2), np.ones(2)]))._params) == 2


def test_two_steps_at_once_are_refused() -> None:
    """A second step of the same optimizer, while the first runs without the interpreter lock, is refused."""
    p = np.zeros(1 << 22, np.float32)
    adam, g = lossk.Adam([p]), np.ones(1 << 22, np.float32)
    adam.step([g])
    applied, refused = [], []

    def one_step() -> None:
        try:
            rule = (adam._formula, adam._lr_version, adam._independent_from)
            applied.append(_core.step(adam._plan, [g], adam._steps, *rule, 1.0, False, None, 1))
        except RuntimeError as error:
            refused.append(str(error))

    def work() -> None:
        for _ in range(20):
            one_step()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(applied) + len(refused) == 40
    assert len(applied) == adam._steps[0] - 1
    assert all(message.startswith("step: got a call while another thread") for message in refused)
    assert adam.step([g]).applied

"""The state of optimizers: saved, loaded, copied; states of others refused."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import bits, each_dtype
from tests.support.narrow import each_narrow
from tests.support.optimizers import (
    VARIANTS,
    draw_arrays,
    draw_vector,
    each_variant,
    make,
    saved_arrays,
    through_pickle,
    through_savez,
)


@each_variant
@pytest.mark.parametrize("through", [dict, through_savez, through_pickle])
@each_dtype
def test_training_goes_on_from_a_saved_state(
    name: str, variant: dict[str, Any], dtype: Any, through: Any, rng: np.random.Generator
) -> None:
    """To the bit: lists and dicts, parameters that have no gradient yet, a learning rate that has changed."""
    shapes = ((40,), (), (3, 5))
    for packed in (list, lambda arrays: dict(zip("abc", arrays, strict=True))):
        whole, grads = draw_arrays(rng, shapes, dtype), [draw_arrays(rng, shapes, dtype) for _ in range(6)]
        grads[0][1] = grads[1][1] = None  # type: ignore[call-overload]
        first = make(name, packed(whole), variant)
        for g in grads[:3]:
            first.step(packed(g))
        first.lr = 0.25
        state, params = through(first.state_dict()), [p.copy() for p in whole]
        second = make(name, packed(params), {**variant, "lr": 9.0})
        second.load_state_dict(state)
        assert second.lr == 0.25
        for g in grads[3:]:
            first.step(packed(g))
            second.step(packed(g))
        assert [bits(p) for p in params] == [bits(p) for p in whole]
        assert saved_arrays(first) == saved_arrays(second)


def test_states_of_others_are_refused() -> None:
    made = [make(name, [np.ones(3)], variant) for name, variant in VARIANTS]
    for own in made:
        own.step([np.ones(3)])
    for own in made:
        for other in made:
            before, state = saved_arrays(own), other.state_dict()
            if own._form() == other._form() and own._kernel()[1] == other._kernel()[1]:
                continue
            with pytest.raises(ValueError, match="state"):
                own.load_state_dict(state)
            assert saved_arrays(own) == before


@each_variant
def test_copies_have_a_state_of_their_own(name: str, variant: dict[str, Any], rng: np.random.Generator) -> None:
    """copy: the same parameters with a state of its own; deepcopy and pickle: parameters of its own too."""
    p, g = rng.normal(size=20), rng.normal(size=20)
    optimizer = make(name, {"p": p}, variant)
    optimizer.step({"p": g})
    state, before = saved_arrays(optimizer), bits(p)
    for apart in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert apart._turn is not optimizer._turn
        apart.step({"p": g})
        assert (saved_arrays(optimizer), bits(p)) == (state, before)
        assert saved_arrays(apart) != state
    shallow = copy.copy(optimizer)
    assert shallow._turn is not optimizer._turn
    shallow.step({"p": g})
    assert bits(p) != before
    assert saved_arrays(optimizer) == state
    both = copy.deepcopy({"p": p, "optimizer": optimizer})
    kept = bits(both["p"])
    both["optimizer"].step({"p": g})
    assert bits(both["p"]) != kept


def test_a_state_from_before_the_first_step_is_loaded(rng: np.random.Generator) -> None:
    p = rng.normal(size=5)
    sgd = lossk.SGD([p], lr=0.1, momentum=0.9)
    state = sgd.state_dict()
    other = lossk.SGD([p.copy()], lr=0.3, momentum=0.9)
    other.step([np.ones(5)])
    other.load_state_dict(state)
    assert other.lr == 0.1
    assert other.state_dict() == state


def test_a_saved_state_is_a_copy(rng: np.random.Generator) -> None:
    p = rng.normal(size=5)
    sgd = lossk.SGD([p], lr=0.1, momentum=0.9)
    sgd.step([np.ones(5)])
    state = sgd.state_dict()
    kept = state["momentum_buffer.0"].copy()
    sgd.step([np.ones(5)])
    np.testing.assert_array_equal(state["momentum_buffer.0"], kept)
    sgd.load_state_dict(state)
    state["momentum_buffer.0"][:] = 99
    np.testing.assert_array_equal(sgd.state_dict()["momentum_buffer.0"], kept)


def test_a_wrong_state_changes_nothing(rng: np.random.Generator) -> None:
    p = rng.normal(size=5)
    sgd = lossk.SGD([p], lr=0.1, momentum=0.9)
    sgd.step([np.ones(5)])
    good = sgd.state_dict()

    def but(**changes: Any) -> dict[str, Any]:
        changed = {**good, **{k.replace("__", "."): v for k, v in changes.items()}}
        return {k: v for k, v in changed.items() if v is not None}

    wrong: list[tuple[dict[str, Any], str]] = [
        (but(steps__0=None), r"state: got no entry 'steps\.0'"),
        (
            but(momentum_buffer__0=np.zeros(4)),
            r"momentum_buffer\.0.*got float64 of shape \(4,\), wanted float64 of shape",
        ),
        (but(momentum_buffer__0=np.zeros(5, np.float32)), r"momentum_buffer\.0.*got float32"),
        (but(other__0=1), r"state: got unknown entries \['other\.0'\]"),
        (but(lr=-1.0), r"lr: got -1\.0, wanted"),
        (but(steps__1=3), r"state: got unknown entries \['steps\.1'\]"),
        (but(lr=None), r"state: got no entry 'lr'"),
        (but(form=None), r"state: got no entry 'form'"),
        ({}, r"state: got no entry"),
    ]
    for state, message in [*wrong, (None, "state: got NoneType, wanted a mapping")]:
        with pytest.raises((ValueError, TypeError), match=message):
            sgd.load_state_dict(state)  # type: ignore[arg-type]
        after = sgd.state_dict()
        assert after.keys() == good.keys()
        assert all(bits(after[k]) == bits(good[k]) for k in good)


@each_narrow
@pytest.mark.parametrize("options", [{}, {"master_weights": True}, {"stochastic_rounding": 7}], ids=str)
def test_the_state_of_16_bits_is_saved(dtype: Any, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(5)
    whole = [draw_vector(rng, 600, dtype), draw_vector(rng, 40, dtype).reshape(5, 8)]
    grads = [[draw_vector(rng, 600, dtype), draw_vector(rng, 40, dtype).reshape(5, 8)] for _ in range(6)]
    first = lossk.AdamW(whole, lr=0.01, **options)
    for g in grads[:3]:
        first.step(g)
    state, params = first.state_dict(), [p.copy() for p in whole]
    second = lossk.AdamW(params, lr=0.01, **options)
    second.load_state_dict(state)
    for g in grads[3:]:
        first.step(g)
        second.step(g)
    assert [bits(p) for p in params] == [bits(p) for p in whole]
    if "master_weights" in options:
        with pytest.raises(ValueError, match="state: got unknown entries"):
            lossk.AdamW(params).load_state_dict(state)
        with pytest.raises(ValueError, match=r"state: got no entry 'master_weight\.0'"):
            second.load_state_dict({k: v for k, v in state.items() if not k.startswith("master")})

"""Data parallel: token counts, sums of gradients and their norm over ranks, optimizer state in shares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from lossk.distributed import (
    RankError,
    ShardedOptimizer,
    SingleProcess,
    clip_grad_norm,
    sum_gradients,
    token_count,
)
from tests.support.ranks import ThreadGroup, on_ranks, values

SHAPES = (((30, 40), np.float32), ((7,), np.float32), ((3000,), np.float64), ((99, 3), np.float16))


def drawn(seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(dtype) for shape, dtype in SHAPES]


def test_tokens_are_counted_over_ranks_and_steps() -> None:
    """So that parts of a batch of any lengths add up to the batch's mean (transformers#34191)."""
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(12, 5)), rng.integers(0, 5, 12)
    labels[[1, 2, 3, 8]] = -100
    wanted, wanted_grad = lossk.CrossEntropy().value_and_grad(z, labels)

    def work(group: ThreadGroup) -> tuple[float, Any]:
        rows = range(6 * group.rank, 6 * group.rank + 6)
        steps = [rows[:2], rows[2:]]
        tokens = token_count([labels[step] for step in steps], group)
        parts = [lossk.CrossEntropy().value_and_grad(z[step], labels[step], normalizer=tokens) for step in steps]
        return sum(value for value, _ in parts), np.concatenate([grad for _, grad in parts])

    found = values(on_ranks(2, work))
    np.testing.assert_allclose(sum(value for value, _ in found), wanted, rtol=1e-14)
    np.testing.assert_allclose(np.concatenate([grad for _, grad in found]), wanted_grad, rtol=1e-13)
    with pytest.raises(TypeError, match=r"^targets\[0\]: got dtype float64, wanted integer labels"):
        token_count([np.zeros(3)], SingleProcess())


@pytest.mark.parametrize("bucket_bytes", [1, 1000, 1 << 20])
def test_gradients_add_up_in_the_order_of_the_batch(bucket_bytes: int) -> None:
    parts = [drawn(seed)[:3] for seed in range(6)]

    def work(group: ThreadGroup, equal_bits: bool) -> list[Any]:
        own = len(parts) // group.size
        mine = parts[group.rank * own : (group.rank + 1) * own]
        return sum_gradients(mine, group, equal_bits=equal_bits, bucket_bytes=bucket_bytes)

    wanted = [sum(part[i] for part in parts) for i in range(3)]
    one = sum_gradients(parts, SingleProcess(), equal_bits=True)
    for size in (1, 2, 3):
        for found in values(on_ranks(size, lambda group: work(group, True))):
            for a, b in zip(found, one, strict=True):
                np.testing.assert_array_equal(a, b, strict=True)
        for found in values(on_ranks(size, lambda group: work(group, False))):
            for a, b in zip(found, wanted, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("gradients", "error", "said"),
    [
        ([], ValueError, r"gradients: got none"),
        ([[np.zeros(2)], [np.zeros(3)]], ValueError, r"gradients\[1\]: got other shapes"),
        ([[np.zeros(2, np.float16)]], TypeError, r"gradients\[0\]\[0\]: got float16, wanted an array of float32"),
    ],
)
def test_gradients_that_do_not_go_together_are_refused(gradients: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=f"^{said}"):
        sum_gradients(gradients, SingleProcess())


def test_the_norm_has_the_same_bits_on_any_number_of_ranks() -> None:
    whole = np.random.default_rng(0).normal(size=12 * 65_536).astype(np.float32)

    def work(group: ThreadGroup) -> tuple[float, Any]:
        own = np.split(whole, group.size)[group.rank].copy()
        return clip_grad_norm([own, None], 1.0, group), own

    first = clip_grad_norm([whole.copy()], 1.0, SingleProcess())
    np.testing.assert_allclose(first, np.linalg.norm(whole.astype(float)), rtol=1e-12)
    one = values(on_ranks(1, work))[0][1]
    for size in (2, 3, 4):
        found = values(on_ranks(size, work))
        assert {norm for norm, _ in found} == {first}
        np.testing.assert_array_equal(np.concatenate([own for _, own in found]), one)
    bad = np.array([np.inf, 1.0])
    assert clip_grad_norm([bad], 1.0, SingleProcess()) == np.inf
    assert bad[1] == 1.0, "gradients whose norm is not finite stay as they are"
    with pytest.raises(TypeError, match=r"^gradients\[0\]: got a strided or read-only array"):
        clip_grad_norm([np.ones((4, 4)).T[1:]], 1.0, SingleProcess())


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [(lossk.AdamW, {"lr": 0.01}), (lossk.SGD, {"lr": 0.1, "momentum": 0.9}), (lossk.Lion, {"lr": 0.01})],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_shares_of_state_step_to_the_bits_of_one_process(optimizer: Any, options: dict[str, Any]) -> None:
    wanted = drawn(0)
    alone = optimizer(wanted, **options)
    for t in range(4):
        alone.step(drawn(10 + t))

    def work(group: ThreadGroup) -> tuple[list[Any], int]:
        params = drawn(0)
        own = ShardedOptimizer(optimizer, params, group, bucket_bytes=2048, **options)
        for t in range(4):
            if t == 2:
                state = own.state_dict()
                own = ShardedOptimizer(optimizer, params, group, bucket_bytes=2048, **options)
                own.load_state_dict(state)
            own.step(drawn(10 + t), gather=t % 2 == 0)
            own.gather()
        return params, sum(np.size(value) for key, value in own.state_dict().items() if np.ndim(value))

    for size in (1, 2, 3, 4):
        found = values(on_ranks(size, work))
        for params, _ in found:
            for a, b in zip(params, wanted, strict=True):
                np.testing.assert_array_equal(a, b, strict=True)
        held = [elements for _, elements in found]
        total = sum(p.size for p in wanted) * (2 if optimizer is lossk.AdamW else 1)
        assert sum(held) == total
        assert max(held) <= total / size + 2 * 1024


def test_a_step_is_skipped_on_all_ranks_where_one_gradient_is_not_finite() -> None:
    def work(group: ThreadGroup) -> tuple[Any, list[Any], Any]:
        params = [np.ones(3000, np.float32), np.ones(3000, np.float32)]
        own = ShardedOptimizer(lossk.SGD, params, group, bucket_bytes=4096, lr=1.0)
        bad = own.step([np.ones(3000, np.float32), np.full(3000, np.inf, np.float32)], grad_scale=2.0)
        skipped = [p.copy() for p in params]
        return bad, skipped, (own.step([np.full(3000, 2.0, np.float32)] * 2, max_norm=1.0, grad_scale=2.0), params)

    for size in (1, 2, 3):
        for bad, skipped, (good, params) in values(on_ranks(size, work)):
            assert not bad.applied
            assert all((p == 1).all() for p in skipped)
            assert good.applied
            np.testing.assert_allclose(good.grad_norm, np.sqrt(6000))
            np.testing.assert_allclose(np.concatenate(params), 1 - 1 / np.sqrt(6000), rtol=1e-5)


def test_gradients_of_16_bits_are_scaled_without_rounding_the_factor() -> None:
    g = np.full(10_000, 60_000, np.float16)
    assert clip_grad_norm([g], 1.0, SingleProcess()) == 6e6
    np.testing.assert_allclose(g.astype(float), 0.01, rtol=1e-3)
    with pytest.raises(ValueError, match=r"^gradients\[1\]: got memory that overlaps gradients\[0\]"):
        clip_grad_norm([g, g], 1.0, SingleProcess())


@pytest.mark.parametrize("optimizer", [lossk.LAMB, lossk.ASGD, lossk.ScheduleFreeSGD, "AdamW"], ids=str)
def test_optimizers_that_look_at_whole_tensors_are_refused(optimizer: Any) -> None:
    with pytest.raises(TypeError, match=r"^optimizer: got .*, wanted "):
        ShardedOptimizer(optimizer, [np.ones(3)], SingleProcess(), lr=0.1)
    with pytest.raises(TypeError, match=r"^params: got dict, wanted a list of arrays"):
        ShardedOptimizer(lossk.SGD, {"w": np.ones(3)}, SingleProcess(), lr=0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^bucket_bytes: got 0, wanted a positive integer"):
        ShardedOptimizer(lossk.SGD, [np.ones(3)], SingleProcess(), lr=0.1, bucket_bytes=0)


def test_one_rank_s_error_is_an_error_on_all() -> None:
    def work(group: ThreadGroup, what: str) -> None:
        wrong = group.rank == 1
        if what == "token_count":
            token_count([np.zeros(3) if wrong else np.zeros(3, int)], group)
        elif what == "clip_grad_norm":
            clip_grad_norm([np.ones((4, 4)).T[1:] if wrong else np.ones(4)], 1.0, group)
        elif what == "sum_gradients":
            sum_gradients([[np.ones(3 if wrong else 4)]], group)
        else:
            ShardedOptimizer(lossk.SGD, [np.ones(4)], group, lr=0.1).step([np.ones(3 if wrong else 4)])

    for what in ("token_count", "clip_grad_norm", "sum_gradients", "step"):
        first, second = on_ranks(2, lambda group, what=what: work(group, what))
        assert isinstance(first, RankError), (what, first)
        assert isinstance(second, RankError if what == "sum_gradients" else TypeError | ValueError), (what, second)


def test_ranks_that_disagree_about_an_optimizer_are_told_so() -> None:
    def work(group: ThreadGroup, what: str) -> None:
        shape = 3 if what == "parameters" and group.rank else 2
        ShardedOptimizer(lossk.SGD, [np.ones(shape)], group, lr=0.2 if what == "optimizer" and group.rank else 0.1)

    for what in ("parameters", "optimizer"):
        for result in on_ranks(2, lambda group, what=what: work(group, what)):
            assert isinstance(result, RankError)
            assert str(result).startswith(f"{what}: got ")


def test_what_an_optimizer_cannot_take_is_refused() -> None:
    p = np.ones((4, 4))
    with pytest.raises(TypeError, match=r"^params\[0\]: got a strided or read-only array"):
        ShardedOptimizer(lossk.SGD, [p.T[1:]], SingleProcess(), lr=0.1)
    own = ShardedOptimizer(lossk.SGD, [p], SingleProcess(), lr=0.1, momentum=0.9)
    with pytest.raises(ValueError, match=r"^grads: got .*, wanted .*, the shapes and dtypes of the parameters"):
        own.step([np.ones(4)])
    own.step([np.ones((4, 4))])
    state = own.state_dict()
    for wrong, said in (
        ({"size": 2}, r"state\['size'\]: got 2, wanted 1"),
        ({"x": 1}, "state: got the unknown entry 'x'"),
    ):
        with pytest.raises(ValueError, match=f"^{said}"):
            own.load_state_dict(state | wrong)
    own.lr = 0.5
    assert own.lr == 0.5
    assert ShardedOptimizer(lossk.AdamW, [p], SingleProcess()).lr == 1e-3, "the optimizer's own default"
    assert (p == 0.9).all()

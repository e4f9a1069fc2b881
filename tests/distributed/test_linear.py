"""A linear layer whose classes are split over ranks: results, their bits, what is exchanged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from lossk.distributed import RankError, SingleProcess, VocabParallelLinearCrossEntropy, shard
from tests.support.ranks import ThreadGroup, on_ranks, values

CLASSES, ROWS, FEATURES = 35_000, 270, 6  # three pieces of classes, two chunks of rows
RNG = np.random.default_rng(0)


def drawn(dtype: Any) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(ROWS, FEATURES)).astype(dtype), rng.normal(size=(CLASSES, FEATURES)).astype(dtype)
    labels = rng.integers(0, CLASSES, ROWS)
    labels[5] = -100
    x[5] = np.nan
    bias = rng.normal(size=CLASSES).astype(np.float64 if dtype == np.float64 else np.float32)
    return x, w, labels, bias


def over_ranks(size: int, drawn: Any, options: dict[str, Any], equal_bits: bool = True, **call: Any) -> Any:
    """Return the value, whole gradients and the statistics of all ranks, which must agree."""
    x, w, labels, bias = drawn

    def work(group: ThreadGroup) -> Any:
        part = shard(CLASSES, group, equal_bits=equal_bits)
        layer = VocabParallelLinearCrossEntropy(group, part.stop - part.start, equal_bits=equal_bits, **options)
        own = None if bias is None else bias[part]
        again = layer(x, w[part], labels, own, **call)
        return *layer.value_and_grad(x, w[part], labels, own, stats=True, **call), again

    found = values(on_ranks(size, work))
    for value, grads, _, again in found:
        np.testing.assert_array_equal(value, found[0][0], strict=True)
        np.testing.assert_array_equal(again, value)
        np.testing.assert_array_equal(grads[0], found[0][1][0])
    of_layer = [None if bias is None and i == 2 else np.concatenate([g[i] for _, g, *_ in found]) for i in (1, 2)]
    return found[0][0], (found[0][1][0], *of_layer), found[0][2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"label_smoothing": 0.1, "weight": RNG.uniform(0.5, 1.5, CLASSES)},
        {"softcap": 5.0, "z_loss": 1e-3},
        {"chunk_bytes": 1 << 20},  # logits are computed twice
    ],
    ids=lambda options: "+".join(options) or "plain",
)
def test_results_have_the_same_bits_on_any_number_of_ranks(options: dict[str, Any], dtype: Any) -> None:
    inputs = drawn(dtype)
    weight = np.random.default_rng(2).uniform(0.5, 2.0, ROWS)
    plain = {key: value for key, value in options.items() if key != "chunk_bytes"}
    for call in ({}, {"sample_weight": weight, "reduction": "none"}):
        value, grads, stats = over_ranks(1, inputs, options, **call)
        for size in (2, 3, 4):  # one of four holds no classes
            other, other_grads, other_stats = over_ranks(size, inputs, options, **call)
            np.testing.assert_array_equal(other, value, strict=True)
            for a, b in zip(other_grads, grads, strict=True):
                np.testing.assert_array_equal(a, b, strict=True)
            np.testing.assert_array_equal(other_stats.lse, stats.lse)
            np.testing.assert_array_equal(other_stats.correct, stats.correct)
        wanted, wanted_grads, wanted_stats = lossk.LinearCrossEntropy(**plain).value_and_grad(
            *inputs, stats=True, **call
        )
        tolerance = {np.float64: 1e-11, np.float32: 1e-5, np.float16: 2e-3}[dtype]
        np.testing.assert_allclose(value, wanted, rtol=min(1e-5, tolerance))
        for a, b in zip(grads, wanted_grads, strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())
        np.testing.assert_allclose(stats.lse, wanted_stats.lse, rtol=min(1e-5, tolerance))
        np.testing.assert_array_equal(stats.correct, wanted_stats.correct)


def test_the_engine_may_add_up_dx() -> None:
    x, w, labels, _ = drawn(np.float64)
    wanted, wanted_grads = lossk.LinearCrossEntropy().value_and_grad(x, w, labels)
    for size in (1, 2):
        value, grads, _ = over_ranks(size, (x, w, labels, None), {}, equal_bits=False)
        np.testing.assert_allclose(value, wanted, rtol=1e-12)
        assert grads[2] is None
        for a, b in zip(grads[:2], wanted_grads[:2], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-15)


def test_no_logit_is_sent() -> None:
    x, w, labels, _ = drawn(np.float32)

    def work(group: ThreadGroup) -> int:
        part = shard(CLASSES, group)
        layer = VocabParallelLinearCrossEntropy(group, part.stop - part.start, check=False)
        before = group.sent
        layer.value_and_grad(x, w[part], labels)
        return group.sent - before

    counted, pieces = ROWS - 1, 2
    assert max(values(on_ranks(2, work))) == counted * pieces * (7 * 8 + 4 * FEATURES)


@pytest.mark.parametrize("what", ["x", "labels", "bias", "precision", "w"])
def test_ranks_that_disagree_are_told_so_on_every_rank(what: str) -> None:
    x, w = RNG.normal(size=(4, 3)), RNG.normal(size=(10, 3))

    def work(group: ThreadGroup) -> None:
        other = group.rank == 1
        options: dict[str, Any] = {"precision": "medium"} if other and what == "precision" else {}
        layer = VocabParallelLinearCrossEntropy(group, 10, **options)
        labels = np.array([1, 2, 3, 4 + (other and what == "labels")])
        bias = np.zeros(10) if other and what == "bias" else None
        layer(x + (other and what == "x"), w[: 9 if other and what == "w" else 10], labels, bias)

    for rank, result in enumerate(on_ranks(2, work)):
        if what == "w" and rank:
            assert str(result) == "w: got shape (9, 3), wanted (10, D), the classes of this rank"
        else:
            assert isinstance(result, RankError), result
            assert what in str(result)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"classes": -1}, "classes: got -1, wanted how many this rank holds, 0 or more"),
        ({"classes": 0}, "classes: got 0 on every rank, wanted at least one class"),
        ({"classes": 3, "precision": "low"}, "precision: got 'low', wanted one of 'highest', 'high', 'medium'"),
        ({"classes": 3, "chunk_bytes": 7}, "chunk_bytes: got 7, wanted an integer, at least 1048576"),
        ({"classes": 3, "weight": np.ones(4)}, "weight: got 4 weights, wanted 3, one a class of all ranks"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}$"):
        VocabParallelLinearCrossEntropy(SingleProcess(), **arguments)

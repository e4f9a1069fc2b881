"""Cross-entropy of classes that are split over ranks: results, their bits, what is exchanged, errors on all ranks."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import lossk
from lossk.distributed import RankError, SingleProcess, VocabParallelCrossEntropy, shard
from tests.support.ranks import ThreadGroup, on_ranks, values

CLASSES = 35_000  # three pieces, the last of another length
ROWS = 21
RNG = np.random.default_rng(0)
OPTIONS: list[dict[str, Any]] = [
    {},
    {"label_smoothing": 0.1},
    {"z_loss": 1e-3},
    {"softcap": 5.0},
    {"focal_gamma": 2.0, "poly_epsilon": 0.5},
    {"weight": RNG.uniform(0.5, 1.5, CLASSES)},
    {"weight": RNG.uniform(0.5, 1.5, CLASSES), "label_smoothing": 0.1, "softcap": 5.0, "z_loss": 1e-3},
]


def drawn(dtype: Any, classes: int = CLASSES) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(1)
    z = rng.normal(scale=3.0, size=(ROWS, classes)).astype(dtype)
    labels = rng.integers(0, classes, ROWS)
    labels[2] = -100
    z[3, labels[3]] = 40.0  # a probability near 1
    return z, labels, rng.uniform(0.5, 2.0, ROWS).astype(np.float64 if dtype == np.float64 else np.float32)


def over_ranks(size: int, z: Any, target: Any, options: dict[str, Any], equal_bits: bool = True, **call: Any) -> Any:
    """Return the value, the whole gradient and the statistics of all ranks, which must agree."""

    def work(group: ThreadGroup) -> tuple[Any, ...]:
        part = shard(z.shape[-1], group, equal_bits=equal_bits)
        loss = VocabParallelCrossEntropy(group, part.stop - part.start, equal_bits=equal_bits, **options)
        own = target if target.ndim < z.ndim else target[..., part]
        result = loss.value_and_grad(np.ascontiguousarray(z[..., part]), own, **call)
        return (*result, loss(z[..., part], own, **call))

    found = values(on_ranks(size, work))
    for value, *_, again in found:
        np.testing.assert_array_equal(value, found[0][0], strict=True)
        np.testing.assert_array_equal(again[0] if call.get("stats") else again, value)
    return found[0][0], np.concatenate([grad for _, grad, *_ in found], axis=-1), found[0][2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "plain")
def test_results_have_the_same_bits_on_any_number_of_ranks(options: dict[str, Any], dtype: Any) -> None:
    z, labels, weight = drawn(dtype)
    for call in ({}, {"sample_weight": weight, "reduction": "sum"}, {"reduction": "none"}, {"normalizer": 7.0}):
        found = [over_ranks(size, z, labels, options, stats=True, **call) for size in (1, 2, 3, 4)]
        for value, grad, stats in found[1:]:
            np.testing.assert_array_equal(value, found[0][0], strict=True)
            np.testing.assert_array_equal(grad, found[0][1], strict=True)
            np.testing.assert_array_equal(stats.lse, found[0][2].lse)
            np.testing.assert_array_equal(stats.correct, found[0][2].correct)
        wanted, wanted_grad, wanted_stats = lossk.CrossEntropy(**options).value_and_grad(z, labels, stats=True, **call)
        tolerance = {np.float64: 1e-12, np.float32: 1e-6, np.float16: 2**-10}[dtype]  # float16: the last bit
        least = 1e-7 * np.abs(wanted_grad).max() if dtype != np.float16 else np.finfo(np.float16).smallest_subnormal
        np.testing.assert_allclose(found[0][0], wanted, rtol=tolerance)
        np.testing.assert_allclose(found[0][1], wanted_grad, rtol=tolerance, atol=least)
        np.testing.assert_allclose(found[0][2].lse, wanted_stats.lse, rtol=tolerance)
        np.testing.assert_array_equal(found[0][2].correct, wanted_stats.correct)


@pytest.mark.parametrize("classes", [1, 5, 64, 1000, CLASSES])
def test_ranks_may_hold_any_classes(classes: int) -> None:
    """Or none: where bits are not asked for, pieces of a rank are added up before they are sent."""
    z, labels, _ = drawn(np.float64, classes)
    wanted, wanted_grad = lossk.CrossEntropy().value_and_grad(z, labels)
    for size in (1, 2, 3):
        for equal_bits in (False, True):
            value, grad, _ = over_ranks(size, z, labels, {}, equal_bits)
            np.testing.assert_allclose(value, wanted, rtol=1e-12)
            np.testing.assert_allclose(grad, wanted_grad, rtol=1e-10, atol=1e-15)


def test_probabilities_are_split_like_logits() -> None:
    rng = np.random.default_rng(2)
    z, y = rng.normal(size=(5, CLASSES)), rng.dirichlet(np.ones(CLASSES), 5)
    for options in ({}, {"label_smoothing": 0.2}):
        wanted, wanted_grad = lossk.CrossEntropy(**options).value_and_grad(z, y)
        for size in (1, 3):
            value, grad, _ = over_ranks(size, z, y, options)
            np.testing.assert_allclose(value, wanted, rtol=1e-12)
            np.testing.assert_allclose(grad, wanted_grad, rtol=1e-10, atol=1e-17)


def test_shapes_in_place_and_special_values() -> None:
    rng = np.random.default_rng(3)
    z = rng.normal(size=(2, 3, 70)).astype(np.float32)
    labels = np.array([[1, 2, -100], [69, 0, 5]])
    z[0, 0, 3], z[0, 1, 5], z[0, 2, 7], z[1, 0, :69] = -np.inf, np.nan, np.nan, -np.inf
    loss = VocabParallelCrossEntropy(SingleProcess(), 70)
    wanted = lossk.CrossEntropy().value_and_grad(z, labels, reduction="none")
    work = z.copy()
    value, grad = loss.value_and_grad(work, labels, reduction="none", out=work)
    assert grad is work
    np.testing.assert_allclose(value, wanted[0], rtol=1e-6)
    np.testing.assert_allclose(grad, wanted[1], rtol=1e-5, atol=1e-7)
    assert (grad[0, 2] == 0).all(), "what is ignored does not count, whatever it holds"
    assert np.isnan(loss(z[:1, :0], labels[:1, :0])), "a mean of nothing"


def test_a_rank_sends_16_bytes_for_a_row_and_piece() -> None:
    z, labels, _ = drawn(np.float32)

    def work(group: ThreadGroup) -> tuple[int, int]:
        part = shard(CLASSES, group)
        sent = []
        for equal_bits in (True, False):
            loss = VocabParallelCrossEntropy(group, part.stop - part.start, equal_bits=equal_bits, check=False)
            before = group.sent
            loss.value_and_grad(z[:, part], labels)
            sent.append(group.sent - before)
        return sent[0], sent[1]

    for pieces, whole in values(on_ranks(2, work)):
        assert pieces == 16 * ROWS * 2, "the most pieces of a rank are two"
        assert whole == 16 * ROWS


def wrong(rank: int, what: str, z: Any, labels: Any) -> tuple[Any, Any, dict[str, Any], dict[str, Any]]:
    """Logits, labels, options and keywords of a rank, of which the last does something else than the first."""
    options: dict[str, Any] = {}
    call: dict[str, Any] = {}
    if what == "options" and rank:
        options["label_smoothing"] = 0.1
    elif what == "dtype" and rank:
        z = z.astype(np.float64)
    elif what == "shape of rows" and rank:
        z, labels = z[:-1], labels[:-1]
    elif what == "labels" and rank:
        labels = labels + 1
    elif what == "reduction" and rank:
        call["reduction"] = "sum"
    elif what == "sample_weight" and rank:
        call["sample_weight"] = np.ones(len(labels), np.float32)
    elif what == "z" and rank:
        z = z[:, 1:]
    return z, labels, options, call


@pytest.mark.parametrize("what", ["options", "dtype", "shape of rows", "labels", "reduction", "sample_weight", "z"])
def test_ranks_that_disagree_are_told_so_on_every_rank(what: str) -> None:
    z, labels = RNG.normal(size=(4, 20)).astype(np.float32), np.array([1, 2, 3, 4])

    def work(group: ThreadGroup) -> None:
        own, y, options, call = wrong(group.rank, what, z, labels)
        VocabParallelCrossEntropy(group, 20, **options).value_and_grad(own, y, **call)

    for rank, result in enumerate(on_ranks(2, work)):
        if what == "z" and rank:
            assert isinstance(result, ValueError)
            assert str(result) == "z: got shape (4, 19), wanted (..., 20), the classes of this rank"
        else:
            assert isinstance(result, RankError), result
            assert what in str(result)
            assert ("rank 0" in str(result) and "rank 1" in str(result)) or str(result).startswith("rank 1 raised")


def test_ignored_labels_may_have_any_integer_type(rng: np.random.Generator) -> None:
    z, labels = rng.normal(size=(40, 5)), rng.integers(0, 5, 40)
    given: dict[str, Any] = {"ignore_index": 1, "weight": np.arange(1.0, 6), "label_smoothing": 0.3}
    loss, want = VocabParallelCrossEntropy(SingleProcess(), 5, **given), lossk.CrossEntropy(**given)
    for kind in "bBhHiIqQ":
        value, grad = loss.value_and_grad(z, labels.astype(kind))
        assert value == pytest.approx(want(z, labels), rel=1e-12)
        np.testing.assert_allclose(grad, want.grad(z, labels), rtol=1e-10, atol=1e-15)


def test_a_label_of_no_rank_raises_on_all_with_row_and_value() -> None:
    z, labels = RNG.normal(size=(4, 20)).astype(np.float32), np.array([1, 2, 40, 4])
    for result in on_ranks(2, lambda group: VocabParallelCrossEntropy(group, 20)(z, labels)):
        assert isinstance(result, IndexError)
        assert str(result) == "target[2]: got 40, wanted a label in [0, 40) or ignore_index (-100)"


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"classes": -1}, ValueError, "classes: got -1, wanted how many this rank holds, 0 or more"),
        ({"classes": 0}, ValueError, "classes: got 0 on every rank, wanted at least one class"),
        ({"classes": 3, "weight": np.ones(4)}, ValueError, "weight: got 4 weights, wanted 3, one a class of all ranks"),
        ({"classes": 3, "group": 7}, TypeError, "group: got int, wanted a ProcessGroup"),
        ({"classes": 3, "softcap": -1.0}, ValueError, "softcap: got -1.0"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=f"^{said.replace('(', '[(]')}"):
        VocabParallelCrossEntropy(**{"group": SingleProcess(), **arguments})


def test_nothing_is_written_where_anything_raises() -> None:
    z = RNG.normal(size=(4, 20)).astype(np.float32)
    out = np.full_like(z, 7.0)
    loss = VocabParallelCrossEntropy(SingleProcess(), 20)
    for target, keywords in (([1, 2, 3, 20], {}), ([1, 2, 3, 4], {"normalizer": -1.0}), ([1, 2], {})):
        with pytest.raises((IndexError, ValueError)):
            loss.value_and_grad(z, target, out=out, **keywords)
    with pytest.raises(ValueError, match=r"^stats: got True with probabilities"):
        loss.value_and_grad(z, np.full_like(z, 0.05), out=out, stats=True)
    assert (out == 7.0).all()


def test_numbers_of_numpy_are_numbers() -> None:
    z, labels = RNG.normal(size=(4, 20)), np.array([1, 2, 3, 4])

    def work(group: ThreadGroup) -> Any:
        return VocabParallelCrossEntropy(group, np.int64(20), equal_bits=np.True_)(z, labels, normalizer=np.float32(3))

    found = values(on_ranks(2, work))
    assert found[0] == found[1]
    assert shard(np.uint32(50_257), SingleProcess()) == slice(0, 50_257)
    assert shard(np.int16(30_000), SingleProcess()) == slice(0, 30_000)
    parts = values(on_ranks(4, lambda group: shard(np.uint8(200), group, equal_bits=False)))
    assert [part.stop for part in parts] == [50, 100, 150, 200]


def test_negative_probabilities_are_refused_on_all_ranks() -> None:
    z, y = RNG.normal(size=(4, 20)), np.full((4, 20), 0.025)

    def work(group: ThreadGroup) -> None:
        own = y.copy()
        own[2, 3] = -0.5 if group.rank else 0.5
        VocabParallelCrossEntropy(group, 20)(z, own)

    first, second = on_ranks(2, work)
    assert isinstance(first, RankError)
    assert str(second) == "target[2, 3]: got -0.5, wanted a probability, at least 0"


@pytest.mark.parametrize("classes", [1, 16_384, 50_257, 128_256])
def test_shards_cover_all_classes_in_order(classes: int) -> None:
    for size in (1, 2, 3, 7):
        for equal_bits in (True, False):
            parts = values(on_ranks(size, lambda group, e=equal_bits: shard(classes, group, equal_bits=e)))
            assert [parts[0].start, parts[-1].stop] == [0, classes]
            assert all(a.stop == b.start for a, b in pairwise(parts))
            assert not equal_bits or all(part.start % 16_384 == 0 or part.start == classes for part in parts)


def test_options_that_want_labels_are_refused_with_probabilities_on_all_ranks() -> None:
    def work(group: ThreadGroup) -> None:
        loss = VocabParallelCrossEntropy(group, 2, focal_gamma=2.0)
        loss.value_and_grad(np.zeros((3, 2)), np.full((3, 2), 0.25))

    for result in on_ranks(2, work):
        assert isinstance(result, ValueError)
        assert "focal_gamma and poly_epsilon" in str(result)

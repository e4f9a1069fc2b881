"""NLL, MultiMargin and KLDivergence: class weights, labels, special values, statistics, agreement with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import Batch, assert_matches_reference, bits, each_dtype

import lossk

LABELLED: list[tuple[str, dict[str, Any]]] = [
    ("NLL", {}),
    ("NLL", {"ignore_index": 2}),
    ("MultiMargin", {}),
    ("MultiMargin", {"p": 2, "margin": 0.25}),
]
each_labelled = pytest.mark.parametrize(("name", "kwargs"), LABELLED, ids=str)
INF, NAN = np.inf, np.nan


def drawn(name: str, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Batch:
    z, t = getattr(lossk, name)._draw(rng, shape, dtype)
    return Batch(z, t, rng.uniform(0.25, 2.0, size=shape[:-1]).astype(dtype))


@each_dtype
@each_labelled
def test_class_weights(name: str, kwargs: dict[str, Any], dtype: Any, isa: str, rng: np.random.Generator) -> None:
    for shape in ((40, 3), (7, 65), (3, 1030), (2, 3, 17)):
        weight = rng.uniform(0.1, 2.0, size=shape[-1]).astype(np.float32)
        loss = getattr(lossk, name)(weight=weight, **kwargs)
        batch = drawn(name, rng, shape, dtype)
        assert_matches_reference(loss, batch, dtype)
        assert_matches_reference(loss, Batch(batch.z, batch.target, None), dtype)


def test_class_weights_enter_the_divisor_of_nll_alone() -> None:
    z, t = np.array([[0.5, -1.0], [0.25, 2.0]]), np.array([0, 1])
    assert lossk.NLL(weight=[1.0, 3.0])(z, t) == pytest.approx((-0.5 - 6.0) / 4)
    assert lossk.MultiMargin(weight=[1.0, 3.0], margin=2.0)(z, t) == pytest.approx((0.5 + 3 * 0.25) / 2 / 2)


@each_dtype
def test_the_class_axis_may_be_any(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    for name in ("NLL", "MultiMargin", "KLDivergence"):
        batch = drawn(name, rng, (4, 5, 6), dtype)
        loss = getattr(lossk, name)()
        value, grad = loss.value_and_grad(batch.z, batch.target)
        z = np.moveaxis(batch.z, -1, 1)
        target = np.moveaxis(batch.target, -1, 1) if name == "KLDivergence" else batch.target
        value_1, grad_1 = loss.value_and_grad(z, target, axis=1)
        assert value == value_1
        np.testing.assert_array_equal(np.moveaxis(grad_1, 1, -1), grad)
        assert loss.reference(z, target, axis=1) == pytest.approx(value, rel=1e-6)


# ---- labels -------------------------------------------------------------------------------------------------------


@each_dtype
def test_ignored_rows_get_exact_zeros_whatever_they_hold(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    batch = drawn("NLL", rng, (5, 70), dtype)
    t = batch.target.copy()
    t[[1, 3]] = -100
    z = batch.z.copy()
    z[1], z[3] = NAN, INF
    value, grad = lossk.NLL().value_and_grad(z, t)
    counted = [0, 2, 4]
    assert value == lossk.NLL()(z[counted], t[counted])
    assert bits(grad[[1, 3]]) == bits(np.zeros((2, 70), dtype))
    assert bits(lossk.NLL()(z, t, reduction="none")[[1, 3]]) == bits(np.zeros(2, dtype))
    nothing, zeros = lossk.NLL().value_and_grad(z, np.full(5, -100))
    assert np.isnan(nothing)
    assert bits(zeros) == bits(np.zeros((5, 70), dtype))
    assert lossk.NLL()(z, np.full(5, -100), reduction="sum") == 0


@each_labelled
def test_labels_out_of_range_are_named(name: str, kwargs: dict[str, Any], isa: str, rng: np.random.Generator) -> None:
    loss = getattr(lossk, name)(**kwargs)
    batch = drawn(name, rng, (3, 4, 5), np.float64)
    for bad in (5, -1, 2**40, -(2**63)):
        t = batch.target.copy()
        t[1, 2] = bad
        z, out = batch.z.copy(), np.full_like(batch.z, 7.0)
        with pytest.raises(IndexError, match=rf"target\[1, 2\]: got {bad}, wanted a label in \[0, 5\)"):
            loss.value_and_grad(z, t, out=out)
        with pytest.raises(IndexError, match=r"target\[1, 2\]"):
            loss.grad(z, t, out=z, stats=True)
        assert bits(out) == bits(np.full_like(out, 7.0))
        assert bits(z) == bits(batch.z)
        assert batch.target.shape == loss(batch.z, batch.target, reduction="none").shape


@pytest.mark.parametrize("kind", ["i8", "i4", "i2", "i1"])
def test_without_an_ignore_index_every_negative_label_is_refused(kind: str, isa: str) -> None:
    lowest = np.iinfo(kind).min
    for loss in (lossk.NLL(ignore_index=None), lossk.MultiMargin()):
        for bad in (-100, -1, lowest):
            t = np.array([0, 1, bad, 2], kind)
            with pytest.raises(IndexError, match=rf"target\[2\]: got {bad}, wanted a label in \[0, 3\)$"):
                loss(np.zeros((4, 3)), t)


def test_only_nll_ignores_labels(rng: np.random.Generator) -> None:
    z = rng.normal(size=(3, 5))
    lossk.NLL()(z, np.array([0, -100, 1]))
    with pytest.raises(IndexError, match=r"target\[1\]: got -100, wanted a label in \[0, 5\)$"):
        lossk.MultiMargin()(z, np.array([0, -100, 1]))


@pytest.mark.parametrize("kind", "bhilqBHILQ")
def test_labels_of_any_integer_type(kind: str, rng: np.random.Generator) -> None:
    for name in ("NLL", "MultiMargin"):
        batch = drawn(name, rng, (30, 7), np.float32)
        loss = getattr(lossk, name)()
        assert loss(batch.z, batch.target.astype(kind)) == loss(batch.z, batch.target)


def test_targets_of_the_wrong_kind(rng: np.random.Generator) -> None:
    z = rng.normal(size=(3, 5))
    for loss in (lossk.NLL(), lossk.MultiMargin()):
        for target in (np.abs(z), [[0.5] * 5] * 3):
            with pytest.raises(TypeError, match=r"target: got float64 of shape \(3, 5\), wanted integer labels"):
                loss(z, target)
        with pytest.raises(TypeError, match="target: got None, wanted integer labels"):
            loss(z, None)
        assert loss(z, [0, 1, 2]) == loss(z, np.array([0, 1, 2]))
    kl = lossk.KLDivergence()
    with pytest.raises(TypeError, match=r"target: got int64 of shape .*, wanted probabilities"):
        kl(z, np.array([0, 1, 2]))
    with pytest.raises(
        ValueError, match=r"target: got float64 of shape \(3, 4\), wanted probabilities of shape \(3, 5\)"
    ):
        kl(z, np.abs(z[:, :4]))
    one_hot = np.eye(5, dtype=int)[:3]
    assert kl(z, one_hot) == kl(z, one_hot.astype(float)) == kl(z, one_hot.tolist())


# ---- special values -----------------------------------------------------------------------------------------------


@each_dtype
def test_kl_of_special_values(dtype: Any, isa: str) -> None:
    def kl(z: list[float], p: list[float], log_target: bool = False) -> float:
        value: float = lossk.KLDivergence(log_target=log_target)(np.array([z], dtype), np.array([p], dtype))
        return value

    assert kl([-INF, 0.0], [0.0, 1.0]) == 0
    assert kl([-INF, 0.0], [0.5, 0.5]) == INF
    assert np.isnan(kl([0.0, 0.0], [-0.5, 1.5]))
    assert np.isnan(kl([NAN, 0.0], [0.0, 1.0]))
    assert np.isnan(kl([-1.0, 0.0], [NAN, 1.0]))
    assert kl([-INF, 0.0], [-INF, 0.0], log_target=True) == 0
    assert kl([-1.0, 0.0], [-1e4, 0.0], log_target=True) == 0


@each_dtype
def test_hinges_of_special_values(dtype: Any, isa: str) -> None:
    t = np.array([0])
    for p in (1, 2):
        loss = lossk.MultiMargin(p=p)
        value, grad = loss.value_and_grad(np.array([[0.0, -INF, -1.0]], dtype), t)
        assert value == 0, "a hinge at its corner counts as closed"
        assert not grad.any()
        assert loss(np.array([[0.0, INF, -1.0]], dtype), t) == INF
        assert np.isnan(loss(np.array([[0.0, NAN, -1.0]], dtype), t))
        assert np.isnan(loss(np.array([[NAN, 1.0, -1.0]], dtype), t))
        assert loss.value_and_grad(np.ones((1, 1), dtype), t) == (0.0, np.zeros((1, 1)))


def test_empty_batches() -> None:
    for loss in (lossk.NLL(), lossk.MultiMargin(), lossk.KLDivergence()):
        z = np.zeros((0, 4))
        target = z if isinstance(loss, lossk.KLDivergence) else np.zeros(0, int)
        assert np.isnan(loss(z, target))
        assert loss(z, target, reduction="sum") == 0
        assert loss(z, target, reduction="none").shape == (0,)
        assert loss.grad(z, target).shape == (0, 4)


# ---- statistics ---------------------------------------------------------------------------------------------------


@each_dtype
def test_statistics_are_those_of_cross_entropy(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    for name in ("NLL", "MultiMargin", "KLDivergence"):
        batch = drawn(name, rng, (9, 33), dtype)
        loss, z = getattr(lossk, name)(), batch.z.copy()
        _, wanted = lossk.CrossEntropy()(z, batch.target, stats=True)
        value, grad, stats = loss.value_and_grad(z, batch.target, stats=True, out=z)
        assert value == loss(batch.z, batch.target)
        assert grad is z
        assert bits(stats.lse) == bits(wanted.lse)
        assert bits(stats.correct) == bits(wanted.correct)


# ---- other programs -----------------------------------------------------------------------------------------------


@each_dtype
def test_agreement_with_torch(dtype: Any, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: parity with it was not tested")
    functional = torch.nn.functional
    tolerance = 2e-6 if dtype == np.float32 else 1e-12

    def compare(loss: Any, function: Any, batch: Batch, reduction: str, **options: Any) -> None:
        """Compare with torch in float64 on the same rounded numbers."""
        z = torch.from_numpy(batch.z.astype(np.float64)).requires_grad_()
        target = torch.from_numpy(batch.target.astype(np.int64 if batch.target.dtype.kind == "i" else np.float64))
        value = function(z, target, reduction=options.pop("as_", reduction), **options)
        value.sum().backward()
        got, grad = loss.value_and_grad(batch.z, batch.target, reduction=reduction)
        np.testing.assert_allclose(got, value.detach().numpy(), rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(grad, z.grad.numpy(), rtol=tolerance, atol=tolerance)

    for reduction in ("mean", "sum", "none"):
        for classes in (2, 10, 1000):
            weight = rng.uniform(0.1, 2.0, size=classes).astype(dtype)
            w = torch.from_numpy(weight.astype(np.float64))
            batch = drawn("NLL", rng, (20, classes), dtype)
            batch.target[3] = -100
            compare(lossk.NLL(weight=weight), functional.nll_loss, batch, reduction, weight=w)
            batch = drawn("MultiMargin", rng, (20, classes), dtype)
            for p in (1, 2):
                loss = lossk.MultiMargin(p=p, margin=0.5, weight=weight)
                compare(loss, functional.multi_margin_loss, batch, reduction, p=p, margin=0.5, weight=w)
            if reduction != "none":  # torch's is one value an element
                as_ = "batchmean" if reduction == "mean" else "sum"
                batch = drawn("KLDivergence", rng, (20, classes), dtype)
                compare(lossk.KLDivergence(), functional.kl_div, batch, reduction, as_=as_)
                batch = Batch(batch.z, np.log(batch.target), None)
                loss = lossk.KLDivergence(log_target=True)
                compare(loss, functional.kl_div, batch, reduction, as_=as_, log_target=True)

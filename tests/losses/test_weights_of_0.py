"""Samples of weight 0: their value and gradient are exactly 0, whatever they hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import Array, bits, in_turn
from tests.support.cases import VERBS, Case, draw, each_case, run_verb
from tests.support.linear import draw_layer

BAD = (np.nan, np.inf, -np.inf)
OUTSIDE = 7.0  # of BinaryCrossEntropy's domain, the only one that is checked


def with_bad_samples(array: Array, at: Array, value: float) -> Array:
    changed = array.copy()
    changed[at] = value
    return changed


@in_turn("dtype", [np.float64, np.float32, np.float16])
@each_case
def test_what_a_sample_of_weight_0_holds_changes_no_bit(
    case: Case, dtype: Any, isa: str, rng: np.random.Generator
) -> None:
    loss = case.make()
    for shape in ((75,),) if case.pointwise else ((75, 2), (75, 3), (75, 10), (20, 1200)):
        batch = draw(case, rng, shape, dtype, weighted=True)
        assert batch.weight is not None
        at = rng.permutation(len(batch.z))[:9]
        weight = with_bad_samples(batch.weight, at, 0)
        targets_may_be_bad = batch.target.dtype.kind == "f"
        for verb in VERBS:
            for reduction in ("mean", "none"):
                want = run_verb(loss, verb, batch.z, batch.target, sample_weight=weight, reduction=reduction)
                for bad in (*BAD, OUTSIDE):
                    z = with_bad_samples(batch.z, at, bad)
                    target = with_bad_samples(batch.target, at, bad) if targets_may_be_bad else batch.target
                    got = run_verb(loss, verb, z, target, sample_weight=weight, reduction=reduction)
                    assert [*map(bits, got)] == [*map(bits, want)], (shape, verb, reduction, bad)
        *_, grad = run_verb(loss, "value_and_grad", z, target, sample_weight=weight)
        assert not np.asarray(grad)[at].any()


@in_turn("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("classes", [2, 3, 10, 64, 1200])
def test_options_and_soft_targets_keep_to_it(classes: int, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    z, at = rng.normal(size=(40, classes)).astype(dtype), np.array([0, 7, 39])
    weight = with_bad_samples(rng.uniform(0.5, 2, 40).astype(dtype), at, 0)
    labels, q = rng.integers(0, classes, 40), rng.dirichlet(np.ones(classes), 40).astype(dtype)
    for given in ({}, {"label_smoothing": 0.1}, {"z_loss": 0.1}, {"softcap": 3.0}, {"weight": np.ones(classes)}):
        loss = lossk.CrossEntropy(**given)
        for target in (labels, q):
            want = loss.value_and_grad(z, target, sample_weight=weight)
            for bad in BAD:
                there = target if target is labels else with_bad_samples(q, at, bad)
                got = loss.value_and_grad(with_bad_samples(z, at, bad), there, sample_weight=weight)
                assert [*map(bits, got)] == [*map(bits, want)], given
                value, grad, _ = loss.value_and_grad(
                    with_bad_samples(z, at, bad), there, sample_weight=weight, stats=True
                )
                assert value == want[0]
                assert not grad[at].any()


def test_rows_of_a_linear_layer_keep_to_it(isa: str, rng: np.random.Generator) -> None:
    x, w, target = draw_layer(rng, 50, 16, 300)
    at = np.array([0, 9, 49])
    weight = with_bad_samples(rng.uniform(0.5, 2, 50).astype(np.float32), at, 0)
    loss = lossk.LinearCrossEntropy()
    want = loss.value_and_grad(x, w, target, sample_weight=weight)
    for bad in BAD:
        value, (dx, dw, _) = loss.value_and_grad(with_bad_samples(x, at, bad), w, target, sample_weight=weight)
        assert value == want[0]
        assert [bits(dx), bits(dw)] == [*map(bits, want[1][:2])]
        assert not dx[at].any()


@each_case
def test_a_cotangent_of_a_sample_of_weight_0_may_be_anything(case: Case, rng: np.random.Generator) -> None:
    """And the other way about; what comes of it is an exact 0."""
    loss, shape = case.make(), (6,) if case.pointwise else (6, 5)
    for dtype in (np.float32, np.float64):
        batch = draw(case, rng, shape, dtype, weighted=True)
        assert batch.weight is not None
        weight = with_bad_samples(batch.weight, np.array([1, 4]), 0)
        want = loss.vjp(batch.z, batch.target, np.ones(6, dtype), sample_weight=weight)
        for bad in BAD:
            other = with_bad_samples(np.ones(6, dtype), np.array([1, 4]), bad)
            for cotangent, sample_weight in ((other, weight), (weight, other)):
                got = loss.vjp(batch.z, batch.target, cotangent, sample_weight=sample_weight)
                assert bits(got) == bits(want)
        assert not got[[1, 4]].any()


def test_cotangents_of_a_linear_layer_and_of_pairs_keep_to_it(rng: np.random.Generator) -> None:
    x, w, target = draw_layer(rng, 3, 4, 5)
    weight, ones = np.array([1, 0, 2], np.float32), np.ones(3, np.float32)
    cotangent = np.array([1, np.nan, 1], np.float32)
    layer, pairs, y = lossk.LinearCrossEntropy(), lossk.CosineEmbedding(), np.array([1, -1, 1], np.float32)
    for loss, inputs in ((layer, (x, w, target)), (pairs, (x, w[:3], y))):
        want = loss.vjp(*inputs, ones, sample_weight=weight)
        for given in ((cotangent, weight), (weight, cotangent)):
            got = loss.vjp(*inputs, given[0], sample_weight=given[1])
            assert [*map(bits, got[:2])] == [*map(bits, want[:2])]

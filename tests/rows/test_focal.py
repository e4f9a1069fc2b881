"""The focal loss of several classes and Poly-1, options of cross-entropy: what they are, where they are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import each_dtype
from tests.support.cases import Batch
from tests.support.rows import draw_labels, each_count, rows_for, softmax64
from tests.support.tolerances import assert_matches_reference

OPTIONS: tuple[dict[str, float], ...] = (
    {"focal_gamma": 2.0},
    {"focal_gamma": 0.5, "poly_epsilon": -0.5},
    {"poly_epsilon": 1.0},
    {"focal_gamma": 3.5, "z_loss": 1e-2, "softcap": 10.0},
)
each_option = pytest.mark.parametrize("options", OPTIONS, ids=str)


@each_dtype
@each_option
@each_count
def test_options_match_the_reference_with_weights_and_ignored_rows(
    classes: int, options: dict[str, float], dtype: Any, isa: str, rng: np.random.Generator
) -> None:
    rows = rows_for(classes)
    z, t = rng.normal(scale=3.0, size=(rows, classes)).astype(dtype), draw_labels(rng, (rows,), classes)
    weight = rng.uniform(0.25, 2.0, size=rows).astype(dtype)
    loss = lossk.CrossEntropy(weight=rng.uniform(0.1, 2.0, size=classes).astype(np.float32), **options)
    assert_matches_reference(loss, Batch(z, t, weight), dtype)
    _, plain = lossk.CrossEntropy(softcap=loss.softcap)(z, t, stats=True)
    np.testing.assert_array_equal(loss(z, t, stats=True)[1].correct, plain.correct)


def test_losses_are_the_papers(rng: np.random.Generator) -> None:
    z, t = rng.normal(scale=2.0, size=(50, 7)), rng.integers(0, 7, size=50)
    p = softmax64(z)[np.arange(50), t]
    for gamma, epsilon in ((2.0, 0.0), (0.0, 1.0), (1.5, -1.0)):
        loss = lossk.CrossEntropy(focal_gamma=gamma, poly_epsilon=epsilon)
        want = (1 - p) ** gamma * (-np.log(p)) + epsilon * (1 - p) ** (gamma + 1)
        np.testing.assert_allclose(loss(z, t, reduction="none"), want, rtol=1e-12)
    two = np.stack([np.zeros(50), z[:, 0]], axis=1)  # two classes are one logit
    focal = lossk.Focal(alpha=-1, gamma=2.0)(z[:, 0], np.ones(50), reduction="none")
    np.testing.assert_allclose(lossk.CrossEntropy(focal_gamma=2.0)(two, np.ones(50, int), reduction="none"), focal)


@each_dtype
@each_count
def test_rows_far_from_and_at_their_label(classes: int, dtype: Any, isa: str) -> None:
    """A confident row keeps its digits; a row that gives its label no chance costs what cross-entropy says."""
    loss = lossk.CrossEntropy(focal_gamma=2.0)
    z = np.full((3, classes), -np.inf, dtype)
    z[:, 0] = 0
    z[1, 1], z[2, 1:] = -20, -1e4
    value, grad = loss.value_and_grad(z, np.zeros(3, int), reduction="none")
    m = np.exp(-20.0)
    np.testing.assert_allclose(value, [0, m**3, 0], rtol=3e-6, atol=0)
    np.testing.assert_allclose(grad[1, :2], [-3 * m**3, 3 * m**3], rtol=3e-6)
    value, grad = loss.value_and_grad(z[1:2], np.ones(1, int), reduction="none")
    np.testing.assert_allclose(value, 20, rtol=1e-6)
    value, grad = loss.value_and_grad(z[:1], np.ones(1, int), reduction="none")
    assert value[0] == np.inf
    assert grad[0, :2].tolist() == [1, -1]
    for part in loss.grad_and_hess(z, np.zeros(3, int)):
        assert np.isfinite(part).all()


@each_option
def test_probabilities_and_smoothing_are_refused(options: dict[str, float], rng: np.random.Generator) -> None:
    loss, z, y = lossk.CrossEntropy(**options), rng.normal(size=(3, 4)), rng.dirichlet(np.ones(4), size=3)
    out = np.full((3, 4), 7.0)
    for call in (loss, loss.reference, lambda z, y: loss.grad(z, y, out=out)):
        with pytest.raises(ValueError, match="target: got probabilities, wanted labels: focal_gamma and poly_epsilon"):
            call(z, y)
    assert (out == 7).all()
    first = next(iter(options))
    with pytest.raises(ValueError, match=rf"{first}: got .* with label_smoothing 0\.1, wanted one of them alone"):
        lossk.CrossEntropy(label_smoothing=0.1, **options)

"""RowStats: log-sum-exp and correct predictions, with ties, NaN, infinities and probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossk
from tests.support.arrays import bits, each_dtype
from tests.support.cases import VERBS, run_verb
from tests.support.rows import IGNORED, draw_labels, draw_probabilities, draw_rows, log_sum_exp
from tests.support.tolerances import TOLERANCE, assert_close


@pytest.mark.parametrize("softcap", [None, 30.0])
@pytest.mark.parametrize("verb", VERBS)
@each_dtype
def test_statistics_are_those_of_numpy(
    dtype: Any, verb: str, softcap: float | None, isa: str, rng: np.random.Generator
) -> None:
    loss = lossk.CrossEntropy(softcap=softcap)
    for classes in (1, 2, 10, 64, 65, 512, 513, 1025, 2050, 16385, 33000):
        rows = 23 if classes < 5000 else 6
        z = rng.normal(scale=4.0, size=(rows, classes)).astype(dtype)
        t = draw_labels(rng, (rows,), classes)
        largest = z.argmax(axis=1)
        t[::2] = largest[::2]
        t[1] = IGNORED
        result = run_verb(loss, verb, z, t, stats=True)
        stats = result[-1]
        assert isinstance(stats, lossk.RowStats)
        assert stats.lse.dtype == dtype
        assert stats.correct.dtype == np.bool_
        assert stats.lse.shape == stats.correct.shape == (rows,)
        capped = z if softcap is None else softcap * np.tanh(z.astype(np.float64) / softcap)
        rtol = TOLERANCE[np.dtype(dtype)].value
        assert_close(stats.lse, log_sum_exp(capped), rtol, rtol, f"lse of {classes} classes")
        np.testing.assert_array_equal(stats.correct, t == largest, err_msg=f"{classes} classes")
        plain = run_verb(loss, verb, z, t)
        assert [bits(x) for x in result[:-1]] == [bits(x) for x in plain], "stats change nothing else"


@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("classes", [3, 64, 65, 600, 1100, 40_000])
@each_dtype
def test_statistics_break_ties_as_argmax_does(
    dtype: Any, classes: int, softcap: float | None, isa: str, rng: np.random.Generator
) -> None:
    rows = 60 if classes < 5000 else 8
    z = rng.integers(0, 3, size=(rows, classes)).astype(dtype)
    z[0] = 0
    z[1] = -np.inf
    z[1, classes // 2] = z[1, -1] = 1
    first = z.argmax(axis=1)
    last = classes - 1 - z[:, ::-1].argmax(axis=1)
    loss = lossk.CrossEntropy(softcap=softcap)
    _, stats = loss(z, first, stats=True)
    assert stats.correct.all()
    _, stats = loss(z, last, stats=True)
    np.testing.assert_array_equal(stats.correct, first == last)


def test_rows_with_nan_are_not_correct(isa: str) -> None:
    for classes in (4, 100, 1100):
        z = np.zeros((4, classes), np.float32)
        z[0, 2] = np.nan
        z[1] = -np.inf
        z[2, 1] = np.inf
        z[3, 3] = 2
        _, stats = lossk.CrossEntropy()(z, np.array([2, 0, 1, 3]), stats=True)
        assert not stats.correct[0]
        assert stats.correct[3]
        assert np.isnan(stats.lse[0])
        assert stats.lse[1] == -np.inf


@each_dtype
def test_the_label_of_probabilities_is_the_first_largest(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    """The label is then the first largest probability."""
    for classes in (2, 10, 64, 65, 600, 20_000):
        rows = 30 if classes < 5000 else 5
        z = rng.normal(size=(rows, classes)).astype(dtype)
        y = draw_probabilities(rng, z.shape, dtype)
        y[::2] = lossk.softmax(4 * z[::2])
        _, grad, stats = lossk.CrossEntropy(label_smoothing=0.1).value_and_grad(z, y, stats=True)
        assert grad.shape == z.shape
        rtol = TOLERANCE[np.dtype(dtype)].value
        assert_close(stats.lse, log_sum_exp(z), rtol, rtol, "lse")
        np.testing.assert_array_equal(stats.correct, z.argmax(axis=1) == y.argmax(axis=1), err_msg=f"{classes} classes")


@each_dtype
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"softcap": 5.0}, {"z_loss": 1e-3}], ids=str)
def test_rows_with_nan_probabilities_are_never_correct(dtype: Any, options: dict[str, float], isa: str) -> None:
    for classes in (2, 10, 64, 65, 1100, 20_000):
        predicted = sorted({0, classes // 2, classes - 1})
        z = np.zeros((len(predicted), classes), dtype)
        z[range(len(predicted)), predicted] = 3
        y = lossk.softmax(z)
        for at in range(0, classes, max(1, classes // 7)):
            holed = y.copy()
            holed[:, at] = np.nan
            for target, wanted in ((y, True), (holed, False)):
                loss, stats = lossk.CrossEntropy(**options)(z, target, reduction="none", stats=True)
                assert (np.isnan(loss) == (not wanted)).all()
                assert (stats.correct == wanted).all(), f"{classes} classes, NaN at {at}"


@each_dtype
def test_statistics_of_other_losses_are_those_of_cross_entropy(dtype: Any, isa: str, rng: np.random.Generator) -> None:
    for name in ("NLL", "MultiMargin", "KLDivergence"):
        batch = draw_rows(name, rng, (9, 33), dtype)
        loss, z = getattr(lossk, name)(), batch.z.copy()
        _, wanted = lossk.CrossEntropy()(z, batch.target, stats=True)
        value, grad, stats = loss.value_and_grad(z, batch.target, stats=True, out=z)
        assert value == loss(batch.z, batch.target)
        assert grad is z
        assert bits(stats.lse) == bits(wanted.lse)
        assert bits(stats.correct) == bits(wanted.correct)

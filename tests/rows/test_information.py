"""Entropies of probability vectors against SciPy, where it is installed, and against known numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lossk.information import cross_entropy, entropy, information, kl_divergence
from tests.support.arrays import INF, NAN

scaled = pytest.mark.filterwarnings(r"ignore:[pq]. got a sum of .*:UserWarning")


@scaled
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int32])
@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("base", [None, 2, 10.0])
def test_entropies_are_scipys(base: Any, axis: int, dtype: Any, rng: np.random.Generator) -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed: parity with it was not tested")
    for shape in ((3, 5), (1, 1), (7, 600, 2), (2, 3, 17)):
        p, q = ((100 * rng.random(shape)).astype(dtype) + 1 for _ in range(2))
        p.reshape(-1)[::3] = 0
        p.reshape(-1)[:1] = 1
        p = np.where(p.sum(axis=axis, keepdims=True) == 0, dtype(1), p)
        wide_p, wide_q = p.astype(np.float64), q.astype(np.float64)
        own, divergence = stats.entropy(wide_p, base=base, axis=axis), stats.entropy(wide_p, wide_q, base, axis)
        np.testing.assert_allclose(entropy(p, base, axis), own, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(kl_divergence(p, q, base, axis), divergence, rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose(cross_entropy(p, q, base, axis), own + divergence, rtol=1e-12, atol=1e-14)


@scaled
def test_special_values_are_as_in_scipy() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed: parity with it was not tested")
    vectors = [[1, 0, 0], [0, 0, 0], [NAN, 1, 1], [0.2, 0.3, 0.5], [0, 1, 1], [INF, 1, 1]]
    for p in vectors:
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(entropy(p), stats.entropy(p), rtol=1e-14, err_msg=str(p))
            for q in vectors:
                want = stats.entropy(p, q)
                np.testing.assert_allclose(kl_divergence(p, q), want, rtol=1e-13, atol=1e-16, err_msg=f"{p} {q}")


def test_known_entropies_are_exact() -> None:
    assert entropy([0.5, 0.5], base=2) == 1
    assert entropy(np.full(8, 0.125), base=2) == pytest.approx(3)
    assert entropy([1.0, 0.0]) == 0
    assert cross_entropy([0.5, 0.5, 0], [0.25, 0.75, 0], 2) == pytest.approx(0.5 * 2 + 0.5 * np.log2(4 / 3))
    assert cross_entropy([0.5, 0.5], [1, 0]) == INF
    assert cross_entropy([1, 0], [1, 0]) == 0
    assert type(entropy([0.5, 0.5])) is float
    assert entropy(np.full((2, 4), 0.25, np.float32)).dtype == np.float64


def test_information_is_minus_log_p_of_each_event(rng: np.random.Generator) -> None:
    assert information(0.25, base=2) == 2
    assert type(information(1)) is float
    assert information([0, 1, True]).tolist() == [INF, 0, 0]
    assert np.isnan(information(NAN))
    assert information([]).shape == (0,)
    for dtype in (np.float64, np.float32, np.float16):
        p = rng.dirichlet(np.ones(17), size=(2, 3)).astype(dtype)
        bits = information(p, base=2)
        assert bits.dtype == np.float64
        np.testing.assert_allclose(bits, -np.log2(p.astype(np.float64)), rtol=1e-14)
        np.testing.assert_allclose((p * bits).sum(-1), entropy(p, 2, normalize=False), rtol=1e-14)


TUTORIAL = [0.01, 0.02, 0.03, 0.8, 0.05]


def test_numbers_that_do_not_sum_to_1_are_taken_as_they_are_where_that_is_wanted() -> None:
    p, q, one = np.array(TUTORIAL), np.full(5, 0.1), [0, 0, 0, 1, 0]
    assert round(cross_entropy(one, p, normalize=False), 3) == 0.223
    assert round(entropy([0.001, 0.001, 0.001, 0.999], 2, normalize=False), 4) == 0.0313
    assert entropy(p, normalize=False) == pytest.approx(-(p * np.log(p)).sum(), rel=1e-14)
    assert kl_divergence(p, q, normalize=False) == pytest.approx((p * np.log(p / q)).sum(), rel=1e-14)
    assert cross_entropy(p, q, normalize=False) == pytest.approx(-(p * np.log(q)).sum(), rel=1e-14)


def test_scaling_warns_at_the_line_of_the_caller() -> None:
    one = [0, 0, 0, 1, 0]
    with pytest.warns(UserWarning, match=r"q: got a sum of 0.91, scaled to 1; normalize=False") as caught:
        assert round(cross_entropy(one, TUTORIAL), 3) == 0.129
    with pytest.warns(UserWarning, match=r"p: got a sum of 1.002") as more:
        assert round(entropy([0.001, 0.001, 0.001, 0.999], 2), 4) == 0.0342
    with pytest.warns(UserWarning, match=r"p: got a sum of 3"):
        assert kl_divergence([1, 2], [1 / 3, 2 / 3]) == pytest.approx(0, abs=1e-16)
    assert {warning.filename for warning in (*caught, *more)} == {__file__}


def test_rounding_is_no_reason_to_warn(rng: np.random.Generator) -> None:
    p = rng.dirichlet(np.ones(1000), size=50)
    for dtype in (np.float64, np.float32, np.float16):
        for function in (entropy, lambda x: kl_divergence(x, x), lambda x: cross_entropy(x, x)):
            assert np.isfinite(function(p.astype(dtype))).all()
    with pytest.warns(UserWarning, match="scaled to 1"):
        entropy([0.5, 0.5 + 2e-6])


def test_wrong_arguments_are_refused() -> None:
    wrong: list[tuple[type[Exception], str, Any]] = [
        (ValueError, r"q: got shape \(2,\), wanted \(3,\)", lambda: kl_divergence([0.5, 0.5, 0], [0.5, 0.5])),
        (ValueError, r"p: got shape \(\), wanted", lambda: entropy(1.0)),
        (ValueError, r"p: got shape \(0,\), wanted", lambda: entropy([])),
        (TypeError, r"p: got dtype complex128, wanted real", lambda: entropy([1j])),
        (ValueError, r"axis: got 1, wanted", lambda: entropy([1.0], axis=1)),
        (ValueError, r"base: got 0, wanted a finite number above 0", lambda: entropy([1.0], base=0)),
        (ValueError, r"base: got 1, wanted a finite number above 0, not 1", lambda: kl_divergence([1.0], [1.0], 1)),
        (ValueError, r"base: got inf, wanted a finite", lambda: cross_entropy([1.0], [1.0], INF)),
        (ValueError, r"p\[1\]: got -0.25, wanted a number that is not neg", lambda: entropy([0.5, -0.25, 0.75])),
        (ValueError, r"q\[0, 1\]: got -1, wanted", lambda: kl_divergence([[1, 1]], [[2, -1]], axis=0)),
        (ValueError, r"p\[0\]: got -1.0, wanted", lambda: cross_entropy([-1.0, 2.0], [0.5, 0.5], normalize=False)),
        (TypeError, r"normalize: got 1, wanted True or False", lambda: entropy([1.0], normalize=1)),  # type: ignore[arg-type]
        (ValueError, r"p: got 1.5, wanted at most 1", lambda: information(1.5)),
        (ValueError, r"p\[1\]: got -1, wanted a number that is not neg", lambda: information([1, -1])),
        (TypeError, r"p: got dtype complex128, wanted real", lambda: information(1j)),
        (ValueError, r"base: got 1, wanted", lambda: information(0.5, base=1)),
        (TypeError, r"base: got 'e', wanted a finite number above 0", lambda: entropy([1.0], base="e")),  # type: ignore[arg-type]
    ]
    for error, message, call in wrong:
        with pytest.raises(error, match=message):
            call()


def test_numbers_whose_sum_overflows_are_scaled() -> None:
    with pytest.warns(UserWarning, match="got a sum of inf, which cannot be scaled to 1 as it is"):
        assert entropy([1e308, 1e308]) == pytest.approx(np.log(2), rel=1e-15)

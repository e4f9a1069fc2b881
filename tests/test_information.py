"""Entropies of probability vectors against SciPy, where it is installed, and against known numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lossk.information import cross_entropy, entropy, kl_divergence

INF, NAN = np.inf, np.nan


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int32])
@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("base", [None, 2, 10.0])
def test_agreement_with_scipy(base: Any, axis: int, dtype: Any, rng: np.random.Generator) -> None:
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


def test_special_values_as_in_scipy() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed: parity with it was not tested")
    vectors = [[1, 0, 0], [0, 0, 0], [0.5, -0.25, 0.75], [NAN, 1, 1], [0.2, 0.3, 0.5], [0, 1, 1]]
    vectors += [[NAN, -1, 3], [INF, 1, 1], [-1, -2, -1]]
    for p in vectors:
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(entropy(p), stats.entropy(p), rtol=1e-14, err_msg=str(p))
            for q in vectors:
                want = stats.entropy(p, q)
                np.testing.assert_allclose(kl_divergence(p, q), want, rtol=1e-13, atol=1e-16, err_msg=f"{p} {q}")


def test_known_numbers() -> None:
    assert entropy([0.5, 0.5], base=2) == 1
    assert entropy(np.ones(8), base=2) == pytest.approx(3)
    assert entropy([1.0, 0.0]) == 0
    assert cross_entropy([0.5, 0.5, 0], [0.25, 0.75, 0], 2) == pytest.approx(0.5 * 2 + 0.5 * np.log2(4 / 3))
    assert cross_entropy([0.5, 0.5], [1, 0]) == INF
    assert cross_entropy([1, 0], [1, 0]) == 0
    assert kl_divergence([1, 2], [2, 4]) == pytest.approx(0, abs=1e-16)
    assert type(entropy([1, 1])) is float
    assert entropy(np.ones((2, 3), np.float32)).dtype == np.float64


def test_wrong_arguments() -> None:
    wrong: list[tuple[type[Exception], str, Any]] = [
        (ValueError, r"q: got shape \(2,\), wanted \(3,\)", lambda: kl_divergence([1, 2, 3], [1, 2])),
        (ValueError, r"p: got shape \(\), wanted", lambda: entropy(1.0)),
        (ValueError, r"p: got shape \(0,\), wanted", lambda: entropy([])),
        (TypeError, r"p: got dtype complex128, wanted real", lambda: entropy([1j])),
        (ValueError, r"axis: got 1, wanted", lambda: entropy([1.0], axis=1)),
        (ValueError, r"base: got 0, wanted a number above 0", lambda: entropy([1.0], base=0)),
        (TypeError, r"base: got 'e', wanted a number above 0", lambda: entropy([1.0], base="e")),  # type: ignore[arg-type]
    ]
    for error, message, call in wrong:
        with pytest.raises(error, match=message):
            call()

"""References refuse what kernels refuse, with the same words, whatever is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lossk
from tests.support.cases import Case, draw, each_loss
from tests.support.properties import seeds

PLAIN = {
    "reduction": ("mean", "sum", "none", "average", None, 3),
    "normalizer": (None, 2, 0.5, "many", 0, -1.0, np.nan, True, 1j),
    "check": (True, False),
}


def outcome(call: Any, *args: Any, **kwargs: Any) -> Any:
    """What is raised, or what is returned in float64."""
    try:
        with np.errstate(all="ignore"):
            return np.asarray(call(*args, **kwargs), np.float64)
    except Exception as error:
        return type(error), str(error)


def inputs(case: Case, rng: np.random.Generator) -> dict[str, tuple[Any, ...]]:
    """Good and bad arguments, the good ones first."""
    batch = draw(case, rng, (6, 5), np.float64, weighted=True)
    z, y, w = batch.z, batch.target, batch.weight
    assert w is not None
    holed = y.astype(np.float64)
    holed.flat[3] = np.nan
    return {
        "z": (
            z,
            z,
            z.tolist(),
            z[:, :4],
            z[0],
            z.astype(int),
            z.astype(complex),
            z[:0],
            None,
            "z",
            z.astype(np.float16),
        ),
        "target": (
            *(y, y, y.tolist(), y[:4], y.astype(np.float32), y - 7, 2 * y - 1, y * 0.5, y > 0, holed, None),
            *(np.abs(y), -np.abs(y), y.T, 1.0, y[..., None], y.astype("U8"), np.full(z.shape, 0.25), -z, y + 100),
        ),
        "sample_weight": (None, w, w.tolist(), w[:4], 2.0, w.astype("U8"), 0 * w, w.astype(complex)),
    }


def agree(loss: Any, arrays: tuple[Any, ...], options: dict[str, Any]) -> None:
    got, want = outcome(loss, *arrays, **options), outcome(loss.reference, *arrays, **options)
    if isinstance(got, tuple) or isinstance(want, tuple):
        assert got == want, (arrays, options)
    else:
        np.testing.assert_allclose(got, want, rtol=1e-2, atol=1e-2)


@each_loss
@given(data=st.data(), seed=seeds)
def test_references_raise_what_kernels_raise(case: Case, data: Any, seed: int) -> None:
    choices: dict[str, tuple[Any, ...]] = inputs(case, np.random.default_rng(seed)) | PLAIN
    choices["ignore_nan" if case.pointwise else "axis"] = (
        (False, True) if case.pointwise else (-1, 0, 1, 2, -3, 1.5, None)
    )
    bad = data.draw(st.sets(st.sampled_from(sorted(choices)), max_size=2))
    taken = {name: data.draw(st.sampled_from(values)) if name in bad else values[0] for name, values in choices.items()}
    z, target = taken.pop("z"), taken.pop("target")
    agree(case.make(), (z, target), taken)


def test_the_linear_loss_and_the_variance_keep_to_it(rng: np.random.Generator) -> None:
    x, w, t, bias = rng.normal(size=(6, 4)), rng.normal(size=(5, 4)), rng.integers(0, 5, 6), rng.normal(size=5)
    loss = lossk.LinearCrossEntropy()
    wrong: list[tuple[Any, ...]] = [
        *((x, w, t, bias), (x.astype(int), w, t), (x, w.T, t), (x, w.astype(np.float32), t), (x, w, t[:4])),
        *((x, w, t + 7), (x, w, t * 0.5), (x, w, t, bias[:3]), (x[0], w, t), (None, w, t), (x, w, None)),
    ]
    for arrays in wrong:
        agree(loss, arrays, {})
    for name, values in (*PLAIN.items(), ("sample_weight", (np.ones(6), np.ones(5), "w", np.zeros(6)))):
        for value in values if name != "check" else ():
            agree(loss, (x, w, t), {name: value})
    z, y, var = rng.normal(size=5), rng.normal(size=5), rng.uniform(1, 2, size=5)
    for third in (var, -var, var[:3], None, "var", var.astype(complex)):
        agree(lossk.GaussianNLL(), (z, y, third), {})
    with pytest.raises(ValueError, match="wrt: got 'y', wanted 'z', 'var' or 'both'"):
        lossk.GaussianNLL().reference(z, y, var, wrt="y")  # type: ignore[arg-type]


def test_integer_predictions_are_told_how_to_convert() -> None:
    z = np.array([1, 2, 3])
    for call in (lossk.Huber(), lossk.Huber().grad, lossk.Huber().reference):
        with pytest.raises(TypeError, match=r"^z: got dtype int64, wanted float32.*: z\.astype\(np\.float32\)$"):
            call(z, np.zeros(3, int))  # type: ignore[operator]
    assert lossk.Huber()(z.astype(np.float32), z) == 0


def test_a_tuple_of_the_wrong_length_is_told_its_length(rng: np.random.Generator) -> None:
    z = np.zeros(4)
    for given_z in (z, z.tolist()):
        with pytest.raises(TypeError, match="out: got a tuple of 3, wanted a tuple of two arrays"):
            lossk.Huber().grad_and_hess(given_z, z, out=(z, z, z))  # type: ignore[arg-type]
    x, w, t, bias = rng.normal(size=(6, 4)), rng.normal(size=(5, 4)), rng.integers(0, 5, 6), rng.normal(size=5)
    linear = lossk.LinearCrossEntropy()
    with pytest.raises(TypeError, match="out: got a tuple of 2, wanted a tuple of 3: dx, dw and dbias"):
        linear.grad(x, w, t, bias, out=(x, w))
    with pytest.raises(TypeError, match="out: got a tuple of 4, wanted a tuple of 2 or 3: dx and dw, and None"):
        linear.grad(x, w, t, out=(x, w, None, None))
    dx, dw = np.empty_like(x), np.empty_like(w)
    returned = linear.grad(x, w, t, out=(dx, dw))
    assert returned[0] is dx
    assert returned[1] is dw
    assert returned[2] is None
    for got, want in zip(returned[:2], linear.grad(x, w, t)[:2], strict=True):
        np.testing.assert_array_equal(got, want)

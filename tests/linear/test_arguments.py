"""Arguments and outputs of LinearCrossEntropy: filled, checked before anything is written, named in errors."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import lossk
from lossk._linear._sums import passes, wide_sums
from tests.support.arrays import bits
from tests.support.linear import BFLOAT16, MB, draw_layer, problem


def test_a_16_bit_dw_need_not_be_aligned_for_float32(rng: np.random.Generator) -> None:
    x, w, target, _ = problem(rng, 100, 64, 3001, BFLOAT16)
    loss = lossk.LinearCrossEntropy(chunk_bytes=MB)
    _, (dx, dw, _) = loss.value_and_grad(x, w, target)
    odd = np.empty(w.size + 1, BFLOAT16)[1:].reshape(w.shape)
    loss.value_and_grad(x, w, target, out=(dx, odd, None))
    assert bits(odd) == bits(dw)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 64, 65])
@pytest.mark.parametrize("buffer_rows", [1, 2, 5, 64])
def test_sums_in_the_memory_of_16_bits_are_rounded_before_they_are_lost(rows: int, buffer_rows: int) -> None:
    dw = np.zeros((rows, 6), np.float16)
    tile = np.empty((2, 6), np.float32)
    wanted = np.arange(rows * 6, dtype=np.float32).reshape(rows, 6)
    done = np.zeros(rows, bool)
    count = 0
    for segments in wide_sums(dw, np.empty((buffer_rows, 6), np.float32), tile, 1):
        count += 1
        for segment in segments:
            classes = slice(segment.first, segment.first + len(segment.sums))
            assert not done[classes].any()
            segment.sums[...] = wanted[classes]
            done[classes] = True
    assert done.all()
    assert count == passes(rows, buffer_rows)
    np.testing.assert_array_equal(dw, wanted.astype(np.float16))


def test_out_is_filled_and_checked_before_anything_is_written(rng: np.random.Generator) -> None:
    x, w, target, bias = problem(rng, 9, 4, 6, np.float32)
    loss = lossk.LinearCrossEntropy()
    _, fresh = loss.value_and_grad(x, w, target, bias)
    out = (np.empty_like(x), np.empty_like(w), np.empty_like(bias))
    _, returned = loss.value_and_grad(x, w, target, bias, out=out)
    assert all(a is b for a, b in zip(returned, out, strict=True))
    assert all(bits(a) == bits(b) for a, b in zip(fresh, out, strict=True))
    before = [a.copy() for a in out]
    wrong: tuple[tuple[type[Exception], str, Any], ...] = (
        (TypeError, "out: got ndarray, wanted a tuple of 3: dx, dw and dbias", out[0]),
        (ValueError, r"out\[0\]: got memory that overlaps x", (x, out[1], out[2])),
        (ValueError, r"out\[1\]: got shape \(4, 6\)", (out[0], out[1].T.copy(), out[2])),
        (TypeError, r"out\[2\]: got dtype float64, wanted float32", (out[0], out[1], out[2].astype(np.float64))),
        (ValueError, r"out\[0\]: got a strided", (np.empty((18, 4), np.float32)[::2], out[1], out[2])),
    )
    for error, message, given in wrong:
        with pytest.raises(error, match=message):
            loss.value_and_grad(x, w, target, bias, out=given)
    assert all(bits(a) == bits(b) for a, b in zip(before, out, strict=True))


def test_out_may_be_of_a_subclass_but_not_masked(rng: np.random.Generator) -> None:
    class Tagged(np.ndarray):
        pass

    x, w, target, bias = problem(rng, 9, 4, 6, np.float32)
    target[3] = -100
    loss, cotangent = lossk.LinearCrossEntropy(), np.ones(9, np.float32)
    want = loss.grad(x, w, target, bias, reduction="sum")
    out = tuple(np.zeros_like(a).view(Tagged) for a in (x, w, bias))
    again = loss.grad(x, w, target, bias, reduction="sum", out=out)
    for got in (again, loss.vjp(x, w, target, cotangent, bias, out=out)):
        assert all(a is b for a, b in zip(got, out, strict=True))
        assert [bits(np.asarray(a)) for a in out] == [*map(bits, want)]
    for i in range(3):
        plain = [np.full_like(a, 7) for a in (x, w, bias)]
        wrong = [np.ma.masked_array(a) if k == i else a for k, a in enumerate(plain)]
        with pytest.raises(TypeError, match=rf"out\[{i}\]: got MaskedArray, wanted a NumPy array to write to"):
            loss.grad(x, w, target, bias, out=tuple(wrong))
        assert all((a == 7).all() for a in plain)


def test_wrong_arguments_say_what_was_got_and_wanted(rng: np.random.Generator) -> None:
    x, w, target, bias = problem(rng, 9, 4, 6, np.float32)
    bad = target.copy()
    bad[5] = 6
    calls: tuple[tuple[type[Exception], str, tuple[Any, ...], dict[str, Any]], ...] = (
        (IndexError, r"target\[5\]: got 6, wanted a label in \[0, 6\)", (x, w, bad), {}),
        (ValueError, r"target\[0\]: got .*, wanted an integer", (x, w, target * 1.0 + 0.5), {}),
        (ValueError, r"w: got shape \(4, 6\), wanted \(C, 4\)", (x, w.T, target), {}),
        (TypeError, "w: got dtype float64, wanted float32", (x, w.astype(np.float64), target), {}),
        (TypeError, "w: got dtype float32, wanted float16", (x.astype(np.float16), w, target), {}),
        (ValueError, r"bias: got shape \(4,\)", (x, w, target, bias[:4]), {}),
        (ValueError, r"sample_weight: got shape \(2,\)", (x, w, target), {"sample_weight": [1, 2]}),
        (ValueError, "reduction: got 'avg'", (x, w, target), {"reduction": "avg"}),
        (ValueError, "normalizer: got 0", (x, w, target), {"normalizer": 0}),
    )
    for error, message, args, kwargs in calls:
        with pytest.raises(error, match=message):
            lossk.LinearCrossEntropy().value_and_grad(*args, **kwargs)
    with pytest.raises(ValueError, match="chunk_bytes: got 1000, wanted at least 1048576"):
        lossk.LinearCrossEntropy(chunk_bytes=1000)
    x, w = np.zeros((9, 40_000), np.float32), np.zeros((6, 40_000), np.float32)
    with pytest.raises(ValueError, match=r"chunk_bytes: got 1048576, wanted at least \d+: 32 rows"):
        lossk.LinearCrossEntropy(chunk_bytes=MB)(x, w, target)


def test_a_layers_loss_is_a_value() -> None:
    loss = lossk.LinearCrossEntropy(weight=[1, 2], label_smoothing=0.1)
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert hash(loss) == hash(lossk.LinearCrossEntropy(weight=[1, 2], label_smoothing=0.1))
    assert repr(lossk.LinearCrossEntropy()).endswith("chunk_bytes=67108864, precision='highest', filter_eps=0.0)")


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match=r"precision: got 'low', wanted one of 'highest', 'high', 'medium'"):
        lossk.LinearCrossEntropy(precision="low")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"filter_eps: got -1, wanted"):
        lossk.LinearCrossEntropy(filter_eps=-1)


@pytest.mark.parametrize("threads", [0, -1, 2.5, "2", True, 10**12])
def test_num_threads_is_checked_as_everywhere(threads: Any, rng: np.random.Generator) -> None:
    x, w, target = draw_layer(rng, 5, 3, 4)
    with pytest.raises((TypeError, ValueError), match="num_threads: got"):
        lossk.LinearCrossEntropy()(x, w, target, num_threads=threads)


def test_labels_and_weights_are_not_written_to(rng: np.random.Generator) -> None:
    x, w, target = draw_layer(rng, 8, 4, 6, np.float64)
    memory = np.zeros_like(x)
    labels, weights = memory.reshape(-1).view(np.int64)[:8], memory.reshape(-1)[:8]
    for given, words in (
        (({"target": labels}), "target"),
        ({"target": target, "sample_weight": weights}, "sample_weight"),
    ):
        with pytest.raises(ValueError, match=rf"out\[0\]: got memory that overlaps {words}"):
            lossk.LinearCrossEntropy().value_and_grad(x, w, **given, out=(memory, np.empty_like(w), None))


def test_no_cotangent_is_refused(rng: np.random.Generator) -> None:
    x, w, t, _ = problem(rng, 3, 2, 4, np.float32)
    with pytest.raises(TypeError, match="cotangent: got None, wanted an array of one number a sample"):
        lossk.LinearCrossEntropy().vjp(x, w, t, None)  # type: ignore[arg-type]

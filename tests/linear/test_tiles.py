"""Products by AMX's tiles, through a model of them after Intel's manual: what every CPU can show of them."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lossk
from lossk._runtime import versions
from tests.support.linear import BFLOAT16, draw_layer, root_mean_square

STORAGE = {"float32": 0, "bfloat16": 2}  # as enum class storage counts
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = os.environ.get("CXX") or shutil.which("c++")
    if compiler is None or platform.machine() != "x86_64":
        pytest.skip("wants a C++ compiler, and AMX is of x86-64")
    library = tmp_path_factory.mktemp("tiles") / "model.so"
    flags = [
        "-std=c++20",
        "-O2",
        "-shared",
        "-fPIC",
        "-ffp-contract=off",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-Wno-psabi",
    ]
    source = str(Path(__file__).with_name("tile_model.cpp"))
    subprocess.run([compiler, *flags, f"-I{ROOT / 'src/cpp'}", source, "-o", library], check=True, timeout=300)
    loaded = ctypes.CDLL(str(library))
    loaded.run.restype = loaded.multiplies_right.restype = ctypes.c_bool
    return loaded


def pointer(array: np.ndarray[Any, Any] | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if array is None else array.ctypes.data)


def run(
    model: ctypes.CDLL,
    x: Any,
    w: Any,
    bias: Any,
    target: Any,
    *,
    options: tuple[float, float, float] = (0, 0, 0),
    filter_eps: float = 0.0,
    window: int | None = None,
    dw_type: str = "float32",
    terms: int = 1,
) -> tuple[float, Any, Any, Any, Any]:
    """Return loss, losses of rows, dx, dw and dbias of the sum over rows."""
    (n, d), c = x.shape, len(w)
    each, dbias = np.empty(n, np.float32), np.zeros(c)
    dx, dw = np.empty_like(x), np.empty((c, d), BFLOAT16 if dw_type == "bfloat16" else np.float32)
    loss, chosen = np.empty(1), np.array(options, np.float64)
    target = target.astype(np.int64)
    size = ctypes.c_int64
    intact = model.run(
        terms, pointer(x), pointer(w), pointer(bias), STORAGE[x.dtype.name], size(n), size(d), size(c), pointer(target),
        pointer(chosen), ctypes.c_double(1.0), ctypes.c_double(filter_eps), size(window or c), pointer(each),
        pointer(dx), pointer(dw), STORAGE[dw_type], pointer(dbias), pointer(loss),
    )  # fmt: skip
    assert intact
    return float(loss[0]), each, dx, dw, dbias


def test_the_known_product_is_right(model: ctypes.CDLL) -> None:
    assert model.multiplies_right()


SHAPES = [(1, 1, 2), (3, 2, 28), (33, 31, 29), (17, 96, 1003), (64, 600, 252), (40, 33, 505), (300, 64, 260)]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("dtype", [np.float32, BFLOAT16], ids=lambda d: np.dtype(d).name)
def test_losses_and_gradients_are_the_reference_s(
    model: ctypes.CDLL, shape: tuple[int, int, int], dtype: Any, rng: np.random.Generator
) -> None:
    """Inputs that bf16 holds: what is lost is what dz and gradients lose by rounding, 2**-9 of an entry."""
    x, w, target = draw_layer(rng, *shape, BFLOAT16)
    x, w = x.astype(dtype), w.astype(dtype)
    bias = rng.normal(size=shape[2]).astype(np.float32)
    wide = [a.astype(np.float64) for a in (x, w)]
    spec = lossk.LinearCrossEntropy()
    wanted, *gradients = spec.reference(*wide, target, bias=bias, reduction="sum", derivatives=True)
    loss, each, *found = run(model, x, w, bias, target)
    assert abs(loss - wanted) <= 1e-6 * wanted
    assert abs(each.sum(dtype=np.float64) - loss) <= 1e-6 * loss
    for got, want in zip(found, gradients, strict=True):
        np.testing.assert_allclose(got.astype(np.float64), want, rtol=2**-7, atol=2**-8 * np.abs(want).max())


@pytest.mark.parametrize("options", [(0.1, 0, 0), (0, 1e-2, 0), (0, 0, 5.0), (0.1, 1e-3, 10.0)])
def test_options_and_windows(model: ctypes.CDLL, options: tuple[float, float, float], rng: np.random.Generator) -> None:
    x, w, target = draw_layer(rng, 50, 40, 700, BFLOAT16)
    smoothing, z_loss, cap = options
    spec = lossk.LinearCrossEntropy(label_smoothing=smoothing, z_loss=z_loss, softcap=cap or None)
    wide = [a.astype(np.float64) for a in (x, w)]
    wanted, *gradients = spec.reference(*wide, target, reduction="sum", derivatives=True)
    whole = run(model, x, w, None, target, options=options)
    assert abs(whole[0] - wanted) <= 1e-6 * wanted
    for got, want in zip(whole[2:4], gradients[:2], strict=True):
        np.testing.assert_allclose(got.astype(np.float64), want, rtol=2**-7, atol=2**-8 * np.abs(want).max())
    parts = run(model, x, w, None, target, options=options, window=252)
    assert abs(parts[0] - whole[0]) <= 1e-7 * wanted
    for got, want in zip(parts[2:4], whole[2:4], strict=True):
        want = want.astype(np.float64)
        np.testing.assert_allclose(got.astype(np.float64), want, rtol=2**-6, atol=2**-8 * np.abs(want).max())


def test_filtering_leaves_out_small_parts_alone(model: ctypes.CDLL, rng: np.random.Generator) -> None:
    x, w, target = draw_layer(rng, 60, 48, 600, BFLOAT16)
    whole, filtered = (run(model, x, w, None, target, filter_eps=eps) for eps in (0.0, 2.0**-30))
    for a, b in zip(whole[:4], filtered[:4], strict=True):
        np.testing.assert_array_equal(a, b)
    eps = 2.0**-8
    _, _, dx, dw, _ = run(model, x, w, None, target, filter_eps=eps)
    wide = [np.abs(a.astype(np.float64)) for a in (x, w)]
    assert np.all(np.abs(dx.astype(np.float64) - whole[2].astype(np.float64)) <= eps * wide[1].sum(0) + 2**-6)
    assert np.all(np.abs(dw.astype(np.float64) - whole[3]) <= eps * wide[0].sum(0) + 2**-6)


TERMS = {"medium": 1, "high": 2, "highest": 3}


def logits(model: ctypes.CDLL, terms: int, x: Any, w: Any) -> Any:
    z = np.empty((len(x), len(w)), np.float32)
    sizes = map(ctypes.c_int64, (*x.shape, len(w)))
    model.logits(terms, pointer(x), pointer(w), *sizes, pointer(z))
    return z


def split(a: Any, terms: int) -> list[Any]:
    """Return the bfloat16 whose sum stands for each number, as float64."""
    parts = []
    for _ in range(terms):
        parts.append(a.astype(BFLOAT16).astype(np.float32))
        a = a - parts[-1]
    return [part.astype(np.float64) for part in parts]


def instruction(z: Any, x: Any, w: Any) -> Any:
    """Return z plus the product of (N, K) and (C, K) as TDPBF16PS adds it up; float64 holds what float32 rounds."""
    halves = np.zeros((2, *z.shape), np.float32)
    for k in range(x.shape[1]):
        halves[k % 2] = x[:, k, None] * w[:, k] + halves[k % 2]
    return z + (halves[0] + halves[1])


@pytest.mark.parametrize("terms", TERMS.values())
def test_products_of_terms_are_added_up_smallest_first(
    terms: int, model: ctypes.CDLL, rng: np.random.Generator
) -> None:
    x, w, _ = draw_layer(rng, 35, 333, 61)
    parts_x, parts_w = split(x, terms), split(w, terms)
    z = np.zeros((35, 61), np.float32)
    for k in range(0, 333, 32):
        for smallness in range(terms - 1, -1, -1):
            for i in range(smallness, -1, -1):
                z = instruction(z, parts_x[smallness - i][:, k : k + 32], parts_w[i][:, k : k + 32])
    np.testing.assert_array_equal(logits(model, terms, x, w), z)


@pytest.mark.parametrize(("precision", "wanted"), [("medium", 2.3e-3), ("high", 4.5e-6), ("highest", 2.5e-7)])
def test_terms_have_the_errors_of_their_precision(
    precision: str, wanted: float, model: ctypes.CDLL, rng: np.random.Generator
) -> None:
    """Root mean square errors of sums of 1,024 products; of gradients, those of products of dz, too."""
    x, w, target = draw_layer(rng, 64, 1024, 280)
    exact = x.astype(np.float64) @ w.T.astype(np.float64)
    error = root_mean_square(logits(model, TERMS[precision], x, w) - exact, exact)
    assert 0.8 * wanted < error < 1.1 * wanted
    loss, _, dx, dw, _ = run(model, x, w, None, target, terms=TERMS[precision])
    spec = lossk.LinearCrossEntropy()
    value, want_x, want_w, _ = spec.reference(x, w, target, reduction="sum", derivatives=True)
    assert abs(loss - value) <= 0.2 * wanted * value
    assert root_mean_square(dx - want_x, want_x) < 2 * wanted
    assert root_mean_square(dw - want_w, want_w) < 2 * wanted


@pytest.mark.parametrize("shape", [(1, 1, 2), (33, 31, 29), (40, 300, 505)], ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("options", [{}, {"window": 252}, {"filter_eps": 2.0**-40}], ids=str)
def test_six_products_are_as_good_as_float32(
    shape: tuple[int, int, int], options: dict[str, Any], model: ctypes.CDLL, rng: np.random.Generator
) -> None:
    x, w, target = draw_layer(rng, *shape)
    spec = lossk.LinearCrossEntropy()
    bias = rng.normal(size=shape[2]).astype(np.float32)
    wanted = spec.reference(x, w, target, bias=bias, reduction="sum", derivatives=True)
    loss, _, *gradients = run(model, x, w, bias, target, terms=3, **options)
    for got, want in zip((loss, *gradients), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6 * np.abs(want).max())


def test_denormals_count_as_0(model: ctypes.CDLL) -> None:
    """And so do second and third terms that are: of numbers below 2**-110 digits are lost."""
    numbers = np.array([[1 + 2**-23, 2.0**-127, 2.0**-112 * (1 + 2**-23)]], np.float32).T
    got = logits(model, 3, numbers, np.ones((2, 1), np.float32))[:, 0]
    np.testing.assert_array_equal(got, np.array([1 + 2**-23, 0, 2.0**-112], np.float32))


@pytest.mark.skipif(versions()["bfloat16 products"] != "AMX-BF16", reason="this CPU has no AMX to compare with")
@pytest.mark.parametrize("precision", [None, *TERMS])
def test_the_model_gives_the_cpu_s_bits(precision: Any, model: ctypes.CDLL, rng: np.random.Generator) -> None:
    x, w, target = draw_layer(rng, 60, 96, 1003, np.float32 if precision else BFLOAT16)
    loss, _, dx, dw, _ = run(model, x, w, None, target, terms=TERMS[precision] if precision else 1)
    if precision and lossk._core.linear_unit(x, TERMS[precision]) == "FMA":
        pytest.skip("an instruction set was named, so that float32 is multiplied by it")
    out = (np.empty_like(x), np.empty((1003, 96), np.float32), None)
    spec = lossk.LinearCrossEntropy(precision=precision or "highest")
    got, _ = spec.value_and_grad(x, w, target, reduction="sum", out=out)
    assert got == loss
    np.testing.assert_array_equal(out[0], dx)
    np.testing.assert_array_equal(out[1], dw)

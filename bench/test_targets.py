"""Every target of speed: ``pytest bench/test_targets.py [-k 'step and AdamW']``; a test that fails is a gap.

Peers run in processes of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from interleaved import SECONDS, against_limits, interleaved, lossk_runner, timed
from pytest_benchmark.fixture import BenchmarkFixture

import lossk
from lossk import _profile, _runtime
from lossk.cli.bench.cases import IN_PLACE, OPTIMIZERS, OUT, THIRD, Case
from lossk.cli.bench.kernels import Runner
from lossk.cli.bench.run import median_ratio
from lossk.cli.bench.worker import Pool, open_case, time_one

THREADS = lossk.get_num_threads()
L2 = int((re.search(r"L2 (\d+)K", _runtime.versions()["caches"]) or ["", "1024"])[1]) << 10
TYPES = {"float32": 1 << 25, "float64": 1 << 24, "bfloat16": 1 << 25}  # elements that no cache holds
LONG_ROWS = ((1024, 32000), (1000, 32768), (1021, 32003), (512, 128256), (2048, 50257), (64, 262144), (100, 1000))
SHORT_ROWS = (2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64)
IN_ALL_TYPES = ("SquaredError", "Huber", "Hinge", "BinaryCrossEntropyWithLogits", "Logistic", "Focal", "SGD", "AdamW")

# What has to be reached: the fraction of the limit, out of cache and in it; the first pattern in the name counts.
BOUNDS = (
    (r"^CrossEntropy value\+grad \d+x(\d|[1-5]\d|6[0-4]) ", 0.50, 0.50),  # short rows
    (r" \d+ x \d+ ", 0.50, 0.50),  # many tensors
    (r"^(CrossEntropy|softmax|log_softmax) .*float16", 0.80, 0.65),
    (r" value \d", 0.92, 0.75),
    (r"^Adam", 0.95, 0.80),
    (r" step ", 0.95, 0.85),
    (r"^(BinaryCrossEntropyWithLogits|Logistic|Focal) | \d+x\d+ ", 0.90, 0.70),
    (r"", 0.93, 0.85),
)


def bound(case: Case, mode: str) -> float:
    """Return the least fraction of the limit in this mode."""
    bounds = next(bounds for pattern, *bounds in BOUNDS if re.search(pattern, case.name))
    return bounds[case.nbytes_moved(mode) <= _profile.last_level_cache()]


def _in_l2(case: Case, mode: str) -> Case:
    """Return the case on arrays that fill half of L2; an odd number of vectors, and a tail."""
    elements = L2 // 2 * case.size // case.nbytes_moved(mode) - 3
    return Case(case.kernel, case.goal, (*case.shape[:-1], elements), case.dtype)


def _limits() -> list[tuple[Case, str, int]]:
    found: list[tuple[Case, str, int]] = []
    for dtype in ("float32", "bfloat16"):
        for shape in LONG_ROWS:
            found.append((Case("CrossEntropy", "value", shape, dtype), "value", THREADS))
            found += [(Case("CrossEntropy", "value+grad", shape, dtype), mode, THREADS) for mode in (OUT, IN_PLACE)]
        for kernel in ("softmax", "log_softmax"):
            found.append((Case(kernel, "output", (1024, 32000), dtype), "output out=", THREADS))
    shapes = [*((2**20 // classes, classes) for classes in SHORT_ROWS), *((rows, 262144) for rows in (1, 2, 4))]
    found += [(Case("CrossEntropy", "value+grad", shape), IN_PLACE, THREADS) for shape in shapes]
    for dtype, size in TYPES.items():
        for kernel in (*sorted(THIRD), *OPTIMIZERS):
            if dtype == "float32" or kernel in IN_ALL_TYPES:
                case = Case(kernel, "value+grad", (size,), dtype)
                mode = OUT
                if kernel in OPTIMIZERS:
                    case, mode = Case(kernel, "step", (1, size), dtype), "step"
                found += [(case, mode, THREADS), (_in_l2(case, mode), mode, 1)]
    return found + [(Case(kernel, "step", (100, 10_000)), "step", THREADS) for kernel in OPTIMIZERS]


@pytest.mark.parametrize(
    ("case", "mode", "threads"), [pytest.param(*one, id=f"{one[0].name} {one[1]} {one[2]}thr") for one in _limits()]
)
def test_limit(benchmark: BenchmarkFixture, case: Case, mode: str, threads: int) -> None:
    """Reach the bound of the fraction of the limit, memory's or arithmetic's."""
    entry = against_limits(benchmark, case, mode, threads)
    assert entry.best_fraction >= bound(case, mode)


SHORT = [Case("CrossEntropy", "value+grad", shape) for shape in ((65536, 10), (131072, 3), (1_000_000, 2))]
SHORT_ROW_PEERS = ("torch", "bench/peer_torch_compile.py", "bench/peer_jax.py", "bench/peer_scikit_learn.py")
FUSED = ("SGD", "Adam", "AdamW", "Adagrad")
# A case and mode, how many times faster lossk has to be than the best of these families (by their providers' names).
FASTER: list[tuple[Case, str, float, tuple[str, ...], str]] = [
    *((case, "value+grad", 5.0, SHORT_ROW_PEERS, "") for case in SHORT),
    *((Case(kernel, "step", (100, 10_000)), "step", 3.0, ("torch",), "torch fused") for kernel in FUSED),
    (Case("Huber", "value+grad", (1000,)), "value+grad", 10.0, ("torch",), ""),
    (Case("Huber", "value+grad", (1000,)), "value+grad", 1.0, ("bench/peer_numba.py",), ""),
    (Case("Huber", "value+grad", (1000,)), OUT, 1.0, ("bench/peer_numba.py",), ""),
]


@pytest.mark.parametrize(
    ("case", "mode", "factor", "families", "only"),
    [pytest.param(*one, id=f"{one[0].name} {one[1]} {one[2]:g}x {one[4] or one[3][0]}") for one in FASTER],
)
def test_faster(
    benchmark: BenchmarkFixture, case: Case, mode: str, factor: float, families: tuple[str, ...], only: str
) -> None:
    """Be so many times faster than the best peer, in the same mode."""
    pool = Pool(families, THREADS)
    others = {
        key[0]: partial(pool.ask, family, time_one, key)
        for family in families
        for key, (_, calls) in (pool.ask(family, open_case, case, 0, THREADS, SECONDS) or {}).items()
        if calls and key[1] == mode and key[0].startswith(only)
    }
    if not others:
        pytest.skip("not installed")
    own, seconds = interleaved(benchmark, lossk_runner(case, mode, THREADS), others)
    ratios = {name: median_ratio(taken, own) for name, taken in seconds.items()}
    benchmark.extra_info["ratios"] = ratios
    assert min(ratios.values()) >= factor, ratios


FIXED_COST = [
    Case("Huber", "value+grad", (16,)),
    Case("BinaryCrossEntropyWithLogits", "value+grad", (16,)),
    Case("CrossEntropy", "value+grad", (4, 4)),
]


@pytest.mark.parametrize("case", FIXED_COST, ids=lambda case: case.name)
def test_fixed_cost(benchmark: BenchmarkFixture, case: Case) -> None:
    """Cost at most 2.5 times what a NumPy ufunc with `out=` costs."""
    ufunc = Runner(partial(np.add, *np.ones((2, 16), np.float32), out=np.empty(16, np.float32)))
    own, seconds = interleaved(benchmark, lossk_runner(case, OUT, THREADS), {"ufunc": timed(ufunc)})
    assert median_ratio(own, seconds["ufunc"]) <= 2.5


@pytest.mark.parametrize("shape", [(1024, 32000), (4_000_000, 10)], ids=str)
@pytest.mark.parametrize(
    "options", [{"label_smoothing": 0.1}, {"softcap": 30.0}, {"z_loss": 1e-4}, {"weight": True}], ids=str
)
def test_options(benchmark: BenchmarkFixture, options: dict[str, Any], shape: tuple[int, int]) -> None:
    """Cost at most 15 % more with an option of CrossEntropy than without."""
    rng = np.random.default_rng(0)
    if "weight" in options:
        options = {"weight": rng.uniform(0.5, 1.5, shape[1])}
    z, y = rng.standard_normal(shape, np.float32), rng.integers(0, shape[1], shape[0])
    out = np.empty_like(z)
    plain, other = (
        Runner(partial(loss.value_and_grad, z, y, out=out))
        for loss in (lossk.CrossEntropy(), lossk.CrossEntropy(**options))
    )
    own, seconds = interleaved(benchmark, other, {"plain": timed(plain)})
    assert median_ratio(own, seconds["plain"]) <= 1.15


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # inductor's own
@pytest.mark.parametrize(
    ("name", "shape", "compiled", "factor"),
    [
        ("cross_entropy", (512, 128256), False, 12.0),
        ("cross_entropy", (512, 128256), True, 5.0),
        ("cross_entropy", (32, 10), False, 1.0),
        ("huber_loss", (1000,), False, 1.0),
    ],
)
def test_autograd(
    benchmark: BenchmarkFixture, name: str, shape: tuple[int, ...], compiled: bool, factor: float
) -> None:
    """Be so many times faster than torch, eager or compiled, forward and backward in torch's graph."""
    torch = pytest.importorskip("torch")
    import lossk.torch

    z = torch.randn(shape, requires_grad=True)
    y = torch.randint(0, shape[1], shape[:1]) if len(shape) == 2 else torch.randn(shape)
    peer: Callable[..., Any] = getattr(torch.nn.functional, name)
    peer = torch.compile(peer) if compiled else peer

    def step(loss: Callable[..., Any]) -> None:
        z.grad = None
        loss(z, y).backward()

    ours = Runner(partial(step, getattr(lossk.torch, name)))
    own, seconds = interleaved(benchmark, ours, {"torch": timed(Runner(partial(step, peer)))})
    assert median_ratio(seconds["torch"], own) >= factor


@pytest.mark.parametrize(("times", "samples", "classes", "labels"), [(150, 32, 29, 30), (500, 16, 1000, 60)])
def test_ctc(benchmark: BenchmarkFixture, times: int, samples: int, classes: int, labels: int) -> None:
    """Take half as long as torch's function and its gradient, on as many threads."""
    torch = pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")
    rng = np.random.default_rng(0)
    z = lossk.log_softmax(rng.standard_normal((times, samples, classes), np.float32))
    target = rng.integers(1, classes, (samples, labels))
    leaf, lengths = torch.from_numpy(z).requires_grad_(), [(n,) * samples for n in (times, labels)]
    torch.set_num_threads(lossk.get_num_threads())

    def theirs() -> None:
        loss = torch.nn.functional.ctc_loss(leaf, torch.from_numpy(target), *lengths)
        torch.autograd.grad(loss, leaf)

    ours = Runner(partial(lossk.CTC().value_and_grad, z, target))
    own, seconds = interleaved(benchmark, ours, {"torch": timed(Runner(theirs))})
    gain = median_ratio(seconds["torch"], own)
    benchmark.extra_info |= {"gain": gain, "threads": lossk.get_num_threads()}
    assert gain >= 2, benchmark.extra_info

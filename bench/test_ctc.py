"""CTC with its gradient against PyTorch's, in one run: speech of 29 letters, and of 1,000 pieces of words."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from interleaved import interleaved, timed
from pytest_benchmark.fixture import BenchmarkFixture

import lossk
from lossk.cli.bench.kernels import Runner
from lossk.cli.bench.run import median_ratio


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

    own, seconds = interleaved(
        benchmark, Runner(partial(lossk.CTC().value_and_grad, z, target)), {"torch": timed(Runner(theirs))}
    )
    gain = median_ratio(seconds["torch"], own)
    benchmark.extra_info |= {"gain": gain, "threads": lossk.get_num_threads()}
    assert gain >= 2, benchmark.extra_info

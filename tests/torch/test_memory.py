"""Memory that lossk.torch takes: one gradient, none in place, chunks of a layer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MEMORY = """
import sys
import torch
import lossk, lossk.torch

def status(key):
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(key))

class Logits(torch.autograd.Function):  # no leaf, and without memory of their own
    @staticmethod
    def forward(ctx, x):
        return z.view_as(z)
    @staticmethod
    def backward(ctx, g):
        return g[0, :1]

z, t = torch.ones(256, 131072), torch.zeros(256, dtype=torch.long)  # 128 MiB
lossk.torch.cross_entropy(torch.zeros(2, 8, requires_grad=True), t[:2]).backward()
open("/proc/self/clear_refs", "w").write("5")  # forget the peak
before = status("VmRSS")
if sys.argv[1] == "inplace":
    lossk.torch.cross_entropy(Logits.apply(torch.ones(1, requires_grad=True)), t, inplace=True).backward()
else:
    lossk.torch.cross_entropy(z.requires_grad_(), t).backward()
print(status("VmHWM") - before)
"""


MEMORY_OF_A_LAYER = (
    MEMORY[: MEMORY.index("class Logits")]
    + """
rows, features, classes, dtype = 2048, 64, 40_000, getattr(torch, sys.argv[1])  # logits of 156 MiB in 16 bits
x, w = torch.ones(rows, features, dtype=dtype), torch.zeros(classes, features, dtype=dtype).requires_grad_()
t = torch.zeros(rows, dtype=torch.long)
for rows in (64, 2048):  # first what BLAS keeps for itself
    w.grad = None
    open("/proc/self/clear_refs", "w").write("5")
    before = status("VmRSS")
    lossk.torch.linear_cross_entropy(x[:rows], w, t[:rows], chunk_bytes=16 << 20).backward()
print(status("VmHWM") - before)
"""
)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no /proc: the peak of memory is not known")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_layer_takes_its_gradient_and_chunks(dtype: str) -> None:
    """The gradient, and chunks."""
    command = [sys.executable, "-c", MEMORY_OF_A_LAYER, dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    gradient = 40_000 * 64 * (4 if dtype == "float32" else 2) / 2**20
    assert float(done.stdout) < gradient + 16 + 4


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no /proc: the peak of memory is not known")
@pytest.mark.parametrize(("mode", "buffers"), [("fresh", 1), ("inplace", 0)])
def test_a_loss_takes_its_gradient_alone(mode: str, buffers: int) -> None:
    """One gradient and nothing else of the size of the logits; in place not even that."""
    done = subprocess.run([sys.executable, "-c", MEMORY, mode], capture_output=True, text=True, check=True, timeout=120)
    assert float(done.stdout) == pytest.approx(128 * buffers, abs=16)

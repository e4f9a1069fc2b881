"""Losses over ranks in torch's graph: plain tensors, DTensors under loss_parallel, what torch itself gives."""

from __future__ import annotations

from pathlib import Path

from tests.support.ranks import engine_ranks

SCRIPT = """
import json, sys
import torch
import lossk.torch.distributed as ours
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor, init_device_mesh
from torch.distributed.tensor.parallel import loss_parallel

size, rank = dist.get_world_size(), dist.get_rank()
torch.manual_seed(0)
C = 30 * size
mesh = init_device_mesh("cpu", (size,))
z, y, weight = torch.randn(20, C), torch.randint(0, C, (20,)), torch.rand(C)
y[2] = -100
close = lambda a, b: torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
for options in ({}, {"label_smoothing": 0.1, "weight": weight}, {"reduction": "sum"}, {"reduction": "none"}):
    wanted = z.clone().requires_grad_()
    value = torch.nn.functional.cross_entropy(wanted, y, **options)
    value.backward(torch.arange(20.0) if value.dim() else torch.tensor(2.0))
    for given in (z[:, rank * 30 : (rank + 1) * 30].clone(), distribute_tensor(z, mesh, [Shard(1)])):
        given.requires_grad_()
        with loss_parallel():
            found = ours.cross_entropy(given, y, **options)
            found.backward(torch.arange(20.0) if found.dim() else torch.tensor(2.0))
        close(found, value)
        grad = given.grad.full_tensor() if isinstance(given, DTensor) else given.grad
        close(grad, wanted.grad if isinstance(given, DTensor) else wanted.grad[:, rank * 30 : (rank + 1) * 30])
given = distribute_tensor(z, mesh, [Shard(1)]).requires_grad_()
with loss_parallel():
    theirs = torch.nn.functional.cross_entropy(given, distribute_tensor(y, mesh, [Replicate()]))
close(ours.cross_entropy(given, y).detach(), theirs.full_tensor().detach())

x, w, b = torch.randn(20, 8), torch.randn(C, 8), torch.randn(C)
plain = [t.clone().requires_grad_() for t in (x, w, b)]
value = torch.nn.functional.cross_entropy(torch.nn.functional.linear(*plain), y)
value.backward()
layer = [x.clone().requires_grad_(), *(distribute_tensor(t, mesh, [Shard(0)]).requires_grad_() for t in (w, b))]
found = ours.linear_cross_entropy(layer[0], layer[1], y, layer[2])
found.backward()
close(found, value)
for a, wanted in zip(layer, plain):
    close(a.grad.full_tensor() if isinstance(a, DTensor) else a.grad, wanted.grad)
without = [t.clone().requires_grad_() for t in (x, w)]
torch.nn.functional.cross_entropy(torch.nn.functional.linear(*without), y).backward()
x.requires_grad_()
part = distribute_tensor(w, mesh, [Shard(0)])
ours.linear_cross_entropy(x, part, y).backward()
close(x.grad, without[0].grad)

said = []
for call in (
    lambda: found.backward(),
    lambda: ours.cross_entropy(z[0], y),
    lambda: ours.cross_entropy(distribute_tensor(z, mesh, [Replicate()]), y),
    lambda: ours.cross_entropy(z.to_sparse(), y),
    lambda: ours.cross_entropy(given, torch.full((20,), C)),
    lambda: ours.linear_cross_entropy(x, layer[1], y, reduction="none"),
):
    try:
        call()
    except Exception as error:
        said.append(f"{type(error).__name__}: {error}")
print(json.dumps(said))
"""


def test_values_and_gradients_are_those_of_torch(tmp_path: Path) -> None:
    for size in (1, 2):
        found = engine_ranks("gloo", size, SCRIPT, tmp_path)
        assert len(found) == size
        for second, shape, placed, sparse, label, rows in found:
            assert second.startswith("RuntimeError: lossk.torch.distributed: got a second backward pass")
            assert shape.startswith("ValueError: input: got shape (")
            assert placed.startswith("ValueError: input: got a DTensor placed (Replicate(),), wanted Shard(1)")
            assert sparse.startswith("TypeError: input: got Tensor, wanted a dense tensor on the CPU, or a DTensor")
            assert (
                label
                == f"IndexError: target[0]: got {30 * size}, wanted a label in [0, {30 * size}) or ignore_index (-100)"
            )
            assert rows == "ValueError: reduction: got 'none', wanted 'mean' or 'sum'"

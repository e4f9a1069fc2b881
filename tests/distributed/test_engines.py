"""The engines: gloo of torch.distributed, and OpenMPI by mpi4py; ranks that end; tensors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.ranks import engine_ranks

SCRIPT = """
import hashlib, json
import lossk
import numpy as np
from lossk.distributed import *

digest, rng = hashlib.sha256(), np.random.default_rng(0)
z, labels = rng.normal(size=(9, 60_000)).astype(np.float32), rng.integers(0, 60_000, 9)
part = shard(60_000, group)
loss = VocabParallelCrossEntropy(group, part.stop - part.start, label_smoothing=0.1)
value, grad = loss.value_and_grad(z[:, part], labels)
whole = np.zeros_like(z)
whole[:, part] = grad
x, w = rng.normal(size=(9, 4)).astype(np.float32), rng.normal(size=(60_000, 4)).astype(np.float32)
layer = VocabParallelLinearCrossEntropy(group, part.stop - part.start)
of_layer, (dx, dw, _) = layer.value_and_grad(x, w[part], labels)
params = [np.ones(5000, np.float32)]
sharded = ShardedOptimizer(lossk.AdamW, params, group, lr=0.1, bucket_bytes=4096)
sharded.step([x.reshape(-1).repeat(139)[:5000]])
for array in (np.float64(value), group.all_gather(whole)().sum(axis=0), np.float64(of_layer), dx, *params):
    digest.update(np.ascontiguousarray(array).tobytes())
total = group.all_reduce(np.ones(3))()
print(json.dumps({"bits": digest.hexdigest(), "total": total.tolist(), "tokens": token_count([labels], group)}))
"""


def test_results_have_the_same_bits_on_any_engine_and_number_of_ranks(tmp_path: Path) -> None:
    bits = set()
    runs = [("gloo", size) for size in (1, 2, 3, 4)] + [("openmpi", size) for size in (1, 2, 3, 4)]
    for engine, size in runs:
        found = engine_ranks(engine, size, SCRIPT, tmp_path)
        assert len(found) == size
        assert all(rank["total"] == [size] * 3 and rank["tokens"] == 9 * size for rank in found)
        bits |= {rank["bits"] for rank in found}
    assert len(bits) == 1


def test_a_rank_that_ends_is_an_error_on_the_others_and_no_hang(tmp_path: Path) -> None:
    """Within the timeout of the group, which is a minute."""
    script = """
import json, os, time
import numpy as np
from lossk.distributed import VocabParallelCrossEntropy
loss = VocabParallelCrossEntropy(group, 3)
if group.rank == 1:
    os._exit(3)
start = time.monotonic()
try:
    loss(np.ones((2, 3)), np.array([0, 5]))
except RuntimeError as error:
    print(json.dumps({"seconds": time.monotonic() - start, "error": str(error)}), flush=True)
os._exit(0)
"""
    (found,) = engine_ranks("gloo", 2, script, tmp_path, expected=None)
    assert found["seconds"] < 65
    assert found["error"]


def test_without_a_process_group_torch_has_to_be_asked_first() -> None:
    torch = pytest.importorskip("torch")
    from lossk.distributed import SingleProcess, TorchGroup, as_group

    assert not torch.distributed.is_initialized()
    assert isinstance(as_group(None), SingleProcess)
    with pytest.raises(RuntimeError, match=r"wanted init_process_group\(\) before"):
        TorchGroup()

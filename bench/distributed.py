"""Ranks side by side: ``python bench/distributed.py [--ranks 2] [--rounds 7]`` prints two tables.

The first is measured, with ranks of one thread each on gloo: lossk over ranks, the same work without any exchange, and
torch's. In every round each is timed once, in random order, ranks starting together; a round's time is that of the
slowest rank. The second is a model for more ranks, from the first one's kernel times, the bytes that are exchanged, and
a network of ``--gbit`` and ``--latency``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import lossk
from lossk.distributed import (
    Group,
    ShardedOptimizer,
    SingleProcess,
    VocabParallelCrossEntropy,
    VocabParallelLinearCrossEntropy,
    as_group,
    shard,
)

ROWS, CLASSES = 1024, 128_256
LAYER_ROWS, FEATURES, LAYER_CLASSES = 1024, 512, 65_536
PARAMETERS = 10**8
NAMES = ("cross-entropy", "linear cross-entropy", "AdamW")
TWO_PASSES = "lossk, no exchange"  # what its kernels take, where halves of their own need one pass
Calls = dict[str, Callable[[], object]]


def cross_entropy_calls(group: Group) -> Calls:
    """Return value and gradient, in place, of this rank's classes."""
    import torch
    from torch.distributed.tensor import DTensor, Replicate, Shard, init_device_mesh
    from torch.distributed.tensor.parallel import loss_parallel

    rng = np.random.default_rng(group.rank)
    own = shard(CLASSES, group)
    z = rng.standard_normal((ROWS, own.stop - own.start), np.float32)
    labels = np.random.default_rng(0).integers(0, CLASSES, ROWS)
    out, local = np.ones_like(z), labels % z.shape[1]
    ours, alone = VocabParallelCrossEntropy(group, z.shape[1]), lossk.CrossEntropy()
    one_piece = VocabParallelCrossEntropy(group, z.shape[1], equal_bits=False)
    two_passes = VocabParallelCrossEntropy(SingleProcess(), z.shape[1])
    ours.value_and_grad(z[:1], labels[:1])  # what a first call brings of code is not its memory
    mesh = init_device_mesh("cpu", (group.size,))
    even = torch.from_numpy(np.ascontiguousarray(z[:, : CLASSES // group.size]))
    target = DTensor.from_local(torch.from_numpy(labels % (even.shape[1] * group.size)), mesh, [Replicate()])

    def theirs() -> None:
        logits = DTensor.from_local(even, mesh, [Shard(1)]).requires_grad_()
        with loss_parallel():
            torch.nn.functional.cross_entropy(logits, target).backward()

    return {
        "lossk": partial(ours.value_and_grad, z, labels, out=out),
        "lossk, in place": partial(ours.value_and_grad, z, labels, out=z),
        "no exchange, in place": partial(alone.value_and_grad, z, local, out=z),
        "lossk, one piece a rank": partial(one_piece.value_and_grad, z, labels, out=out),
        "no exchange": partial(alone.value_and_grad, z, local, out=out),
        TWO_PASSES: partial(two_passes.value_and_grad, z, local, out=out),
        "torch's loss_parallel": theirs,
    }


def linear_calls(group: Group) -> Calls:
    """Return value and all gradients of this rank's part of a layer."""
    rng = np.random.default_rng(group.rank)
    own = shard(LAYER_CLASSES, group)
    x = np.random.default_rng(0).standard_normal((LAYER_ROWS, FEATURES), np.float32)
    w = rng.standard_normal((own.stop - own.start, FEATURES), np.float32)
    labels = np.random.default_rng(0).integers(0, LAYER_CLASSES, LAYER_ROWS)
    ours = VocabParallelLinearCrossEntropy(group, len(w), chunk_bytes=256 << 20)
    summed = VocabParallelLinearCrossEntropy(group, len(w), chunk_bytes=256 << 20, equal_bits=False)
    alone = lossk.LinearCrossEntropy()
    return {
        "lossk": partial(ours.value_and_grad, x, w, labels),
        "lossk, dx added up by the engine": partial(summed.value_and_grad, x, w, labels),
        "no exchange": partial(alone.value_and_grad, x, w, labels % len(w)),
    }


def optimizer_calls(group: Group) -> Calls:
    """Return a step of a large parameter, and of a share of it."""
    p, g = np.zeros(PARAMETERS, np.float32), np.ones(PARAMETERS, np.float32)
    ours = ShardedOptimizer(lossk.AdamW, [p], group, lr=1e-3)
    share = np.zeros(PARAMETERS // group.size, np.float32)
    alone = lossk.AdamW([share], lr=1e-3)
    return {
        "lossk": partial(ours.step, [g]),
        "lossk, without the gather": partial(ours.step, [g], gather=False),
        "no exchange": partial(alone.step, [g[: len(share)]]),
    }


def extra_memory(call: Callable[[], object]) -> int:
    """Return bytes by which a first call raises the most memory that the process has had."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def measure(rounds: int) -> list[dict[str, Any]]:
    """Measure as one of the ranks; the results are the same on all."""
    import torch.distributed as dist

    dist.init_process_group("gloo")
    group = as_group(None)
    found = []
    for name, make in zip(NAMES, (cross_entropy_calls, linear_calls, optimizer_calls), strict=True):
        calls = make(group)
        memory = {label: extra_memory(call) for label, call in calls.items()}
        seconds: dict[str, list[float]] = {label: [] for label in calls}
        order = random.Random(name)
        for _ in range(rounds):
            for label in order.sample(list(calls), len(calls)):
                dist.barrier()
                start = time.perf_counter()
                calls[label]()
                taken = group.all_gather(np.array([time.perf_counter() - start]))()
                seconds[label].append(float(taken.max()))
        for label in calls:
            peer = "no exchange, in place" if label.endswith("in place") else "no exchange"
            ratios = [a / b for a, b in zip(seconds[peer], seconds[label], strict=True)]
            row = {"what": name, "how": label, "seconds": median(seconds[label]), "ratio": median(ratios)}
            found.append(row | {"memory": memory[label]})
    dist.destroy_process_group()
    return found


def model(rows: list[dict[str, Any]], ranks: int, gbit: float, latency: float) -> Table:
    """Return times for more ranks: kernels' times over the ranks, and bytes over the network."""
    alone = {row["what"]: row["seconds"] * ranks for row in rows if row["how"] in ("no exchange", TWO_PASSES)}
    table = Table("ranks", *(f"{name}, ms" for name in NAMES), title=f"modelled: {gbit:g} Gbit/s, {latency * 1e6:g} us")
    rate = gbit / 8 * 1e9
    pieces = {name: -(-n // 16_384) for name, n in zip(NAMES, (CLASSES, LAYER_CLASSES), strict=False)}
    for size in (2, 4, 8, 16, 32, 64, 128, 256, 512):
        cells = []
        for name in NAMES:
            # A gather brings every rank what all the others have; pieces there are no more of than classes allow.
            if name == "AdamW":
                received, exchanges = 4 * PARAMETERS * (size - 1) / size, 16
            else:
                each, count = (16, ROWS) if name == NAMES[0] else (56 + 4 * FEATURES, LAYER_ROWS)
                received, exchanges = each * count * pieces[name] * (size - 1) / size, 2 * max(1, count // 256)
            kernel = alone[name] / min(size, pieces.get(name, size))
            cells.append(f"{1e3 * (kernel + received / rate + exchanges * latency):.3g}")
        table.add_row(str(size), *cells)
    return table


def main() -> None:
    """Start the ranks and print the tables; or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--gbit", type=float, default=100.0, help="bandwidth of the modelled network")
    parser.add_argument("--latency", type=float, default=20e-6, help="seconds of an exchange there")
    parser.add_argument("--only", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        rows = measure(options.rounds)
        if os.environ["RANK"] == "0":
            options.only.write_text(json.dumps(rows), "utf-8")
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rows.json")
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={options.ranks}"]
        command = [*torchrun, __file__, "--rounds", str(options.rounds), "--only", str(file)]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "LOSSK_NUM_THREADS"), "1")
        subprocess.run(command, check=True, env=os.environ | threads)
        rows = json.loads(file.read_text("utf-8"))
    columns = ("what", "how", "ms", "no exchange / this", "extra memory, MB")
    table = Table(*columns, title=f"{options.ranks} ranks of one thread")
    for row in rows:
        cells = (f"{1e3 * row['seconds']:.1f}", f"{row['ratio']:.2f}", f"{row['memory'] / 1e6:.1f}")
        table.add_row(row["what"], row["how"], *cells)
    Console().print(table, model(rows, options.ranks, options.gbit, options.latency))


if __name__ == "__main__":
    main()

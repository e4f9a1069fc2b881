"""
A language model whose last layer is split over processes
=========================================================

Each rank holds the last layer's weights for a part of the vocabulary, and their optimizer's state; what lies below it
is the same on all. The script trains alone, then with more ranks, and compares the losses, which are equal to the bit::

    python examples/distributed_lm.py [--ranks 2] [--steps 60] [--output distributed_lm.png]

What it starts, one may start oneself, on as many machines as one has::

    torchrun --nproc-per-node 2 examples/distributed_lm.py --losses losses.json
    mpiexec -n 2 python examples/distributed_lm.py --losses losses.json --mpi

The model is small, and all NumPy: embeddings of the words before, weighted and added up, predict the next word.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import lossk
from lossk.distributed import Group, VocabParallelLinearCrossEntropy, as_group, shard

WIDTH, CONTEXT, BATCH = 64, 4, 512


def read_words() -> tuple[Any, int]:
    """Return the text of Python's standard library as numbers of words, and how many different ones there are."""
    files = sorted(Path(os.__file__).parent.glob("*.py"))
    words = re.findall(r"\w+|\s+|[^\w\s]", "\n".join(file.read_text("utf-8", "replace") for file in files))
    vocabulary = {word: number for number, word in enumerate(sorted(set(words)))}
    return np.array([vocabulary[word] for word in words]), len(vocabulary)


def train(group: Group, steps: int) -> list[float]:
    """Train from a fixed seed; return the loss of each step, the same on every rank."""
    text, classes = read_words()
    rng = np.random.default_rng(0)
    own = shard(classes, group)
    embedding = rng.normal(scale=0.1, size=(classes, WIDTH)).astype(np.float32)
    w = embedding[own].copy()  # of this rank's words
    places = np.full((CONTEXT, 1, WIDTH), 1 / CONTEXT, np.float32)
    layer = VocabParallelLinearCrossEntropy(group, len(w), label_smoothing=0.05)
    below, last = lossk.AdamW([embedding, places], lr=3e-3), lossk.AdamW([w], lr=3e-3)
    losses = []
    for _ in range(steps):
        at = rng.integers(CONTEXT, len(text), BATCH)
        before = text[at - np.arange(1, CONTEXT + 1)[:, None]]  # (CONTEXT, BATCH)
        found = embedding[before]
        loss, (dx, dw, _) = layer.value_and_grad((found * places).sum(axis=0), w, text[at])
        by_embedding = np.zeros_like(embedding)
        np.add.at(by_embedding, before, dx * places)
        below.step([by_embedding, (found * dx).sum(axis=1, keepdims=True)])
        last.step([dw])
        losses.append(loss)
    return losses


def started_by_an_engine(mpi: bool) -> Group | None:
    """Return the group that torchrun or mpiexec has made; None where neither has."""
    if mpi:
        from mpi4py import MPI

        return as_group(MPI.COMM_WORLD)
    if "RANK" not in os.environ:
        return None
    import torch.distributed as dist

    dist.init_process_group("gloo")
    return as_group(None)


def train_apart(ranks: int, steps: int) -> list[float]:
    """Train in processes of their own, by torchrun."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "losses.json")
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
        command = [*torchrun, sys.argv[0], "--steps", str(steps), "--losses", str(file)]
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        losses: list[float] = json.loads(file.read_text("utf-8"))
        return losses


def draw(runs: dict[str, list[float]], path: Path) -> None:
    """Save the loss curves as a PNG."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for number, (name, losses) in enumerate(runs.items()):
        axes.plot(losses, label=name, linewidth=5 - 3 * number, alpha=0.5 + 0.5 * number)
    axes.set(xlabel="step", ylabel="cross-entropy (nats)", title="Loss")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Train as one of the ranks; or start them, alone and together, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="batches to train on (default 60)")
    parser.add_argument("--ranks", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--output", type=Path, default=Path("distributed_lm.png"), help="where the picture goes")
    parser.add_argument("--losses", type=Path, help="where rank 0 of a group writes its losses, as JSON")
    parser.add_argument("--mpi", action="store_true", help="the group is that of mpiexec")
    options = parser.parse_args()
    for name in ("steps", "ranks"):
        if getattr(options, name) < 1:
            parser.error(f"--{name}: got {getattr(options, name)}, wanted at least 1")
    group = started_by_an_engine(options.mpi)
    if group is not None:
        losses = train(group, options.steps)
        if group.rank == 0 and options.losses:
            options.losses.write_text(json.dumps(losses), "utf-8")
        if not options.mpi:  # gloo's threads have to end before the process does
            import torch.distributed as dist

            dist.destroy_process_group()
        return
    console = Console()
    runs = {f"{ranks} rank{'s' * (ranks > 1)}": train_apart(ranks, options.steps) for ranks in (1, options.ranks)}
    first, *_, last = runs.values()
    for name, losses in runs.items():
        console.print(f"{name}: loss {losses[0]:.6f} at the start, {losses[-1]:.6f} at the end")
    console.print("the losses are equal to the bit" if first == last else "[bold]the losses differ[/]")
    draw(runs, options.output)
    console.print(f"curves: {options.output}")
    if first != last:
        sys.exit(1)


if __name__ == "__main__":
    main()

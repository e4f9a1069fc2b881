"""
A language model in PyTorch, with and without lossk
===================================================

The same script trains twice, as it is and with one more line that puts lossk under it. The text is the source of
Python's standard library, 4 MB, split into words; the model a transformer with causal attention. Words make a
vocabulary of tens of thousands, as real models have, and the logits of a batch take more memory than everything else.
Each run is a process of its own, so that its memory can be told::

    python examples/torch_lm.py [--steps 100] [--bf16] [--output torch_lm.png]

With ``--bf16`` both train once more under autocast to bfloat16: torch copies the logits to float32 for the loss, lossk
does not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional

import lossk.torch

WAYS = {
    "torch": "#D55E00",
    "torch with lossk": "#0072B2",
    "torch, bf16": "#E69F00",
    "torch with lossk, bf16": "#56B4E9",
}
CONTEXT, BATCH, WIDTH, HEADS, LAYERS = 64, 16, 128, 4, 2


@dataclass
class Run:
    """Loss and duration of each step, and the largest memory of the process beyond that before training."""

    losses: list[float]
    seconds: list[float]
    extra_bytes: int

    @property
    def step_seconds(self) -> float:
        """The median duration of a step; the first ones warm up."""
        return float(np.median(self.seconds[len(self.seconds) // 10 :]))


def read_words() -> tuple[Any, int]:
    """Return the text as numbers of words, punctuation and white space, and how many different ones there are."""
    files = sorted(Path(os.__file__).parent.glob("*.py"))
    words = re.findall(r"\w+|\s+|[^\w\s]", "\n".join(file.read_text("utf-8", "replace") for file in files))
    vocabulary = {word: number for number, word in enumerate(sorted(set(words)))}
    return torch.tensor([vocabulary[word] for word in words]), len(vocabulary)


class Block(nn.Module):  # type: ignore[misc]
    """Attention to what came before, then two dense layers, each added to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.before_attention, self.before_dense = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.queries_keys_values, self.joined = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.dense = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Any) -> Any:
        """Return (batch, context, width) for the same."""
        batch, length, _ = x.shape
        parts = self.queries_keys_values(self.before_attention(x)).chunk(3, dim=-1)
        q, k, v = (part.view(batch, length, HEADS, -1).transpose(1, 2) for part in parts)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.joined(attended.transpose(1, 2).reshape(batch, length, WIDTH))
        return x + self.dense(self.before_dense(x))


class LanguageModel(nn.Module):  # type: ignore[misc]
    """Logits of the next word; the last layer's weights are those of the embedding."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(classes, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.last = nn.LayerNorm(WIDTH)
        nn.init.normal_(self.words.weight, std=0.02)

    def forward(self, words: Any) -> Any:
        """Return (batch, context, classes) for (batch, context) words."""
        x = self.words(words) + self.places(torch.arange(words.shape[1]))
        return functional.linear(self.last(self.blocks(x)), self.words.weight)


def train(steps: int, bf16: bool) -> Run:
    """Train from a fixed seed. Nothing here knows of lossk."""
    torch.manual_seed(0)
    text, classes = read_words()
    model = LanguageModel(classes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    before = largest_memory()
    losses, seconds = [], []
    for _ in range(steps):
        rows = torch.randint(len(text) - CONTEXT, (BATCH, 1)) + torch.arange(CONTEXT + 1)
        batch = text[rows]
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(batch[:, :-1])
            loss = functional.cross_entropy(logits.reshape(-1, classes), batch[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
        losses.append(loss.item())
    return Run(losses, seconds, largest_memory() - before)


def largest_memory() -> int:
    """Return the most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run_apart(way: str, steps: int) -> Run:
    """Train in a process of its own."""
    command = [sys.executable, sys.argv[0], "--steps", str(steps), "--only", way]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Run(**json.loads(done.stdout))


def draw(runs: dict[str, Run], path: Path) -> None:
    """Save loss curves, step times and memory as a PNG."""
    figure, (curves, times, memory) = plt.subplots(
        1, 3, figsize=(7 + 2 * len(runs), 4.2), width_ratios=(4, len(runs), len(runs)), layout="constrained"
    )
    for way, run in runs.items():
        style = {"linewidth": 1.2} if "lossk" in way else {"linewidth": 4, "alpha": 0.5}
        curves.plot(run.losses, color=WAYS[way], label=way, **style)
        times.bar(way.replace(" with ", "\nwith "), run.step_seconds * 1e3, color=WAYS[way])
        memory.bar(way.replace(" with ", "\nwith "), run.extra_bytes / 2**20, color=WAYS[way])
    curves.set(xlabel="step", ylabel="cross-entropy (nats)", title="Loss")
    curves.legend(frameon=False)
    times.set(ylabel="ms", title="Time of a step")
    memory.set(ylabel="MiB", title="Memory of training")
    for axes in (curves, times, memory):
        axes.grid(alpha=0.3, axis="y")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run the ways, compare torch with lossk, draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100, help="batches to train on (default 100)")
    parser.add_argument("--bf16", action="store_true", help="train under autocast to bfloat16, too")
    parser.add_argument("--output", type=Path, default=Path("torch_lm.png"), help="where the picture goes")
    parser.add_argument("--only", choices=list(WAYS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps < 1:
        parser.error(f"--steps: got {options.steps}, wanted at least 1")
    if options.only:
        with lossk.torch.installed() if "lossk" in options.only else contextlib.nullcontext():
            json.dump(asdict(train(options.steps, "bf16" in options.only)), sys.stdout)
        return

    console = Console()
    text, classes = read_words()
    console.print(f"{len(text)} words, {classes} of them different; {BATCH * CONTEXT} x {classes} logits a step")
    runs = {way: run_apart(way, options.steps) for way in WAYS if options.bf16 or "bf16" not in way}
    table = Table("", "loss at the end", "step, ms", "memory of training, MiB")
    for way, run in runs.items():
        table.add_row(way, f"{run.losses[-1]:.4f}", f"{run.step_seconds * 1e3:.1f}", f"{run.extra_bytes / 2**20:.0f}")
    console.print(table)
    for kind in ("", ", bf16") if options.bf16 else ("",):
        pairs = zip(runs[f"torch{kind}"].losses, runs[f"torch with lossk{kind}"].losses, strict=True)
        console.print(f"loss curves{kind} differ by at most {max(abs(a - b) for a, b in pairs):.1e}")
    draw(runs, options.output)
    console.print(f"curves: {options.output}")


if __name__ == "__main__":
    main()

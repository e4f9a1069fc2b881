"""
Two classifiers of scanned digits, in NumPy
===========================================

NumPy does the matrix products; loss, gradient and update are lossk's. The data are the 1,797 handwritten digits (8 x 8
grey values, Alpaydin and Kaynak 1998) that scikit-learn ships. Softmax regression and a small two-layer network are
trained by mini-batch SGD with momentum; the test accuracy of both is printed, and their curves are saved as a picture::

    python examples/digits.py [--epochs 60] [--output digits.png]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import lossk

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

CLASSES = 10
BATCH = 64
LOSS = lossk.CrossEntropy()


# %%
# Data, and what is kept of a training run.
@dataclass
class Data:
    """Pixels (N, 64) in [0, 1] and labels (N), split into training and test."""

    x_train: Floats
    t_train: Labels
    x_test: Floats
    t_test: Labels


@dataclass
class History:
    """Mean training loss, test loss and test accuracy after each epoch."""

    train_loss: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)


# %%
# The models. Each returns its mean loss and the gradients of its parameters; the backward pass is written out, from the
# gradient that lossk writes over the logits.
class SoftmaxRegression:
    """logits = x w + b."""

    name = "softmax regression"
    lr, weight_decay = 0.2, 1e-4

    def __init__(self, rng: np.random.Generator) -> None:
        self.w = rng.normal(scale=0.01, size=(64, CLASSES)).astype(np.float32)
        self.b = np.zeros(CLASSES, np.float32)

    def parameters(self) -> list[Floats]:
        """Return the arrays that the optimizer updates."""
        return [self.w, self.b]

    def logits(self, x: Floats) -> Floats:
        """Return (N, 10) logits for (N, 64) pixels."""
        return x @ self.w + self.b

    def loss_and_gradients(self, x: Floats, t: Labels) -> tuple[float, list[Floats]]:
        """Return the mean loss and its gradient with respect to each parameter."""
        z = self.logits(x)
        loss, dz = LOSS.value_and_grad(z, t, out=z)  # the gradient overwrites the logits
        return loss, [x.T @ dz, dz.sum(axis=0)]


class TwoLayers:
    """logits = relu(x w1 + b1) w2 + b2, with 512 hidden units."""

    name = "two-layer network"
    lr, weight_decay = 0.05, 1e-3

    def __init__(self, rng: np.random.Generator, hidden: int = 512) -> None:
        self.w1 = (rng.normal(size=(64, hidden)) * np.sqrt(2 / 64)).astype(np.float32)
        self.b1 = np.zeros(hidden, np.float32)
        self.w2 = (rng.normal(size=(hidden, CLASSES)) * np.sqrt(1 / hidden)).astype(np.float32)
        self.b2 = np.zeros(CLASSES, np.float32)

    def parameters(self) -> list[Floats]:
        """Return the arrays that the optimizer updates."""
        return [self.w1, self.b1, self.w2, self.b2]

    def logits(self, x: Floats) -> Floats:
        """Return (N, 10) logits for (N, 64) pixels."""
        return np.asarray(np.maximum(x @ self.w1 + self.b1, 0) @ self.w2 + self.b2)

    def loss_and_gradients(self, x: Floats, t: Labels) -> tuple[float, list[Floats]]:
        """Return the mean loss and its gradient with respect to each parameter."""
        h = np.maximum(x @ self.w1 + self.b1, 0)
        z = h @ self.w2 + self.b2
        loss, dz = LOSS.value_and_grad(z, t, out=z)
        dh = (dz @ self.w2.T) * (h > 0)
        return loss, [x.T @ dh, dh.sum(axis=0), h.T @ dz, dz.sum(axis=0)]


Model = SoftmaxRegression | TwoLayers


# %%
# Training: mini-batches, SGD with Nesterov's momentum and a learning rate that falls along a cosine. ``stats=True``
# gives the test accuracy from the pass that computes the test loss.
def load() -> Data:
    """Read the digits and set a quarter of each class aside for the test."""
    x, t = load_digits(return_X_y=True)
    split = train_test_split(
        (x / 16).astype(np.float32), t.astype(np.int64), test_size=0.25, stratify=t, random_state=0
    )
    x_train, x_test, t_train, t_test = split
    return Data(np.ascontiguousarray(x_train), t_train, np.ascontiguousarray(x_test), t_test)


def batches(rng: np.random.Generator, n: int) -> Iterator[NDArray[np.int64]]:
    """Yield the indices of each mini-batch of one shuffled epoch."""
    order = rng.permutation(n)
    for start in range(0, n, BATCH):
        yield order[start : start + BATCH]


def train(model: Model, data: Data, epochs: int, rng: np.random.Generator, progress: Progress) -> History:
    """Train in place; the learning rate falls along a cosine."""
    sgd = lossk.SGD(model.parameters(), lr=model.lr, momentum=0.9, nesterov=True, weight_decay=model.weight_decay)
    history = History()
    task = progress.add_task(model.name, total=epochs, note="")
    for epoch in range(epochs):
        sgd.lr = model.lr * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
        losses = []
        for rows in batches(rng, len(data.t_train)):
            loss, gradients = model.loss_and_gradients(data.x_train[rows], data.t_train[rows])
            sgd.step(gradients)
            losses.append(loss)
        test_loss, stats = LOSS(model.logits(data.x_test), data.t_test, stats=True)
        history.train_loss.append(float(np.mean(losses)))
        history.test_loss.append(test_loss)
        history.accuracy.append(float(stats.correct.mean()))
        note = f"loss {history.train_loss[-1]:.4f}  test accuracy {history.accuracy[-1]:.4f}"
        progress.update(task, advance=1, note=note)
    return history


# %%
# Curves, and the run.
def draw(histories: dict[str, History], path: Path) -> None:
    """Save loss and accuracy curves of both models as a PNG."""
    figure, (loss_axes, accuracy_axes) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    for (name, history), color in zip(histories.items(), ("#0072B2", "#D55E00"), strict=True):
        epochs = np.arange(1, len(history.accuracy) + 1)
        loss_axes.plot(epochs, history.train_loss, color=color, label=f"{name}, training")
        loss_axes.plot(epochs, history.test_loss, color=color, linestyle="--", label=f"{name}, test")
        accuracy_axes.plot(
            epochs, history.accuracy, color=color, label=f"{name}: {history.accuracy[-1]:.1%} at the end"
        )
    loss_axes.set(xlabel="epoch", ylabel="cross-entropy (nats)", yscale="log", title="Loss")
    accuracy_axes.set(xlabel="epoch", ylabel="share of test digits", ylim=(0.88, 1.0), title="Test accuracy")
    loss_axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    loss_axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    loss_axes.yaxis.set_minor_formatter(NullFormatter())
    accuracy_axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for axes in (loss_axes, accuracy_axes):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.suptitle("Handwritten digits, mini-batch SGD with momentum on lossk's kernels")
    figure.savefig(path, dpi=150)


def main() -> None:
    """Train both models, print their accuracy, draw their curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60, help="passes over the training digits (default 60)")
    parser.add_argument("--output", type=Path, default=Path("digits.png"), help="where the picture goes")
    parser.add_argument("--seed", type=int, default=0, help="seed of initial weights and shuffling (default 0)")
    options = parser.parse_args()
    if options.epochs < 1:
        parser.error(f"--epochs: got {options.epochs}, wanted at least 1")

    console = Console()
    data = load()
    console.print(
        f"{len(data.t_train)} training and {len(data.t_test)} test digits; kernels: {lossk.isa()}, "
        f"{lossk.get_num_threads()} threads"
    )
    columns = (TextColumn("{task.description:20}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    histories: dict[str, History] = {}
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console) as progress:
        for kind in (SoftmaxRegression, TwoLayers):
            rng = np.random.default_rng(options.seed)
            model: Model = kind(rng)
            histories[model.name] = train(model, data, options.epochs, rng, progress)

    table = Table("model", "training loss", "test loss", "test accuracy")
    for name, history in histories.items():
        table.add_row(
            name, f"{history.train_loss[-1]:.4f}", f"{history.test_loss[-1]:.4f}", f"{history.accuracy[-1]:.4f}"
        )
    console.print(table)
    draw(histories, options.output)
    console.print(f"curves: {options.output}")


if __name__ == "__main__":
    main()

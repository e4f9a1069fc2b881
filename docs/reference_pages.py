"""Writes the pages of ``docs/reference``: every public name in lists, from which autosummary makes a page each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import lossk
import lossk.sklearn
import lossk.torch
import lossk.torch.distributed
from lossk import activations, distributed, information, objectives, optimizers
from lossk.losses import (
    bernoulli,
    ctc,
    divergences,
    insensitive,
    likelihood,
    margin,
    multilabel,
    overlap,
    pairs,
    regression,
    relative,
    rows,
    triplet,
)
from lossk.torch import activations as torch_activations
from lossk.torch import functional, modules, optim

FOLDER = Path(__file__).parent / "reference"
ESTIMATOR = "   :template: autosummary/estimator.rst\n"  # the methods that are its own
PLAIN = "   :template: autosummary/plain.rst\n"  # without the methods that classes have from torch

INTRODUCTION = """
Every public name, with its formula, shapes, errors, source and an example. What an instance can do is on the page of
its class; the formula in plain float64 NumPy is its ``reference``.

.. toctree::
   :hidden:

   information
   objectives
   torch
   torch_optim
   sklearn
   distributed
   torch_distributed
"""
ENVIRONMENT = """
Environment variables: ``LOSSK_NUM_THREADS`` and ``LOSSK_THREADS_BY`` (:doc:`/guide/threads`), ``LOSSK_ISA``
(:doc:`/dispatch`), ``LOSSK_PROFILE`` (:doc:`/speed`).
"""


def heading(title: str, line: str) -> str:
    """Return a title in RST."""
    return f"\n{title}\n{line * len(title)}\n"


def listing(names: Iterable[str], options: str = "") -> str:
    """Return the list of names that becomes a table, and a page each."""
    return f"\n.. autosummary::\n   :toctree: generated\n{options}\n" + "".join(f"   {name}\n" for name in names)


def write(page: str, module: ModuleType, text: str) -> None:
    """Write a page. Raises ValueError where it lacks a public name of its module."""
    public = {name for name in module.__all__ if not isinstance(getattr(module, name), ModuleType)}
    if missing := public - set(text.split()):
        raise ValueError(f"docs/reference_pages.py: no section has {', '.join(sorted(missing))} of {module.__name__}")
    head = heading("Reference" if module is lossk else module.__name__, "=")
    path = FOLDER / f"{page}.rst"
    if not path.exists() or path.read_text(encoding="utf-8") != head + text:  # else Sphinx would read it again
        path.write_text(head + text, encoding="utf-8")


def write_pages() -> None:
    """Write all pages."""
    FOLDER.mkdir(exist_ok=True)
    updates = sorted(optimizers.OPTIMIZERS)
    run_time = [n for n in lossk.__all__ if getattr(getattr(lossk, n), "__module__", "") == "lossk._runtime"]
    sections = {
        "Regression": [*regression.__all__, *insensitive.__all__, *relative.__all__],
        "Likelihoods": [*likelihood.__all__, "GaussianNLL"],
        "Two classes: margins, targets of ±1": margin.__all__,
        "Two classes: logits or probabilities, targets in [0, 1]": bernoulli.__all__,
        "Rows of classes": ["CrossEntropy", "LinearCrossEntropy", *rows.__all__, "RowStats"],
        "Rows with several classes, regions, distributions": [
            *multilabel.__all__,
            *overlap.__all__,
            *divergences.__all__,
        ],
        "Sequences": ctc.__all__,
        "Pairs and triplets": [*pairs.__all__, *triplet.__all__],
        "Activations and row functions": [*activations.__all__, "softmax", "log_softmax", "logsumexp"],
        "Optimizers": [*updates, "StepResult", "clip_grad_norm", "optimizers.Optimizer"],
        "Threads and instruction sets": run_time,
    }
    lists = "".join(heading(title, "-") + listing(names) for title, names in sections.items())
    write("index", lossk, INTRODUCTION + "\n.. currentmodule:: lossk\n" + lists + ENVIRONMENT)

    def start(module: ModuleType) -> str:
        name = module.__name__
        return f"\n.. automodule:: {name}\n   :no-members:\n\n.. currentmodule:: {name}\n"

    write("information", information, start(information) + listing(information.__all__))
    text = start(objectives) + "\n:doc:`/guide/objectives` says what each library wants.\n"
    write("objectives", objectives, text + listing(objectives.__all__))
    write("torch_optim", optim, start(optim) + listing(optim.__all__, PLAIN))
    write("sklearn", lossk.sklearn, start(lossk.sklearn) + listing(lossk.sklearn.__all__, ESTIMATOR))
    write("distributed", distributed, start(distributed) + listing(distributed.__all__))
    over_ranks = lossk.torch.distributed
    write("torch_distributed", over_ranks, start(over_ranks) + listing(over_ranks.__all__))
    named = {*torch_activations.__all__, *functional.__all__, *modules.__all__}
    named |= {"activations", "functional", "modules", "optim"}
    text = start(lossk.torch) + "\n:doc:`/guide/torch` says what runs on lossk's kernels and what on torch's.\n"
    text += heading("Functions", "-") + "\nThey are in ``lossk.torch.functional``, too.\n" + listing(functional.__all__)
    text += (
        heading("Activations", "-")
        + "\nThey are in ``lossk.torch.activations``, too.\n"
        + listing(torch_activations.__all__)
    )
    text += heading("Scripts as they are, and clipping", "-")
    text += listing(name for name in lossk.torch.__all__ if name not in named)
    text += heading("Modules", "-") + "\nThey are in ``lossk.torch.modules``, too.\n" + listing(modules.__all__, PLAIN)
    write("torch", lossk.torch, text)

"""What a new formula is made of: a header, an entry, a class; and what is still missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import lossk
from lossk import _core
from lossk.activations import ACTIVATIONS, GATED
from lossk.losses import LOSSES, PAIR_LOSSES, PairLoss, PointwiseLoss, RowLoss
from lossk.optimizers import OPTIMIZERS
from tests.support.sources import CPP, code, includes, shown


def formulas(folder: str) -> dict[str, Path]:
    """Names of the formulas in a folder's headers, and where each is."""
    return {
        name: file
        for file in sorted((CPP / folder).glob("*.hpp"))
        for name in re.findall(r'static constexpr const char\* name = "(\w+)"', code(file))
    }


def registered(what: str) -> set[str]:
    return set(re.findall(rf"\b{what}<(\w+)>\(\)", code(CPP / "registry.hpp")))


# Names of classes whose formula is another one's, with other parameters.
RENAMED = set(re.findall(r'_loss<\w+>\("(\w+)"\)', code(CPP / "registry.hpp")))


# A family of losses: the function of registry.hpp that makes its entries, its kernels by name, its base class.
LOSS_FAMILIES = {
    "pointwise_loss": (_core.pointwise_kernels, PointwiseLoss),
    "row_loss": (_core.rows_kernels, RowLoss),
    "pair_loss": (_core.pairs_kernels, PairLoss),
}


def entries_of(entry: str) -> set[str]:
    return registered(entry) | (registered("label_set_loss") if entry == "row_loss" else set())


def test_every_formula_is_reachable_from_the_registry() -> None:
    reached: set[Path] = set()

    def visit(file: Path) -> None:
        if file not in reached:
            reached.add(file)
            for other in includes(file):
                visit(other)

    visit(CPP / "registry.hpp")
    visit(CPP / "linear_amx.cpp")
    for folder in ("losses", "activations", "optimizers", "drivers", "simd"):
        for file in (CPP / folder).glob("*.hpp"):
            assert file in reached, (
                f"{shown(file)} is included by neither registry.hpp nor linear_amx.cpp, not even indirectly"
            )


@pytest.mark.parametrize("entry", LOSS_FAMILIES)
def test_a_loss_has_its_three_parts(entry: str) -> None:
    places, base = LOSS_FAMILIES[entry]
    entries, kernels = entries_of(entry), set(places) - registered("row_vjp") - RENAMED
    elsewhere = {name for other in LOSS_FAMILIES if other != entry for name in entries_of(other)}
    headers = {name: file for name, file in formulas("losses").items() if name not in elsewhere}
    # Cross-entropy is a family of its own: the softmax kernels.
    named = {name for cls in LOSSES.values() if issubclass(cls, base) for name in (cls._kernel, *cls._also)}
    named |= {name for name, cls in PAIR_LOSSES.items() if issubclass(cls, base)}
    classes = named - {"cross_entropy"} - RENAMED
    missing = []
    for name in sorted(set(headers) | entries | kernels | classes):
        if name not in headers:
            missing.append(f"{name}: a header src/cpp/losses/{name}.hpp with a struct whose `name` is {name!r}")
        if name not in entries:
            missing.append(f"{name}: an entry {entry}<{name}>() in src/cpp/registry.hpp")
        elif name in headers and name not in kernels:
            missing.append(f"{name}: a build; the compiled module is older than the registry")
        if name not in classes:
            missing.append(f"{name}: a Python class with _kernel = {name!r}, a docstring and a reference")
    assert not missing, "still missing:\n" + "\n".join(missing)


@pytest.mark.parametrize("name", LOSSES)
def test_a_class_has_docstring_reference_and_variants(name: str) -> None:
    cls = LOSSES[name]
    assert cls.__doc__, f"{cls.__name__} lacks a docstring"
    own = {key for base in cls.__mro__[: -2 if issubclass(cls, PointwiseLoss) else -1] for key in vars(base)}
    wanted = "_reference" if issubclass(cls, PointwiseLoss) else "reference"
    implemented = getattr(cls, wanted) is not getattr(PointwiseLoss, wanted, None)
    assert wanted in own, f"{cls.__name__} lacks {wanted}"
    assert implemented, f"{cls.__name__} lacks {wanted}"
    if issubclass(cls, RowLoss):
        assert cls._reference is not RowLoss._reference, f"{cls.__name__} lacks _reference"
    assert cls._variants
    assert cls._variants[0] == {}, f"{cls.__name__}: the first variant is that of the defaults"
    assert cls.__name__ in lossk.__all__, f"{cls.__name__} is not exported by lossk/__init__.py"
    assert getattr(lossk, cls.__name__) is cls


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_a_class_of_pairs_has_docstring_reference_and_variants(name: str) -> None:
    cls = PAIR_LOSSES[name]
    assert re.search(r"^    References\n    -+\n", cls.__doc__ or "", re.MULTILINE), f"{name}: no source is named"
    assert {"_draw", "_reference"} <= set(vars(cls)), f"{name} lacks _draw or _reference"
    assert cls._variants[0] == {}
    assert getattr(lossk, cls.__name__) is cls


def test_an_optimizer_has_its_parts() -> None:
    headers, kernels = formulas("optimizers"), set(_core.optimizer_kernels)
    entries = {*registered("optimizer"), *registered("optimizer_by_norms")} - {"F"}  # a template's own parameter
    assert set(headers) == entries == kernels
    made = {cls([], **variant)._kernel() for cls in OPTIMIZERS.values() for variant in cls._variants}
    assert {kernel for kernel, _ in made} == kernels, "some kernel is of no variant of an optimizer"
    for kernel, slots in made:
        assert len(slots) == _core.optimizer_kernels[kernel][1], f"{kernel} has another number of slots"
    for name, cls in OPTIMIZERS.items():
        assert name in lossk.__all__
        assert cls._variants[0] == {}
        assert "References\n" in (cls.__doc__ or ""), f"{name}: the docstring names no source"
        assert cls._reference is not lossk.optimizers.Optimizer._reference


def test_an_activation_has_its_three_parts() -> None:
    headers = formulas("activations")
    headers = {name: file for name, file in headers.items() if name not in registered("row_vjp")}
    assert {f"{name}_unit" for name in headers} == registered("activation") | registered("gated_activation")
    made = [cls(**variant) for cls in ACTIVATIONS.values() for variant in cls._variants]
    assert {act._kernel_of() for act in made} == set(_core.activation_kernels)
    assert {cls._kernel for cls in GATED.values()} == set(_core.gated_kernels)
    assert set(headers) == {*_core.activation_kernels, *_core.gated_kernels}
    for name, file in headers.items():
        assert file.stem == name
    for name, cls in {**ACTIVATIONS, **GATED}.items():
        assert cls.__doc__
        assert {"_reference", "reference"} & set(vars(cls)), name
        assert cls._variants[0] == {}
        assert name in lossk.__all__


def test_names_of_headers_are_those_of_their_formulas() -> None:
    for name, file in formulas("losses").items():
        assert name.startswith(file.stem), f"{shown(file)} holds {name}: grep must find every place"

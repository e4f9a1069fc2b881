"""The house: who may include or import whom, where macros and threads live, and what a new loss still misses."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

import lossk
from lossk import _core
from lossk.activations import ACTIVATIONS
from lossk.losses import LOSSES, PointwiseLoss, RowLoss
from lossk.optimizers import OPTIMIZERS

ROOT = Path(__file__).parent.parent
CPP = ROOT / "src" / "cpp"
PYTHON = ROOT / "python" / "lossk"

# ---- C++ ----------------------------------------------------------------------------------------------------------

# A folder or a file directly in src/cpp, and its floor.
FLOORS = {
    "base": 0,
    "simd": 1,
    "losses": 2,
    "activations": 2,
    "optimizers": 2,
    "drivers": 3,
    "registry.hpp": 4,
    "kernels.cpp": 4,
    "linear_bf16.cpp": 4,
    "runtime": 5,
    "binding": 6,
    "module.cpp": 7,
}
# What is compiled once per instruction set. The rest must not see its inline functions: the linker keeps one copy of
# each, and it may be the one with AVX-512.
PER_ISA = ("simd", "losses", "activations", "optimizers", "drivers", "registry.hpp", "kernels.cpp", "linear_bf16.cpp")
# The only system headers there: types and intrinsics, nothing that could become a weak symbol.
HARMLESS = {"cstdint", "cstddef", "immintrin.h", "arm_neon.h"}


def room(file: Path) -> str:
    """The folder of a source file, or its name if it lies directly in src/cpp."""
    return file.relative_to(CPP).parts[0]


def sources() -> list[Path]:
    return sorted(p for p in CPP.rglob("*") if p.suffix in (".hpp", ".cpp", ".h", ".cc"))


@functools.cache
def code(file: Path) -> str:
    """The text without comments (strings stay)."""
    text = re.sub(r"/\*.*?\*/", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"//[^\n]*", "", text)


def includes(file: Path) -> list[Path]:
    found = []
    for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', code(file), re.MULTILINE):
        candidates = [(file.parent / name).resolve(), (CPP / name).resolve()]
        found.append(next((c for c in candidates if c.exists()), candidates[0]))
    return found


def system_includes(file: Path) -> set[str]:
    return set(re.findall(r"^\s*#\s*include\s+<([^>]+)>", code(file), re.MULTILINE))


def shown(file: Path) -> str:
    return str(file.relative_to(ROOT))


each_source = pytest.mark.parametrize("file", sources(), ids=shown)


def test_there_is_something_to_look_at() -> None:
    assert {room(f) for f in sources()} == set(FLOORS), "a folder without a floor, or a floor without a folder"
    assert sum(len(includes(f)) for f in sources()) > 30
    assert any(system_includes(f) for f in sources())


@each_source
def test_includes_go_down(file: Path) -> None:
    for other in includes(file):
        assert other.exists(), f"{shown(file)} includes {other}, which does not exist"
        own, theirs = room(file), room(other)
        beside = own == theirs or {own, theirs} == {"registry.hpp", "kernels.cpp"}
        assert beside or FLOORS[theirs] < FLOORS[own], (
            f"{shown(file)} (floor {FLOORS[own]}) includes {shown(other)} (floor {FLOORS[theirs]})"
        )


@each_source
def test_code_of_one_instruction_set_stays_in_its_object(file: Path) -> None:
    if room(file) in (*PER_ISA, "base"):
        assert system_includes(file) <= HARMLESS, f"{shown(file)} includes {sorted(system_includes(file) - HARMLESS)}"
        for word in ("std::vector", "std::max", "std::min", "std::numeric_limits", "std::array", "throw "):
            assert word not in code(file), f"{shown(file)} uses {word.strip()}"
    else:
        leaking = [shown(other) for other in includes(file) if room(other) in PER_ISA]
        assert not leaking, f"{shown(file)} is compiled once, but includes {leaking}"


def test_includes_have_no_cycles() -> None:
    done: set[Path] = set()

    def visit(file: Path, path: tuple[Path, ...]) -> None:
        assert file not in path, " -> ".join(shown(f) for f in (*path, file))
        if file in done:
            return
        for other in includes(file):
            visit(other, (*path, file))
        done.add(file)

    for file in sources():
        visit(file, ())
    assert len(done) == len(sources())


@each_source
def test_macros_only_in_base(file: Path) -> None:
    if room(file) != "base":
        defined = re.findall(r"^\s*#\s*define\s+(\w+)", code(file), re.MULTILINE)
        assert not defined, f"{shown(file)} defines {defined}"


@each_source
def test_threads_only_in_parallel(file: Path) -> None:
    if file not in [CPP / "runtime" / name for name in ("parallel.cpp", "team.cpp", "openmp.cpp")]:
        words = r"#\s*pragma\s+omp|\bomp_\w+|<omp\.h>|std::thread|std::async|pthread_(?!atfork)\w+"
        threads = re.findall(words, code(file))
        assert not threads, f"{shown(file)} knows threads: {threads}"


def test_openmp_is_in_one_file() -> None:
    assert [shown(file) for file in sources() if "#pragma omp" in code(file)] == ["src/cpp/runtime/openmp.cpp"]


@each_source
def test_headers_are_included_once(file: Path) -> None:
    if file.suffix == ".hpp":
        assert "#pragma once" in code(file)


@each_source
def test_kernels_have_internal_linkage(file: Path) -> None:
    if room(file) in PER_ISA and file.suffix == ".hpp":
        assert re.search(r"^namespace \{$", code(file), re.MULTILINE), f"{shown(file)} has no anonymous namespace"


# ---- a new loss is three edits ------------------------------------------------------------------------------------


def formulas(folder: str) -> dict[str, Path]:
    """Names of the formulas in a folder's headers, and where each is."""
    return {
        name: file
        for file in sorted((CPP / folder).glob("*.hpp"))
        for name in re.findall(r'static constexpr const char\* name = "(\w+)"', code(file))
    }


def registered(what: str) -> set[str]:
    return set(re.findall(rf"\b{what}<(\w+)>\(\)", code(CPP / "registry.hpp")))


def test_every_formula_is_reachable_from_the_registry() -> None:
    reached: set[Path] = set()

    def visit(file: Path) -> None:
        if file not in reached:
            reached.add(file)
            for other in includes(file):
                visit(other)

    visit(CPP / "registry.hpp")
    for folder in ("losses", "activations", "optimizers", "drivers", "simd"):
        for file in (CPP / folder).glob("*.hpp"):
            assert file in reached, f"{shown(file)} is not included by registry.hpp, not even indirectly"


# A family of losses: the function of registry.hpp that makes its entries, its kernels by name, its base class.
LOSS_FAMILIES = {
    "pointwise_loss": (_core.pointwise_kernels, PointwiseLoss),
    "row_loss": (_core.rows_kernels, RowLoss),
}


@pytest.mark.parametrize("entry", LOSS_FAMILIES)
def test_a_loss_has_its_three_parts(entry: str) -> None:
    places, base = LOSS_FAMILIES[entry]
    entries, kernels = registered(entry), set(places) - registered("row_vjp")
    elsewhere = {name for other in LOSS_FAMILIES if other != entry for name in registered(other)}
    headers = {name: file for name, file in formulas("losses").items() if name not in elsewhere}
    # Cross-entropy is a family of its own: the softmax kernels.
    named = {name for cls in LOSSES.values() if issubclass(cls, base) for name in (cls._kernel, *cls._also)}
    classes = named - {"cross_entropy"}
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
        assert {"reference", "_reference"} & set(vars(cls)), f"{cls.__name__} lacks _reference"
    assert cls._variants
    assert cls._variants[0] == {}, f"{cls.__name__}: the first variant is that of the defaults"
    assert cls.__name__ in lossk.__all__, f"{cls.__name__} is not exported by lossk/__init__.py"


def test_an_optimizer_has_its_parts() -> None:
    headers, entries, kernels = formulas("optimizers"), registered("optimizer"), set(_core.optimizer_kernels)
    assert set(headers) == entries == kernels
    made = {cls([], **variant)._kernel() for cls in OPTIMIZERS.values() for variant in cls._variants}
    assert {kernel for kernel, _ in made} == kernels, "some kernel is of no variant of an optimizer"
    for kernel, slots in made:
        assert len(slots) == _core.optimizer_kernels[kernel][1], f"{kernel} has another number of slots"


def test_an_activation_has_its_three_parts() -> None:
    headers, kernels = formulas("activations"), set(_core.activation_kernels)
    headers = {name: file for name, file in headers.items() if name not in registered("row_vjp")}
    assert set(headers) == kernels == set(ACTIVATIONS)
    assert {f"{name}_unit" for name in headers} == registered("activation")
    for name, cls in ACTIVATIONS.items():
        assert headers[name].stem == name
        assert cls.__doc__
        assert "_reference" in vars(cls)
        assert cls._variants[0] == {}
        assert cls.__name__ in lossk.__all__


def test_names_of_headers_are_those_of_their_formulas() -> None:
    for name, file in formulas("losses").items():
        assert name.startswith(file.stem), f"{shown(file)} holds {name}: grep must find every place"


# ---- Python -------------------------------------------------------------------------------------------------------

FAMILIES = (
    "_linear",
    "activations",
    "row_functions",
    "information",
    "optimizers",
)
PYTHON_FLOORS = {
    "_core": 0,
    "_profile": 1,
    "_runtime": 1,
    "_arrays": 1,
    "_names": 1,
    "_keywords": 2,
    "_parameters": 2,
    "_request": 2,
    "losses": 3,
    **dict.fromkeys(FAMILIES, 4),
    "__init__": 5,
    "torch": 6,
    "objectives": 6,
    "distributed": 6,
    "cli": 7,
    "__main__": 8,
}
# Within a floor: who may import whom.
BESIDE = {
    *(
        ("_runtime", "_arrays"),
        ("_runtime", "_profile"),
    ),
}


def modules() -> list[Path]:
    return sorted(PYTHON.rglob("*.py"))


def part(dotted: tuple[str, ...]) -> str:
    """The room of a module given by its path inside the package."""
    return dotted[0] if dotted else "__init__"


def imported(file: Path) -> set[str]:
    """Rooms of the package that a module imports, anywhere in it."""
    inside = file.relative_to(PYTHON).with_suffix("").parts
    package = inside[:-1]
    rooms: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names = tuple(alias.name.split("."))
                if names[0] == "lossk":
                    rooms.add(part(names[1:]))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            path = (*base, *(node.module.split(".") if node.module else ()))
            if not node.level:
                if path[:1] != ("lossk",):
                    continue
                path = path[1:]
            if path:
                rooms.add(part(path))
            else:
                rooms |= {a.name if a.name in PYTHON_FLOORS else "__init__" for a in node.names}
    return rooms


@pytest.mark.parametrize("file", modules(), ids=shown)
def test_imports_go_down(file: Path) -> None:
    own = part(file.relative_to(PYTHON).with_suffix("").parts)
    assert own in PYTHON_FLOORS, f"{shown(file)} has no floor"
    for other in imported(file):
        allowed = other == own or (own, other) in BESIDE or PYTHON_FLOORS[other] < PYTHON_FLOORS[own]
        assert allowed, f"{shown(file)} (floor {PYTHON_FLOORS[own]}) imports {other} (floor {PYTHON_FLOORS[other]})"


def test_imports_are_found() -> None:
    assert {"_core", "_arrays", "_request"} <= imported(PYTHON / "losses" / "_rows.py")
    assert {"_runtime", "losses", "_linear"} <= imported(PYTHON / "__init__.py")


@pytest.mark.parametrize("file", modules(), ids=shown)
def test_only_families_and_runtime_call_the_compiled_module(file: Path) -> None:
    own = part(file.relative_to(PYTHON).with_suffix("").parts)
    if "_core" in imported(file):
        callers = (*FAMILIES, "losses", "_runtime", "_profile", "_arrays")
        assert own in callers, f"{shown(file)} calls _core itself"


# ---- every file says what it does ---------------------------------------------------------------------------------


@pytest.mark.parametrize("file", [*sources(), *modules(), *sorted((ROOT / "tests").glob("*.py"))], ids=shown)
def test_the_first_line_says_what_the_file_does(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".py":
        doc = ast.get_docstring(ast.parse(text))
        assert doc, f"{shown(file)} has no docstring"
    else:
        first = text.split("\n", 1)[0]
        said = first.startswith("// ") or file.stem in {o.stem for o in includes(file)}  # said by its header
        assert said, f"{shown(file)} starts with {first!r}"

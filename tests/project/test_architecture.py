"""The house: who may include or import whom, where macros and threads live, and what every file says first."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.support.sources import CPP, PYTHON, ROOT, code, folder, includes, modules, shown, sources, system_includes

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
    "linear_amx.cpp": 4,
    "runtime": 5,
    "binding": 6,
    "module.cpp": 7,
}
# What is compiled once per instruction set. The rest must not see its inline functions: the linker keeps one copy of
# each, and it may be the one with AVX-512.
UNITS = ("linear_bf16.cpp", "linear_amx.cpp")
PER_ISA = ("simd", "losses", "activations", "optimizers", "drivers", "registry.hpp", "kernels.cpp", *UNITS)
# The only system headers there: types and intrinsics, nothing that could become a weak symbol.
HARMLESS = {"cstdint", "cstddef", "immintrin.h", "arm_neon.h"}


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
    "distributed": 5,
    "__init__": 5,
    "torch": 6,
    "objectives": 6,
    "sklearn": 6,
    "cli": 7,
    "__main__": 8,
}
# Within a floor: who may import whom.
SAME_FLOOR = {
    *(
        ("_runtime", "_arrays"),
        ("_runtime", "_profile"),
    ),
}


def part(dotted: tuple[str, ...]) -> str:
    """The part of the package that a module belongs to, given its path inside it."""
    return dotted[0] if dotted else "__init__"


def imported(file: Path) -> set[str]:
    """Parts of the package that a module imports, anywhere in it."""
    inside = file.relative_to(PYTHON).with_suffix("").parts
    package = inside[:-1]
    parts: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names = tuple(alias.name.split("."))
                if names[0] == "lossk":
                    parts.add(part(names[1:]))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            path = (*base, *(node.module.split(".") if node.module else ()))
            if not node.level:
                if path[:1] != ("lossk",):
                    continue
                path = path[1:]
            if path:
                parts.add(part(path))
            else:
                parts |= {a.name if a.name in PYTHON_FLOORS else "__init__" for a in node.names}
    return parts


def test_there_is_something_to_look_at() -> None:
    assert {folder(f) for f in sources()} == set(FLOORS), "a folder without a floor, or a floor without a folder"
    assert sum(len(includes(f)) for f in sources()) > 30
    assert any(system_includes(f) for f in sources())


def test_includes_go_down() -> None:
    for file in sources():
        for other in includes(file):
            assert other.exists(), f"{shown(file)} includes {other}, which does not exist"
            own, theirs = folder(file), folder(other)
            together = own == theirs or {own, theirs} == {"registry.hpp", "kernels.cpp"}
            assert together or FLOORS[theirs] < FLOORS[own], (
                f"{shown(file)} (floor {FLOORS[own]}) includes {shown(other)} (floor {FLOORS[theirs]})"
            )


def test_code_of_one_instruction_set_stays_in_its_object() -> None:
    for file in sources():
        if folder(file) in (*PER_ISA, "base"):
            others = sorted(system_includes(file) - HARMLESS)
            assert not others, f"{shown(file)} includes {others}"
            for word in ("std::vector", "std::max", "std::min", "std::numeric_limits", "std::array", "throw "):
                assert word not in code(file), f"{shown(file)} uses {word.strip()}"
        else:
            leaking = [shown(other) for other in includes(file) if folder(other) in PER_ISA]
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


def test_macros_are_in_base_alone() -> None:
    for file in sources():
        if folder(file) != "base":
            defined = re.findall(r"^\s*#\s*define\s+(\w+)", code(file), re.MULTILINE)
            assert not defined, f"{shown(file)} defines {defined}"


def test_threads_are_in_the_runtime_alone() -> None:
    words = r"#\s*pragma\s+omp|\bomp_\w+|<omp\.h>|std::thread|std::async|pthread_(?!atfork)\w+"
    for file in sources():
        if file not in [CPP / "runtime" / name for name in ("parallel.cpp", "team.cpp", "openmp.cpp")]:
            threads = re.findall(words, code(file))
            assert not threads, f"{shown(file)} knows threads: {threads}"


def test_openmp_is_in_one_file() -> None:
    assert [shown(file) for file in sources() if "#pragma omp" in code(file)] == ["src/cpp/runtime/openmp.cpp"]


def test_headers_are_included_once() -> None:
    assert [shown(file) for file in sources() if file.suffix == ".hpp" and "#pragma once" not in code(file)] == []


def test_kernels_have_internal_linkage() -> None:
    for file in sources():
        if folder(file) in PER_ISA and file.suffix == ".hpp":
            assert re.search(r"^namespace \{$", code(file), re.MULTILINE), f"{shown(file)} has no anonymous namespace"


def test_imports_go_down() -> None:
    for file in modules():
        own = part(file.relative_to(PYTHON).with_suffix("").parts)
        assert own in PYTHON_FLOORS, f"{shown(file)} has no floor"
        for other in imported(file):
            allowed = other == own or (own, other) in SAME_FLOOR or PYTHON_FLOORS[other] < PYTHON_FLOORS[own]
            assert allowed, f"{shown(file)} (floor {PYTHON_FLOORS[own]}) imports {other} (floor {PYTHON_FLOORS[other]})"


def test_imports_are_found() -> None:
    assert {"_core", "_arrays", "_request"} <= imported(PYTHON / "losses" / "_rows.py")
    assert {"_runtime", "losses", "_linear"} <= imported(PYTHON / "__init__.py")


def test_only_families_and_runtime_call_the_compiled_module() -> None:
    callers = (*FAMILIES, "losses", "distributed", "_runtime", "_profile", "_arrays")
    for file in modules():
        if "_core" in imported(file):
            own = part(file.relative_to(PYTHON).with_suffix("").parts)
            assert own in callers, f"{shown(file)} calls _core itself"


def test_the_first_line_says_what_the_file_does() -> None:
    for file in [*sources(), *modules(), *sorted((ROOT / "tests").rglob("*.py"))]:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".py":
            assert ast.get_docstring(ast.parse(text)), f"{shown(file)} has no docstring"
        else:
            first = text.split("\n", 1)[0]
            said = first.startswith("// ") or file.stem in {o.stem for o in includes(file)}  # said by its header
            assert said, f"{shown(file)} starts with {first!r}"

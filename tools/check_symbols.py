"""Check that every ISA object exports its table of kernels and nothing else.

A weak symbol in an object that was compiled with ``-mavx512f`` may win over the baseline's copy of the same inline
function, and the program then dies of an illegal instruction on older CPUs. So each object may define one global
symbol, nothing weak and no initialisers, and may refer to nothing but the memory functions of the C library.

    python tools/check_symbols.py build/dev build/debug
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NAMES = ("kernels.cpp.o", "linear_bf16.cpp.o", "linear_amx.cpp.o")
ALLOWED_UNDEFINED = {"memcpy", "memset", "memmove", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}


def problems_of(path: Path) -> list[str]:
    """Return what is wrong with one object."""
    listing = subprocess.run(["nm", "--format=posix", path], check=True, capture_output=True, text=True).stdout
    symbols = [(fields[0], fields[1]) for fields in map(str.split, listing.splitlines()) if len(fields) >= 2]
    found = [f"weak symbol {name}" for name, kind in symbols if kind in "WwVvu"]
    found += [f"refers to {name}" for name, kind in symbols if kind == "U" and name not in ALLOWED_UNDEFINED]
    exported = [name for name, kind in symbols if kind.isupper() and kind != "U"]
    if len(exported) != 1 or "table_" not in exported[0]:
        found.append(f"exports {exported}, wanted its table alone")
    sections = subprocess.run(["readelf", "-SW", path], check=True, capture_output=True, text=True).stdout
    found += [f"has a section {name}" for name in (".init_array", ".ctors") if name in sections]
    return found


def main(folders: list[str]) -> int:
    """Check every kernels object below the folders; return the exit code."""
    objects = [path for folder in folders for path in sorted(p for name in NAMES for p in Path(folder).rglob(name))]
    if not objects:
        print(f"check_symbols: no kernels below {folders or '(no folder given)'}; build first", file=sys.stderr)
        return 2
    failed = False
    for path in objects:
        found = problems_of(path)
        failed |= bool(found)
        print(f"{path}: {'; '.join(found) or 'one table, nothing else'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

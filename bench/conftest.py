"""What all maintainers' benchmarks share: an environment without OpenBLAS overrides, and facts of the machine."""

from __future__ import annotations

import os
from typing import Any

for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # before NumPy is imported; some environments export them
    os.environ.pop(_name, None)


def pytest_benchmark_update_machine_info(config: Any, machine_info: dict[str, Any]) -> None:
    """Add versions, CPU, caches, instruction sets, threads and thread pools to the JSON."""
    from threadpoolctl import threadpool_info

    from lossk import _runtime

    machine_info.update(lossk=_runtime.versions(), threadpools=threadpool_info())

"""lossk.torch, and agreement with PyTorch."""

import pytest

pytest.importorskip("torch", reason="torch is not installed: lossk.torch was not tested")
pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed: lossk.torch was not tested in bfloat16")

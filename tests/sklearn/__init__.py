"""lossk.sklearn, and agreement with scikit-learn's linear models."""

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: lossk.sklearn was not tested")

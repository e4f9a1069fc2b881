"""The first calls of the fuzzer find nothing, and are of every kind."""

from __future__ import annotations

import numpy as np
import pytest

import lossk
from lossk.activations import ACTIVATIONS, GATED
from lossk.losses import LOSSES, PAIR_LOSSES
from lossk.optimizers import OPTIMIZERS
from tests.fuzz import losses
from tests.fuzz.__main__ import CALLS, OTHERS, fuzz
from tests.fuzz.calls import Call, FindingError, examine


def test_drawn_calls_do_what_their_references_do() -> None:
    counts, findings = fuzz(0, range(1500))
    assert not findings, "\n".join(findings)
    for kind, _ in CALLS:
        assert counts[f"{kind.__name__} compared"] > 10
        assert counts[f"{kind.__name__} refused"] > 0
    for kind, _ in OTHERS:
        assert sum(n for name, n in counts.items() if name.startswith(kind.__name__)) > 10


def test_everything_in_the_catalogues_is_drawn() -> None:
    """Within 5,000 draws of losses; the others are picked from their catalogues as they are."""
    rng = np.random.default_rng(0)
    kinds = (losses.samples, losses.rows, losses.pairs)
    drawn = {type(kinds[i % 3](rng).function.__self__) for i in range(5000)}
    assert drawn == {*LOSSES.values(), *PAIR_LOSSES.values()}
    assert min(map(len, (ACTIVATIONS, GATED, OPTIMIZERS))) > 0


@pytest.mark.parametrize("wrong", ["value", "bits", "input", "exception"])
def test_what_is_wrong_is_found(wrong: str) -> None:
    z, y = np.linspace(-1, 1, 40).astype(np.float32), np.zeros(40, np.float32)
    loss = lossk.Huber()

    def grad(z: np.ndarray, y: np.ndarray, num_threads: int | None = None) -> np.ndarray:
        result = loss.grad(z, y)
        if wrong == "value":
            result[3] *= 1.001
        elif wrong == "bits" and num_threads == 2:
            result[3] = np.nextafter(result[3], 2)
        elif wrong == "input":
            y[0] = 1
        elif wrong == "exception":
            raise ValueError("z: got it, wanted another")
        return result

    def reference(z: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        return [loss.reference(z, y, derivatives=True)[1]]

    call = Call("grad", grad, {"z": z, "y": y}, {}, reference, lambda *_: [0.0], how={"num_threads": 2})
    with pytest.raises(FindingError):
        examine(call)

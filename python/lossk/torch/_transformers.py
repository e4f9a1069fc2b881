"""The causal language model's loss of transformers, without its float32 copy of the logits."""

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import Any

import torch

from ._autograd import evaluate
from ._last_layer import MODELS, Logits
from ._linear import How
from ._losses import CROSS_ENTROPY
from ._tensors import INTEGERS

# transformers, the module of its function, that one's name, and the table of losses that models choose from.
PACKAGE, MODULE, NAME, TABLE = "transformers", "transformers.loss.loss_utils", "ForCausalLMLoss", "LOSS_MAPPING"


def causal_lm_loss(
    logits: Any,
    labels: Any,
    vocab_size: int,
    num_items_in_batch: Any = None,
    ignore_index: int = -100,
    shift_labels: Any = None,
    **_: Any,
) -> Any:
    """Return the cross-entropy of each token's logits with the next token.

    What transformers' ``ForCausalLMLoss`` returns, a float32 loss for logits of 16 bits too, but those are not copied
    to float32. `install` puts it in that function's place.

    Parameters
    ----------
    logits : Tensor, shape (..., S, vocab_size)
        Logits of S tokens.
    labels : Tensor of integers, shape (..., S)
        The tokens; those that are `ignore_index` do not count. Not read where `shift_labels` is given.
    vocab_size : int
        The number of classes.
    num_items_in_batch : Tensor or int, optional
        Divisor of the sum in place of the number of tokens that count, for gradients that are accumulated.
    shift_labels : Tensor of integers, shape (..., S), optional
        The next token of each.

    References
    ----------
    ``transformers.loss.loss_utils.ForCausalLMLoss``.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> logits = torch.zeros(1, 3, 8, dtype=torch.bfloat16)
    >>> lossk.torch.causal_lm_loss(logits, torch.tensor([[1, 2, 3]]), vocab_size=8)
    tensor(2.0794)
    """
    if shift_labels is None:
        if labels.dtype in INTEGERS:  # of a type, too, that does not hold ignore_index
            labels = labels.long()
        shift_labels = torch.nn.functional.pad(labels, (0, 1), value=ignore_index)[..., 1:]
    if isinstance(logits, Logits):
        count = None if num_items_in_batch is None else float(num_items_in_batch)
        if shift_labels.shape == logits.shape[:-1] and logits.shape[-1] == vocab_size:
            value = logits.source.loss(shift_labels.reshape(-1), ignore_index, How("mean", True, count))
            if value is not None:
                return value
        logits = logits.source.read()
    rows, target = logits.reshape(-1, vocab_size), shift_labels.reshape(-1).to(logits.device)
    options = (ignore_index, 0.0)
    if num_items_in_batch is None:
        return evaluate(CROSS_ENTROPY, rows, target, None, None, options, "mean", wide=True)
    if torch.compiler.is_compiling() or rows.device.type != "cpu":
        count = num_items_in_batch
        count = count.to(rows.device) if torch.is_tensor(count) else count
        return evaluate(CROSS_ENTROPY, rows, target, None, None, options, "sum", wide=True) / count
    # A divisor that is known beforehand is in the gradient from the beginning.
    count = float(num_items_in_batch)
    return evaluate(CROSS_ENTROPY, rows, target, None, None, options, "sum", wide=True, normalizer=count)


def original() -> Any:
    """Return transformers' function; None where it is not imported.

    transformers imports its modules when their names are first asked for, which may be after `install`.
    """
    if PACKAGE in sys.modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(MODELS)
    return getattr(sys.modules.get(MODULE), NAME, None)


def places(function: Any) -> list[tuple[dict[str, Any], str]]:
    """Return where transformers holds a function, as dictionaries and keys.

    Every module counts: Trainer asks whether the function of a model's table is the one that it has imported.
    """
    modules = [vars(m) for name, m in sys.modules.copy().items() if name.split(".")[0] == PACKAGE and m is not None]
    table: dict[str, Any] = getattr(sys.modules.get(MODULE), TABLE, {})
    return [(place, key) for place in (*modules, table) for key, value in place.copy().items() if value is function]

"""Puts lossk under torch.nn.functional, and takes it away again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from . import _transformers, functional
from ._last_layer import Models

_lock = threading.Lock()
_always = _always_last_layer = False
_blocks = _blocks_last_layer = 0
_models = Models(_transformers.causal_lm_loss)
# What was replaced in torch.nn.functional: name, what was there, what is there now; and transformers' function.
_replaced: list[tuple[str, Any, Any]] = []
_causal_lm: Any = None


def install(*, last_layer: bool = True) -> None:
    """Put lossk's functions in place of those of torch.nn.functional, for the whole process.

    Whoever calls ``torch.nn.functional.cross_entropy`` and its like through the module gains, modules of torch.nn and
    transformers among them; what lossk does not take goes to torch as before. References taken earlier (``from
    torch.nn.functional import cross_entropy``), methods of tensors and TorchScript keep torch's functions. Where
    transformers is imported, its causal language model's loss becomes `causal_lm_loss`; import it first.

    Installing twice is installing once, but takes in a transformers that was imported since, and the last `last_layer`.

    Parameters
    ----------
    last_layer : bool
        Whether models of transformers compute that loss from the hidden states, and logits only when something reads
        them, which must be before the weights change.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> lossk.torch.install()
    >>> torch.nn.functional.huber_loss is lossk.torch.huber_loss
    True
    >>> lossk.torch.uninstall()
    >>> torch.nn.functional.huber_loss is lossk.torch.huber_loss
    False
    """
    global _always, _always_last_layer
    _check(last_layer)
    with _lock:
        _always, _always_last_layer = True, last_layer
        _update()


def uninstall() -> None:
    """Put back what `install` replaced; blocks of `installed` that are running stay as they are.

    Examples
    --------
    >>> import lossk.torch
    >>> lossk.torch.uninstall()  # does nothing where nothing is installed
    """
    global _always, _always_last_layer
    with _lock:
        _always = _always_last_layer = False
        _update()


@contextmanager
def installed(*, last_layer: bool = True) -> Iterator[None]:
    """Have lossk installed for a block, in all threads; blocks may be nested, and may overlap in threads.

    Parameters
    ----------
    last_layer : bool
        As in `install`; True where one of several that are active has True.

    Examples
    --------
    >>> import torch, lossk.torch
    >>> with lossk.torch.installed():
    ...     loss = torch.nn.MSELoss()(torch.ones(3), torch.zeros(3))
    >>> loss
    tensor(1.)
    """
    global _blocks, _blocks_last_layer
    _check(last_layer)
    with _lock:
        _blocks += 1
        _blocks_last_layer += last_layer
        _update()
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            _blocks_last_layer -= last_layer
            _update()


def _check(last_layer: Any) -> None:
    if not isinstance(last_layer, bool):
        raise TypeError(f"last_layer: got {last_layer!r}, wanted True or False")


def _update() -> None:
    """Make what is there what should be there."""
    global _causal_lm
    wanted = _always or _blocks > 0
    if wanted and not _replaced:
        theirs = vars(torch.nn.functional)
        for name in functional.__all__:
            if name in theirs:
                _replaced.append((name, theirs[name], getattr(functional, name)))
                theirs[name] = getattr(functional, name)
    if wanted:  # transformers may have been imported since
        found = _transformers.original()
        if found is not _transformers.causal_lm_loss:
            _causal_lm = found
        _move(_causal_lm, _transformers.causal_lm_loss)
    elif _replaced:
        theirs = vars(torch.nn.functional)
        while _replaced:
            name, before, now = _replaced.pop()
            if theirs.get(name) is now:  # else someone else has replaced it since
                theirs[name] = before
        _move(_transformers.causal_lm_loss, _causal_lm)
        _causal_lm = None
    _models.update(_always_last_layer or _blocks_last_layer > 0)


def _move(before: Any, now: Any) -> None:
    """Put one function in the place of another in all of transformers, in modules, too, that were imported since."""
    if before is not None and now is not None:
        for place, key in _transformers.places(before):
            place[key] = now

"""Targets of rows: labels brought to integers, or probabilities; and what was probably meant by anything else."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import FLOATS, Array, contiguous, convert, read_array, real_kind

MISSING = "one that is missing may be ignore_index"


def labels_of(target: Any, shape: tuple[int, ...], classes: int) -> Array:
    """Return labels of this shape, of an integer type."""
    return labels_or_probabilities(target, (*shape, classes), len(shape), True, None)


def labels_or_probabilities(
    target: Any,
    shape: tuple[int, ...],
    axis: int,
    labels: bool,
    probabilities: np.dtype[Any] | None,
    elements: str = "probabilities",
) -> Array:
    """Return labels of an integer type, of `shape` without `axis`, or probabilities of `shape`, their classes last.

    `labels` tells whether labels are taken, `probabilities` the type that those get; None: they are not taken.
    `elements` is what the error calls them.
    """
    of_labels = shape[:axis] + shape[axis + 1 :]
    wanted = [f"integer labels of shape {of_labels}"] if labels else []
    if probabilities is not None:
        wanted.append(f"{elements} of shape {shape}")
    y = read_array("target", target, " or ".join(wanted))
    kind = real_kind(y.dtype)
    if labels and y.shape == of_labels:
        return as_labels(y)
    # Integers of the shape of z are probabilities only where they are typed in by hand.
    float_like = kind == "f" or (kind in "iub" and not (labels and isinstance(target, np.ndarray)))
    if probabilities is not None and y.shape == shape and float_like:
        return convert("target", np.moveaxis(y, axis, -1), probabilities)
    fits = (labels and kind in "iub") or (probabilities is not None and kind == "f")
    text = f"target: got {y.dtype} of shape {y.shape}, wanted {' or '.join(wanted)}"
    advice = _advice(y.shape, kind, shape, axis, labels, probabilities is not None)
    raise (ValueError if fits else TypeError)(text + advice)


def as_labels(y: Array) -> Array:
    """Return labels of an integer type; bools are 0 and 1, floats are taken where every one is an integer."""
    kind = real_kind(y.dtype)
    if kind in "iu":
        return contiguous("target", y, y.dtype)
    if kind == "b":
        return contiguous("target", y, y.dtype).view(np.uint8)
    if y.dtype.newbyteorder("=") in FLOATS:
        whole = (np.abs(y) < 2.0**63) & (np.floor(y) == y)
        if whole.all():
            return contiguous("target", y, np.dtype(np.int64))
        first = np.unravel_index(int(np.argmin(whole)), y.shape)
        at = f"[{', '.join(str(int(i)) for i in first)}]" if first else ""
        advice = MISSING if np.isnan(y[first]) else "target.astype(int) cuts fractions off"
        raise ValueError(f"target{at}: got {y[first]}, wanted an integer of 64 bits as a label ({advice})")
    held = {type(value) for value in y.flat} if kind == "O" else set()
    if kind in "SU" or str in held:
        advice = "np.unique(target, return_inverse=True)[1] numbers names"
    else:
        advice = MISSING if type(None) in held else "np.asarray(target).astype(int)"
    raise TypeError(f"target: got dtype {y.dtype}, wanted integer labels ({advice})")


def _advice(
    got: tuple[int, ...], kind: str, shape: tuple[int, ...], axis: int, labels: bool, probabilities: bool
) -> str:
    """Return what was probably meant by a target of this shape, for z of another."""
    if kind == "f" and got[:-1] == shape:
        return ": are z and target exchanged?"
    if not labels:
        return ""
    if got == shape:
        as_they_are = ", target.astype(z.dtype) probabilities" if probabilities else ""
        return f": target.argmax({axis - len(shape)}) gives labels{as_they_are}"
    of_labels = shape[:axis] + shape[axis + 1 :]
    if [n for n in got if n != 1] == [n for n in of_labels if n != 1]:
        return f": target.{'ravel()' if len(of_labels) == 1 else f'reshape{of_labels}'}"
    others = [k for k in range(len(shape)) if k != axis and got == shape[:k] + shape[k + 1 :]]
    return f": axis={others[0]}, if those are the classes of z" if others else ""

"""Types of verbs: what they return for which reduction, and which keywords they take. For type checkers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

from numpy.typing import ArrayLike

from ._arrays import Array

if TYPE_CHECKING:
    from typing_extensions import Required

# A float, or with reduction="none" an array of per-sample values.
Value: TypeAlias = Any

# Reductions that give a float, that gives a value a sample, and any.
Total: TypeAlias = Literal["mean", "sum"]
Each: TypeAlias = Literal["none"]
Reduction: TypeAlias = Literal["mean", "sum", "none"]


class Options(TypedDict, total=False):
    """Keywords of every verb that reduces."""

    sample_weight: ArrayLike | None
    normalizer: float | None
    num_threads: int | None


class ToTotal(Options, total=False):
    """To a float."""

    reduction: Total


class ToEach(Options, total=False):
    """To a value a sample."""

    reduction: Required[Each]


class GradToTotal(ToTotal, total=False):
    """And a gradient."""

    out: Array | None


class GradToEach(ToEach, total=False):
    """And a gradient."""

    out: Array | None


# ---- of samples -----------------------------------------------------------------------------------------------------


class SamplesToTotal(ToTotal, total=False):
    """To a float."""

    ignore_nan: bool
    check: bool


class SamplesToEach(ToEach, total=False):
    """To a value a sample."""

    ignore_nan: bool
    check: bool


class SamplesGradToTotal(SamplesToTotal, GradToTotal, total=False):
    """And a gradient."""


class SamplesGradToEach(SamplesToEach, GradToEach, total=False):
    """And a gradient."""


# ---- with statistics of rows, or without ----------------------------------------------------------------------------


class PlainToTotal(ToTotal, total=False):
    """To a float alone."""

    stats: Literal[False]


class PlainToEach(ToEach, total=False):
    """To a value a sample alone."""

    stats: Literal[False]


class WithStats(Options, total=False):
    """To something and its statistics."""

    reduction: Reduction
    stats: Required[bool]


class RowsToTotal(PlainToTotal, total=False):
    """Over rows along any axis."""

    check: bool
    axis: int


class RowsToEach(PlainToEach, total=False):
    """Over rows along any axis."""

    check: bool
    axis: int


class RowsWithStats(WithStats, total=False):
    """Over rows along any axis."""

    check: bool
    axis: int


class RowsGradToTotal(RowsToTotal, GradToTotal, total=False):
    """And a gradient."""


class RowsGradToEach(RowsToEach, GradToEach, total=False):
    """And a gradient."""


class RowsGradWithStats(RowsWithStats, total=False):
    """And a gradient."""

    out: Array | None

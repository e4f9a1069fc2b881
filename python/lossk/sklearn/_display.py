"""Learning curves of a model, drawn in scikit-learn's manner."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted


class LossCurveDisplay:
    """The loss of each epoch of a model, in training and on the samples held out.

    Parameters
    ----------
    loss_curve, validation_curve : list of float
        A value an epoch; the second one may be None.
    name : str, optional
        What the legend calls the model.

    Attributes
    ----------
    ax_, figure_, lines_
        Axes and figure of matplotlib, and a list of one or two lines, after `plot`.

    References
    ----------
    ``sklearn.model_selection.LearningCurveDisplay``.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("Agg")
    >>> import lossk.sklearn
    >>> display = lossk.sklearn.LossCurveDisplay([0.7, 0.5, 0.4], [0.8, 0.6, 0.6], name="model").plot()
    >>> [line.get_label() for line in display.lines_]
    ['model, training', 'model, validation']
    """

    def __init__(self, loss_curve: Any, validation_curve: Any = None, name: str | None = None) -> None:
        self.loss_curve = loss_curve
        self.validation_curve = validation_curve
        self.name = name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, name: str | None = None, **kwargs: Any
    ) -> LossCurveDisplay:
        """Draw the curves of a fitted model; parameters are those of `plot`, `name` defaults to the model's class."""
        check_is_fitted(estimator, "loss_curve_")
        validation = getattr(estimator, "validation_curve_", None)
        made = cls(estimator.loss_curve_, validation, name or type(estimator).__name__)
        return made.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> LossCurveDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; new axes by default.
        name : str, optional
            What the legend calls the model.
        **kwargs
            Keywords of ``Axes.plot``, for both lines.

        Returns
        -------
        LossCurveDisplay
            The display, whose `ax_`, `figure_` and `lines_` are set.
        """
        from matplotlib import pyplot as plt

        self.ax_ = plt.subplots()[1] if ax is None else ax
        self.figure_ = self.ax_.figure
        label = name or self.name
        prefix = f"{label}, " if label else ""
        self.lines_ = self.ax_.plot(
            np.arange(1, len(self.loss_curve) + 1), self.loss_curve, **{"label": f"{prefix}training", **kwargs}
        )
        if self.validation_curve is not None:
            style = {"linestyle": "--", "color": self.lines_[0].get_color(), "label": f"{prefix}validation", **kwargs}
            epochs = np.arange(1, len(self.validation_curve) + 1)
            self.lines_ += self.ax_.plot(epochs, self.validation_curve, **style)
        self.ax_.set(xlabel="epoch", ylabel="loss")
        self.ax_.legend()
        return self

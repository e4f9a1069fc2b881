"""Linear models with any loss, as scikit-learn's estimators.

They go by mini-batches: scores by NumPy's product, loss and gradient by one fused pass, the update by an optimizer in
place. scikit-learn is needed (``pip install 'lossk[sklearn]'``)::

    >>> import lossk, lossk.sklearn
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), lossk.sklearn.LinearClassifier(loss=lossk.MultiMargin()))
    >>> model.fit(X, y).score(X, y) > 0.9
    True
"""

from ._classifier import LinearClassifier
from ._display import LossCurveDisplay
from ._regressor import LinearRegressor

__all__ = ["LinearClassifier", "LinearRegressor", "LossCurveDisplay"]

"""Losses as objectives of boosted trees: XGBoost, LightGBM, CatBoost.

None of the three is imported here. An objective goes where a library takes a callable, natively and in scikit-learn's
interface, and its `metric` where that takes one::

    objective = lossk.objectives.xgboost(lossk.Focal(gamma=2.0))
    booster = xgboost.train(params, data, 100, obj=objective, custom_metric=objective.metric())
    model = lightgbm.LGBMRegressor(objective=lossk.objectives.lightgbm(lossk.Huber())).fit(x, y)
"""

from ._catboost import catboost
from ._lightgbm import lightgbm
from ._xgboost import xgboost

__all__ = ["catboost", "lightgbm", "xgboost"]

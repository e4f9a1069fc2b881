"""
Scanned digits by several losses
================================

One linear model, `lossk.sklearn.LinearClassifier`, on the 1,797 digits of 8 x 8 pixels that scikit-learn ships: what a
loss changes, and the learning curves of its descent.
"""

# %%
# A quarter of the digits is the test. Every loss has the same 30 epochs, whose learning rate falls along a cosine; a
# tenth of the training digits is held out, and the coefficients of the best epoch are kept.
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import lossk
import lossk.sklearn

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.25, stratify=y, random_state=0)
losses = {
    "cross-entropy": lossk.CrossEntropy(),
    "smoothed": lossk.CrossEntropy(label_smoothing=0.1),
    "focal": lossk.Focal(),
    "hinge": lossk.Hinge(),
    "multi-class hinge": lossk.MultiMargin(),
}
models = {
    name: lossk.sklearn.LinearClassifier(
        loss=loss, batch_size=64, max_iter=30, learning_rate="cosine", early_stopping=True, random_state=0
    ).fit(X_train, y_train)
    for name, loss in losses.items()
}
for name, model in models.items():
    print(f"{name:18} {model.score(X_test, y_test):.1%} of the test digits, {model.n_iter_} epochs")
    assert model.score(X_test, y_test) > 0.93

# %%
# Where a loss defines probabilities, the model has `predict_proba`. A smoothed target makes it less sure:
sure = {
    name: model.predict_proba(X_test).max(axis=1) for name, model in models.items() if hasattr(model, "predict_proba")
}
for name, p in sure.items():
    print(f"{name:18} median of the largest probability {np.median(p):.3f}")
assert sorted(sure) == ["cross-entropy", "focal", "smoothed"]
assert np.median(sure["smoothed"]) < 0.9 < 0.95 < np.median(sure["cross-entropy"])

# %%
# The learning curves: `loss_curve_` of training, `validation_curve_` of the digits held out.
from matplotlib import pyplot as plt

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
for ax, name in zip(axes, ("cross-entropy", "smoothed"), strict=True):
    display = lossk.sklearn.LossCurveDisplay.from_estimator(models[name], ax=ax, name=name)
    ax.set_yscale("log")
    assert len(display.lines_) == 2
    assert models[name].loss_curve_[-1] < models[name].loss_curve_[0] / 2

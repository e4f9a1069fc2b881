"""
Classification losses over the margin
=====================================

What a sample costs by the margin with which it is classified, and why the squared error is no loss for classes: its
gradient vanishes where the answer is most wrong.
"""

# %%
# A right and sure, an unsure, and a wrong and sure answer. The hinge stops at a margin of 1, cross-entropy never quite
# stops, and the exponential punishes mistakes hardest. A gradient says how hard a sample pulls.
import numpy as np

import lossk

z, one = np.array([4.0, 0.0, -4.0]), np.ones(3)
found = {}
for loss in (lossk.Hinge(), lossk.SquaredHinge(), lossk.BinaryCrossEntropyWithLogits(), lossk.Exponential()):
    value, grad = loss.value_and_grad(z, one, reduction="none")
    found[type(loss).__name__] = value.round(3).tolist(), (grad.round(3) + 0.0).tolist()
for name, (costs, pulls) in found.items():
    print(f"{name:29} costs", *(f"{cost:7.3f}" for cost in costs), "  pulls", *(f"{pull:8.3f}" for pull in pulls))
assert found == {
    "Hinge": ([0, 1, 5], [0, -1, -1]),
    "SquaredHinge": ([0, 1, 25], [0, -2, -10]),
    "BinaryCrossEntropyWithLogits": ([0.018, 0.693, 4.018], [-0.018, -0.5, -0.982]),
    "Exponential": ([0.018, 1.0, 54.598], [-0.018, -1.0, -54.598]),
}

# %%
# Over margins and probabilities:
from lossk.cli.plot import losses as pictures

figure = pictures.classification_losses()

# %%
# Cross-entropy has several names, by what a model returns: of probabilities `lossk.BinaryCrossEntropy`, of logits
# `lossk.BinaryCrossEntropyWithLogits`, of targets -1 and 1 `lossk.Logistic`, and of several classes
# `lossk.CrossEntropy`, whose softmax of ``(z, 0)`` is the sigmoid of ``z``. All are the same number:
binary = lossk.BinaryCrossEntropyWithLogits()(z, one, reduction="none")
pair, label = np.stack([z, np.zeros(3)], axis=1), np.zeros(3, dtype=np.int64)
for same in (
    lossk.BinaryCrossEntropy()(lossk.Sigmoid()(z), one, reduction="none"),
    lossk.Logistic()(z, one, reduction="none"),
    lossk.CrossEntropy()(pair, label, reduction="none"),
):
    np.testing.assert_allclose(same, binary, rtol=1e-12)

# %%
# Weights say that one kind of mistake is worse. ``pos_weight=3`` counts every positive sample three times; a weight of
# each class does the same for several. With a quarter of positives the loss is then smallest at a probability of 1/2.
y = np.array([1.0, 0.0, 0.0, 0.0])
weighted = lossk.BinaryCrossEntropyWithLogits(pos_weight=3.0)
np.testing.assert_allclose(weighted(z, one), 3 * binary.mean(), rtol=1e-12)
assert weighted.grad(np.zeros(4), y, reduction="sum").sum() == 0
by_class = lossk.CrossEntropy(weight=[3.0, 1.0])
assert by_class.grad(np.zeros((4, 2)), 1 - y.astype(np.int64), reduction="sum").sum(axis=0).tolist() == [0, 0]

# %%
# The squared error of a sigmoid has the gradient ``2 (p - y) p (1 - p)``. Where ``p`` is near 0 and the right answer
# is 1, its last factors are near 0: the sample that should pull most does not pull. Cross-entropy's is ``p - y``.
sigmoid, squared, cross = lossk.Sigmoid(), lossk.SquaredError(), lossk.BinaryCrossEntropyWithLogits()
wrong, target = np.array([-8.0]), np.ones(1)
by_squares = sigmoid.vjp(wrong, squared.grad(sigmoid(wrong), target))
print(f"at z = -8: squared error pulls {by_squares[0]:.5f}, cross-entropy {cross.grad(wrong, target)[0]:.5f}")
assert by_squares.round(5).tolist() == [-0.00067]
assert cross.grad(wrong, target).round(5).tolist() == [-0.99966]

# %%
# After a hundred steps of descent from there, with the same learning rate, cross-entropy is sure of the right answer:
a, b = wrong.copy(), wrong.copy()
one_by_one = lossk.SGD([a], lr=1.0), lossk.SGD([b], lr=1.0)
for _ in range(100):
    one_by_one[0].step([sigmoid.vjp(a, squared.grad(sigmoid(a), target))])
    one_by_one[1].step([cross.grad(b, target)])
print(f"squared error: p = {sigmoid(a)[0]:.4f}, cross-entropy: p = {sigmoid(b)[0]:.4f}")
assert round(sigmoid(a)[0], 4) == 0.0004
assert round(sigmoid(b)[0], 3) == 0.989
figure = pictures.squared_error_of_classes()

# %%
# ``lossk plot classification-losses squared-error-of-classes`` writes the pictures as PNGs. The code of the second:
#
# .. literalinclude:: /../python/lossk/cli/plot/losses.py
#    :pyobject: squared_error_of_classes

"""Arrays of NumPy against PyTorch: 400 random cross-entropies, pointwise losses, losses of rows, row functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import lossk
from lossk.activations import Activation
from lossk.row_functions import RowFunction
from tests.support.activations import draw_activation
from tests.support.arrays import INF, Array, each_dtype, product
from tests.support.cases import Batch
from tests.support.row_functions import each_function
from tests.support.rows import draw_rows
from tests.support.tolerances import DIFFERENCES
from tests.support.torch import tensor

CE_TOLERANCE = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-11}


def close(got: Any, want: Any, tolerance: float, what: str) -> None:
    """Relative to the larger of the number and 1, as gradients cross 0."""
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance, equal_nan=True, err_msg=what)


def random_configuration(i: int) -> tuple[dict[str, Any], str, Array, Array]:
    """Constructor arguments, reduction, float64 logits and labels; a fixed seed for every number."""
    rng = np.random.default_rng([400, i])
    rows = int(rng.integers(1, 71))
    classes = int(np.exp(rng.uniform(0, np.log(5003))) + 0.5) if i % 4 else int(rng.integers(1, 5004))
    kwargs: dict[str, Any] = {}
    if rng.random() < 0.5:
        kwargs["label_smoothing"] = float(rng.choice([0.05, 0.1, 0.5, 1.0]))
    if rng.random() < 0.4:
        kwargs["weight"] = rng.uniform(0.1, 2.0, size=classes).astype(np.float32).astype(np.float64)
    ignore = int(rng.integers(0, classes)) if rng.random() < 0.3 else -100
    if ignore >= 0:
        kwargs["ignore_index"] = ignore
    z = rng.normal(scale=float(rng.choice([0.1, 1.0, 5.0, 30.0])), size=(rows, classes))
    t = rng.integers(0, classes, size=rows)
    if rng.random() < 0.6:
        t[rng.random(size=rows) < 0.3] = ignore
    return kwargs, str(rng.choice(["mean", "sum", "none"])), z, t


def torch_cross_entropy(kwargs: dict[str, Any], reduction: str, z: Array, t: Array) -> tuple[Array, Array]:
    x = tensor(z.astype(np.float64)).requires_grad_()
    options = dict(kwargs)
    if "weight" in options:
        options["weight"] = tensor(options["weight"])
    value = torch.nn.functional.cross_entropy(x, tensor(t.astype(np.int64)), reduction=reduction, **options)
    value.sum().backward()
    return value.detach().numpy(), x.grad.numpy()


F = torch.nn.functional


def peers() -> dict[str, tuple[Any, Any]]:
    """A loss and torch's function (x, y, reduction) for it, over their options."""
    found: dict[str, tuple[Any, Any]] = {
        "mse": (lossk.SquaredError(), lambda x, y, r: F.mse_loss(x, y, reduction=r)),
        "l1": (lossk.AbsoluteError(), lambda x, y, r: F.l1_loss(x, y, reduction=r)),
        "soft margin": (lossk.Logistic(), lambda x, y, r: F.soft_margin_loss(x, y, reduction=r)),
        "bce": (lossk.BinaryCrossEntropy(), lambda x, y, r: F.binary_cross_entropy(x, y, reduction=r)),
    }
    for d in (0.75, 2.0):
        found[f"huber {d}"] = (lossk.Huber(d), lambda x, y, r, d=d: F.huber_loss(x, y, reduction=r, delta=d))
    for b in (0.0, 0.75, 2.0):
        found[f"smooth l1 {b}"] = (lossk.SmoothL1(b), lambda x, y, r, b=b: F.smooth_l1_loss(x, y, reduction=r, beta=b))
    for m in (1.0, 0.25):
        found[f"hinge embedding {m}"] = (
            lossk.HingeEmbedding(m),
            lambda x, y, r, m=m: F.hinge_embedding_loss(x, y, reduction=r, margin=m),
        )
    for o in product(log_input=(True, False), full=(True, False), eps=(1e-8, 1e-2)):
        found[f"poisson {o}"] = (
            lossk.PoissonNLL(**o),
            lambda x, y, r, o=o: F.poisson_nll_loss(x, y, reduction=r, **o),
        )
    for w in (1.0, 0.25, 4.0):
        found[f"bce with logits {w}"] = (
            lossk.BinaryCrossEntropyWithLogits(w),
            lambda x, y, r, w=w: F.binary_cross_entropy_with_logits(x, y, reduction=r, pos_weight=torch.tensor(w)),
        )
    return found


POINTWISE = peers()


@pytest.mark.parametrize("block", range(8))
def test_400_random_cross_entropies_are_torchs(block: int) -> None:
    """Half of them f32, half f64; value and gradient, against torch in float64 on the same rounded logits."""
    seen = set()
    for i in range(50 * block, 50 * (block + 1)):
        kwargs, reduction, z, t = random_configuration(i)
        dtype = np.dtype(np.float32 if i % 2 else np.float64)
        z = z.astype(dtype)
        value, grad = lossk.CrossEntropy(**kwargs).value_and_grad(z, t, reduction=reduction)
        want, want_grad = torch_cross_entropy(kwargs, reduction, z, t)
        what = f"configuration {i}: {z.shape} {dtype} {reduction} {sorted(kwargs)}"
        close(value, want, CE_TOLERANCE[dtype], "value of " + what)
        if (t == kwargs.get("ignore_index", -100)).all() and reduction == "mean":
            assert not grad.any()  # lossk's promise; torch's gradient is 0 or NaN from one version to the next
        else:
            close(grad, want_grad, CE_TOLERANCE[dtype], "gradient of " + what)
        seen.add((reduction, dtype, "weight" in kwargs, "label_smoothing" in kwargs))
    assert len(seen) > 12, "the draws must vary"


@pytest.mark.parametrize("classes", [1, 2, 10, 65, 1000])
@each_dtype
def test_probabilities_are_torchs(dtype: Any, classes: int, rng: np.random.Generator) -> None:
    z = rng.normal(scale=3, size=(9, classes)).astype(dtype)
    y = rng.dirichlet(np.ones(classes), size=9).astype(dtype)
    weight = rng.uniform(0.5, 2, size=classes).astype(np.float32).astype(np.float64)
    for kwargs in ({}, {"label_smoothing": 0.2}, {"weight": weight}, {"label_smoothing": 0.3, "weight": weight}):
        options: dict[str, Any] = {k: tensor(v) if k == "weight" else v for k, v in kwargs.items()}
        for reduction in ("mean", "sum", "none"):
            x = tensor(z.astype(np.float64)).requires_grad_()
            want = torch.nn.functional.cross_entropy(x, tensor(y.astype(np.float64)), reduction=reduction, **options)
            want.sum().backward()
            value, grad = lossk.CrossEntropy(**kwargs).value_and_grad(z, y, reduction=reduction)
            close(value, want.detach().numpy(), CE_TOLERANCE[dtype], f"{kwargs} {reduction}")
            close(grad, x.grad.numpy(), CE_TOLERANCE[dtype], f"{kwargs} {reduction}")


@pytest.mark.parametrize("classes", [5, 70])
@each_dtype
def test_classes_on_axis_1_are_torchs(dtype: Any, classes: int, rng: np.random.Generator) -> None:
    """The layout that torch expects of images: (N, C, H, W)."""
    z = rng.normal(size=(2, classes, 3, 4)).astype(dtype)
    t = rng.integers(0, classes, size=(2, 3, 4))
    t[0, 1, 2] = -100
    want, want_grad = torch_cross_entropy({"label_smoothing": 0.1}, "mean", z, t)
    value, grad = lossk.CrossEntropy(label_smoothing=0.1).value_and_grad(z, t, axis=1)
    close(value, want, CE_TOLERANCE[dtype], "value")
    close(grad, want_grad, CE_TOLERANCE[dtype], "gradient")


@pytest.mark.parametrize("name", POINTWISE)
@each_dtype
def test_pointwise_losses_are_torchs(dtype: Any, name: str, rng: np.random.Generator) -> None:
    """In f32 against torch in float64 on the same rounded numbers."""
    ours, theirs = POINTWISE[name]
    f32 = dtype == np.float32
    difference = ours._kernel in DIFFERENCES
    for shape in ((1,), (17,), (5, 33), (20_000,)):
        z, y = ours._draw(rng, shape, dtype)
        if isinstance(ours, lossk.SquaredError | lossk.AbsoluteError | lossk.Huber):
            y.reshape(-1)[0] = z.reshape(-1)[0]  # a tie
        for reduction in ("mean", "sum", "none"):
            x = tensor(z.astype(np.float64)).requires_grad_()
            want = theirs(x, tensor(y.astype(np.float64)), reduction)
            want.sum().backward()
            value, grad = ours.value_and_grad(z, y, reduction=reduction)
            # torch's own log-sum-exp of two cancels.
            atol = (1e-5 if f32 else 1e-13) if difference else 1e-6 if f32 else 1e-14
            np.testing.assert_allclose(value, want.detach().numpy(), rtol=1e-6 if f32 else 1e-12, atol=atol)
            np.testing.assert_allclose(grad, x.grad.numpy(), rtol=1e-5 if f32 else 1e-12, atol=1e-6 if f32 else 1e-14)


@pytest.mark.parametrize("shape", [(40, 7), (7,)], ids=["one a sample", "one a class"])
def test_weights_of_positives_are_torchs(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    z, y = lossk.BinaryCrossEntropyWithLogits._draw(rng, (40, 7), np.float64)
    weight = rng.uniform(0.1, 5.0, size=shape)
    for reduction in ("mean", "sum", "none"):
        x = tensor(z).requires_grad_()
        want = F.binary_cross_entropy_with_logits(x, tensor(y), reduction=reduction, pos_weight=tensor(weight))
        want.sum().backward()
        value, grad = lossk.BinaryCrossEntropyWithLogits(weight).value_and_grad(z, y, reduction=reduction)
        np.testing.assert_allclose(value, want.detach().numpy(), rtol=1e-12)
        np.testing.assert_allclose(grad, x.grad.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("eps", [1e-6, 0.5])
def test_gaussian_nll_is_torchs(full: bool, eps: float, rng: np.random.Generator) -> None:
    """Gradients with respect to mean and variance, also where the variance is cut off."""
    z, y, var = lossk.GaussianNLL._draw(rng, (3000,), np.float64)
    var[:10] = 0
    loss = lossk.GaussianNLL(full=full, eps=eps)
    for reduction in ("mean", "sum", "none"):
        x, v = tensor(z).requires_grad_(), tensor(var).requires_grad_()
        want = F.gaussian_nll_loss(x, tensor(y), v, full=full, eps=eps, reduction=reduction)
        want.sum().backward()
        value, (by_z, by_var) = loss.value_and_grad(z, y, var, reduction=reduction, wrt="both")
        np.testing.assert_allclose(value, want.detach().numpy(), rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(by_z, x.grad.numpy(), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(by_var, v.grad.numpy(), rtol=1e-12, atol=1e-13)


@each_dtype
@each_function
def test_row_functions_are_torchs(function: RowFunction, dtype: Any, rng: np.random.Generator) -> None:
    """Values and what is passed back, of any axis; in f32 against torch in float64 on the same rounded numbers."""
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    for shape, axis in (((4, 30, 7), -1), ((4, 30, 7), 0), ((4, 30, 7), 1), ((7, 3), -1), ((4, 500), 1)):
        x = rng.normal(scale=3, size=shape).astype(dtype)
        z = tensor(x.astype(np.float64)).requires_grad_()
        value = getattr(torch, function._name)(z, axis)
        c = rng.normal(size=value.shape).astype(dtype)
        value.backward(tensor(c.astype(np.float64)))
        close(function(x, axis=axis), value.detach().numpy(), tolerance, f"{function} {shape} {axis}")
        close(function.vjp(x, c, axis=axis), z.grad.numpy(), tolerance, f"vjp of {function} {shape} {axis}")


@each_dtype
def test_losses_of_rows_are_torchs(dtype: Any, rng: np.random.Generator) -> None:
    tolerance = 2e-6 if dtype == np.float32 else 1e-12

    def compare(loss: Any, function: Any, batch: Batch, reduction: str, **options: Any) -> None:
        """Compare with torch in float64 on the same rounded numbers."""
        z = torch.from_numpy(batch.z.astype(np.float64)).requires_grad_()
        target = torch.from_numpy(batch.target.astype(np.int64 if batch.target.dtype.kind == "i" else np.float64))
        value = function(z, target, reduction=options.pop("as_", reduction), **options)
        value.sum().backward()
        got, grad = loss.value_and_grad(batch.z, batch.target, reduction=reduction)
        np.testing.assert_allclose(got, value.detach().numpy(), rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(grad, z.grad.numpy(), rtol=tolerance, atol=tolerance)

    for reduction in ("mean", "sum", "none"):
        for classes in (2, 10, 1000):
            weight = rng.uniform(0.1, 2.0, size=classes).astype(dtype)
            w = torch.from_numpy(weight.astype(np.float64))
            batch = draw_rows("NLL", rng, (20, classes), dtype)
            batch.target[3] = -100
            compare(lossk.NLL(weight=weight), F.nll_loss, batch, reduction, weight=w)
            batch = draw_rows("MultiMargin", rng, (20, classes), dtype)
            for p in (1, 2):
                loss = lossk.MultiMargin(p=p, margin=0.5, weight=weight)
                compare(loss, F.multi_margin_loss, batch, reduction, p=p, margin=0.5, weight=w)
            if reduction != "none":  # torch's is one value an element
                as_ = "batchmean" if reduction == "mean" else "sum"
                batch = draw_rows("KLDivergence", rng, (20, classes), dtype)
                compare(lossk.KLDivergence(), F.kl_div, batch, reduction, as_=as_)
                batch = Batch(batch.z, np.log(batch.target), None)
                loss = lossk.KLDivergence(log_target=True)
                compare(loss, F.kl_div, batch, reduction, as_=as_, log_target=True)


def test_activations_are_torchs(rng: np.random.Generator) -> None:
    pairs: list[tuple[Activation, Any]] = [
        (lossk.Sigmoid(), torch.sigmoid),
        (lossk.Tanh(), torch.tanh),
        (lossk.ReLU(), F.relu),
        (lossk.LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2)),
        (lossk.SELU(), F.selu),
        (lossk.Softplus(), F.softplus),
        (lossk.Softplus(beta=3.0), lambda x: F.softplus(x, beta=3.0, threshold=50)),
        (lossk.LogSigmoid(), F.logsigmoid),
        (lossk.ELU(0.75), lambda x: F.elu(x, 0.75)),
        (lossk.CELU(2.0), lambda x: F.celu(x, 2.0)),
        (lossk.ReLU6(), F.relu6),
        (lossk.Hardtanh(-0.5, 2.0), lambda x: F.hardtanh(x, -0.5, 2.0)),
        (lossk.Softshrink(1.25), lambda x: F.softshrink(x, 1.25)),
        (lossk.Hardshrink(1.25), lambda x: F.hardshrink(x, 1.25)),
        # torch's are NaN at infinities.
        (lossk.GELU(), F.gelu),
        (lossk.GELU("tanh"), lambda x: F.gelu(x, approximate="tanh")),
        (lossk.SiLU(), F.silu),
        (lossk.Mish(), F.mish),
        (lossk.Hardswish(), F.hardswish),
        (lossk.Softsign(), F.softsign),
        (lossk.Tanhshrink(), F.tanhshrink),
        (lossk.Hardsigmoid(), F.hardsigmoid),
    ]
    x, c = draw_activation(rng, 1000, np.float64)
    x[:3] = [0.0, INF, -INF]
    for act, function in pairs:
        z = tensor(x).requires_grad_()
        value = function(z)
        value.backward(tensor(c))
        want, grad = value.detach().numpy(), z.grad.numpy()
        there = np.isfinite(want) | np.isinf(act(x))
        assert there[3:].all()
        # torch's tails of GELU and of x - tanh(x), and 1 - tanh^2, cancel; its 1/6 is a float32.
        rtol = 4e-8 if isinstance(act, lossk.Hardsigmoid) else 1e-12
        np.testing.assert_allclose(act(x)[there], want[there], rtol=min(rtol, 1e-13), atol=1e-15, err_msg=repr(act))
        there = np.isfinite(grad)
        np.testing.assert_allclose(act.vjp(x, c)[there], grad[there], rtol=rtol, atol=4e-15, err_msg=repr(act))


def test_a_tensor_that_needs_a_gradient_is_sent_to_lossk_torch() -> None:
    z, one = torch.zeros(3, 4, requires_grad=True), torch.tensor(1.0, requires_grad=True)
    for call in (lambda: lossk.CrossEntropy()(z, [0, 1, 2]), lambda: lossk.CrossEntropy()(z.detach(), [one] * 3)):
        with pytest.raises(TypeError, match=r"lossk\.torch has losses of tensors that need a gradient"):
            call()
    with pytest.raises(TypeError, match=r"^target: got a Tensor"):
        lossk.CrossEntropy()(z.detach(), torch.empty(3, dtype=torch.long, device="meta"))

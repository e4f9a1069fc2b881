"""Agreement with PyTorch, where it is installed: 400 random cross-entropies, pointwise losses, optimizers."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from support import DIFFERENCES, Array, each_dtype, product

import lossk

torch = pytest.importorskip("torch", reason="torch is not installed: parity with it was not tested")

CE_TOLERANCE = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-11}


def tensor(a: Array) -> Any:
    return torch.from_numpy(np.ascontiguousarray(a).copy())


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


@pytest.mark.parametrize("block", range(8))
def test_400_random_cross_entropies(block: int) -> None:
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
def test_probabilities(dtype: Any, classes: int, rng: np.random.Generator) -> None:
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
def test_classes_on_axis_1(dtype: Any, classes: int, rng: np.random.Generator) -> None:
    """The layout that torch expects of images: (N, C, H, W)."""
    z = rng.normal(size=(2, classes, 3, 4)).astype(dtype)
    t = rng.integers(0, classes, size=(2, 3, 4))
    t[0, 1, 2] = -100
    want, want_grad = torch_cross_entropy({"label_smoothing": 0.1}, "mean", z, t)
    value, grad = lossk.CrossEntropy(label_smoothing=0.1).value_and_grad(z, t, axis=1)
    close(value, want, CE_TOLERANCE[dtype], "value")
    close(grad, want_grad, CE_TOLERANCE[dtype], "gradient")


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


@pytest.mark.parametrize("name", POINTWISE)
@each_dtype
def test_pointwise(dtype: Any, name: str, rng: np.random.Generator) -> None:
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
def test_bce_with_logits_and_an_array_of_weights(shape: tuple[int, ...], rng: np.random.Generator) -> None:
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
def test_gaussian_nll(full: bool, eps: float, rng: np.random.Generator) -> None:
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
def test_row_functions(dtype: Any, rng: np.random.Generator) -> None:
    tolerance = CE_TOLERANCE[np.dtype(dtype)]
    for shape in ((7, 3), (4, 500), (2, 3, 65)):
        x = rng.normal(scale=4, size=shape).astype(dtype)
        wide = tensor(x.astype(np.float64))
        close(lossk.softmax(x), torch.softmax(wide, -1).numpy(), tolerance, "softmax")
        close(lossk.log_softmax(x), torch.log_softmax(wide, -1).numpy(), tolerance, "log_softmax")
        close(lossk.logsumexp(x), torch.logsumexp(wide, -1).numpy(), tolerance, "logsumexp")


def options_of(**choices: tuple[Any, ...]) -> list[dict[str, Any]]:
    """All combinations of these options with weight decay and maximize."""
    return list(product(**choices, weight_decay=(0.0, 0.05), maximize=(False, True)))


OPTIMIZERS = {
    "SGD": [
        o
        for o in options_of(momentum=(0.0, 0.9), dampening=(0.0, 0.4), nesterov=(False, True))
        if not o["nesterov"] or (o["momentum"] > 0 and o["dampening"] == 0)
    ],
    "Adam": options_of(betas=((0.9, 0.999), (0.5, 0.7)), eps=(1e-8, 1e-3), amsgrad=(False, True)),
    "AdamW": options_of(betas=((0.9, 0.999), (0.5, 0.7)), eps=(1e-8, 1e-3), amsgrad=(False, True)),
    "RMSprop": options_of(alpha=(0.99, 0.5), eps=(1e-8, 1e-3), momentum=(0.0, 0.9), centered=(False, True)),
    "Adagrad": options_of(lr_decay=(0.0, 0.1), initial_accumulator_value=(0.0, 0.5), eps=(1e-10, 1e-3)),
}


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, options) for name, all_options in OPTIMIZERS.items() for options in all_options],
    ids=lambda x: x if isinstance(x, str) else ",".join(f"{k}={v}" for k, v in x.items() if v),
)
@each_dtype
def test_optimizer(dtype: Any, name: str, options: dict[str, Any], rng: np.random.Generator) -> None:
    """Five steps of three parameters, one of them without a gradient at first and at last."""
    tolerance = 2e-6 if dtype == np.float32 else 1e-12
    shapes = ((5, 7), (1,), (1025,))
    ours = [rng.normal(size=s).astype(dtype) for s in shapes]
    theirs = [tensor(p.copy()).requires_grad_() for p in ours]
    a = getattr(lossk, name)(ours, lr=0.05, **options)
    b = getattr(torch.optim, name)(theirs, lr=0.05, foreach=False, **options)
    for step in range(5):
        grads: list[Any] = [rng.normal(size=s).astype(dtype) for s in shapes]
        if step in (0, 4):
            grads[1] = None
        a.step(grads)
        for p, g in zip(theirs, grads, strict=True):
            p.grad = None if g is None else tensor(g)
        b.step()
        for p, want in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p, want.detach().numpy(), rtol=tolerance, atol=tolerance, err_msg=f"step {step}")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_defaults(name: str) -> None:
    """Options that both have are called the same and have the same defaults."""
    ours = inspect.signature(getattr(lossk, name)).parameters
    theirs = inspect.signature(getattr(torch.optim, name)).parameters
    shared = [key for key in ours if key in theirs and key != "params"]
    assert {"lr", "weight_decay", "maximize"} <= set(shared)
    for key in shared:
        assert ours[key].default == theirs[key].default, key


@each_dtype
def test_clip_grad_norm(dtype: Any, rng: np.random.Generator) -> None:
    for limit in (0.5, 1e9):
        ours = [rng.normal(size=s).astype(dtype) for s in ((5, 7), (1,), (1025,))]
        theirs = [tensor(g.copy()).requires_grad_() for g in ours]
        for p in theirs:
            p.grad = p.detach().clone()
        want = torch.nn.utils.clip_grad_norm_(theirs, limit)
        assert lossk.clip_grad_norm(ours, limit) == pytest.approx(float(want), rel=1e-6)
        for g, p in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(g, p.grad.numpy(), rtol=2e-6)

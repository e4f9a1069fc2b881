"""lossk.torch: what is torch's own: errors, odd inputs, transforms, modes; and what of torch's defects is not there."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import lossk.torch as ours
from tests.support.torch import CASES, REDUCTIONS, Draw, cast, close, run, theirs

pytestmark = pytest.mark.usefixtures("torch_seed")


def test_errors_are_torchs() -> None:
    z, t, y = torch.randn(4, 3), torch.tensor([0, 1, 2, 0]), torch.rand(4, 3)
    for name, arguments, options in (
        ("cross_entropy", (z, t + 1), {}),
        ("cross_entropy", (z, t[:3]), {}),
        ("cross_entropy", (z, t), {"label_smoothing": 1.5}),
        ("cross_entropy", (z, t), {"reduction": "average"}),
        ("cross_entropy", (z, t), {"weight": torch.ones(4)}),
        ("cross_entropy", (z, t.float()), {}),
        ("cross_entropy", (z, y), {"ignore_index": 1}),
        ("nll_loss", (z, t - 1), {}),
        ("multi_margin_loss", (z, t), {"p": 3}),
        ("multi_margin_loss", (z, t + 1), {}),
        ("binary_cross_entropy", (z, y), {}),
        ("binary_cross_entropy", (y, 2 * y + 1), {}),
        ("binary_cross_entropy", (y, y[:2]), {}),
        ("binary_cross_entropy_with_logits", (z, y[:2]), {}),
        ("huber_loss", (z, y), {"delta": -1.0}),
        ("huber_loss", (z, y), {"weight": torch.ones(4)}),
        ("smooth_l1_loss", (z, y), {"beta": -1.0}),
        ("gaussian_nll_loss", (z, y, -y), {}),
        ("gaussian_nll_loss", (z, y, y[:, :2]), {}),
        ("gaussian_nll_loss", (z, y, -1.0), {}),
        ("mse_loss", (z, torch.rand(5)), {}),
        ("softmax", (z, 2), {}),
        ("softmax", (z, True), {}),
        ("log_softmax", (z, 1), {"dtype": "cpu"}),
        ("nll_loss", (z, t), {"ignore_index": None}),
        ("cross_entropy", (z, t), {"ignore_index": None}),
        ("cross_entropy", (z, t), {"ignore_index": 1.0}),
        ("linear_cross_entropy", (z, torch.ones(5, 4), t), {}),
        ("linear_cross_entropy", (z, torch.ones(2, 3), t), {}),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises((ValueError, TypeError, RuntimeError, IndexError)) as want:
                pytest.fail(f"{name} took {getattr(theirs, name)(*arguments, **options)}")
            with pytest.raises(type(want.value)):
                getattr(ours, name)(*arguments, **options)


def outcome(function: Any, tensors: dict[str, Any], options: dict[str, Any]) -> Any:
    """Return value and gradient, or the class of the error."""
    try:
        return run(function, tensors, options)
    except (ValueError, TypeError, RuntimeError, IndexError) as error:
        return type(error)


def odd_cases() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for name in ("mse_loss", "huber_loss", "soft_margin_loss", "binary_cross_entropy", "poisson_nll_loss", "kl_div"):
        for shape in ((), (0,), (1,), (3, 0), (0, 3), (2, 3), (1, 1, 1)):
            for reduction in (*REDUCTIONS, "average"):
                yield name, {"input": torch.rand(shape), "target": torch.rand(shape)}, {"reduction": reduction}
        for target in (torch.rand(2, 3).double(), torch.randint(0, 2, (2, 3)), torch.rand(3)):
            yield name, {"input": torch.rand(2, 3), "target": target}, {}
    for name in ("cross_entropy", "nll_loss", "multi_margin_loss"):
        for shape, labels in (
            *(((3,), ()), ((2, 3), (2,)), ((2, 3, 0), (2, 0)), ((2, 3, 4), (2, 4)), ((0,), ()), ((2, 0), (2,))),
            *(((2, 1), (2,)), ((2, 3), (2, 1)), ((2, 3), ()), ((3,), (1,)), ((), ())),
        ):
            for reduction, label in itertools.product(REDUCTIONS, (0, 5, -100)):
                tensors = {"input": torch.randn(shape), "target": torch.full(labels, label)}
                if not (label == -100 and reduction == "mean"):  # lossk's gradient is 0 where torch's is NaN
                    yield name, tensors, {"reduction": reduction}
                weight = torch.zeros(shape[0] if len(shape) == 1 else (*shape, 1, 1)[1])
                if reduction != "mean":
                    yield name, {**tensors, "weight": weight}, {"reduction": reduction}
    for shape in ((3,), (2, 3), (0, 3), (2, 3, 4), (2, 0), ()):
        for reduction, options in itertools.product(REDUCTIONS, ({}, {"label_smoothing": 0.1}, {"ignore_index": 1})):
            tensors = {"input": torch.randn(shape), "target": torch.rand(shape)}
            yield "cross_entropy", tensors, {"reduction": reduction, **options}
    for shape in ((2, 3), (3,), (1,), (), (2, 1), (4,)):
        weight = torch.rand(shape)
        for name in ("binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss", "huber_loss"):
            yield name, {"input": torch.rand(2, 3), "target": torch.rand(2, 3), "weight": weight}, {}
            yield name, {"input": torch.rand(2, 3), "target": torch.rand(2, 3), "weight": weight.double()}, {}
        for sign in (1, -1):
            tensors = {"input": torch.rand(2, 3), "target": torch.rand(2, 3), "pos_weight": sign * weight}
            yield "binary_cross_entropy_with_logits", tensors, {}
        yield "gaussian_nll_loss", {"input": torch.rand(2, 3), "target": torch.rand(2, 3), "var": weight}, {}
    for delta in (float("inf"), 1e-40, 0, 2, True):
        yield "huber_loss", {"input": torch.rand(4), "target": torch.rand(4)}, {"delta": delta}


def test_odd_inputs_give_torchs_results_or_errors() -> None:
    """Shapes, types and options at the border: torch's results, or its errors."""
    for name, tensors, options in odd_cases():
        got, want = (outcome(getattr(f, name), tensors, options) for f in (ours, theirs))
        what = f"{name} {[(k, tuple(t.shape), t.dtype) for k, t in tensors.items()]} {options}"
        if isinstance(want, type) or isinstance(got, type):
            assert got is want, what
        else:
            torch.testing.assert_close(got, want, equal_nan=True, rtol=1e-5, atol=1e-6, msg=what)


def test_inputs_are_broadcast_and_mixed_as_in_torch() -> None:
    z, y = torch.randn(4, 3, dtype=torch.double, requires_grad=True), torch.randn(3, dtype=torch.double)
    for name in ("mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss"):
        with pytest.warns(UserWarning, match="target size"):
            got = getattr(ours, name)(z, y)
        with pytest.warns(UserWarning, match="target size"):
            assert torch.equal(got, getattr(theirs, name)(z, y))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert ours.mse_loss(z, y.float()).dtype == theirs.mse_loss(z, y.float()).dtype
    var = torch.rand(4, 1, dtype=torch.double, requires_grad=True)
    for v in (var, var[:, 0], 0.5):
        found = []
        for f in (ours, theirs):
            leaves = [z] if isinstance(v, float) else [z, var]
            found.append(torch.autograd.grad(f.gaussian_nll_loss(z, z.detach() + 1, v), leaves))
        for got, want in zip(*found, strict=True):
            close(got, want, torch.float64, "variance")


def test_subclasses_and_other_devices_are_torchs() -> None:
    class Mine(torch.Tensor):
        pass

    z, y = torch.randn(4, 3), torch.rand(4, 3)
    assert type(ours.mse_loss(z.as_subclass(Mine), y)) is Mine
    assert ours.mse_loss(z.to("meta"), y.to("meta")).device.type == "meta"
    assert ours.softmax(z.to("meta"), 1).device.type == "meta"
    torch.testing.assert_close(ours.mse_loss(z.to(torch.complex64).real, y), theirs.mse_loss(z, y))
    with pytest.raises(NotImplementedError):
        theirs.softmax(z.to_sparse(), 1)
    with pytest.raises(NotImplementedError):
        ours.softmax(z.to_sparse(), 1)


@pytest.mark.parametrize("name", ["mse_loss", "softmax"])
def test_transforms_of_torch_func_are_torchs(name: str) -> None:
    from torch.func import grad, hessian, jvp, vmap

    z, y = torch.randn(4, 3, dtype=torch.double), torch.randn(3, dtype=torch.double)

    def found(module: Any) -> list[Any]:
        def total(z: Any) -> Any:
            return getattr(module, name)(z, y if name == "mse_loss" else 0).square().sum()

        return [grad(total)(z[0]), hessian(total)(z[0]), vmap(total)(z), jvp(total, (z[0],), (z[1],))]

    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)  # of torch.jit, which torch itself uses
        torch.testing.assert_close(found(ours), found(theirs))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(z, torch.ones_like(z))
        assert torch.autograd.forward_ad.unpack_dual(ours.mse_loss(dual, z)).tangent is not None


def test_meta_modes_see_torchs_operations() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    z = torch.randn(4, 3)
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert type(ours.mse_loss(z, z)) is not torch.Tensor
    with FlopCounterMode(display=False), torch.device("cpu"):
        assert ours.mse_loss(z, z) == 0


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_default_devices_are_no_reason_to_stand_aside(device: str) -> None:
    """They say where new tensors are made; results are where inputs are."""
    ours.explain(reset=True)
    for name, draw, options in CASES:
        if name == "kl_div":
            options = {**options, "reduction": "sum"}
        tensors = draw(Draw(1, 4, 3))
        want = run(getattr(ours, name), tensors, options)
        with torch.device(device):
            z = tensors["input"].detach().requires_grad_()
            value = getattr(ours, name)(z, **{k: t for k, t in tensors.items() if k != "input"}, **options)
            value.backward()
        assert value.grad_fn.name() == "LossFunctionBackward", name
        assert torch.equal(value, want[0]), name
        assert torch.equal(z.grad, want[1]), name
    z, w, t = torch.randn(4, 3), torch.randn(5, 3), torch.tensor([0, 1, 2, 0])
    variance = torch.rand(4, 1).expand(4, 3)
    turned = z.t().contiguous().t()
    calls = (
        lambda: ours.softmax(turned, 1),
        lambda: ours.log_softmax(z, 0),
        lambda: ours.linear_cross_entropy(z, w, t),
        lambda: ours.gaussian_nll_loss(turned, z, variance, reduction="none"),
        lambda: ours.gaussian_nll_loss(z, z, 0.5),
        lambda: ours.causal_lm_loss(z[None], t[None], 3),
    )
    found = []
    for context in (contextlib.nullcontext(), torch.device(device)):
        with context:
            found.append([call() for call in calls])
    assert all(a.device.type == "cpu" and torch.equal(a, b) for a, b in zip(*found, strict=True))
    p = torch.nn.Parameter(torch.zeros(2))
    p.grad = torch.tensor([3.0, 4.0])
    with torch.device(device):
        assert ours.clip_grad_norm_([p], 1.0).device.type == "cpu"
    assert ours.explain() == {}


def test_a_default_device_may_be_set_for_good() -> None:
    z, t = torch.randn(4, 3, requires_grad=True), torch.tensor([0, 1, 2, 0])
    torch.set_default_device("cpu")
    try:
        assert ours.cross_entropy(z, t).grad_fn.name() == "LossFunctionBackward"
    finally:
        torch.set_default_device(None)


def test_what_went_to_torch_is_explained(caplog: pytest.LogCaptureFixture) -> None:
    z, y, t = torch.randn(4, 3, requires_grad=True), torch.rand(4, 3), torch.tensor([0, 1, 2, 0])
    ours.explain(reset=True)
    ours.cross_entropy(z, t).backward()
    ours.softmax(z, 1)
    assert ours.explain() == {}
    with caplog.at_level("DEBUG", logger="lossk.torch"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            ours.mse_loss(z, y.double())
        ours.mse_loss(z.to("meta"), y.to("meta"))
        ours.binary_cross_entropy(y, (y + z.detach() * 0).requires_grad_())
        ours.huber_loss(z, y, delta=1e-40)
        ours.softmax(z.to_sparse().to_dense().to("meta"), 1)
        ours.linear_cross_entropy(z, y, y.softmax(1)[:, :3] @ torch.ones(3, 4))
        torch.func.grad(lambda z: ours.mse_loss(z, y))(z.detach())
        torch.autograd.grad(ours.mse_loss(z, y), z, create_graph=True)
    counts = ours.explain(reset=True)
    assert ours.explain() == {}
    assert sum(counts.values()) == len(caplog.records) == 9
    assert {key.split(":")[0] for key in counts} == {
        *("mse_loss", "binary_cross_entropy", "huber_loss", "softmax", "linear_cross_entropy"),
    }
    for part in ("conversion", "not on the CPU", "kernels do not have", "refuses", "torch.func", "create_graph=True"):
        assert any(part in key for key in counts), part
    assert any("delta" in record.getMessage() for record in caplog.records), "the refusal in full"


def test_autocast_gives_torchs_types() -> None:
    """16 bits give a float32 loss, as torch's own do; the gradient comes back in 16 bits."""
    for name, draw, options in CASES[:: max(1, len(CASES) // 20)]:
        tensors = cast(draw(Draw(1, 7, 5)), torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            value, grad = run(getattr(ours, name), tensors, {**options, "reduction": "sum"})
            want, want_grad = run(getattr(theirs, name), tensors, {**options, "reduction": "sum"})
        assert value.dtype == want.dtype, name
        assert grad.dtype == want_grad.dtype, name
        torch.testing.assert_close(value, want, rtol=1e-5 if want.dtype == torch.float32 else 2e-2, atol=1e-4)
        torch.testing.assert_close(grad, want_grad, rtol=2e-2, atol=2e-2)


def test_no_grad_keeps_nothing() -> None:
    z, y = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3)
    with torch.no_grad():
        assert ours.mse_loss(z, y).grad_fn is None
    with torch.inference_mode():
        torch.testing.assert_close(ours.cross_entropy(z, y.softmax(1)), theirs.cross_entropy(z, y.softmax(1)))
    assert ours.mse_loss(z.detach(), y).grad_fn is None


def test_results_are_finite_where_torchs_are_not() -> None:
    """Results that torch gives as NaN or infinity."""
    z = torch.tensor([[0.0, float("nan")], [0.0, 0.0]], requires_grad=True)
    ours.cross_entropy(z, torch.tensor([-100, 1])).backward()
    assert torch.equal(z.grad, torch.tensor([[0.0, 0.0], [0.5, -0.5]]))
    infinite = torch.tensor([float("inf"), -float("inf")])
    assert torch.equal(
        ours.binary_cross_entropy_with_logits(infinite, torch.tensor([1.0, 0.0]), reduction="none"), torch.zeros(2)
    )
    assert ours.soft_margin_loss(torch.tensor([1000.0]), torch.tensor([-1.0])) == 1000
    logits = torch.tensor([[0.0, -float("inf")]])
    assert ours.cross_entropy(logits, torch.tensor([[1.0, 0.0]])) == 0
    assert ours.kl_div(logits, torch.tensor([[1.0, 0.0]]), reduction="sum") == 0

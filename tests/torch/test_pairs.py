"""Losses of pairs and triplets in lossk.torch: values and gradients as in torch, and what goes to torch."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

import lossk.torch as ours
from tests.support.torch import CORNERS_ALIKE, REDUCTIONS, TOLERANCE, Draw, away_from, theirs

pytestmark = pytest.mark.usefixtures("torch_seed")

CASES: list[tuple[str, dict[str, Any]]] = [
    ("margin_ranking_loss", {}),
    ("margin_ranking_loss", {"margin": 0.5}),
    ("cosine_embedding_loss", {}),
    ("cosine_embedding_loss", {"margin": 0.25}),
    ("triplet_margin_loss", {}),
    ("triplet_margin_loss", {"p": 1, "margin": 3.0}),
    ("triplet_margin_loss", {"p": 3.5, "swap": True}),
    ("triplet_margin_loss", {"swap": True, "eps": 1e-3}),
]
each_case = pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)])


def draw(name: str, number: int, shape: tuple[int, ...], dtype: Any) -> list[Any]:
    source = Draw(number, *shape)
    inputs = [source.normal().to(dtype) for _ in range(3 if name == "triplet_margin_loss" else 2)]
    if name == "margin_ranking_loss":
        inputs.append(source.signs().to(dtype))
    if name == "cosine_embedding_loss":
        inputs.append(source.signs()[..., 0].to(dtype))
    return inputs


def run(function: Any, tensors: list[Any], differentiated: int, scale: float = 1.0, **options: Any) -> list[Any]:
    leaves = [t.detach().clone() for t in tensors]
    for leaf in leaves[:differentiated]:
        leaf.requires_grad_()
    value = function(*leaves, **options)
    upstream = (
        torch.linspace(0.5, 2, value.numel()).reshape(value.shape).to(value) if value.dim() else torch.tensor(1.0)
    )
    value.backward(scale * upstream.to(value.dtype))
    return [value.detach(), *(leaf.grad for leaf in leaves[:differentiated])]


@each_case
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_values_and_gradients_are_torchs(name: str, options: dict[str, Any], dtype: Any) -> None:
    shapes = [(7, 5), (40, 70), (5,)] + ([(2, 3, 4)] if name == "margin_ranking_loss" else [])
    for i, (shape, reduction, scale) in enumerate(itertools.product(shapes, REDUCTIONS, (1.0, 3.0))):
        tensors = draw(name, i, shape, dtype)
        inputs = 3 if name == "triplet_margin_loss" else 2
        before = sum(ours.explain().values())
        got = run(getattr(ours, name), tensors, inputs, scale, reduction=reduction, **options)
        assert sum(ours.explain().values()) == before, "kernels run"
        widened = [t.double() for t in tensors]
        want = run(getattr(theirs, name), widened, inputs, scale, reduction=reduction, **options)
        for a, b in zip(got, want, strict=True):
            assert a.dtype == dtype
            assert a.shape == b.shape
            largest = max(1.0, float(b.abs().max()))
            tolerance = {torch.float32: 2e-5}.get(dtype, TOLERANCE[dtype])
            if name == "margin_ranking_loss" and a.shape == shape:
                x1, x2, y = widened
                corner = y * (x1 - x2) == options.get("margin", 0.0)
                a, b = away_from(corner, a), away_from(corner, b)
            torch.testing.assert_close(a.double(), b, rtol=tolerance, atol=tolerance * largest)


@each_case
def test_gradients_pass_torchs_checks(name: str, options: dict[str, Any]) -> None:
    inputs = 3 if name == "triplet_margin_loss" else 2
    tensors = draw(name, 3, (4, 3), torch.float64)
    leaves = tuple(t.requires_grad_() for t in tensors[:inputs])
    for reduction in REDUCTIONS:
        function = lambda *x, r=reduction: getattr(ours, name)(*x, *tensors[inputs:], **options, reduction=r)  # noqa: E731
        assert torch.autograd.gradcheck(function, leaves)
        assert torch.autograd.gradgradcheck(function, leaves)


@each_case
def test_a_graph_may_be_gone_through_again(name: str, options: dict[str, Any]) -> None:
    tensors = draw(name, 5, (6, 4), torch.float32)
    x = tensors[0].requires_grad_()
    loss = getattr(ours, name)(*tensors, **options)
    (first,) = torch.autograd.grad(loss, x, retain_graph=True)
    (again,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(first, again, rtol=1e-6, atol=1e-8)


def test_ties_equal_points_and_zeros_are_torchs() -> None:
    one, y = torch.ones(3, 4, dtype=torch.double), torch.tensor([1.0, -1.0, 1.0], dtype=torch.double)
    cases: list[tuple[str, list[Any], int, dict[str, Any]]] = [
        ("triplet_margin_loss", [one, one, one], 3, {"eps": 0.0}),
        ("triplet_margin_loss", [one, one, 2 * one], 3, {"swap": True}),
        ("cosine_embedding_loss", [one, 2 * one, y], 2, {}),
    ]
    if CORNERS_ALIKE:
        cases += [
            ("margin_ranking_loss", [one, one, one], 2, {}),
            ("cosine_embedding_loss", [0 * one, one, y], 2, {}),
        ]
    for name, tensors, inputs, options in cases:
        got, want = (run(getattr(f, name), tensors, inputs, **options) for f in (ours, theirs))
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a, b)


def test_triplets_with_a_distance() -> None:
    """Norms of differences by kernels, other functions by torch, both as torch has them; errors are torch's."""
    norm = torch.nn.PairwiseDistance
    hooked, other = norm(), lambda x, y: (x - y).abs().amax(-1)
    hooked.register_forward_hook(lambda *_: None)
    distances = [None, torch.pairwise_distance, norm(), norm(3.0, 1e-2), norm(keepdim=True), hooked, other]
    for i, (distance, reduction) in enumerate(itertools.product(distances, REDUCTIONS)):
        tensors = draw("triplet_margin_loss", i, (7, 5), torch.float64)
        options = {"distance_function": distance, "margin": 0.75, "swap": i % 2 == 0, "reduction": reduction}
        ours.explain(reset=True)
        got = run(ours.triplet_margin_with_distance_loss, tensors, 3, **options)
        assert bool(ours.explain()) == (i // len(REDUCTIONS) >= 4)
        want = run(theirs.triplet_margin_with_distance_loss, tensors, 3, **options)
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(ours.TripletMarginWithDistanceLoss(**options)(*tensors), want[0])
    x = torch.rand(4, 3)
    with pytest.raises(ValueError, match="margin must be greater than 0"):
        ours.triplet_margin_with_distance_loss(x, x, x, margin=0)
    with pytest.raises(ValueError, match="not a valid value for reduction"):
        ours.triplet_margin_with_distance_loss(x, x, x, reduction="median")
    with pytest.raises(RuntimeError, match="same number of dimensions"):
        ours.triplet_margin_with_distance_loss(x, x, x[0])


def test_the_rest_is_torchs() -> None:
    x, y = torch.rand(4, 3), torch.ones(4)
    ours.explain(reset=True)
    assert ours.margin_ranking_loss(x, x[:1], torch.ones(4, 1)).shape == ()
    assert ours.triplet_margin_loss(x, x, x.double()).shape == ()
    assert ours.triplet_margin_loss(x, x, x, p=float("inf")) == theirs.triplet_margin_loss(x, x, x, p=float("inf"))
    target = y.clone().requires_grad_()
    assert ours.margin_ranking_loss(x[:, 0], x[:, 1], target).requires_grad
    assert ours.cosine_embedding_loss(x, x, 0 * y) == theirs.cosine_embedding_loss(x, x, 0 * y)
    with pytest.raises(RuntimeError, match="size of tensor"):
        ours.cosine_embedding_loss(x, x[:, :2], y)
    assert sum(ours.explain(reset=True).values()) == 6
    compiled = torch.compile(ours.triplet_margin_loss, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, 2 * x, 3 * x), theirs.triplet_margin_loss(x, 2 * x, 3 * x))

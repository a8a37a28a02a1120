"""What must hold of the targeted attack on any problem: shapes, bounds, precisions, degenerate pairs and strengths."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import ModuleType

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vaeaudit import Autoencoder
from vaeaudit.attacks import TargetedAttack, targeted

INF = math.inf
BOX = (0.0, 1.0)
BOUNDS = [BOX, (-0.9, 0.7), (-INF, INF), (-INF, 1.0), (0.0, INF)]
SHAPES = [(1,), (3,), (9,), (2, 3), (1, 2, 4)]
PAIRS = ["ordinary", "equal", "no gradient", "on a bound", "opposite bounds", "far away"]
STRENGTHS = [0.0, 1e-12, 1e-3, 0.1, 1.0, 30.0, 1e12]
LATENTS = 3
SETTLED = 5e-4
"""How far a point may fall behind what is known of another strength: the attack goes on while it is 1e-4."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One problem; pairs are named after what is odd about them."""

    encoder: str = "linear"
    shape: tuple[int, ...] = (9,)
    bounds: tuple[float, float] = BOX
    dtype: torch.dtype = torch.float64
    pairs: tuple[str, ...] = ("ordinary",)
    strengths: tuple[float, ...] = (0.1,)
    divergence: str = "kl"
    penalty: str = "l2_squared"
    seed: int = 0

    @property
    def n(self) -> int:
        return math.prod(self.shape)

    def model(self, linear: ModuleType) -> Autoencoder:
        """An encoder of two heads behind a linear, softly growing or half dead first layer."""
        made = linear.linear_gaussian(n=self.n, k=LATENTS, seed=self.seed, slope=0.3 * (self.encoder != "linear"))
        tensors = ("weight", "offset", "log_variance", "slope", "decoder", "decoder_offset")
        made = replace(made, **{name: getattr(made, name).to(self.dtype) for name in tensors})
        first = {"linear": nn.Identity(), "sloped": nn.Identity(), "relu": _Half(0.0), "dead": _Half(0.5)}[self.encoder]
        return Autoencoder(
            lambda x: made.encode(first(x.flatten(1))), lambda z: made.decode(z).view(-1, *self.shape),
            bounds=self.bounds, scale="log_variance",
        )  # fmt: skip

    def images(self) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        low, high = max(self.bounds[0], -1.0), min(self.bounds[1], 2.0)
        x, t = low + (high - low) * torch.rand(2, len(self.pairs), self.n, generator=generator, dtype=torch.float64)
        for row, kind in enumerate(self.pairs):
            if kind == "equal":
                t[row] = x[row]
            elif kind == "no gradient":
                x[row] = 0.0
            elif kind == "on a bound":
                x[row] = high
            elif kind == "opposite bounds":
                x[row], t[row] = low, high
            elif kind == "far away":
                t[row] = 20 * t[row] - 10
        x, t = (images.to(self.dtype).clamp(*self.bounds).view(-1, *self.shape) for images in (x, t))
        return x, t


class _Half(nn.Module):
    """Nothing below a threshold."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.threshold).relu()


def cases(**fixed) -> st.SearchStrategy[Case]:
    choices = {
        "encoder": st.sampled_from(["linear", "sloped", "relu", "dead"]),
        "shape": st.sampled_from(SHAPES),
        "bounds": st.sampled_from(BOUNDS),
        "dtype": st.sampled_from([torch.float32, torch.float64]),
        "pairs": st.lists(st.sampled_from(PAIRS), min_size=1, max_size=4).map(tuple),
        "strengths": st.lists(st.sampled_from(STRENGTHS), min_size=1, max_size=5, unique=True).map(sorted).map(tuple),
        "divergence": st.sampled_from(["kl", "symmetric_kl", "wasserstein", "mean_l2"]),
        "penalty": st.sampled_from(["l2_squared", "l2"]),
        "seed": st.integers(0, 1000),
    }
    return st.builds(Case, **(choices | {name: st.just(value) for name, value in fixed.items()}))


def _sizes(case: Case, moved: Tensor) -> Tensor:
    squares = moved.double().flatten(2).square().sum(2)
    return squares if case.penalty == "l2_squared" else squares.sqrt()


def _divergences(case: Case, ae: Autoencoder, images: Tensor, targets: Tensor) -> Tensor:
    """Delta of images `(pairs, strengths, *event)` by torch.distributions where it knows one, float64."""
    normal = torch.distributions.Normal
    with torch.no_grad():
        heads = [ae.encoder(x) for x in images.unbind(1)]
        goal_mean, goal_std = _wide(ae.encoder(targets))
    found = []
    for mean, std in map(_wide, heads):
        p, q = normal(mean, std), normal(goal_mean, goal_std)
        delta = {
            "kl": lambda p=p, q=q: torch.distributions.kl_divergence(p, q),
            "symmetric_kl": lambda p=p, q=q: (
                0.5 * (torch.distributions.kl_divergence(p, q) + torch.distributions.kl_divergence(q, p))
            ),
            "wasserstein": lambda p=p, q=q: (p.mean - q.mean).square() + (p.stddev - q.stddev).square(),
            "mean_l2": lambda p=p, q=q: (p.mean - q.mean).square(),
        }[case.divergence]()
        found.append(delta.sum(1))
    return torch.stack(found, 1)


def _wide(heads: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return heads[0].double(), (0.5 * heads[1].double()).exp()


def _check(case: Case, ae: Autoencoder, x: Tensor, t: Tensor, found: TargetedAttack) -> None:
    low, high = case.bounds
    assert found.adversarial.dtype == case.dtype
    assert found.adversarial.shape == (len(x), len(case.strengths), *case.shape)
    assert bool(((low <= found.adversarial) & (found.adversarial <= high)).all())
    for figure in (found.adversarial, found.distortion, found.relative_distortion, found.divergence, found.objective):
        assert bool(figure.isfinite().all())
    assert bool((found.disagreement >= 0).all())

    _check_figures(case, ae, x, t, found)
    _check_corners(case, ae, x, t, found)
    _check_order(case, found, found.distortion if case.penalty == "l2" else found.distortion.square())
    equal = torch.tensor([kind == "equal" for kind in case.pairs])
    # a model that rounds differently in batches of other sizes sees equal images a rounding error apart
    assert bool((found.distortion[equal] < (1e-9 if case.dtype == torch.float64 else 1e-5)).all())


def _rounding(case: Case) -> float:
    return 1e-9 if case.dtype == torch.float64 else 1e-3


def _check_figures(case: Case, ae: Autoencoder, x: Tensor, t: Tensor, found: TargetedAttack) -> None:
    """Figures are those of the adversarial itself."""
    moved = found.adversarial.double() - x[:, None].double()
    torch.testing.assert_close(found.distortion, moved.flatten(2).norm(dim=2))
    delta = _divergences(case, ae, found.adversarial, t)
    stay = _divergences(case, ae, x[:, None], t)
    error = _rounding(case) * delta + (1e-12 if case.dtype == torch.float64 else 1e-6) * (1 + stay)
    assert bool(((found.divergence - delta).abs() <= error).all())
    cost = found.divergence + found.strengths * _sizes(case, moved)
    torch.testing.assert_close(found.objective, cost, rtol=1e-12, atol=0)


def _check_corners(case: Case, ae: Autoencoder, x: Tensor, t: Tensor, found: TargetedAttack) -> None:
    """Staying costs no less, nor does going all the way to the target."""
    stay = _divergences(case, ae, x[:, None], t)
    go = found.strengths * _sizes(case, (t - x)[:, None])
    smoothing = 2e-3 if case.penalty == "l2" else 0.0  # the unsquared norm is solved with its tip rounded off
    best = torch.minimum(stay, go)
    noise = (1e-12 if case.dtype == torch.float64 else 1e-6) * (1 + stay)
    assert bool((found.objective <= best * (1 + smoothing + _rounding(case)) + noise).all())


def _check_order(case: Case, found: TargetedAttack, sizes: Tensor) -> None:
    """No strength's point is better at another strength, from which it follows how distortion and objective run."""
    slack = SETTLED + _rounding(case) + (2e-3 if case.penalty == "l2" else 0.0)
    noise = 1e-12 if case.dtype == torch.float64 else 1e-6
    crossed = found.divergence[:, None] + found.strengths[:, None] * sizes[:, None]
    best = crossed.amin(2)
    assert bool((found.objective <= best * (1 + slack) + noise).all())
    assert bool((found.objective.diff(dim=1) >= -slack * found.objective[:, 1:] - noise).all())
    excess = slack * (found.objective[:, 1:] + crossed.diagonal(-1, 1, 2)) + 2 * noise
    assert bool((sizes.diff(dim=1) <= excess / found.strengths.diff()).all())


@settings(derandomize=True, deadline=None, max_examples=80)
@given(case=cases())
@example(case=Case(encoder="dead", pairs=("no gradient",), strengths=(0.0, 1e-3, 0.1)))
@example(case=Case(pairs=("equal",), strengths=(0.0, 1e12), penalty="l2", dtype=torch.float32))
@example(case=Case(shape=(1,), pairs=tuple(PAIRS), strengths=tuple(STRENGTHS)))
@example(case=Case(encoder="relu", pairs=tuple(PAIRS), strengths=tuple(STRENGTHS), dtype=torch.float32))
@example(case=Case(encoder="sloped", pairs=tuple(PAIRS), strengths=tuple(STRENGTHS), penalty="l2"))
def test_what_must_hold_of_any_attack(linear: ModuleType, case: Case) -> None:
    ae, (x, t) = case.model(linear), case.images()
    found = targeted(ae, x, t, list(case.strengths), divergence=case.divergence, penalty=case.penalty, seed=case.seed)
    _check(case, ae, x, t, found)


@settings(derandomize=True, deadline=None, max_examples=12)
@given(case=cases(dtype=torch.float64))
def test_neither_order_nor_company_of_pairs_matters(linear: ModuleType, case: Case) -> None:
    ae, (x, t) = case.model(linear), case.images()

    def attack(rows: Tensor) -> TargetedAttack:
        return targeted(ae, x[rows], t[rows], list(case.strengths), divergence=case.divergence, penalty=case.penalty)

    everyone = torch.arange(len(x))
    together, reversed_ = attack(everyone), attack(everyone.flip(0))
    stay = _divergences(case, ae, x[:, None], t)

    def close(one: Tensor, other: Tensor, scale: Tensor) -> None:
        assert bool(((one - other).abs() <= 1e-4 * (other + scale * 1e-4) + 1e-9).all()), (one, other)

    close(reversed_.objective.flip(0), together.objective, stay)
    for row in everyone:
        close(attack(row[None]).objective, together.objective[row : row + 1], stay[row])


@pytest.mark.parametrize("strength", [1e-3, 0.02])
def test_where_no_gradient_leads_away_the_way_is_found_from_the_target(linear: ModuleType, strength: float) -> None:
    case = Case(encoder="dead", pairs=("no gradient",) * 3, strengths=(strength,))
    ae, (x, t) = case.model(linear), case.images()
    inputs = x.clone().requires_grad_()
    ae.encoder(inputs)[0].sum().backward()
    assert not inputs.grad.any(), "the case must be what its name says"
    found = targeted(ae, x, t, [strength])
    stay = _divergences(case, ae, x[:, None], t)
    assert bool((found.objective < 0.9 * stay).all())
    assert bool((found.disagreement > 0.1).all())


@pytest.mark.parametrize(
    "penalty",
    [
        "l2_squared",
        "l2",
    ],
)
def test_a_huge_strength_costs_no_more_than_staying(linear: ModuleType, penalty: str) -> None:
    case = Case(encoder="sloped", pairs=("ordinary",) * 4, strengths=(30.0, 1e6, 1e12), penalty=penalty)
    ae, (x, t) = case.model(linear), case.images()
    found = targeted(ae, x, t, list(case.strengths), penalty=penalty)
    stay = _divergences(case, ae, x[:, None], t)
    assert bool((found.objective <= stay * (1 + 1e-9)).all()), found.objective / stay - 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_rounding_error_leads_over_the_bounds(linear: ModuleType, dtype: torch.dtype) -> None:
    case = Case(shape=(500,), bounds=(-0.9, 0.7), dtype=dtype, pairs=("ordinary",), strengths=(0.0,))
    ae, (x, _) = case.model(linear), case.images()
    t = torch.full_like(x, 0.7)
    low, high = torch.tensor(case.bounds, dtype=dtype)
    assert bool((x + (t - x) > high).any()), "the case must be one in which rounding goes astray"
    found = targeted(ae, x, t, [0.0])
    assert bool(((low <= found.adversarial) & (found.adversarial <= high)).all())

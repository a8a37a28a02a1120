"""No attack beats a certificate: random models of many kinds, attacked in many ways, in float64."""

from __future__ import annotations

import math
from types import ModuleType

import pytest
import torch
from torch import Tensor

from vaeaudit import Autoencoder
from vaeaudit.attacks import maximum_damage, spectral, targeted
from vaeaudit.certificates import Certificates, certify
from vaeaudit.certificates.ellipsoids import Spread
from vaeaudit.certificates.heads import Heads, encoder_heads
from vaeaudit.certificates.propagation import Propagation
from vaeaudit.divergences import divergence_named

FREE = (-math.inf, math.inf)
KINDS = ("DenseVAE", "ConvVAE", "ResidualVAE")
_BUDGETS = (0.01, 0.05, 0.2, 0.7)
_TINY = 1e-9


def _made(models: ModuleType, kind: str, seed: int) -> tuple[Autoencoder, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    activation = models.ACTIVATIONS[seed % len(models.ACTIVATIONS)]
    options = {"variational": seed % 3 != 0} if kind == "DenseVAE" else {}
    model = models.randomised(getattr(models, kind)(activation, **options), generator, (0.5, 1.0, 2.0)[seed % 4 % 3])
    shape = (1, 6, 6) if kind == "ConvVAE" else (8,)
    inputs = torch.rand(2, 2, *shape, generator=generator, dtype=torch.float64)
    return Autoencoder(model.encode, model.decode, FREE, modules=(model,), scale="log_variance"), inputs[0], inputs[1]


def _distortions(ae: Autoencoder, x: Tensor, t: Tensor, name: str, generator: torch.Generator, steps: int) -> Tensor:
    """Unit directions `(pairs, directions, *event)`: random, to the target, by gradients of the divergence and of the output."""
    count = 12
    d = torch.randn(len(x), count, *x.shape[1:], generator=generator, dtype=torch.float64)
    d[:, 0] = t - x
    goal, used = ae.encode(t), divergence_named(name, deterministic=ae.encode(t).log_variance is None)[1]
    clean = ae.reconstruct(x)
    size = (x - t).flatten(1).norm(dim=1).view(-1, 1, *[1] * (x.ndim - 1)) * torch.tensor(
        [0.01, 0.05, 0.2, 0.7]
    ).repeat(3).view(1, -1, *[1] * (x.ndim - 1))
    d = _unit(d) * size
    rows = torch.arange(len(x)).repeat_interleave(count)
    for _ in range(steps):
        moved = (x[:, None] + d).flatten(0, 1).detach().requires_grad_()
        close = used(ae.encode(moved), goal[rows]).view(len(x), count)
        far = (ae.reconstruct(moved) - clean[rows]).flatten(1).square().sum(1).view(len(x), count)
        (gradient,) = torch.autograd.grad((far[:, 8:]).sum() - close[:, :8].sum(), moved)
        d = _unit(_unit(d) + 0.7 * _unit(gradient.view_as(d).nan_to_num(0, 0, 0))) * size
    return d.detach()


def _unit(d: Tensor) -> Tensor:
    lengths = d.flatten(2).norm(dim=2).clamp_min(1e-30)
    return d / lengths.view(*lengths.shape, *[1] * (d.ndim - 2))


def _hold_against(ae: Autoencoder, found: Certificates, x: Tensor, t: Tensor, d: Tensor, name: str) -> None:
    """Distortions `(pairs, directions, *event)` beat no bound."""
    lengths = d.flatten(2).norm(dim=2)
    moved = (x[:, None] + d).flatten(0, 1)
    rows = torch.arange(len(x)).repeat_interleave(d.shape[1])
    goal = ae.encode(t)
    _, delta = divergence_named(name, deterministic=goal.log_variance is None)
    reached = delta(ae.encode(moved), goal[rows]).view(lengths.shape)
    damage = (ae.reconstruct(moved) - ae.reconstruct(x)[rows]).flatten(1).norm(dim=1).view(lengths.shape)
    assert found.distortion is not None
    assert found.divergence is not None
    assert found.damage is not None
    assert found.encoder is not None
    assert found.decoder is not None
    for j in range(found.levels.shape[1]):
        there = reached <= found.levels[:, j, None]
        assert bool((lengths[there] >= found.distortion[:, j, None].expand_as(lengths)[there] * (1 - _TINY)).all())
    for j in range(found.budgets.shape[1]):
        inside = lengths <= found.budgets[:, j, None]
        assert bool(
            (reached[inside] >= (found.divergence[:, j, None].expand_as(lengths) * (1 - _TINY) - _TINY)[inside]).all()
        )
        assert bool(
            (damage[inside] <= (found.damage[:, j, None].expand_as(lengths) * (1 + _TINY) + _TINY)[inside]).all()
        )
    before, after = ae.encode(x)[rows], ae.encode(moved)
    pairs = [(found.encoder.mean, after.mean - before.mean)]
    if before.log_variance is not None and after.log_variance is not None:
        assert found.encoder.second is not None
        pairs.append((found.encoder.second, after.log_variance - before.log_variance))
    for constant, change in pairs:
        assert bool((change.flatten(1).norm(dim=1) <= constant * lengths.flatten() * (1 + _TINY) + _TINY).all())
    change = (ae.decode(after.mean) - ae.decode(before.mean)).flatten(1).norm(dim=1)
    gap = (after.mean - before.mean).flatten(1).norm(dim=1)
    assert bool((change <= found.decoder.mean * gap * (1 + _TINY) + _TINY).all())


@pytest.mark.parametrize("kind", KINDS)
def test_random_and_gradient_attacks_beat_no_certificate(models: ModuleType, kind: str) -> None:
    telling = 0
    for seed in range(12):
        ae, x, t = _made(models, kind, seed)
        generator = torch.Generator().manual_seed(seed)
        name = ("kl", "mean_l2", "wasserstein")[seed % 3]
        with ae.at_rest():
            d = _distortions(ae, x, t, name, generator, 6)
            goal = ae.encode(t)
            _, delta = divergence_named(name, deterministic=goal.log_variance is None)
            rows = torch.arange(len(x)).repeat_interleave(d.shape[1])
            reached = delta(ae.encode((x[:, None] + d).flatten(0, 1)), goal[rows]).view(len(x), -1)
        # levels that the attacks just reach, so that every bound is put to the test
        found = certify(ae, x, t, divergence=name, within=reached[:, ::3], budgets=_BUDGETS[1:3], balls=seed % 2)
        assert not found.refusals
        assert found.distortion is not None
        telling += int((found.distortion > 0.01 * found.spans[:, None]).sum())
        with ae.at_rest():
            _hold_against(ae, found, x, t, d, name)
    assert telling > 12


@pytest.mark.parametrize("kind", KINDS)
def test_displacements_of_hundreds_of_models_stay_in_their_ellipsoids(models: ModuleType, kind: str) -> None:
    """The strongest form: D' P^-1 D <= |d|^2, for random weights, everywhere and in a ball, under gradient ascent."""
    closest = []
    for seed in range(20):
        ae, x, _ = _made(models, kind, seed)
        generator = torch.Generator().manual_seed(seed)
        with ae.at_rest():
            heads = encoder_heads(ae, x)
        weights = [p for p in heads.network.graph.parameters() if p.ndim > 1]
        for draw in range(9):
            for p in weights:
                fan = p[0].numel()
                p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) * (0.5 + draw % 4) / fan**0.5)
            closest.append(_closeness(heads, x[0], (math.inf, 0.05, 0.5)[draw % 3], generator))
    ratios = torch.tensor(closest)
    assert len(ratios) == 180
    assert ratios.max() <= 1 + 1e-9
    assert ratios.median() > 0.3  # and they are not so loose that nothing could leave them


def _closeness(heads: Heads, x: Tensor, radius: float, generator: torch.Generator) -> float:
    """The largest sqrt(D' P^-1 D) / |d| that a few steps of ascent find within a radius."""
    centres = None if math.isinf(radius) else {k: v[0] for k, v in heads.network.arguments(x[None]).items()}
    start = Spread(size=x.numel(), multiple=1.0)
    spread = Propagation(start=start, centres=centres, radius=radius).of(*heads.steps).dense()
    slack = 1e-12 * float(spread.trace()) + 1e-28  # what does not move at all moves by rounding
    inverse = torch.linalg.inv(spread + slack * torch.eye(len(spread), dtype=torch.float64))
    clean = heads.at(x[None])
    size = 10 ** (2 * torch.rand(8, generator=generator, dtype=torch.float64) - 1)
    size = (size.clamp(max=1) * min(radius, 10.0)).view(-1, *[1] * x.ndim)
    d = _unit(torch.randn(1, 8, *x.shape, generator=generator, dtype=torch.float64))[0] * size
    best = 0.0
    for _ in range(4):
        moved = (x + d).requires_grad_()
        output = heads.network.graph(moved)
        parts = output.values() if isinstance(output, dict) else output if isinstance(output, tuple) else (output,)
        change = torch.cat([part.flatten(1) for part in parts], 1) - clean
        lengths = ((change @ inverse) * change).sum(1)
        (gradient,) = torch.autograd.grad(lengths.sum(), moved)
        best = max(best, float((lengths.detach().sqrt() / d.flatten(1).norm(dim=1)).max()))
        d = _unit(_unit(d[None]) + _unit(gradient[None].nan_to_num(0, 0, 0)))[0] * size
    return best


@pytest.mark.parametrize("kind", KINDS)
def test_the_audits_own_attacks_beat_no_certificate(models: ModuleType, kind: str) -> None:
    for seed in range(100, 102):
        ae, x, t = _made(models, kind, seed)
        attack = targeted(ae, x, t, 3)
        found = certify(ae, x, t, within=attack.divergence, budgets=_BUDGETS, balls=3)
        assert found.distortion is not None
        assert bool((attack.distortion >= found.distortion * (1 - _TINY)).all())
        radii = [float(b) for b in found.budgets.amin(0)]
        steps = [spectral(ae, x, radii, "round_trip").adversarial, maximum_damage(ae, x, radii, steps=10).adversarial]
        with ae.at_rest():
            for moved in (attack.adversarial, *steps):
                _hold_against(ae, found, x, t, moved - x[:, None], "kl")


def test_margins_hold_in_samples_under_attack(models: ModuleType) -> None:
    positive = 0
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        model = models.randomised(models.DenseVAE(models.ACTIVATIONS[seed % 19], n=6, k=2), generator, 0.7)
        model.encoder[-1].bias.data[2:] -= 3.0
        ae = Autoencoder(model.encode, model.decode, FREE, modules=(model,), scale="log_variance")
        x, t = torch.rand(2, 2, 6, generator=generator, dtype=torch.float64)
        sampled = seed % 2 == 0
        found = certify(ae, x, t, r=0.3, sampled=sampled, balls=4, budgets=(0.1, 0.4, 1.0))
        assert found.margin is not None
        positive += int((found.margin > 0).sum())
        with ae.at_rest():
            radius = found.margin.clamp(max=1e3).tolist()
            for row in range(2):
                if radius[row] == 0:
                    continue
                moved = maximum_damage(ae, x[row : row + 1], radius[row], steps=10).adversarial[:, 0]
                post, clean = ae.encode(moved), ae.encode(x[row : row + 1])
                noise = torch.randn(2, 2000, 2, generator=generator, dtype=torch.float64)
                z = post.mean + post.std * noise[0]
                z0 = clean.mean + (clean.std * noise[1] if sampled else 0)
                share = ((ae.decode(z) - ae.decode(z0)).norm(dim=1) <= 0.3).double().mean()
                assert share > 0.5 - 3 * 0.5 / 2000**0.5
    assert positive > 2

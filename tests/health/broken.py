"""Autoencoders whose gradients lie, each built around a sound one, and what an audit must say of them."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaeaudit import zoo

ZOO_MODEL = "mnist-vae"
SIDE = 8
ATTACKED, DAMAGED = ("hinge", "auddc"), ("damage", "damage_gain")


@functools.cache
def small_images() -> tuple[Tensor, Tensor]:
    """MNIST test images of 8 by 8 pixels of 8 bits, `(300, 1, 8, 8)`, and their labels."""
    images, labels = zoo.images(ZOO_MODEL)
    return (F.adaptive_avg_pool2d(images, SIDE) * 255).round() / 255, torch.from_numpy(labels)


class SmallVAE(nn.Module):
    """64-64-(6, 6)-64-64, Gaussian posterior."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, 64), nn.ReLU(), nn.Linear(64, 12))
        self.decoder = nn.Sequential(
            nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, SIDE**2), nn.Sigmoid(), nn.Unflatten(1, (1, SIDE, SIDE))
        )

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)


@functools.cache
def _trained() -> SmallVAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, (images, _) = SmallVAE(), small_images()
        optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
        for _ in range(400):
            mean, log_variance = model.encode(images)
            made = model.decode(mean + (0.5 * log_variance).exp() * torch.randn_like(mean))
            divergence = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1)
            loss = F.binary_cross_entropy(made, images, reduction="none").flatten(1).sum(1) + 0.5 * divergence
            optimiser.zero_grad()
            loss.mean().backward()
            optimiser.step()
    return model.eval()


def small_model() -> SmallVAE:
    """A small trained VAE; whoever asks gets a copy."""
    return copy.deepcopy(_trained())


class Defended(nn.Module):
    """A model behind something that happens to its input, or to its code."""

    def __init__(
        self, model: nn.Module, before: Callable[[Tensor], Tensor] | None = None,
        after: Callable[[Tensor], Tensor] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.model, self.before, self.after = model, before, after

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.model.encode(x if self.before is None else self.before(x))
        return mean if self.after is None else self.after(mean), log_variance

    def decode(self, z: Tensor) -> Tensor:
        return self.model.decode(z)


def straight_through(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The change, with the gradient of none."""
    return lambda x: x + (change(x) - x).detach()


def rounded(levels: int) -> Callable[[Tensor], Tensor]:
    return lambda x: (x * levels).round() / levels


def blurred(x: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)


def _cosines(size: int) -> Tensor:
    k, i = torch.arange(size)[:, None], torch.arange(size)[None]
    basis = torch.cos(torch.pi * (2 * i + 1) * k / (2 * size)) * (2 / size) ** 0.5
    basis[0] /= 2**0.5
    return basis


def compressed(x: Tensor, step: float = 0.6) -> Tensor:
    """Blocks of 4x4 in cosines, coefficients rounded: what JPEG does."""
    basis = _cosines(4).to(x)
    blocks = x.unfold(2, 4, 4).unfold(3, 4, 4)
    coefficients = ((basis @ blocks @ basis.T) / step).round() * step
    return (basis.T @ coefficients @ basis).permute(0, 1, 2, 4, 3, 5).reshape(x.shape)


def shattered(code: Tensor, frequency: float = 300.0, height: float = 0.3) -> Tensor:
    return code + height * torch.sin(frequency * code)


class Counting(Defended):
    """Its code drifts with every call."""

    calls = 0

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = super().encode(x)
        self.calls += 1
        return mean + 0.05 * (self.calls % 7), log_variance


class Noisy(Defended):
    """Its code is sampled."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = super().encode(x)
        return mean + 0.3 * torch.randn_like(mean), log_variance


class Detached(Defended):
    """Most of its code is computed where no gradient flows."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = super().encode(x)
        return 0.02 * mean + 0.98 * mean.detach(), log_variance


class DetachedDecoder(Defended):
    """Its decoder hides most of what it does."""

    def decode(self, z: Tensor) -> Tensor:
        made = super().decode(z)
        return made.detach() + 1e-3 * (made - made.detach())


class HardDecoder(Defended):
    """Its decoder returns black and white."""

    def decode(self, z: Tensor) -> Tensor:
        return torch.sigmoid(1e4 * (super().decode(z) - 0.5))


class Overflowing(Defended):
    """Its code is NaN where it were larger than that of any image, as those of attacked images are."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        with torch.no_grad():
            self.largest = 1.02 * model.encode(small_images()[0])[0].abs().amax(0)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = super().encode(x)
        return torch.where(mean.abs() > self.largest.to(mean), torch.nan, mean), log_variance


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A broken autoencoder.

    Attributes:
        breaks: makes it around a sound model.
        named: a finding that must be among those told.
        spoiled: scores whose verdicts must be INVALID.
    """

    breaks: Callable[[nn.Module], nn.Module]
    named: str
    spoiled: tuple[str, ...] = (*ATTACKED, *DAMAGED)


BROKEN: dict[str, Fault] = {
    "rounded input": Fault(breaks=lambda m: Defended(m, rounded(4)), named="zero_gradients"),
    "straight-through rounding": Fault(
        breaks=lambda m: Defended(m, straight_through(rounded(2))), named="gradients_disagree"
    ),
    "steep sigmoid": Fault(
        breaks=lambda m: Defended(m, lambda x: torch.sigmoid(1000 * (x - 0.5))), named="blind_inputs"
    ),
    "saturated tanh": Fault(
        breaks=lambda m: Defended(m, after=lambda z: 3 * torch.tanh(1000 * z)), named="zero_gradients"
    ),
    "noise": Fault(breaks=Noisy, named="stochastic_encoder"),
    "detached branch": Fault(breaks=Detached, named="gradients_disagree"),
    "shattered code": Fault(breaks=lambda m: Defended(m, after=shattered), named="shattered_gradients"),
    "finely shattered code": Fault(
        breaks=lambda m: Defended(m, after=lambda z: shattered(z, 3e5)), named="gradients_disagree"
    ),
    "clipped input": Fault(breaks=lambda m: Defended(m, lambda x: 2 * x.clamp(0.25, 0.75) - 0.5), named="blind_inputs"),
    "denoiser, gradient passed through": Fault(
        breaks=lambda m: Defended(m, straight_through(blurred)), named="gradients_disagree"
    ),
    "compression, gradient passed through": Fault(
        breaks=lambda m: Defended(m, straight_through(compressed)), named="gradients_disagree"
    ),
    "compression": Fault(breaks=lambda m: Defended(m, compressed), named="zero_gradients"),
    "counter": Fault(breaks=Counting, named="stateful_model"),
    "detached decoder": Fault(breaks=DetachedDecoder, named="gradients_disagree", spoiled=DAMAGED),
    "overflowing code": Fault(breaks=Overflowing, named="non_finite_under_attack", spoiled=DAMAGED),
    "hard decoder": Fault(breaks=HardDecoder, named="saturated_outputs", spoiled=()),
}

"""How much less likely an image becomes under a latent that its attacked version was encoded to.

log p(x|z) with z drawn from q(.|x), beside log p(x|z*) with z* drawn from q(.|x_a): always of the clean image x. Camuto et
al. (2021) report the difference divided by log p(x|z). That quotient depends on constants: on the normaliser of a
density, on the unit of the pixels, on the variance that a squared error is taken to stand for. It is given as `relative`,
but two figures here do without: `drop`, the difference in nats, in which normalisers cancel; and `deviance_ratio`, by
which factor the shortfall from a perfect reconstruction grows (with one Gaussian variance, the ratio of squared errors).

The ELBO of x with the attacked posterior in place of its own, E log p(x|z*) - KL(q(z|x_a) || p(z)), is still a lower bound
of log p(x), as with any q; by as much as it drops, q(z|x_a) is further than q(z|x), in KL, from the model's true posterior
p(z|x). It is the ELBO term of Kos, Fischer and Song's (2017) attack, for the clean image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from vaeaudit.attacks.noise import posterior_noise
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.batches import in_batches
from vaeaudit.divergences import divergence_kl
from vaeaudit.effects.attacked import Attacked, Keys, checked_attack, checked_keys, checked_samples
from vaeaudit.errors import ModelError, OptionError
from vaeaudit.latent import Posterior
from vaeaudit.remedies.likelihoods import likelihood_bernoulli, likelihood_gaussian

Family = Literal["gaussian", "bernoulli"]
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class LikelihoodDegradation:
    """Likelihood of the clean image under its own and under the attacked latent, nats, float64.

    Attributes:
        clean: E log p(x|z), z ~ q(.|x), `(images,)`.
        attacked: E log p(x|z*), z* ~ q(.|x_a), with the same noise, `(images, budgets)`.
        drop_error: standard error of clean - attacked over the samples, `(images, budgets)`; 0 for a deterministic
            code, NaN for a single sample.
        relative: E |log p(x|z*) - log p(x|z)| / |log p(x|z)|, the samples paired by their noise, `(images, budgets)`; NaN
            where log p(x|z) has not the same sign in all samples, so that the quotient means nothing.
        perfect: log p(x|z) were x reconstructed exactly, `(images,)`; None where the decoder gives its own spread.
        clean_kl: KL(q(z|x) || p(z)), p standard normal, `(images,)`; None for a deterministic code.
        attacked_kl: KL(q(z|x_a) || p(z)), `(images, budgets)`; None for a deterministic code.
        likelihood: "gaussian" or "bernoulli".
        samples: draws behind each expectation; 1 for a deterministic code.
    """

    clean: Tensor
    attacked: Tensor
    drop_error: Tensor
    relative: Tensor
    perfect: Tensor | None
    clean_kl: Tensor | None
    attacked_kl: Tensor | None
    likelihood: Family
    samples: int

    @property
    def drop(self) -> Tensor:
        """Clean - attacked, `(images, budgets)`; above 0 where the attack does harm, lower is more robust."""
        return self.clean[:, None] - self.attacked

    @property
    def deviance_ratio(self) -> Tensor | None:
        """(perfect - attacked) / (perfect - clean), `(images, budgets)`; 1 where nothing changed, lower is more robust.

        NaN or infinite where the clean reconstruction is perfect.
        """
        if self.perfect is None:
            return None
        return (self.perfect[:, None] - self.attacked) / (self.perfect - self.clean)[:, None]

    @property
    def clean_elbo(self) -> Tensor:
        """The ELBO of x, `(images,)`; the reconstruction term alone for a deterministic code."""
        return self.clean if self.clean_kl is None else self.clean - self.clean_kl

    @property
    def attacked_elbo(self) -> Tensor:
        """The ELBO of x with the posterior of x_a, `(images, budgets)`; see the module's text."""
        return self.attacked if self.attacked_kl is None else self.attacked - self.attacked_kl

    @property
    def elbo_drop(self) -> Tensor:
        """Clean ELBO - attacked ELBO, `(images, budgets)`; lower is more robust. May be below 0 where q(z|x) is poor."""
        return self.clean_elbo[:, None] - self.attacked_elbo


def likelihood_degradation(
    ae: Autoencoder,
    images: Tensor,
    adversarial: Tensor,
    *,
    likelihood: Family = "gaussian",
    std: float | None = None,
    samples: int = 100,
    seed: int = 0,
    keys: Keys | None = None,
) -> LikelihoodDegradation:
    """Measure log p(x|z) and the ELBO under clean and under attacked latents (Camuto et al. 2021).

    Args:
        ae: the model.
        images: x, `(images, *event)`.
        adversarial: x_a, `(images, budgets, *event)`.
        likelihood: "gaussian", a density over pixels with its normaliser; or "bernoulli", the cross-entropy of grey pixels,
            which are rescaled from the bounds to [0, 1]: no density for pixels other than 0 and 1, and capped at
            100 nats a pixel.
        std: standard deviation of the Gaussian, input units; None takes the decoder's own where it returns a
            `torch.distributions.Normal`, and 1 otherwise.
        samples: posterior samples; a deterministic code is decoded once.
        seed: seed of the noise.
        keys: what seeds each image's noise in place of the seed and the image's content.

    Raises:
        DataError: images that do not belong together, are not finite, or leave the bounds.
        ModelError: reconstructions of another shape than the images, or, for "bernoulli", outside the bounds.
        OptionError: no such likelihood, a std or a number of samples that there cannot be, or "bernoulli" between
            infinite bounds.
    """
    density = _Density(autoencoder=ae, likelihood=likelihood, std=std)
    attacked = checked_attack(ae, images, adversarial)
    checked_samples(samples)
    noise_keys = checked_keys(keys, attacked.images, seed)
    with ae.at_rest(seed):
        own = likelihood == "gaussian" and std is None and density.gives_spread(attacked.images[:1])
        posterior = ae.posteriors(attacked.together.flatten(0, 1))
        draws = _draws(density, attacked, posterior, samples, noise_keys)
    kl = _kl_to_prior(posterior, len(attacked.images))
    return LikelihoodDegradation(
        clean=draws[:, 0].mean(1), attacked=draws[:, 1:].mean(2), drop_error=_standard_error(draws, posterior),
        relative=_relative(draws), perfect=None if own else density.perfect(attacked.images),
        clean_kl=None if kl is None else kl[:, 0], attacked_kl=None if kl is None else kl[:, 1:],
        likelihood=likelihood, samples=draws.shape[2],
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Density:
    """Log p(x|z) of one image, up to nothing."""

    autoencoder: Autoencoder
    likelihood: Family
    std: float | None

    def __post_init__(self) -> None:
        if self.likelihood not in get_args(Family):
            raise OptionError(f"likelihood expects one of {', '.join(get_args(Family))}, got {self.likelihood!r}")
        if self.std is not None and not (self.likelihood == "gaussian" and 0 < self.std < math.inf):
            raise OptionError(
                f"std expects a positive number, for the Gaussian only, got {self.std} for {self.likelihood}"
            )
        low, high = self.autoencoder.bounds
        if self.likelihood == "bernoulli" and not high - low < math.inf:
            raise OptionError(
                f"bernoulli needs pixels between finite bounds, and these are ({low:g}, {high:g}); use likelihood='gaussian'"
            )

    def gives_spread(self, image: Tensor) -> bool:
        """Whether the decoder returns a Gaussian with a spread of its own."""
        with torch.no_grad():
            return self.autoencoder.decode_with_spread(self.autoencoder.encode(image).mean)[1] is not None

    def of(self, latents: Tensor, image: Tensor) -> Tensor:
        """Log p of one image `(*event)` given latents `(batch, *latent)`, `(batch,)`, float64."""
        mean, own = self.autoencoder.decode_with_spread(latents)
        if mean.shape[1:] != image.shape:
            raise ModelError(
                f"reconstructions expect the shape of an image, {tuple(image.shape)}, got {tuple(mean.shape[1:])}"
            )
        spread = torch.full_like(mean, self.std or 1.0) if own is None or self.std is not None else own
        return self._log_density(mean.double(), image.double().expand_as(mean), spread.double())

    def perfect(self, images: Tensor) -> Tensor:
        """Log p of each image were it reconstructed exactly, `(images,)`, float64."""
        return in_batches(
            lambda x: self._log_density(x.double(), x.double(), torch.full_like(x.double(), self.std or 1.0)), images
        )

    def _log_density(self, mean: Tensor, images: Tensor, spread: Tensor) -> Tensor:
        if self.likelihood == "bernoulli":
            return -likelihood_bernoulli(self._in_unit(mean), self._in_unit(images))
        normaliser = (spread.log() + 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)
        return -likelihood_gaussian(mean / spread, images / spread) - normaliser

    def _in_unit(self, pixels: Tensor) -> Tensor:
        """Pixels rescaled from the bounds to [0, 1]; what leaves it by more than rounding is left for others to refuse."""
        low, high = self.autoencoder.bounds
        unit = (pixels - low) / (high - low)
        near = (unit > -_ROUNDING) & (unit < 1 + _ROUNDING)
        return torch.where(near, unit.clamp(0, 1), unit)


def _draws(
    density: _Density, attacked: Attacked, posterior: Posterior, samples: int, keys: list[tuple[int, ...]]
) -> Tensor:
    """Log p(x|z) for samples of the posteriors of x and of each x_a, `(images, 1 + budgets, samples)`."""
    each = attacked.adversarial.shape[1] + 1
    found = []
    for i, (image, key) in enumerate(zip(attacked.images, keys, strict=True)):
        own = posterior[slice(i * each, (i + 1) * each)]
        latents = own.mean[:, None]
        if own.log_variance is not None:
            latents = latents + own.std[:, None] * posterior_noise(samples, own.mean, key)[None]
        found.append(_of_image(density, latents.flatten(0, 1), image).view(each, -1))
    return torch.stack(found)


def _of_image(density: _Density, latents: Tensor, image: Tensor) -> Tensor:
    return in_batches(lambda z: density.of(z, image), latents, n=max(image.numel(), latents[0].numel()))


def _kl_to_prior(posterior: Posterior, images: int) -> Tensor | None:
    """KL to the standard normal, `(images, 1 + budgets)`, float64."""
    if posterior.log_variance is None:
        return None
    exact = Posterior(mean=posterior.mean.double(), log_variance=posterior.log_variance.double())
    zeros = torch.zeros_like(exact.mean)
    return divergence_kl(exact, Posterior(mean=zeros, log_variance=zeros)).view(images, -1)


def _standard_error(draws: Tensor, posterior: Posterior) -> Tensor:
    drops = draws[:, :1] - draws[:, 1:]
    if posterior.log_variance is None:
        return torch.zeros_like(drops[..., 0])
    count = drops.shape[2]
    return drops.std(2) / math.sqrt(count) if count > 1 else torch.full_like(drops[..., 0], torch.nan)


def _relative(draws: Tensor) -> Tensor:
    clean = draws[:, :1]
    one_sign = (clean > 0).all(2) | (clean < 0).all(2)
    quotient = ((draws[:, 1:] - clean).abs() / clean.abs()).mean(2)
    return torch.where(one_sign, quotient, torch.nan)

"""Mixup for autoencoders: the training objective that Khan and Storkey (2022) released, as it was surely meant."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from vaeaudit.errors import DataError, EncoderOutputError, ModelError, OptionError
from vaeaudit.latent import SCALES, Layout, Posterior, Scale, read_posterior, read_reconstruction
from vaeaudit.remedies.likelihoods import Reconstruction, likelihood_named
from vaeaudit.remedies.mixing import Mixing, draw_mixing

Variant = Literal["shared", "khan2022"]
VARIANTS: tuple[Variant, ...] = ("shared", "khan2022")


@dataclass(frozen=True, kw_only=True)
class MixupTerms:
    """The parts of the loss, each a scalar: sum over units, mean over the batch; lower is better.

    Attributes:
        reconstruction: negative log-likelihood of the inputs, nats.
        kl: KL(q(z|x) || N(0, I)), nats; 0 for a deterministic code.
        mixed_kl: the same of the mixed inputs.
        image_consistency: squared L2 distance of the mixed inputs to the decoded mixed latents.
        latent_consistency: squared L2 distance of the mixed latents to the encoded mixed inputs.
        beta: weight of `kl`.
    """

    reconstruction: Tensor
    kl: Tensor
    mixed_kl: Tensor
    image_consistency: Tensor
    latent_consistency: Tensor
    beta: float

    @property
    def elbo_loss(self) -> Tensor:
        """What a beta-VAE without mixup would minimise."""
        return self.reconstruction + self.beta * self.kl

    @property
    def total(self) -> Tensor:
        """The loss; only `kl` has a weight, as in the release."""
        return self.elbo_loss + self.mixed_kl + self.image_consistency + self.latent_consistency

    def to_dict(self) -> dict[str, float]:
        """Every part and the total as numbers without gradients, for a logger."""
        names = ("total", "reconstruction", "kl", "mixed_kl", "image_consistency", "latent_consistency")
        return {name: float(getattr(self, name).detach()) for name in names}


@dataclass(frozen=True, kw_only=True)
class Mixup:
    """The mixup objective with its settings, validated once; see `mixup_loss` for what they mean.

    Raises:
        OptionError: a setting that cannot be.
    """

    beta: float = 1.0
    concentration: float = 0.5
    variant: Variant = "shared"
    reconstruction: Reconstruction = "bernoulli"
    scale: Scale | None = None

    def __post_init__(self) -> None:
        for name, least in (("beta", "at least"), ("concentration", "above")):
            value = getattr(self, name)
            number = float(value) if isinstance(value, Real) else math.nan
            if not 0 <= number < math.inf or (least == "above" and number == 0):
                raise OptionError(f"{name} expects a number {least} 0, got {value!r}")
        if self.variant not in VARIANTS:
            raise OptionError(f"variant expects one of {', '.join(VARIANTS)}, got {self.variant!r}")
        if self.scale is not None and self.scale not in SCALES:
            raise OptionError(f"scale expects one of {', '.join(SCALES)}, got {self.scale!r}")
        likelihood_named(self.reconstruction)

    def terms(
        self,
        encode: Callable[[Tensor], Any],
        decode: Callable[[Tensor], Any],
        inputs: Tensor,
        *,
        generator: Generator | None = None,
    ) -> MixupTerms:
        """The parts of the loss of one batch; arguments and errors are those of `mixup_loss`.

        Randomness is drawn in this order: noise of the latents, permutation and weight of the
        images, those of the latents (`khan2022` only), noise of the mixed images' latents.
        """
        _check_inputs(inputs, generator)
        posterior = self._encode(encode, inputs)
        latents = _sample(posterior, generator)
        fit = likelihood_named(self.reconstruction)(_decode(decode, latents, inputs, posterior.layout), inputs)
        of_images, of_latents = self._mixings(inputs, generator)
        mixed_inputs, mixed_latents = of_images(inputs), of_latents(latents)
        mixed_posterior = self._encode(encode, mixed_inputs)
        encoded = _sample(mixed_posterior, generator)
        return MixupTerms(
            reconstruction=fit.mean(),
            kl=_kl_to_prior(posterior).mean(),
            mixed_kl=_kl_to_prior(mixed_posterior).mean(),
            image_consistency=_squared_l2(
                mixed_inputs, _decode(decode, mixed_latents, inputs, posterior.layout)
            ).mean(),
            latent_consistency=_squared_l2(mixed_latents, encoded).mean(),
            beta=self.beta,
        )

    def _mixings(self, inputs: Tensor, generator: Generator | None) -> tuple[Mixing, Mixing]:
        """How images and how latents are mixed."""
        of_images = draw_mixing(inputs, self.concentration, generator)
        if self.variant == "shared":
            return of_images, of_images
        return of_images, draw_mixing(inputs, self.concentration, generator)

    def _encode(self, encode: Callable[[Tensor], Any], inputs: Tensor) -> Posterior:
        # no doubt: in the first steps of training log-variances may well be positive everywhere
        posterior = read_posterior(encode(inputs), self.scale, doubt=False)
        if posterior.mean.ndim < 2 or len(posterior.mean) != len(inputs):
            raise EncoderOutputError(
                f"the encoder returned latents {tuple(posterior.mean.shape)} for inputs {tuple(inputs.shape)}; "
                "expected (batch, *latent) with the batch of the inputs"
            )
        return posterior


def mixup_loss(
    encode: Callable[[Tensor], Any],
    decode: Callable[[Tensor], Any],
    inputs: Tensor,
    *,
    beta: float = 1.0,
    concentration: float = 0.5,
    variant: Variant = "shared",
    reconstruction: Reconstruction = "bernoulli",
    scale: Scale | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """The loss of a VAE, plus what holds its encoder and decoder to straight lines between images.

    `loss = mixup_loss(model.encode, model.decode, images)`, then `loss.backward()`. With z sampled
    from q(z|x), a weight a ~ Beta(concentration, concentration) and a permutation of the batch,

        -log p(x|z) + beta KL(q(z|x) || N(0, I)) + KL(q(z|x') || N(0, I)) + |x' - dec(z')|^2 + |z' - enc(x')|^2,

    x' = a x + (1 - a) x[perm], z' = a z + (1 - a) z[perm], enc(x') a sample of q(z|x'). That is the
    objective in the code of Khan and Storkey (2022, arXiv:2208.03923; definitions 3.5). Each term is
    summed over pixels or latent units and averaged over the batch, like an ELBO per image; the
    release sums over the batch too, which is `len(inputs)` times this. Gradients flow through every
    term on both sides. A step costs two passes through encoder and decoder, a VAE's one.

    Args:
        encode: maps `(batch, *event)` to anything that an audit can read: a code, a pair
            `(mean, log_variance)`, a Normal, an object with its posterior.
        decode: maps `(batch, *latent)`, or the tuple of groups where `encode` returns several, to pixel means,
            `(batch, *event)`; no logits.
        inputs: a batch of images, `(batch, *event)`, floating-point.
        beta: weight of the KL of the inputs; that of the mixed inputs has weight 1.
        concentration: both parameters of the weight's Beta distribution.
        variant: `shared` mixes images and latents by one permutation and one weight, so that x' and
            z' belong together; `khan2022` draws each its own, as the released code does.
        reconstruction: `bernoulli` (cross-entropy; needs [0, 1]), `gaussian` (half the squared L2
            distance: unit variance, without its constant), or a function of (reconstructions, inputs)
            that gives nats an image, `(batch,)`.
        scale: what the second member of a plain pair is; None means a log-variance. Unlike in an
            audit, values that look like a standard deviation are not questioned.
        generator: source of all randomness, on the inputs' device; None is torch's own.

    Returns:
        The loss, a scalar. `Mixup(...).terms(...)` gives its parts, for a log.

    Raises:
        OptionError: a setting that cannot be, or a generator on another kind of device.
        DataError: inputs that are no batch of floating-point images, or outside [0, 1] for `bernoulli`.
        EncoderOutputError: an output of encoder or decoder that cannot be read without guessing.
        ModelError: reconstructions of the wrong shape, or outside [0, 1] for `bernoulli`.
    """
    objective = Mixup(
        beta=beta, concentration=concentration, variant=variant, reconstruction=reconstruction, scale=scale
    )
    return objective.terms(encode, decode, inputs, generator=generator).total


def _sample(posterior: Posterior, generator: Generator | None) -> Tensor:
    """One reparametrised sample, `(batch, *latent)`; a deterministic code is itself."""
    mean = posterior.mean
    if posterior.log_variance is None:
        return mean
    noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
    return mean + posterior.std * noise


def _decode(decode: Callable[[Any], Any], latents: Tensor, inputs: Tensor, layout: Layout | None) -> Tensor:
    latents = latents.to(inputs.dtype)
    reconstructions = read_reconstruction(decode(latents if layout is None else layout.split(latents)))
    if reconstructions.shape != inputs.shape:
        raise ModelError(
            f"the decoder returned {tuple(reconstructions.shape)} for inputs {tuple(inputs.shape)}; expected the "
            "shape of the inputs. Reshape one of the two"
        )
    return reconstructions


def _kl_to_prior(posterior: Posterior) -> Tensor:
    """KL(q || N(0, I)), nats, `(batch,)`."""
    mean, log_variance = posterior.mean, posterior.log_variance
    if log_variance is None:
        return mean.new_zeros(len(mean))
    return 0.5 * (mean.square() + torch.expm1(log_variance) - log_variance).flatten(1).sum(1)


def _squared_l2(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().flatten(1).sum(1)


def _check_inputs(inputs: Any, generator: Generator | None) -> None:
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point() or inputs.ndim < 2 or not len(inputs):
        came = f"{inputs.dtype} {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else type(inputs).__name__
        raise DataError(f"inputs expects a floating-point tensor (batch, *event), got {came}; convert it first")
    if generator is not None and generator.device.type != inputs.device.type:
        raise OptionError(
            f"the generator is on {generator.device}, the inputs are on {inputs.device}; make it there: "
            "torch.Generator(device=inputs.device)"
        )

"""What a model does on a few inputs, and why one cannot be audited."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from vaeaudit.attacks.objective import gradient_of
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import AuditError, EncoderOutputError, GradientError, ModelError
from vaeaudit.geometry.budget import in_chunks
from vaeaudit.latent import Posterior

_BATCH = 8
_TRIED = 32
_SEED = 20_231
_CALLS = 8
_TOGETHER = 2**20
"""Input elements of a batch: of large images fewer are looked at together, and two still, for they must not mix."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What was seen on a few inputs; plain numbers.

    Attributes:
        latent_shape: shape of one latent.
        deterministic_code: the encoder returns no variances.
        encoder_noise: largest difference between two encodings of one batch, relative to their scale.
        decoder_noise: the same for the decoder.
        drift: largest difference between codes or reconstructions of one batch before and after other calls, relative.
        batch_dependence: largest difference between encodings alone and in a batch, relative.
        outside_bounds: share of reconstructed values outside the bounds.
        saturated_outputs: share of reconstructed values exactly on a bound.
        zero_gradients: share of inputs at which the gradient of the posterior mean vanishes.
        behaviour: SHA-256 of the posteriors and reconstructions, of images and of images under heavy
            noise; what a fingerprint of weights cannot see, such as changed code, it does.
    """

    latent_shape: tuple[int, ...]
    deterministic_code: bool
    encoder_noise: float
    decoder_noise: float
    drift: float
    batch_dependence: float
    outside_bounds: float
    saturated_outputs: float
    zero_gradients: float
    behaviour: str


def probe(ae: Autoencoder, images: Tensor, *, tried: int = _TRIED, calls: int = _CALLS) -> Probe:
    """Try the model on a few images, at rest.

    Args:
        ae: the model, at rest.
        images: `(n, *event)` on the model's device; the first few are used.
        tried: images, and as many under noise, whose codes and reconstructions make up the behaviour; at most 8 of
            them for all else, and two at least.
        calls: times that the model is asked the same, with other calls in between.

    Raises:
        EncoderOutputError: the encoder's output is ambiguous.
        ModelError: shapes do not fit, or outputs are not finite.
        GradientError: no gradient, or a non-finite one, flows from the latents to the input or
            from the reconstruction to the latents.
    """
    shown, images = images[:tried], _few(images[:tried])
    with torch.no_grad():
        posterior = ae.examine(images)
        _check_posterior(posterior, images)
        reconstruction = _decoded(ae, posterior, images)
        again, decoded_again = ae.encode(images), ae.decode(posterior.mean)
        alone = ae.encode(images[:1])
    at_once = max(1, _TOGETHER // images[0].numel())
    in_chunks(partial(_check_decoder_gradient, ae), posterior.mean, at_once)
    return Probe(
        latent_shape=tuple(posterior.mean.shape[1:]),
        deterministic_code=posterior.log_variance is None,
        encoder_noise=_difference(posterior.mean, again.mean),
        decoder_noise=_difference(reconstruction, decoded_again),
        drift=drift_since(answers(ae, images), ae, images, calls),
        batch_dependence=_difference(posterior.mean[:1], alone.mean),
        outside_bounds=_share_outside(reconstruction, ae.bounds),
        saturated_outputs=_share_on_bounds(reconstruction, ae.bounds),
        zero_gradients=_zero_gradients(ae, images, at_once),
        behaviour=_behaviour(ae, shown, tried),
    )


def _few(images: Tensor) -> Tensor:
    """The first images, as many as are looked at together."""
    return images[: min(_BATCH, max(2, _TOGETHER // images[0].numel()))]


def answers(ae: Autoencoder, images: Tensor) -> tuple[Tensor, Tensor]:
    """Codes and reconstructions of a few images."""
    with torch.no_grad():
        code = ae.encode(_few(images)).mean
        return code, ae.decode(code)


def drift_since(before: tuple[Tensor, Tensor], ae: Autoencoder, images: Tensor, calls: int = 1) -> float:
    """Largest relative difference of `answers` from earlier ones, asked several times with other calls in between."""
    largest = 0.0
    for call in range(calls):
        if call % 2:
            answers(ae, images.roll(1, 0))
        now = answers(ae, images)
        largest = max(largest, *(_difference(a, b) for a, b in zip(before, now, strict=True)))
    return largest


def _behaviour(ae: Autoencoder, images: Tensor, tried: int) -> str:
    """SHA-256 of what the model makes of images, and of as many as are tried under noise, in small batches."""
    noisy = _under_noise(images, ae.bounds, tried)
    with torch.no_grad():
        outputs = [
            output
            for inputs in (images, noisy)
            for batch in inputs.split(len(_few(inputs)))
            for output in _outputs(ae, batch)
        ]
    return _digest(*outputs)


def _outputs(ae: Autoencoder, images: Tensor) -> tuple[Tensor, ...]:
    """Posteriors and reconstructions; nothing where the model refuses images unlike its data."""
    try:
        posterior = ae.encode(images)
        return posterior.mean, posterior.std, ae.decode(posterior.mean)
    except AuditError:
        return ()


def _under_noise(images: Tensor, bounds: tuple[float, float], tried: int) -> Tensor:
    """Images under uniform noise as wide as the input range, in the bounds: no input stays as it is in all data."""
    low, high = bounds if math.isfinite(bounds[1] - bounds[0]) else (float(images.min()), float(images.max()))
    images = images[torch.arange(tried, device=images.device) % len(images)]
    uniform = torch.rand(images.shape, generator=torch.Generator().manual_seed(_SEED), dtype=torch.float64)
    noise = (high - low) * (2 * uniform - 1)
    return (images + noise.to(images)).clamp(*bounds)


def _check_posterior(posterior: Posterior, images: Tensor) -> None:
    mean = posterior.mean
    if mean.ndim < 2 or len(mean) != len(images):
        raise ModelError(
            f"the encoder returned latents of shape {tuple(mean.shape)} for {len(images)} images; "
            "expected (batch, *latent), one latent an image"
        )
    if not bool(mean.isfinite().all()):
        raise ModelError(
            "the encoder returned NaN or infinite values on finite images; check the weights and the input's scale"
        )
    if posterior.log_variance is not None and not bool(posterior.log_variance.isfinite().all()):
        raise ModelError(
            "the encoder's posterior variances are zero, negative, NaN or infinite; "
            "check that scale= says what the encoder returns: 'log_variance', 'variance' or 'std'"
        )


def _decoded(ae: Autoencoder, posterior: Posterior, images: Tensor) -> Tensor:
    try:
        reconstruction = ae.decode(posterior.mean)
    except ModelError as error:
        _check_concatenated(ae, posterior)
        raise ModelError(
            f"encoder and decoder do not fit together: the encoder gives latents {tuple(posterior.mean.shape)}, and {error}"
        ) from error
    if reconstruction.shape != images.shape:
        raise ModelError(
            f"the decoder returned reconstructions of shape {tuple(reconstruction.shape)} for images of shape "
            f"{tuple(images.shape)}; they must be equal: reshape in a wrapper, Autoencoder(encoder, lambda z: "
            f"decoder(z).reshape(-1, {', '.join(map(str, images.shape[1:]))}))"
        )
    if not bool(reconstruction.isfinite().all()):
        raise ModelError("the decoder returned NaN or infinite values; check the weights")
    return reconstruction


def _check_concatenated(ae: Autoencoder, posterior: Posterior) -> None:
    """A tensor twice as long as the decoder takes is most likely mean and scale in one."""
    units = posterior.mean.shape[1]
    if posterior.log_variance is not None or units % 2:
        return
    try:
        ae.decode(posterior.mean[:, : units // 2])
    except AuditError:
        return
    raise EncoderOutputError(
        f"the encoder returned one tensor of {units} latents and the decoder takes {units // 2}: it may hold mean and "
        "log-variance side by side, or a code that needs a projection. Say which, in one of two ways: "
        "Autoencoder(lambda x: encoder(x).chunk(2, dim=1), decoder) for (mean, log_variance) "
        "(scale='std' or 'variance' if that is the second half), or pass the decoder that takes the whole code"
    )


def _digest(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _difference(a: Tensor, b: Tensor) -> float:
    """Largest difference, relative to the largest entry."""
    return float((a - b).abs().max() / a.abs().max().clamp_min(1e-12))


def _share_outside(reconstruction: Tensor, bounds: tuple[float, float]) -> float:
    slack = 1e-3 * (bounds[1] - bounds[0]) if abs(bounds[0]) + abs(bounds[1]) < float("inf") else 0.0
    outside = (reconstruction < bounds[0] - slack) | (reconstruction > bounds[1] + slack)
    return float(outside.double().mean())


def _share_on_bounds(reconstruction: Tensor, bounds: tuple[float, float]) -> float:
    return float(((reconstruction == bounds[0]) | (reconstruction == bounds[1])).double().mean())


def _check_decoder_gradient(ae: Autoencoder, latents: Tensor) -> None:
    inputs = latents.detach().requires_grad_()
    try:
        gradient = gradient_of(ae.decode(inputs).flatten(1).sum(1), inputs)
    except GradientError as error:
        raise GradientError(f"the decoder cannot be attacked: {error}") from error
    if not bool(gradient.isfinite().all()):
        raise GradientError(
            "the gradient of the reconstruction holds NaN or infinite values; a sqrt, log or norm at zero?"
        )


def _zero_gradients(ae: Autoencoder, images: Tensor, at_once: int) -> float:
    zero = torch.cat(in_chunks(partial(_without_gradient, ae), images, at_once))
    return float(zero.double().mean())


def _without_gradient(ae: Autoencoder, images: Tensor) -> Tensor:
    """At which images no code moves, `(images,)`."""
    inputs = images.detach().requires_grad_()
    mean = ae.encode(inputs).mean
    weights = torch.linspace(1, 2, mean[0].numel(), device=mean.device, dtype=mean.dtype)
    gradient = gradient_of((mean.flatten(1) * weights).sum(1), inputs).flatten(1)
    if not bool(gradient.isfinite().all()):
        raise GradientError(
            "the gradient of the posterior mean holds NaN or infinite values; a sqrt, log or norm at zero?"
        )
    return gradient.abs().amax(1) == 0

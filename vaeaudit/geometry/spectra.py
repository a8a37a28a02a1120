"""Spectra of pullback metrics at the points of a batch, by whichever way fits their size (definitions D6, D7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import DataError, ModelError, OptionError
from vaeaudit.geometry import jacobians
from vaeaudit.geometry.budget import in_chunks, memory_budget
from vaeaudit.geometry.factors import encoder_factor, round_trip_factor
from vaeaudit.geometry.jacobians import (
    Passes,
    decoder_heads,
    decoder_jacobian,
    encoder_heads,
    encoder_jacobians,
    planned,
)
from vaeaudit.geometry.leading import leading_eigenpairs, most_steps
from vaeaudit.geometry.operators import (
    DECODER_METRICS,
    ENCODER_METRICS,
    ROUND_TRIP_METRICS,
    MetricOperator,
    check_metric,
    metric_operator,
)
from vaeaudit.geometry.small_side import Spectrum, checked_top, spectrum_of


@dataclass(frozen=True, kw_only=True)
class _Request:
    """What is asked for at some points."""

    ae: Autoencoder
    metric: str
    top: int | None
    eigenvectors: bool
    memory: int | None
    seed: int
    steps: int | None

    def exact(self, factor: Tensor, event: torch.Size) -> Spectrum:
        return spectrum_of(
            factor, self.metric, tuple(event), precision=self.ae.dtype, top=self.top, eigenvectors=self.eigenvectors
        )  # fmt: skip


def encoder_spectrum(
    ae: Autoencoder, images: Tensor, metric: str = "wasserstein", top: int | None = None, *,
    eigenvectors: bool = False, memory: int | None = None, seed: int = 0, steps: int | None = None,
) -> Spectrum:  # fmt: skip
    """Spectrum of the encoder's pullback metric at images.

    `wasserstein`: J_mu' J_mu + J_sigma' J_sigma, the stochastic pullback of Khan and Storkey (2022)
    and the local squared 2-Wasserstein distance. `mean`: J_mu' J_mu. `fisher`:
    J_mu' Sigma^-1 J_mu + 2 J_logsigma' J_logsigma, where KL = d' F d / 2.

    Where both sides of the Jacobian exceed `jacobians.SMALL_SIDE`, or it does not fit, or its rows would take
    longer, the `top` leading eigenpairs come from products with the Jacobian and its transpose, each with an
    error of its own.

    Args:
        ae: the model.
        images: `(batch, *event)`.
        metric: one of `ENCODER_METRICS`.
        top: how many leading eigenvalues; None for all that can be non-zero.
        eigenvectors: whether to compute eigenvectors in input space.
        memory: bytes that may be used; None for a share of what is found to be free.
        seed: of the start vectors where products are used.
        steps: most Lanczos steps of a start vector there, two products each, four of a round trip; None for
            40 + 10 `top`. With fewer than it takes the errors are larger, and `converged` says so.

    Raises:
        OptionError: unknown metric, `fisher` for a deterministic code, or a bad `top`.
        ModelError: the Jacobian is too large to be held and `top` is None.
    """
    request = _request(ae, metric, ENCODER_METRICS, top, eigenvectors, memory, seed, steps)
    points, spread = placed(ae, images), metric != "mean"

    def exact(part: Tensor) -> Spectrum:
        found = encoder_jacobians(ae, part, spread=spread, passes=passes)
        return request.exact(encoder_factor(found, metric), part.shape[1:])

    with ae.at_rest():
        ae.examine(points[:64])
        passes = planned(encoder_heads(ae, spread=spread), points, memory)
        return _measured(request, points, passes, exact)


def decoder_spectrum(
    ae: Autoencoder, latents: Tensor, top: int | None = None, *,
    metric: str = "decoder", eigenvectors: bool = False, memory: int | None = None, seed: int = 0,
    steps: int | None = None,
) -> Spectrum:  # fmt: skip
    """Spectrum of the decoder's pullback metric at latents `(batch, *latent)`.

    `decoder`: J_g' J_g + J_s' J_s, where a decoder that returns a Gaussian has the learned standard
    deviation s, and J_g' J_g otherwise (definitions row 22). `decoder_mean`: J_g' J_g in any case, the
    squared distance of reconstructions. Other arguments as `encoder_spectrum`.
    """
    request = _request(ae, metric, DECODER_METRICS, top, eigenvectors, memory, seed, steps)
    points, spread = placed(ae, latents), metric == "decoder"

    def exact(part: Tensor) -> Spectrum:
        return request.exact(decoder_jacobian(ae, part, spread=spread, passes=passes), part.shape[1:])

    with ae.at_rest():
        passes = planned(decoder_heads(ae, spread=spread), points, memory)
        return _measured(request, points, passes, exact)


def round_trip_spectrum(
    ae: Autoencoder, images: Tensor, top: int | None = None, *,
    metric: str = "round_trip", eigenvectors: bool = False, memory: int | None = None, seed: int = 0,
    steps: int | None = None,
) -> Spectrum:  # fmt: skip
    """Spectrum of the metric from input to reconstruction at images (definitions row 23).

    `round_trip`: J_mu' G J_mu + J_sigma' diag(diag G) J_sigma with G the `decoder` metric at the posterior
    mean, the second moment of the sampled reconstruction's Jacobian. `round_trip_mean`: J_r' J_r with
    r = g(mu(x)), the squared distance of mean reconstructions. By products, diag G is exact up to
    `operators.NORM_PROBES` latents; of more it is estimated, and two standard errors of what that does to an
    eigenvalue are part of its error. Other arguments as `encoder_spectrum`.
    """
    request = _request(ae, metric, ROUND_TRIP_METRICS, top, eigenvectors, memory, seed, steps)
    points, spread = placed(ae, images), metric == "round_trip"

    def exact(part: Tensor) -> Spectrum:
        found = encoder_jacobians(ae, part, spread=spread, passes=passes)
        with torch.no_grad():
            means = ae.encode(part).mean
        factor = round_trip_factor(found, decoder_jacobian(ae, means, spread=spread, memory=memory))
        return request.exact(factor, part.shape[1:])

    with ae.at_rest():
        latents = ae.examine(points[:64]).mean
        passes, back = (
            planned(encoder_heads(ae, spread=spread), points, memory),
            planned(decoder_heads(ae, spread=spread), latents, memory),
        )
        both = replace(passes if back.is_exact else back, rows=min(passes.rows, back.rows))
        return _measured(request, points, both, exact)


def _request(
    ae: Autoencoder, metric: str, known: tuple[str, ...], top: int | None, eigenvectors: bool, memory: int | None,
    seed: int, steps: int | None,
) -> _Request:  # fmt: skip
    check_metric(metric, known)
    if steps is not None and not steps >= 1:
        raise OptionError(f"steps expects at least 1, got {steps}")
    return _Request(
        ae=ae, metric=metric, top=checked_top(top), eigenvectors=eigenvectors, memory=memory, seed=seed, steps=steps
    )  # fmt: skip


def _measured(request: _Request, points: Tensor, passes: Passes, exact: Callable[[Tensor], Spectrum]) -> Spectrum:
    if _holds(passes, request.metric, request.top):
        return Spectrum.joined(in_chunks(exact, points, passes.rows))
    if request.top is None:
        raise ModelError(
            f"a Jacobian of {passes.outputs} x {passes.inputs} is too large to be decomposed exactly (the smaller side "
            f"may be {jacobians.SMALL_SIDE} at most); pass top=10 for the leading eigenvalues, and see "
            "geometry.stochastic_scores for figures of the whole spectrum"
        )
    return Spectrum.joined(in_chunks(lambda part: _by_products(request, part), points, _together(passes, request)))


def _holds(passes: Passes, metric: str, top: int | None) -> bool:
    # products only estimate the norms in a round trip's sigma term, so there Jacobians are held while they can be
    return passes.is_exact and (metric == "round_trip" or not passes.outweighs(top))


def are_held(ae: Autoencoder, images: Tensor, metric: str, top: int | None = None) -> bool:
    """Whether a metric of images is had from Jacobians that are held, and not from products with them.

    Args:
        ae: the model, at rest.
        images: `(batch, *event)`, of which the first is looked at.
        metric: of encoder or round trip.
        top: how many leading eigenpairs are wanted; None for the whole spectrum.
    """
    spread = metric not in ("mean", "round_trip_mean")
    encoder = planned(encoder_heads(ae, spread=spread), images)
    if metric not in ROUND_TRIP_METRICS:
        return _holds(encoder, metric, top)
    decoder = planned(decoder_heads(ae, spread=spread), ae.examine(images[:1]).mean)
    return decoder.is_exact and _holds(encoder, metric, top)


def _together(passes: Passes, request: _Request) -> int:
    """Points at once: as many as keep their Lanczos vectors within the budget."""
    budget = memory_budget(torch.device(request.ae.device or "cpu"), request.memory)
    steps = 10 + (request.steps or most_steps(request.top or 1))
    return max(1, min(64, budget // (8 * steps * min(passes.outputs, passes.inputs))))


def _by_products(request: _Request, points: Tensor) -> Spectrum:
    operator = metric_operator(request.ae, points, request.metric, request.memory, seed=request.seed)
    generator = torch.Generator().manual_seed(request.seed)
    pairs = leading_eigenpairs(operator, request.top or 1, generator=generator, at_most=request.steps)
    vectors = _lifted(operator, pairs.vectors, points.shape[1:]) if request.eigenvectors else None
    return Spectrum(
        eigenvalues=pairs.values, eigenvectors=vectors, error=pairs.error, metric=request.metric,
        products=operator.products, converged=pairs.converged,
    )  # fmt: skip


def _lifted(operator: MetricOperator, vectors: Tensor, event: torch.Size) -> Tensor:
    lifted = torch.stack([operator.lifted(one) for one in vectors.unbind(1)], 1)
    return lifted.reshape(*lifted.shape[:2], *event)


def placed(ae: Autoencoder, inputs: Tensor) -> Tensor:
    """Inputs on the model's device, in the precision of figures.

    Raises:
        DataError: no rows, or values that are not finite.
    """
    inputs = torch.as_tensor(inputs)
    if inputs.ndim < 2 or len(inputs) == 0 or not bool(inputs.isfinite().all()):
        raise DataError(f"a spectrum expects finite inputs of shape (batch, ...), got {tuple(inputs.shape)}")
    return inputs.detach().to(device=ae.device or inputs.device, dtype=ae.figures_dtype)

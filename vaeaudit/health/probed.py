"""What probing the model turned up: how it came, whether it answers alike, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator

from vaeaudit.health.finding import Finding, found
from vaeaudit.health.groups import ATTACKED, DAMAGED, DECODED, ENCODED

_NOISE = 1e-4
_BATCH_NOISE = 1e-3
_OUTSIDE = 0.01
_SATURATED, _HARD = 0.5, 0.99


def findings_of_model(
    *,
    training: tuple[str, ...] | None,
    without_weights: tuple[str, ...],
    encoder_noise: float,
    decoder_noise: float,
    drift: float,
    batch_dependence: float,
    outside_bounds: float,
    saturated_outputs: float,
    zero_gradients: float,
) -> list[Finding]:
    """What probing the model turned up.

    Args:
        training: layers in training mode that behave differently in it; None if nothing was.
        without_weights: which of "encoder" and "decoder" no weights were found behind.
        encoder_noise: this and the others as the attributes of `vaeaudit.probe.Probe`.
        decoder_noise: see there.
        drift: see there.
        batch_dependence: see there.
        outside_bounds: see there.
        saturated_outputs: see there.
        zero_gradients: see there.
    """
    return [
        *_of_state(training, without_weights),
        *_of_repeats(encoder_noise, decoder_noise, drift, batch_dependence),
        *_of_answers(outside_bounds, saturated_outputs, zero_gradients),
    ]


def _of_state(training: tuple[str, ...] | None, without_weights: tuple[str, ...]) -> Iterator[Finding]:
    """How the model came."""
    if training is not None:
        layers = f" with {', '.join(training)}" if training else ""
        yield found(
            "training_mode", "warning" if training else "info",
            f"the model came in training mode{layers}; it was audited in evaluation mode and put back.",
        )  # fmt: skip
    if without_weights:
        parts = "encoder and decoder: their" if len(without_weights) > 1 else f"the {without_weights[0]}: its"
        yield found(
            "weights_not_found", "warning",
            f"no weights were found behind {parts} mode, device and fingerprint are unknown.",
        )  # fmt: skip


def _of_repeats(encoder_noise: float, decoder_noise: float, drift: float, batch_dependence: float) -> Iterator[Finding]:
    """Whether the same inputs come out the same."""
    if encoder_noise > _NOISE:
        yield found(
            "stochastic_encoder", "invalid",
            f"the encoder returned two different posteriors for one batch (relative difference {encoder_noise:.1e}): "
            "its noise hides the gradient, and robustness figures would measure the noise.",
            (*ATTACKED, *ENCODED, *DAMAGED),
        )  # fmt: skip
    if decoder_noise > _NOISE:
        yield found(
            "stochastic_decoder", "invalid",
            f"the decoder returned two different reconstructions of one latent (relative difference {decoder_noise:.1e}).",
            (*ATTACKED, *DECODED, *DAMAGED),
        )  # fmt: skip
    if drift > _NOISE:
        yield finding_stateful(drift)
    if batch_dependence > _BATCH_NOISE:
        yield found(
            "batch_dependent_encoder", "invalid",
            f"an image's posterior depends on the rest of its batch (relative difference {batch_dependence:.1e}).",
            (*ATTACKED, *ENCODED, *DAMAGED),
        )  # fmt: skip


def _of_answers(outside_bounds: float, saturated_outputs: float, zero_gradients: float) -> Iterator[Finding]:
    """What comes out, and whether a gradient comes back."""
    if outside_bounds > _OUTSIDE:
        yield found(
            "outputs_outside_bounds", "warning",
            f"{outside_bounds:.0%} of reconstructed values lie outside the input bounds.",
        )  # fmt: skip
    if saturated_outputs > _SATURATED:
        yield found(
            "saturated_outputs", "invalid" if saturated_outputs > _HARD else "warning",
            f"{saturated_outputs:.0%} of reconstructed values lie exactly on a bound of the input.", DAMAGED,
        )  # fmt: skip
    if zero_gradients > 0:
        yield found(
            "zero_gradients", "invalid" if zero_gradients >= 0.5 else "warning",
            f"the gradient of the posterior vanishes at {zero_gradients:.0%} of the probed images: "
            "the attack cannot start there, and what looks robust may only be masked.",
            (*ATTACKED, *ENCODED, *DAMAGED),
        )  # fmt: skip


def finding_stateful(drift: float) -> Finding:
    """The model says something else after other calls than before them."""
    return found(
        "stateful_model", "invalid",
        f"the same inputs came out otherwise after other calls than before them (relative difference {drift:.1e}).",
        (*ATTACKED, *ENCODED, *DECODED, *DAMAGED),
    )  # fmt: skip

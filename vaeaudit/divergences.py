"""Divergences between posteriors, each `(batch,)`, in nats or squared latent units (definitions D2).

`channel_normalised_l2` needs the latent's standard deviations, and its full name holds them: every call that takes the
name of a divergence takes it, and rows that are kept under it are of these deviations and no others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vaeaudit.channels import latent_deviations as latent_deviations
from vaeaudit.errors import OptionError
from vaeaudit.latent import Posterior

Divergence = Callable[[Posterior, Posterior], Tensor]
_SERIES_BELOW = 0.25
_SERIES_TERMS = 12


def divergence_kl(adversarial: Posterior, target: Posterior) -> Tensor:
    """KL(adversarial || target), exact; definitions D2, table row 4.

    Written as a sum of terms that cannot be negative, so that it stays exact near zero in float32.
    """
    log_a, log_t = _log_variances(adversarial, target)
    shift = ((adversarial.mean - target.mean) * (-0.5 * log_t).exp()).square()
    return 0.5 * _total(_exp_minus_one_minus(log_a - log_t) + shift)


def divergence_kl_reverse(adversarial: Posterior, target: Posterior) -> Tensor:
    """KL(target || adversarial), the other direction; `kl_forward` of Kuzina et al. (2022), table row 14."""
    return divergence_kl(target, adversarial)


def divergence_symmetric_kl(adversarial: Posterior, target: Posterior) -> Tensor:
    """Mean of the two directions of KL; table row 12."""
    return 0.5 * (divergence_kl(adversarial, target) + divergence_kl(target, adversarial))


def divergence_wasserstein(adversarial: Posterior, target: Posterior) -> Tensor:
    """Squared 2-Wasserstein distance of diagonal Gaussians; table row 13.

    The standard deviations' difference is computed from that of the log-variances, which does not cancel.
    """
    if adversarial.log_variance is None and target.log_variance is None:
        return divergence_mean_l2(adversarial, target)
    log_a, log_t = _log_variances(adversarial, target)
    spread = target.std * torch.expm1(0.5 * (log_a - log_t))
    return divergence_mean_l2(adversarial, target) + _total(spread.square())


def divergence_mean_l2(adversarial: Posterior, target: Posterior) -> Tensor:
    """Squared L2 distance of the means or codes; table row 3."""
    return _total((adversarial.mean - target.mean).square())


def divergence_kl_tabacof2016(adversarial: Posterior, target: Posterior) -> Tensor:
    """What the code of Tabacof et al. (2016) minimised in place of a KL; table row 5.

    Standard deviations stand where variances belong and the halves are missing, so it is smallest
    at twice the target's standard deviation (0.1137 a unit), not at equality (0.5).
    """
    log_a, log_t = _log_variances(adversarial, target)
    std_a, std_t = (0.5 * log_a).exp(), (0.5 * log_t).exp()
    shift = (adversarial.mean - target.mean).square()
    return _total((std_a + shift) / std_t + log_t - log_a - 0.5)


DIVERGENCES: dict[str, Divergence] = {
    "kl": divergence_kl,
    "kl_reverse": divergence_kl_reverse,
    "symmetric_kl": divergence_symmetric_kl,
    "wasserstein": divergence_wasserstein,
    "mean_l2": divergence_mean_l2,
    "kl_tabacof2016": divergence_kl_tabacof2016,
}
NEED_VARIANCE = ("kl_reverse", "symmetric_kl", "kl_tabacof2016")


CHANNEL_NORMALISED = "channel_normalised_l2"
NAMES = (*DIVERGENCES, CHANNEL_NORMALISED)
"""What an audit may be asked for."""


def channel_normalised(deviations: Sequence[float]) -> str:
    """The full name of the squared L2 distance of means in which each latent channel is divided by its deviation.

    In squared standard deviations, summed over all units: sum over channels c of |mu_a,c - mu_t,c|^2 / s_c^2. Latents
    of image models have channels of different scales, which a plain L2 distance weighs as they come.

    Args:
        deviations: s, of each channel; an audit takes `latent_deviations` over its images.

    Raises:
        OptionError: not all are positive numbers.
    """
    return f"{CHANNEL_NORMALISED}:{','.join(map(repr, _checked_deviations(deviations)))}"


def _checked_deviations(deviations: Sequence[float]) -> tuple[float, ...]:
    given = tuple(float(s) for s in deviations)
    if not given or not all(0 < s < math.inf for s in given):
        raise OptionError(f"deviations expect a positive number for each latent channel, got {list(given)}")
    return given


def divergence_named(name: str, *, deterministic: bool) -> tuple[str, Divergence]:
    """Look a divergence up; `kl` between deterministic codes is their squared L2 distance (D2).

    Raises:
        OptionError: unknown, or undefined between deterministic codes.
    """
    if isinstance(name, str) and name.partition(":")[0] == CHANNEL_NORMALISED:
        return name, _normalised_by(deviations_in(name))
    if not isinstance(name, str) or name not in DIVERGENCES:
        raise OptionError(f"unknown divergence {name!r}; choose one of {', '.join(NAMES)}")
    if deterministic and name in NEED_VARIANCE:
        raise OptionError(
            f"divergence {name!r} needs posterior variances, and this encoder is deterministic; use 'mean_l2'"
        )
    used = "mean_l2" if deterministic else name
    return used, DIVERGENCES[used]


def deviations_in(name: str) -> tuple[float, ...]:
    """The deviations that a full name of `channel_normalised_l2` holds.

    Raises:
        OptionError: it holds none, or no positive numbers.
    """
    _, _, written = name.partition(":")
    if not written:
        raise OptionError(
            f"{CHANNEL_NORMALISED!r} needs the latent's standard deviations. An audit takes them over its images; an "
            "attack by itself is told: divergence=channel_normalised(latent_deviations(ae.posteriors(images))), both of "
            "vaeaudit.divergences"
        )
    try:
        numbers = [float(part) for part in written.split(",")]
    except ValueError as error:
        raise OptionError(f"{CHANNEL_NORMALISED} expects numbers after the colon, got {written[:80]!r}") from error
    return _checked_deviations(numbers)


def _normalised_by(deviations: tuple[float, ...]) -> Divergence:
    made: dict[tuple[object, ...], Tensor] = {}  # on a GPU, numbers that are handed over at every call would halt it

    def weights(posterior: Posterior) -> Tensor:
        mean = posterior.mean
        key = (mean.device, mean.dtype, mean.shape[1:])
        if key not in made:
            made[key] = _weights(posterior, deviations)
        return made[key]

    def divergence_channel_normalised_l2(adversarial: Posterior, target: Posterior) -> Tensor:
        """Squared L2 distance of the means, each channel in its standard deviations."""
        return _total(((adversarial.mean - target.mean) * weights(target)).square())

    return divergence_channel_normalised_l2


def _weights(posterior: Posterior, deviations: tuple[float, ...]) -> Tensor:
    """One over each unit's deviation, in the shape of a latent, `(1, *latent)`."""
    mean = posterior.mean
    layout = posterior.layout
    shapes = (tuple(mean.shape[1:]),) if layout is None else layout.shapes
    channels = [shape[0] if shape else 1 for shape in shapes]
    if sum(channels) != len(deviations):
        raise OptionError(
            f"{CHANNEL_NORMALISED} holds {len(deviations)} deviations, and a latent of shape "
            f"{' and '.join(map(str, shapes))} has {sum(channels)} channels"
        )
    scales = mean.new_tensor(deviations).reciprocal().split(channels)
    parts = [
        scale.view(1, -1, *[1] * (len(shape) - 1)).expand(1, *shape or (1,))
        for scale, shape in zip(scales, shapes, strict=True)
    ]
    return parts[0].reshape(1, *mean.shape[1:]) if layout is None else layout.joined(parts)


def _log_variances(a: Posterior, b: Posterior) -> tuple[Tensor, Tensor]:
    if a.log_variance is None or b.log_variance is None:
        raise OptionError("this divergence needs posterior variances, and the encoder is deterministic; use 'mean_l2'")
    return a.log_variance, b.log_variance


def _exp_minus_one_minus(d: Tensor) -> Tensor:
    """exp(d) - 1 - d, by its series where the subtraction would cancel."""
    series = torch.zeros_like(d)
    for k in range(_SERIES_TERMS, 1, -1):
        series = series * d + 1 / math.factorial(k)
    return torch.where(d.abs() < _SERIES_BELOW, series * d * d, torch.expm1(d) - d)


def _total(values: Tensor) -> Tensor:
    return values.flatten(1).sum(1)

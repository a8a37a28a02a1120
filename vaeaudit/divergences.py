"""Divergences between posteriors, each `(batch,)`, in nats or squared latent units (definitions D2)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

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


def divergence_named(name: str, *, deterministic: bool) -> tuple[str, Divergence]:
    """Look a divergence up; `kl` between deterministic codes is their squared L2 distance (D2).

    Raises:
        OptionError: unknown, or undefined between deterministic codes.
    """
    if not isinstance(name, str) or name not in DIVERGENCES:
        raise OptionError(f"unknown divergence {name!r}; choose one of {', '.join(DIVERGENCES)}")
    if deterministic and name in NEED_VARIANCE:
        raise OptionError(
            f"divergence {name!r} needs posterior variances, and this encoder is deterministic; use 'mean_l2'"
        )
    used = "mean_l2" if deterministic else name
    return used, DIVERGENCES[used]


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

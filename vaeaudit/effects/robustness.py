"""r-robustness (Camuto et al. 2021) at what an attack found, by sampling: an upper bound of the margin.

f(x) = g(z), z ~ q(z|x), is r-robust to d if P(L2(f(x + d) - f(x)) <= r) > 1/2, the two samples drawn independently
(`sampled=False`: with g(mu(x)) in place of the clean one). The margin is the largest R such that it is so for every d with
L2(d) < R. So a single d that breaks it bounds the margin from above, whatever other, also larger, distortions do:
no monotonicity is assumed. `vaeaudit.certificates` bounds the same margin from below.

That an attack did *not* break it at some budget proves nothing. The other end of the bracket says how far this attack
came without success, no more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import scipy
import torch
from torch import Tensor

from vaeaudit.attacks.noise import posterior_noise
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.batches import in_batches
from vaeaudit.effects.attacked import Keys, checked_attack, checked_counterparts, checked_keys, checked_samples
from vaeaudit.errors import OptionError
from vaeaudit.latent import Posterior
from vaeaudit.pairs import half_the_median_distance

_ATTACKED, _CLEAN = 0, 1
"""Tells the noise of the attacked sample from that of the clean one."""


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """How often the reconstruction stays within r, at each x_a and without distortion; float64.

    Intervals are Clopper and Pearson's (1934), and hold for all budgets of an image together with probability `confidence`
    (each at level 1 - (1 - confidence) / (budgets + 1)). They have no width for a deterministic model. A
    reconstruction that is not finite counts as one that left.

    Attributes:
        distortion: L2(x_a - x), input units, `(images, budgets)`.
        share: samples with L2(f(x_a) - f(x)) <= r, `(images, budgets)`; higher is more robust.
        share_low: lower end of its interval, `(images, budgets)`.
        share_high: upper end, `(images, budgets)`.
        clean_share: the same at d = 0, `(images,)`.
        clean_low: lower end, `(images,)`.
        clean_high: upper end, `(images,)`.
        r: input units.
        sampled: whether the clean reconstruction is sampled too, or that of the mean.
        samples: pairs of samples; 1 where nothing is random.
        confidence: of an image's intervals together.
    """

    distortion: Tensor
    share: Tensor
    share_low: Tensor
    share_high: Tensor
    clean_share: Tensor
    clean_low: Tensor
    clean_high: Tensor
    r: float
    sampled: bool
    samples: int
    confidence: float

    @property
    def broken(self) -> Tensor:
        """Whether r-robustness is broken for sure: the interval is below 1/2, `(images, budgets)`."""
        return self.share_high < 0.5

    @property
    def robust(self) -> Tensor:
        """Whether it holds for sure: the interval is above 1/2, `(images, budgets)`; neither where undecided."""
        return self.share_low > 0.5

    @property
    def margin(self) -> Tensor:
        """The smallest distortion, 0 included, at which a share of 1/2 at most was found, `(images,)`; +inf if none.

        Between `survived` and `broke`. Higher is more robust.
        """
        return self._smallest(self.share <= 0.5, self.clean_share <= 0.5)

    @property
    def broke(self) -> Tensor:
        """The smallest distortion, 0 included, that broke r-robustness for sure, `(images,)`; +inf if none did.

        The true margin is no larger, with probability `confidence`.
        """
        return self._smallest(self.broken, self.clean_high < 0.5)

    @property
    def survived(self) -> Tensor:
        """The largest distortion up to which all that were tried left it r-robust for sure, `(images,)`; 0 if none.

        What the attack failed at; no lower bound of the margin.
        """
        first = self._smallest(~self.robust, self.clean_low <= 0.5)
        before = self.distortion < first[:, None]
        return torch.where(before, self.distortion, 0).amax(1)

    @property
    def censored(self) -> Tensor:
        """Whether no distortion broke it for sure, so that only `survived` is known, `(images,)`."""
        return self.broke.isinf()

    @property
    def recovered(self) -> Tensor:
        """Whether a distortion larger than `broke` left it r-robust again, `(images,)`.

        The margin is none the wiser; the attack was weaker there than at a smaller budget.
        """
        return (self.robust & (self.distortion > self.broke[:, None])).any(1)

    def _smallest(self, chosen: Tensor, at_zero: Tensor) -> Tensor:
        smallest = torch.where(chosen, self.distortion, torch.inf).amin(1)
        return torch.where(at_zero, 0, smallest)


def r_robustness(
    ae: Autoencoder,
    images: Tensor,
    adversarial: Tensor,
    r: float | None = None,
    *,
    targets: Tensor | None = None,
    sampled: bool = True,
    samples: int = 300,
    confidence: float = 0.95,
    seed: int = 0,
    keys: Keys | None = None,
) -> Robustness:
    """Estimate P(L2(f(x_a) - f(x)) <= r), and from it the margin that an attack leaves.

    Args:
        ae: the model.
        images: x, `(images, *event)`.
        adversarial: x_a, `(images, budgets, *event)`; budgets in any order.
        r: input units; None takes half the median of L2(x - t).
        targets: t, `(images, *event)`; needed only where r is not given.
        sampled: whether the clean reconstruction is sampled too, or that of the mean.
        samples: pairs of samples behind each share; of a deterministic code, one.
        confidence: of an image's intervals together.
        seed: seed of the noise.
        keys: what seeds each image's noise in place of the seed and the image's content.

    Raises:
        DataError: images that do not belong together, are not finite, or leave the bounds.
        OptionError: no r, or one, a confidence or a number of samples that there cannot be.
    """
    attacked = checked_attack(ae, images, adversarial)
    radius = _checked_radius(ae, attacked.images, r, targets)
    checked_samples(samples)
    if not 0 < confidence < 1:
        raise OptionError(f"confidence expects a number between 0 and 1, such as 0.95, got {confidence}")
    noise_keys = checked_keys(keys, attacked.images, seed)
    each = attacked.adversarial.shape[1] + 1
    with ae.at_rest(seed):
        posterior = ae.posteriors(attacked.together.flatten(0, 1))
        counts = torch.stack([
            (_distances(ae, posterior[slice(i * each, (i + 1) * each)], samples, sampled, key) <= radius).sum(0)
            for i, key in enumerate(noise_keys)
        ])  # fmt: skip
    random = posterior.log_variance is not None
    samples = samples if random else 1
    share = counts.double() / samples
    low, high = _clopper_pearson(counts, samples, 1 - (1 - confidence) / each) if random else (share, share)
    return Robustness(
        distortion=attacked.distortion, share=share[:, 1:], share_low=low[:, 1:], share_high=high[:, 1:],
        clean_share=share[:, 0], clean_low=low[:, 0], clean_high=high[:, 0],
        r=radius, sampled=sampled, samples=samples, confidence=confidence,
    )  # fmt: skip


def _checked_radius(ae: Autoencoder, images: Tensor, r: float | None, targets: Tensor | None) -> float:
    if r is None and targets is None:
        raise OptionError("r-robustness expects r, or the targets from whose distances it is taken; got neither")
    if r is None and targets is not None:
        r = half_the_median_distance(images, checked_counterparts(ae, images, targets, "targets"))
    if r is None or not 0 < r < math.inf:
        raise OptionError(f"r-robustness expects a positive r, got {r}")
    return float(r)


def _distances(ae: Autoencoder, posterior: Posterior, samples: int, sampled: bool, key: tuple[int, ...]) -> Tensor:
    """L2(f(x_a) - f(x)) for x_a = x and each adversarial, `(samples, 1 + budgets)`; the first posterior is that of x."""
    attacked, clean = posterior.mean[None], posterior.mean[:1]
    if posterior.log_variance is not None:
        attacked = attacked + posterior.std[None] * posterior_noise(samples, posterior.mean, (*key, _ATTACKED))[:, None]
        clean = clean.expand(samples, *clean.shape[1:])
        if sampled:
            clean = clean + posterior.std[:1] * posterior_noise(samples, posterior.mean, (*key, _CLEAN))
    return _apart(ae, clean, attacked)


def _apart(ae: Autoencoder, clean: Tensor, attacked: Tensor) -> Tensor:
    """L2(g(z_a) - g(z)) of latents z `(samples, *latent)` and z_a `(samples, columns, *latent)`, `(samples, columns)`, float64."""
    columns = attacked.shape[1]

    def measure(one: Tensor, others: Tensor) -> Tensor:
        decoded = ae.decode(torch.cat([one, others.flatten(0, 1)])).flatten(1).double()
        gap = decoded[len(one) :].view(len(one), columns, -1) - decoded[: len(one), None]
        distance: Tensor = torch.linalg.vector_norm(gap, dim=2)
        return distance

    with torch.no_grad():
        event = ae.decode(clean[:1]).numel()
    return in_batches(measure, clean, attacked, n=(columns + 1) * max(event, clean[0].numel()))


def _clopper_pearson(counts: Tensor, n: int, level: float) -> tuple[Tensor, Tensor]:
    """Two-sided interval of a share (Clopper and Pearson 1934), by the beta distribution's quantiles."""
    k, tail = counts.cpu().numpy(), (1 - level) / 2
    # a count of none or of all leaves one end where it is
    low = scipy.stats.beta.ppf(tail, k.clip(1), n - k + 1)
    high = scipy.stats.beta.ppf(1 - tail, k + 1, (n - k).clip(1))
    ends = (torch.from_numpy(low).to(counts.device), torch.from_numpy(high).to(counts.device))
    return torch.where(counts == 0, 0.0, ends[0]), torch.where(counts == n, 1.0, ends[1])

"""The radius within which the reconstruction is r-robust (definitions rows 16 to 20), from below.

f(x) = g(z), z ~ q(z|x), is r-robust to d if P(L2(f(x + d) - f(x)) <= r) > 1/2, the two samples drawn independently;
the margin is the largest R such that it is so for every d with L2(d) < R. (With the mean reconstruction g(mu(x)) in
place of the clean sample: `sampled=False`.)

Let weights w > 0 scale the latent units, a be a constant with L2(g(z) - g(z')) <= a L2(w (z - z')), and v = w (z_a - z_x).
v is Gaussian with |E v| <= m = b L2(d) and variances at most s_i^2 = w_i^2 (sigma_i(x)^2 + sigma_i(x + d)^2). So it is
enough that P(|v| <= q) > 1/2 for q = r / a, and each of these gives that:

1. Markov:    2 (m^2 + sum s^2) < q^2                      (row 19 with its sums kept exact, hence never below it)
2. Cantelli:  m^2 + sum s^2 + sqrt(2 sum s^4 + 4 max s^2 m^2) < q^2,   from the variance of |v|^2
3. triangle:  m + sqrt(sum s^2 + sqrt(2 sum s^4)) < q,     Cantelli for |v - E v|^2

4. near x:   let L2(w (z - mu(x))) <= q imply L2(g(z) - g(mu(x))) <= r. With the clean reconstruction that of the mean,
   condition 3 with the attacked sample's variances alone says that z_a stays there. With two samples, it is enough that
   each stays within q1 and q2, both with a probability above sqrt(1/2), where q1 + q2 <= q; by Cantelli at those odds,
   |v| <= m + sqrt(sum s^2 + sqrt(k 2 sum s^4)) with k = p / (1 - p), p = sqrt(1/2). (q1 + q2 <= q suffices because
   L2(g(z) - g(mu(x))) <= r / q L2(w (z - mu(x))) there.) The constant r / q holds near x alone and is the smaller for it.

All of them grow with L2(d), and the margin is the largest L2(d) at which one still holds. Row 18 is a first-order
estimate with an unknown remainder, not a bound; row 20 asks for one fixed variance.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vaeaudit.latent import Scale

_HALVINGS = 60
_ODDS = math.sqrt(0.5) / (1 - math.sqrt(0.5))
_SAFETY = 1 - 1e-9


def largest_variance(second: Tensor, reach: Tensor, distortion: Tensor, scale: Scale) -> Tensor:
    """The largest variance that each unit can have at L2(d) = `distortion`, `(rows, units)`.

    Args:
        second: the second head at x, `(rows, units)`.
        reach: bound of its displacement per unit of L2(d), `(rows, units)`.
        distortion: `(rows,)`.
        scale: what the second head is.
    """
    highest = second + reach * distortion[:, None]
    if scale == "log_variance":
        return highest.exp()
    return highest.clamp_min(0) if scale == "variance" else torch.maximum(highest.abs(), second.abs()).square()


def robust_anywhere(
    quotient: float, gain: Tensor, variances: Callable[[Tensor], Tensor], radius: Tensor
) -> Tensor:  # fmt: skip
    """The largest distortion at which one of conditions 1 to 3 holds, `(rows,)`, no more than `radius`.

    Args:
        quotient: q = r / a.
        gain: b, bound of |E v| per unit of distortion, `(rows,)`.
        variances: s^2 of each unit at distortions `(rows,)`, `(rows, units)`, growing.
        radius: distortion up to which `gain` and `variances` hold, `(rows,)`.
    """
    limit = torch.full_like(gain, quotient)
    best = torch.zeros_like(gain)
    for condition in (_markov, _cantelli, _triangle):
        held = _largest(lambda d, c=condition: c(gain * d, variances(d)), limit, gain, radius)  # type: ignore[misc]
        best = torch.maximum(best, held)
    return best


def robust_nearby(
    quotient: Tensor, gain: Tensor, attacked: Callable[[Tensor], Tensor], clean: Tensor | None, radius: Tensor
) -> Tensor:  # fmt: skip
    """The largest distortion at which condition 4 holds, `(rows,)`, no more than `radius`.

    Args:
        quotient: q, within which the decoder moves by r at most, `(rows,)`.
        gain: b, `(rows,)`.
        attacked: w^2 sigma(x + d)^2 at most, at distortions `(rows,)`, `(rows, units)`.
        clean: w^2 sigma(x)^2, `(rows, units)`; None where the clean reconstruction is that of the mean.
        radius: distortion up to which `gain` and `attacked` hold, `(rows,)`.
    """
    odds = 1.0 if clean is None else _ODDS
    left = quotient if clean is None else quotient - _triangle(torch.zeros_like(gain), clean, odds)
    return _largest(lambda d: _triangle(gain * d, attacked(d), odds), left, gain, radius)


def _largest(size: Callable[[Tensor], Tensor], limit: Tensor, gain: Tensor, radius: Tensor) -> Tensor:
    """The largest distortion up to `radius` at which a growing `size` is below `limit`, by halving; 0 if none is."""
    # none beyond limit / gain can do: the mean alone moves that far
    high = torch.minimum(radius, 2 * limit.clamp_min(0) / gain.clamp_min(1e-150))
    low = torch.where(size(high) < limit * _SAFETY, high, torch.zeros_like(high))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        fine = size(middle) < limit * _SAFETY
        low, high = torch.where(fine, middle, low), torch.where(fine, high, middle)
    return low


def _markov(mean: Tensor, variances: Tensor) -> Tensor:
    return (2 * (mean.square() + variances.sum(1))).sqrt()


def _cantelli(mean: Tensor, variances: Tensor) -> Tensor:
    spread = 2 * variances.square().sum(1) + 4 * variances.amax(1) * mean.square()
    return (mean.square() + variances.sum(1) + spread.sqrt()).sqrt()


def _triangle(mean: Tensor, variances: Tensor, odds: float = 1.0) -> Tensor:
    return mean + (variances.sum(1) + (odds * 2 * variances.square().sum(1)).sqrt()).sqrt()

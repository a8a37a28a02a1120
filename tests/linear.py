"""Linear-Gaussian autoencoders: every attack and spectrum is known in closed form, in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from scipy.optimize import brentq
from torch import Tensor

from vaeaudit import Autoencoder

FREE = (-math.inf, math.inf)


@dataclass(frozen=True, kw_only=True)
class LinearGaussian:
    """q(z|x) = N(A x + a, diag exp(L x + l)), g(z) = B z + b.

    The log-variance is constant (L = 0) unless a slope is given; attacks have a closed form only then.
    """

    weight: Tensor  # A, (k, n)
    offset: Tensor  # a, (k,)
    log_variance: Tensor  # l, (k,)
    slope: Tensor  # L, (k, n)
    decoder: Tensor  # B, (n, k)
    decoder_offset: Tensor  # b, (n,)
    bounds: tuple[float, float] = FREE
    deterministic: bool = False
    autoencoder: Autoencoder = field(init=False)

    def __post_init__(self) -> None:
        made = Autoencoder(self.encode, self.decode, bounds=self.bounds, scale="log_variance")
        object.__setattr__(self, "autoencoder", made)

    def encode(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        mean = x @ self.weight.T + self.offset
        return mean if self.deterministic else (mean, x @ self.slope.T + self.log_variance)

    def decode(self, z: Tensor) -> Tensor:
        return z @ self.decoder.T + self.decoder_offset

    def std(self, x: Tensor) -> Tensor:
        """Posterior standard deviation at one input, `(k,)`."""
        return (0.5 * (self.slope @ x + self.log_variance)).exp()

    def encoder_metric(self, x: Tensor, metric: str) -> Tensor:
        """G(x), `(n, n)`."""
        gram = self.weight.T @ self.weight
        if self.deterministic or metric == "mean":
            return gram
        std = self.std(x)
        if metric == "wasserstein":
            spread = std[:, None] * self.slope / 2
            return gram + spread.T @ spread
        return self.weight.T @ torch.diag(std**-2) @ self.weight + self.slope.T @ self.slope / 2

    def decoder_metric(self) -> Tensor:
        return self.decoder.T @ self.decoder

    def round_trip_metric(self, x: Tensor) -> Tensor:
        gram = self.decoder_metric()
        carried = self.weight.T @ gram @ self.weight
        if self.deterministic:
            return carried
        spread = self.std(x)[:, None] * self.slope / 2
        return carried + spread.T @ torch.diag(gram.diagonal()) @ spread

    def condition_number(self) -> float:
        values = torch.linalg.svdvals(self.weight)
        return float(values[0] / values[-1])

    def optimal_step(self, radius: float) -> float:
        """Largest displacement of the mean reconstruction within an L2 ball, without active bounds."""
        return radius * float(torch.linalg.matrix_norm(self.decoder @ self.weight, 2))

    def residual(self, x: Tensor, t: Tensor, divergence: str) -> tuple[Tensor, Tensor]:
        """M and m with Delta = |M d - m|^2."""
        assert not self.slope.any(), "the closed form needs a constant log-variance"
        scale = torch.ones_like(self.offset)
        if divergence in ("kl", "symmetric_kl") and not self.deterministic:
            scale = math.sqrt(0.5) * (-0.5 * self.log_variance).exp()
        weight = scale[:, None] * self.weight
        return weight, weight @ (t - x)

    def optimal_attack(self, x: Tensor, t: Tensor, strength: float, divergence: str, penalty: str) -> Tensor:
        """The distortion d that minimises Delta + C P(d), without active bounds, `(n,)`."""
        weight, shift = self.residual(x, t, divergence)
        gram, pull = weight.T @ weight, weight.T @ shift
        identity = torch.eye(len(x), dtype=x.dtype)
        if penalty == "l2_squared":
            return torch.linalg.solve(gram + strength * identity, pull)
        if strength >= 2 * float(pull.norm()):
            return torch.zeros_like(x)

        def excess(log_ridge: float) -> float:
            ridge = math.exp(log_ridge)
            return 2 * ridge * float(torch.linalg.solve(gram + ridge * identity, pull).norm()) - strength

        ridge = math.exp(brentq(excess, -60, 60, xtol=1e-13))
        return torch.linalg.solve(gram + ridge * identity, pull)

    def objective(self, x: Tensor, t: Tensor, d: Tensor, strength: float, divergence: str, penalty: str) -> float:
        """Delta + C P at a distortion."""
        weight, shift = self.residual(x, t, divergence)
        size = d.square().sum() if penalty == "l2_squared" else d.norm()
        return float((weight @ d - shift).square().sum() + strength * size)


def linear_gaussian(
    *, n: int = 12, k: int = 4, seed: int = 0, slope: float = 0.0, condition: float | None = None,
    bounds: tuple[float, float] = FREE, deterministic: bool = False,
) -> LinearGaussian:  # fmt: skip
    """A random model; `condition` chooses the condition number of A, `slope` the size of L."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weight = draw(k, n) / math.sqrt(n)
    if condition is not None:
        u, values, v = torch.linalg.svd(weight, full_matrices=False)
        values = torch.logspace(0, -math.log10(condition), len(values), dtype=torch.float64)
        weight = u @ torch.diag(values) @ v
    return LinearGaussian(
        weight=weight, offset=draw(k), log_variance=0.5 * draw(k) - 1, slope=slope * draw(k, n) / math.sqrt(n),
        decoder=draw(n, k) / math.sqrt(k), decoder_offset=draw(n), bounds=bounds, deterministic=deterministic,
    )  # fmt: skip


def points(n: int, count: int, seed: int = 0, *, bounds: tuple[float, float] = FREE) -> Tensor:
    """Random inputs `(count, n)`: Gaussian, or uniform in the bounds where these are finite."""
    generator = torch.Generator().manual_seed(1000 + seed)
    if not math.isfinite(bounds[0]):
        return torch.randn(count, n, generator=generator, dtype=torch.float64)
    uniform = torch.rand(count, n, generator=generator, dtype=torch.float64)
    return bounds[0] + (bounds[1] - bounds[0]) * uniform

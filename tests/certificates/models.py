"""Random small autoencoders whose certificates are put to the test."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ACTIVATIONS = (
    nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.Softplus, nn.ELU, nn.Hardtanh, nn.Mish, nn.SELU,
    nn.Hardswish, nn.Softsign, nn.CELU, nn.ReLU6, nn.Hardsigmoid, nn.LogSigmoid, nn.Tanhshrink, nn.PReLU,
)  # fmt: skip


class DenseVAE(nn.Module):
    """n - hidden - hidden - 2k and back; log-variances or a deterministic code."""

    def __init__(
        self, activation: type[nn.Module], *, n: int = 8, hidden: int = 10, k: int = 3, variational: bool = True
    ) -> None:
        super().__init__()
        self.variational = variational
        self.encoder = nn.Sequential(
            nn.Linear(n, hidden), activation(), nn.Linear(hidden, hidden), activation(),
            nn.Linear(hidden, 2 * k if variational else k),
        )  # fmt: skip
        self.decoder = nn.Sequential(nn.Linear(k, hidden), activation(), nn.Linear(hidden, n), nn.Sigmoid())

    def encode(self, x: Tensor):
        heads = self.encoder(x)
        return heads.chunk(2, dim=1) if self.variational else heads

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)


class ConvVAE(nn.Module):
    """Strided convolutions, a batch norm, pooling, two heads on a shared trunk; transposed convolutions back."""

    def __init__(self, activation: type[nn.Module], *, size: int = 6, k: int = 2) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 3, 3, stride=2, padding=1),
            activation(),
            nn.BatchNorm2d(3),
            nn.Conv2d(3, 4, 2, dilation=2),
            nn.Flatten(),
        )
        with torch.no_grad():
            width = self.features.eval()(torch.zeros(1, 1, size, size)).shape[1]
        self.mean, self.logvar = nn.Linear(width, k), nn.Linear(width, k)
        self.up = nn.Linear(k, 4 * 3 * 3)
        self.activation = activation()
        self.back = nn.ConvTranspose2d(4, 1, 4, stride=2, padding=1)

    def encode(self, x: Tensor):
        h = self.activation(self.features(x))
        return {"mean": self.mean(h), "logvar": self.logvar(h)}

    def decode(self, z: Tensor) -> Tensor:
        h = self.activation(self.up(z)).view(z.shape[0], 4, 3, 3)
        return torch.sigmoid(self.back(h))


class ResidualVAE(nn.Module):
    """Functional activations, a residual sum, a concatenation."""

    def __init__(self, activation: type[nn.Module], *, n: int = 8, k: int = 2) -> None:
        super().__init__()
        self.first, self.second, self.act = nn.Linear(n, n), nn.Linear(n, n), activation()
        self.head = nn.Linear(2 * n, 2 * k)
        self.out = nn.Linear(k, n)

    def encode(self, x: Tensor):
        h = x + torch.relu(self.first(x))
        h = torch.cat([h, self.act(self.second(h)) / 2 - 0.1], dim=1)
        heads = self.head(h)
        return heads[:, : heads.shape[1] // 2], heads[:, heads.shape[1] // 2 :]

    def decode(self, z: Tensor) -> Tensor:
        return 0.5 + 0.5 * torch.tanh(self.out(z))


def randomised(model: nn.Module, generator: torch.Generator, scale: float) -> nn.Module:
    """Fresh weights of a given size, and plausible running statistics, in float64 and evaluation mode."""
    model = model.double().eval()
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if not value.is_floating_point():
                continue
            fan = max(1, value[0].numel()) if value.ndim > 1 else 1
            drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            if name.endswith("running_var"):
                value.copy_(0.3 + drawn.square())
            else:
                value.copy_(drawn * (scale / fan**0.5 if value.ndim > 1 else 0.3))
    return model

"""The model, and the weights that ship with it."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = Path(__file__).resolve().parent.parent / "weights" / "vae.safetensors"


class VAE(nn.Module):
    """784-80-16 and back: small enough to commit and to audit on every push."""

    def __init__(self, hidden: int = 80, latent: int = 16) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, hidden), nn.ELU(), nn.Linear(hidden, 2 * latent))
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden), nn.ELU(), nn.Linear(hidden, 784), nn.Sigmoid(), nn.Unflatten(1, (1, 28, 28))
        )

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the code of `(batch, 1, 28, 28)` images, each `(batch, latent)`."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, latents: Tensor) -> Tensor:
        """Images in [0, 1]."""
        return self.decoder(latents)


def load(path: str | Path = WEIGHTS) -> VAE:
    """The released model: float16 on disk, float32 in use."""
    model = VAE()
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    return model.eval()

"""What the toolkits are asked: an autoencoder's latent distance, in the forms that attacks on classifiers understand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from attacking.subjects import Subject
from torch import Tensor, nn

from vaeaudit import Autoencoder

NEAR, FAR = 0, 1
"""The two classes of `IsNear`."""


class Code(nn.Module):
    """The posterior mean; counts the rows of which a gradient was asked."""

    def __init__(self, ae: Autoencoder) -> None:
        super().__init__()
        self.ae = ae
        self.gradients = 0

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, *event)` to `(batch, latent)`."""
        code = self.ae.encode(x).mean.flatten(1)
        if code.requires_grad:
            code.register_hook(self._count)
        return code

    def _count(self, gradient: Tensor) -> None:
        self.gradients += len(gradient)


class IsNear(nn.Module):
    """Whether a code is nearer to its target's than a radius, as a classifier of two classes.

    Logits are 1 - |mu(x) - mu(t)|^2 / radius^2 and 0, so that the first class wins inside the radius. Row i of a batch
    belongs to target i: only whole batches in their order can be asked.
    """

    def __init__(self, code: Code, targets: Tensor, radii: Tensor) -> None:
        super().__init__()
        self.code, self.radii = code, radii
        self.targets = nn.Parameter(targets, requires_grad=False)  # toolkits read the device off parameters
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """`(pairs, *event)` to logits `(pairs, 2)`."""
        near = 1 - (self.code(x) - self.targets).square().sum(1) / self.radii.square()
        return torch.stack([near, torch.zeros_like(near)], 1)


@dataclass(frozen=True, kw_only=True)
class Task:
    """Pairs to attack, and their codes.

    Attributes:
        subject: the model, originals and targets.
        codes: the targets' posterior means, `(pairs, latent)`.
        apart: L2 between the posterior means of original and target, `(pairs,)`.
    """

    subject: Subject
    codes: Tensor
    apart: Tensor

    @classmethod
    def of(cls, subject: Subject) -> Task:
        """The task that a subject's pairs set."""
        with torch.no_grad():
            found = [subject.ae.encode(images).mean.flatten(1) for images in (subject.originals, subject.targets)]
        return cls(subject=subject, codes=found[1], apart=(found[0] - found[1]).norm(dim=1))

    def __len__(self) -> int:
        return len(self.codes)

    def labels(self, name: int) -> Tensor:
        """The same class for every row, `(pairs,)`."""
        return torch.full((len(self),), name, device=self.codes.device)

"""What every measure of an attack is given: images, what became of them, and the noise of their posterior samples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vaeaudit.attacks.objective import checked_inputs
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.batches import in_batches
from vaeaudit.errors import DataError, OptionError

Keys = Sequence[tuple[int, ...]]
"""What seeds each image's noise."""


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """Images and what an attack made of them, on the model's device.

    Attributes:
        images: x, `(images, *event)`.
        adversarial: x_a, `(images, budgets, *event)`.
    """

    images: Tensor
    adversarial: Tensor

    @property
    def distortion(self) -> Tensor:
        """L2(x_a - x), `(images, budgets)`, float64."""
        return self.apart(lambda x: x, self.images)

    def apart(self, function: Callable[[Tensor], Tensor], clean: Tensor) -> Tensor:
        """L2 distance of a function of each x_a to what belongs to its image, `(images, budgets)`, float64.

        Args:
            function: of rows `(batch, *event)`.
            clean: its values at the images, `(images, ...)`.
        """

        def distance(rows: Tensor, images: Tensor) -> Tensor:
            gap = function(rows).double() - clean[images].double()
            length: Tensor = torch.linalg.vector_norm(gap.flatten(1), dim=1)
            return length

        budgets = self.adversarial.shape[1]
        images = torch.arange(len(self.images), device=self.images.device).repeat_interleave(budgets)
        return in_batches(distance, self.adversarial.flatten(0, 1), images).view(-1, budgets)

    @property
    def together(self) -> Tensor:
        """Each image and then what became of it, `(images, 1 + budgets, *event)`."""
        return torch.cat([self.images[:, None], self.adversarial], 1)


def checked_attack(ae: Autoencoder, images: Tensor, adversarial: Tensor) -> Attacked:
    """Both on the model's device, in the precision of figures.

    Raises:
        DataError: they do not belong together, are not finite, or leave the bounds.
    """
    images, adversarial = checked_inputs(ae, images, "images"), torch.as_tensor(adversarial)
    wanted = (len(images), *images.shape[1:])
    if adversarial.shape[:1] + adversarial.shape[2:] != wanted or adversarial.ndim < 2 or adversarial.shape[1] == 0:
        raise DataError(
            f"adversarial images expect the shape (images, budgets, *event), here ({len(images)}, budgets, "
            f"{', '.join(map(str, images.shape[1:]))}), got {tuple(adversarial.shape)}; adversarial[:, None] adds the axis "
            "of budgets"
        )
    rows = checked_inputs(ae, adversarial.flatten(0, 1), "adversarial images")
    return Attacked(images=images, adversarial=rows.view(adversarial.shape))


def checked_counterparts(ae: Autoencoder, images: Tensor, others: Tensor, what: str) -> Tensor:
    """One more image for each image, such as its target, on the model's device.

    Raises:
        DataError: they do not belong together, are not finite, or leave the bounds.
    """
    placed = checked_inputs(ae, others, what)
    if placed.shape != images.shape:
        raise DataError(f"{what} expect the shape of the images, {tuple(images.shape)}, got {tuple(placed.shape)}")
    return placed


def checked_keys(keys: Keys | None, images: Tensor, seed: int) -> list[tuple[int, ...]]:
    """One key an image; by default from the seed and what the image shows, so that neither place nor company matters.

    Raises:
        OptionError: there are more or fewer keys than images.
    """
    if keys is None:
        return [(seed % 2**64, int(digest[:32], 16)) for digest in digests(images)]
    if len(keys) != len(images):
        raise OptionError(f"keys expect one an image, {len(images)}, got {len(keys)}")
    return [tuple(key) for key in keys]


def checked_samples(samples: int) -> None:
    """Refuse a number of posterior samples that is none.

    Raises:
        OptionError: it is less than one.
    """
    if samples < 1:
        raise OptionError(f"samples expect a number of posterior samples, at least 1, got {samples}")


def digests(images: Tensor) -> list[str]:
    """SHA-256 of what each image shows, `(images, *event)`."""
    return [hashlib.sha256(image.tobytes()).hexdigest() for image in images.detach().cpu().contiguous().numpy()]

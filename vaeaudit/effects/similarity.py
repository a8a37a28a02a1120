"""Multi-scale structural similarity (Wang, Simoncelli and Bovik 2003, equation 7) of images and of reconstructions.

At every scale luminance, contrast and structure are compared inside a sliding Gaussian window, and the mean over windows and
channels is taken; the scales, each half as wide as the one before, are multiplied with the weights of that paper's section
3.2. Terms below zero count as zero, without which their powers were not defined. No image is padded at its border:
only windows that fit inside it count.

Five scales of an 11-pixel window need 176 pixels. Smaller images get fewer scales, whose weights are divided by their sum so
that they still add up to one, and, by default, the 6-pixel window of Kuzina, Welling and Tomczak (2021): three
scales at 28x28, four at 64x64. Figures from different scales are not comparable; `Scales` is kept beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vaeaudit.autoencoder import Autoencoder
from vaeaudit.batches import in_batches
from vaeaudit.effects.attacked import checked_attack, checked_counterparts
from vaeaudit.effects.refusal import NotMeasured
from vaeaudit.errors import DataError, OptionError

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SMALL_WINDOW = 11, 6
SIGMA = 1.5
"""Standard deviation of the window, pixels."""
_K1, _K2 = 0.01, 0.03


@dataclass(frozen=True, kw_only=True)
class Scales:
    """At which scales images are compared.

    Attributes:
        window: width of the Gaussian window, pixels.
        weights: exponent of each scale, finest first; they add up to one.
    """

    window: int
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.window < 2 or not self.weights or min(self.weights) < 0 or abs(sum(self.weights) - 1) > 1e-3:
            raise OptionError(
                f"Scales expect a window of at least 2 pixels and weights that add up to 1, got {self.window} and "
                f"{self.weights}"
            )

    @property
    def smallest_side(self) -> int:
        """The fewest pixels at which a window fits into the coarsest scale."""
        return self.window << len(self.weights) - 1


@dataclass(frozen=True, kw_only=True)
class Similarities:
    """MS-SSIM before and after the model, at most 1 (identical); rows as of the attack.

    Attributes:
        inputs: MS-SSIM(x, x_a), `(images, budgets)`; lower where the attack is easier to see.
        reconstructions: MS-SSIM(r(x), r(x_a)), `(images, budgets)`; higher is more robust.
        targets: MS-SSIM(r(t), r(x_a)), `(images, budgets)`; lower is more robust. None without targets.
        scales: at which images were compared.
    """

    inputs: Tensor
    reconstructions: Tensor
    targets: Tensor | None
    scales: Scales

    @property
    def towards_target(self) -> Tensor | None:
        """By how much the attacked reconstruction is more like the target's than like the clean one's.

        The "similarity difference" of Kuzina, Welling and Tomczak (2021); lower is more robust.
        """
        return None if self.targets is None else self.targets - self.reconstructions


def scales_of(event: tuple[int, ...], *, window: int | None = None, levels: int | None = None) -> Scales | NotMeasured:
    """The scales at which images of a shape are compared.

    Args:
        event: shape of one image, `(channels, height, width)`.
        window: width of the window; None takes 11 pixels where five scales of it fit, and 6 otherwise.
        levels: number of scales, at most 5; None takes as many as fit.

    Returns:
        The scales; or why there are none: an event that is no image, or sides that are too short.

    Raises:
        OptionError: a window or a number of scales that there cannot be.
    """
    if (window is not None and window < 2) or (levels is not None and not 1 <= levels <= len(WEIGHTS)):
        raise OptionError(
            f"MS-SSIM expects a window of at least 2 pixels and 1 to {len(WEIGHTS)} levels, got window={window} and "
            f"levels={levels}"
        )
    if len(event) != 3:
        return NotMeasured(
            reason=f"MS-SSIM compares images (channels, height, width), and these events have the shape {event}; give "
            "them an axis of channels if they are images"
        )
    side = min(event[1:])
    if window is None:
        window = WINDOW if side >= WINDOW << len(WEIGHTS) - 1 else SMALL_WINDOW
    fitting = sum(side // 2**level >= window for level in range(len(WEIGHTS)))
    if fitting < (levels or 1):
        return NotMeasured(
            reason=f"{levels or 1} scales of a {window}-pixel window need {window << (levels or 1) - 1} pixels, and "
            f"these images have {side}; take a smaller window or fewer levels"
        )
    used = WEIGHTS[: levels or fitting]
    return Scales(window=window, weights=tuple(weight / sum(used) for weight in used))


def ms_ssim(a: Tensor, b: Tensor, bounds: tuple[float, float], scales: Scales | None = None) -> Tensor | NotMeasured:
    """Similarity of each image to its counterpart, at most 1, `(batch,)`, float64; symmetric.

    Args:
        a: images, `(batch, channels, height, width)`.
        b: the images they are compared with, the same shape.
        bounds: lower and upper end of valid pixels: the similarity of images in [-1, 1] is that of the same images
            in [0, 1].
        scales: at which they are compared; by default those that `scales_of` finds.

    Returns:
        The similarities; or why there are none: events that are no images, images that are too small, or a
        range of pixels without ends, on which the comparison's constants depend.

    Raises:
        DataError: the two differ in shape, or are empty.
        OptionError: the images are smaller than the given scales allow.
    """
    if a.shape != b.shape or a.ndim < 2 or len(a) == 0:
        raise DataError(f"MS-SSIM expects two batches of one shape, got {tuple(a.shape)} and {tuple(b.shape)}")
    found = scales_of(tuple(a.shape[1:])) if scales is None else scales
    if isinstance(found, NotMeasured):
        return found
    if a.ndim != 4 or min(a.shape[2:]) < found.smallest_side:
        raise OptionError(
            f"{len(found.weights)} scales of a {found.window}-pixel window expect images (channels, height, width) of at "
            f"least {found.smallest_side} pixels a side, got {tuple(a.shape[1:])}"
        )
    low, high = bounds
    if not high - low < float("inf"):
        return NotMeasured(
            reason=f"MS-SSIM depends on the range of pixels, and the bounds are ({low:g}, {high:g}); give finite bounds"
        )
    return in_batches(
        lambda x, y: _similarity((x.double() - low) / (high - low), (y.double() - low) / (high - low), found), a, b
    )


def similarities(
    ae: Autoencoder,
    images: Tensor,
    adversarial: Tensor,
    targets: Tensor | None = None,
    *,
    window: int | None = None,
    levels: int | None = None,
    seed: int = 0,
) -> Similarities | NotMeasured:
    """MS-SSIM of inputs, and of mean reconstructions to the clean ones and to the targets'.

    The three similarities that Kuzina, Welling and Tomczak (2021, 2022) report.

    Args:
        ae: the model.
        images: x, `(images, channels, height, width)`.
        adversarial: x_a, `(images, budgets, channels, height, width)`.
        targets: t, `(images, channels, height, width)`, where the attack had any.
        window: as of `scales_of`.
        levels: as of `scales_of`.
        seed: seed of the model's randomness, should it have any.

    Returns:
        The similarities, or why there are none.

    Raises:
        DataError: images that do not belong together, are not finite, or leave the bounds.
        OptionError: a window or a number of scales that there cannot be.
    """
    attacked = checked_attack(ae, images, adversarial)
    goals = None if targets is None else checked_counterparts(ae, attacked.images, targets, "targets")
    scales = scales_of(tuple(attacked.images.shape[1:]), window=window, levels=levels)
    if isinstance(scales, NotMeasured):
        return scales
    moved = attacked.adversarial
    with ae.at_rest(seed):
        clean, after = ae.reconstructions(attacked.images), ae.reconstructions(moved.flatten(0, 1)).view(moved.shape)
        inputs = _against(attacked.images, moved, ae.bounds, scales)
        if isinstance(inputs, NotMeasured):
            return inputs
        kept = _against(clean, after, ae.bounds, scales)
        reached = None if goals is None else _against(ae.reconstructions(goals), after, ae.bounds, scales)
    assert isinstance(kept, Tensor)
    assert not isinstance(reached, NotMeasured)
    return Similarities(inputs=inputs, reconstructions=kept, targets=reached, scales=scales)


def _against(one: Tensor, many: Tensor, bounds: tuple[float, float], scales: Scales) -> Tensor | NotMeasured:
    """Similarity of one image a row to several, `(images, budgets)`."""
    found = ms_ssim(one[:, None].expand_as(many).flatten(0, 1), many.flatten(0, 1), bounds, scales)
    return found if isinstance(found, NotMeasured) else found.view(many.shape[:2])


def _similarity(a: Tensor, b: Tensor, scales: Scales) -> Tensor:
    """MS-SSIM of pixels in [0, 1], `(batch,)`."""
    kernel = _window(scales.window, a)
    product = torch.ones_like(a[:, 0, 0, 0])
    for level, weight in enumerate(scales.weights):
        if level:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        luminance, structure = _compared(a, b, kernel)
        last = level == len(scales.weights) - 1
        term = (luminance * structure if last else structure).flatten(1).mean(1)
        product = product * term.clamp_min(0) ** weight
    return product


def _compared(a: Tensor, b: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance, and contrast times structure, in every window that fits, `(batch, channels, ...)`."""
    mean_a, mean_b = _blurred(a, kernel), _blurred(b, kernel)
    spread = _blurred(a * a, kernel) - mean_a.square() + _blurred(b * b, kernel) - mean_b.square()
    shared = _blurred(a * b, kernel) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _K1**2) / (mean_a.square() + mean_b.square() + _K1**2)
    return luminance, (2 * shared + _K2**2) / (spread + _K2**2)


def _window(width: int, like: Tensor) -> Tensor:
    """A Gaussian's weights at the pixels of one axis of the window, centred, `(width,)`."""
    offsets = torch.arange(width, device=like.device, dtype=like.dtype) - (width - 1) / 2
    weights = (-0.5 * (offsets / SIGMA).square()).exp()
    return weights / weights.sum()


def _blurred(images: Tensor, kernel: Tensor) -> Tensor:
    """Weighted means over windows that fit, along both axes."""
    planes = images.flatten(0, 1)[:, None]
    blurred = F.conv2d(F.conv2d(planes, kernel[None, None, :, None]), kernel[None, None, None, :])
    return blurred.view(*images.shape[:2], *blurred.shape[2:])

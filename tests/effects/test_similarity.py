"""MS-SSIM: against loops over windows, and where it is not defined."""

from __future__ import annotations

import math
import re
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vaeaudit import Autoencoder, DataError, OptionError
from vaeaudit.effects import NotMeasured, Scales, Similarities, ms_ssim, scales_of, similarities
from vaeaudit.effects.similarity import WEIGHTS

UNIT = (0.0, 1.0)


def _pair(*shape: int, noise: float = 0.2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Smooth images and noisy versions of them, `shape` = (batch, channels, height, width)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(*shape[:2], 6, 6, generator=generator, dtype=torch.float64)
    smooth = F.interpolate(coarse, size=shape[2:], mode="bilinear")
    return smooth, (smooth + noise * torch.randn(shape, generator=generator, dtype=torch.float64)).clamp(0, 1)


def _measured(a: Tensor, b: Tensor, bounds=UNIT, scales: Scales | None = None) -> Tensor:
    found = ms_ssim(a, b, bounds, scales)
    assert isinstance(found, Tensor)
    return found


def _scales(*event: int, **options) -> Scales:
    found = scales_of(event, **options)
    assert isinstance(found, Scales)
    return found


@pytest.mark.parametrize(
    ("shape", "window", "levels"), [((2, 1, 28, 28), 6, 3), ((1, 3, 25, 30), 6, 3), ((1, 2, 23, 22), 11, 2)]
)
def test_it_is_that_of_a_loop_over_windows(ssim: ModuleType, shape, window: int, levels: int) -> None:
    a, b = _pair(*shape)
    found = _measured(a, b, scales=_scales(*shape[1:], window=window, levels=levels))
    slow = [ssim.ms_ssim(x.numpy(), y.numpy(), window=window, levels=levels) for x, y in zip(a, b, strict=True)]
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx(slow, rel=1e-10)


def test_an_image_is_like_itself_and_unlike_its_negative() -> None:
    a, _ = _pair(2, 1, 28, 28)
    assert _measured(a, a).tolist() == [1.0, 1.0]
    assert _measured(a, 1 - a).tolist() == [0.0, 0.0]


def test_it_falls_with_noise_and_is_symmetric() -> None:
    a, _ = _pair(1, 1, 28, 28)
    found = [float(_measured(a, _pair(1, 1, 28, 28, noise=s)[1])) for s in (0.0, 0.01, 0.05, 0.2, 0.8)]
    assert found == sorted(found, reverse=True)
    b = _pair(1, 1, 28, 28)[1]
    assert float(_measured(a, b)) == pytest.approx(float(_measured(b, a)), rel=1e-12)


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (0.0, 255.0), (-0.42, 2.82)])
def test_the_unit_of_pixels_does_not_matter(bounds: tuple[float, float]) -> None:
    a, b = _pair(2, 1, 28, 28)
    low, high = bounds
    scaled = _measured(low + (high - low) * a, low + (high - low) * b, bounds)
    torch.testing.assert_close(scaled, _measured(a, b), rtol=1e-9, atol=0)


def test_neither_place_nor_company_matters() -> None:
    a, b = (part.float() for part in _pair(131, 1, 28, 28))
    together = _measured(a, b)
    assert torch.equal(_measured(a[[130, 7]], b[[130, 7]]), together[[130, 7]])


@pytest.mark.parametrize(
    ("event", "window", "levels"),
    [((1, 28, 28), 6, 3), ((3, 32, 32), 6, 3), ((3, 64, 64), 6, 4), ((1, 6, 40), 6, 1), ((3, 175, 175), 6, 5),
     ((3, 176, 200), 11, 5)],
)  # fmt: skip
def test_as_many_scales_as_fit(event: tuple[int, ...], window: int, levels: int) -> None:
    found = _scales(*event)
    assert (found.window, len(found.weights)) == (window, levels)
    assert sum(found.weights) == pytest.approx(1)
    assert [w / found.weights[0] for w in found.weights] == pytest.approx([w / WEIGHTS[0] for w in WEIGHTS[:levels]])


def test_what_is_no_image_or_too_small_is_told_not_measured() -> None:
    for event, options, reason in (
        ((12,), {}, r"compares images .channels, height, width., and these events have the shape \(12,\)"),
        ((28, 28), {}, "axis of channels"),
        ((1, 5, 5), {}, "a 6-pixel window need 6 pixels, and these images have 5"),
        ((1, 28, 28), {"window": 11, "levels": 3}, "3 scales of a 11-pixel window need 44 pixels"),
    ):
        found = scales_of(event, **options)
        assert isinstance(found, NotMeasured)
        assert re.search(reason, found.reason), found.reason
    flat = ms_ssim(torch.zeros(2, 12), torch.zeros(2, 12), UNIT)
    assert isinstance(flat, NotMeasured)
    free = ms_ssim(torch.zeros(2, 1, 28, 28), torch.zeros(2, 1, 28, 28), (-math.inf, math.inf))
    assert isinstance(free, NotMeasured)
    assert "give finite bounds" in free.reason


def test_what_makes_no_sense_is_refused() -> None:
    a, _ = _pair(1, 1, 28, 28)
    with pytest.raises(DataError, match="two batches of one shape"):
        ms_ssim(a, a[:, :, 1:], UNIT)
    with pytest.raises(OptionError, match="at least 44 pixels a side"):
        ms_ssim(a, a, UNIT, Scales(window=11, weights=(0.2, 0.3, 0.5)))
    with pytest.raises(OptionError, match="weights that add up to 1"):
        Scales(window=6, weights=(0.2, 0.3))
    with pytest.raises(OptionError, match="1 to 5 levels"):
        scales_of((1, 28, 28), levels=6)


def _swapping() -> Autoencoder:
    """A model that turns its images upside down."""
    return Autoencoder(lambda x: x.flatten(1), lambda z: z.view(-1, 1, 28, 28).flip(2))


def test_the_three_similarities_are_those_of_inputs_and_of_reconstructions() -> None:
    x, noisy = _pair(3, 1, 28, 28)
    t, _ = _pair(3, 1, 28, 28, seed=1)
    found = similarities(_swapping(), x.float(), torch.stack([x, noisy, t], 1).float(), t.float())
    assert isinstance(found, Similarities)
    assert found.targets is not None
    assert found.towards_target is not None
    assert found.inputs.shape == (3, 3)
    x, noisy, t = x.float(), noisy.float(), t.float()
    for column, moved in enumerate((x, noisy, t)):
        torch.testing.assert_close(found.inputs[:, column], _measured(x, moved))
        torch.testing.assert_close(found.reconstructions[:, column], _measured(x.flip(2), moved.flip(2)))
        torch.testing.assert_close(found.targets[:, column], _measured(t.flip(2), moved.flip(2)))
    assert found.targets[:, 2].tolist() == [1, 1, 1]
    assert bool((found.towards_target[:, 0] < 0).all())
    without = similarities(_swapping(), x, noisy[:, None])
    assert isinstance(without, Similarities)
    assert without.targets is None
    assert without.towards_target is None


def test_models_of_other_events_and_targets_that_do_not_fit(linear: ModuleType) -> None:
    model = linear.linear_gaussian()
    x = linear.points(12, 2)
    assert isinstance(similarities(model.autoencoder, x, x[:, None]), NotMeasured)
    with pytest.raises(DataError, match="targets expect the shape of the images"):
        similarities(model.autoencoder, x, x[:, None], x[:1])
    with pytest.raises(DataError, match=r"expect the shape \(images, budgets, \*event\), here \(2, budgets, 12\)"):
        similarities(model.autoencoder, x, x)

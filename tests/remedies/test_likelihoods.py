"""Reconstruction terms are negative log-likelihoods, one figure an image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal

from vaeaudit import DataError, ModelError, OptionError
from vaeaudit.remedies.likelihoods import likelihood_named

GENERATOR = torch.Generator().manual_seed(1)
IMAGES = torch.rand(3, 1, 4, 4, generator=GENERATOR, dtype=torch.float64)
MEANS = torch.rand(3, 1, 4, 4, generator=GENERATOR, dtype=torch.float64)


def test_bernoulli_is_the_likelihood_of_binary_images() -> None:
    binary = IMAGES.round()
    expected = -Bernoulli(MEANS).log_prob(binary).flatten(1).sum(1)
    assert torch.allclose(likelihood_named("bernoulli")(MEANS, binary), expected)


def test_bernoulli_of_grey_pixels_is_linear_between_black_and_white() -> None:
    likelihood = likelihood_named("bernoulli")
    white, black = (likelihood(MEANS, torch.full_like(IMAGES, end)) for end in (1.0, 0.0))
    assert torch.allclose(likelihood(MEANS, torch.full_like(IMAGES, 0.3)), 0.3 * white + 0.7 * black)


def test_gaussian_is_the_likelihood_at_unit_variance_up_to_its_constant() -> None:
    def expected(images: Tensor) -> Tensor:
        return -Normal(MEANS, 1.0).log_prob(images).flatten(1).sum(1)

    likelihood = likelihood_named("gaussian")
    assert torch.allclose(likelihood(MEANS, IMAGES), expected(IMAGES) - expected(MEANS))


def test_a_function_of_the_users_is_taken_as_it_is() -> None:
    likelihood = likelihood_named(lambda means, images: (means - images).abs().flatten(1).sum(1))
    assert torch.allclose(
        likelihood(MEANS, IMAGES), torch.stack([(m - x).abs().sum() for m, x in zip(MEANS, IMAGES, strict=True)])
    )


@pytest.mark.parametrize("outcome", [lambda m, x: (m - x).sum(), lambda m, x: (m - x).square(), lambda m, x: 3.0])
def test_a_function_that_does_not_give_one_figure_an_image_is_refused(outcome: object) -> None:
    with pytest.raises(OptionError, match=r"expected one figure an image, \(3,\)\. Sum over the pixels"):
        likelihood_named(outcome)(MEANS, IMAGES)


@pytest.mark.parametrize("unknown", ["poisson", None, 1, ["bernoulli"]])
def test_an_unknown_likelihood_is_refused(unknown: object) -> None:
    with pytest.raises(OptionError, match="reconstruction expects one of 'bernoulli', 'gaussian', or a function of"):
        likelihood_named(unknown)


def test_bernoulli_refuses_images_and_reconstructions_outside_of_its_range() -> None:
    bernoulli = likelihood_named("bernoulli")
    with pytest.raises(DataError, match=r"inputs in \[0, 1\], got \[0, 255\]; scale them"):
        bernoulli(MEANS, torch.tensor([0.0, 255.0, 3.0]).view(3, 1, 1, 1).expand_as(MEANS))
    with pytest.raises(
        ModelError, match=r"reconstructions in \[0, 1\], got \[-2, -2\]; end the decoder with a sigmoid"
    ):
        bernoulli(torch.full_like(MEANS, -2.0), IMAGES)
    with pytest.raises(ModelError, match="NaN means that training has diverged"):
        bernoulli(MEANS * float("nan"), IMAGES)

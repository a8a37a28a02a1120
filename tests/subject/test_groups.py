"""A latent of several groups gives the figures of the same model whose groups were joined by hand, to the last bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn
from torch.distributions import Independent, Normal

import vaeaudit
from vaeaudit import Autoencoder, EncoderOutputError, ModelError, attacks, geometry
from vaeaudit.latent import Layout, Posterior, read_posterior
from vaeaudit.remedies import mixup_loss

EVENT, UPPER, LOWER = (1, 4, 4), (2, 3), (2,)


def _drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


class Ladder(nn.Module):
    """Two levels of different shapes; the lower one's posterior depends on the mean of the upper one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.Tanh())
        self.upper, self.lower = nn.Linear(12, 12), nn.Linear(12 + 6, 4)
        self.decoder = nn.Sequential(nn.Linear(6 + 2, 12), nn.Tanh(), nn.Linear(12, 16), nn.Sigmoid())
        with torch.no_grad():
            for layer in (0, 2):  # reconstructions differ by more than noise
                self.decoder[layer].weight *= 6
        self.double()

    def encode(self, images: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        features = self.features(images)
        upper, upper_spread = (2 * self.upper(features)).chunk(2, dim=1)
        lower, lower_spread = (2 * self.lower(torch.cat([features, upper], 1))).chunk(2, dim=1)
        return (upper.view(-1, *UPPER), upper_spread.view(-1, *UPPER) - 8), (lower, lower_spread - 8)

    def decode(self, latents: tuple[Tensor, Tensor]) -> Tensor:
        upper, lower = latents
        assert upper.shape[1:] == UPPER
        assert lower.shape[1:] == LOWER
        return self.decoder(torch.cat([upper.flatten(1), lower], 1)).view(-1, *EVENT)

    def encode_joined(self, images: Tensor) -> tuple[Tensor, Tensor]:
        (upper, upper_spread), (lower, lower_spread) = self.encode(images)
        means, spreads = [upper.flatten(1), lower], [upper_spread.flatten(1), lower_spread]
        return torch.cat(means, 1), torch.cat(spreads, 1)

    def decode_joined(self, latents: Tensor) -> Tensor:
        return self.decode((latents[:, :6].view(-1, *UPPER), latents[:, 6:]))


@pytest.fixture(scope="module")
def ladder() -> Ladder:
    return Ladder()


@pytest.fixture(scope="module")
def grouped(ladder: Ladder) -> Autoencoder:
    return Autoencoder(ladder.encode, ladder.decode, scale="log_variance", name="ladder")


@pytest.fixture(scope="module")
def joined(ladder: Ladder) -> Autoencoder:
    return Autoencoder(ladder.encode_joined, ladder.decode_joined, scale="log_variance", name="ladder")


def _images(count: int) -> Tensor:
    return torch.rand(count, *EVENT, generator=Generator().manual_seed(1), dtype=torch.float64)


def test_an_audit_has_the_same_figures(grouped: Autoencoder, joined: Autoencoder) -> None:
    images = _images(12)
    reports = [vaeaudit.audit(ae, images, "quick", 2, strengths=5) for ae in (grouped, joined)]
    # a joined latent is certified otherwise, and each of its units is a channel by itself
    elsewhere = {"certified_distortion", "damage_latent"}
    found, expected = ({k: v for k, v in r.scores().items() if k not in elsewhere} for r in reports)
    assert not any(math.isnan(estimate.value) for estimate in expected.values())
    assert found == expected
    assert reports[0].damage.estimates == reports[1].damage.estimates
    np.testing.assert_array_equal(reports[0].curves.gap, reports[1].curves.gap)
    assert reports[0].score("encoder.active_units").value == 8
    assert [len(report.damage.latent.deviations) for report in reports] == [UPPER[0] + 2, 8]


@pytest.mark.parametrize("metric", attacks.SPECTRAL_METRICS)
def test_attacks_and_spectra_are_the_same(grouped: Autoencoder, joined: Autoencoder, metric: str) -> None:
    images = _images(3)
    found, expected = (attacks.spectral(ae, images, [0.1, 0.5], metric) for ae in (grouped, joined))
    for name in ("adversarial", "predicted", "realised", "displacement", "eigenvalue"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    latents = grouped.posteriors(images).mean
    spectra = [geometry.decoder_spectrum(ae, latents).eigenvalues for ae in (grouped, joined)]
    assert torch.equal(*spectra)


def test_posteriors_are_flat_know_their_groups_and_are_decoded_in_them(
    ladder: Ladder, grouped: Autoencoder, joined: Autoencoder
) -> None:
    images = _images(5)
    posterior = grouped.posteriors(images)
    assert posterior.layout == grouped.layout == Layout(shapes=(UPPER, LOWER))
    assert posterior[1:3].layout == posterior.layout
    assert joined.layout is None
    assert torch.equal(posterior.mean, joined.posteriors(images).mean)
    assert torch.equal(posterior.std, joined.posteriors(images).std)
    assert torch.equal(grouped.reconstructions(images), joined.reconstructions(images))
    assert torch.equal(grouped.decode(posterior.mean), ladder.decode(posterior.layout.split(posterior.mean)))


def test_a_wrapped_model_has_its_groups(ladder: Ladder, grouped: Autoencoder) -> None:
    wrapped = vaeaudit.wrap(ladder, scale="log_variance")
    assert torch.equal(wrapped.reconstructions(_images(3)), grouped.reconstructions(_images(3)))
    assert wrapped.layout == Layout(shapes=(UPPER, LOWER))


def test_a_copy_knows_the_groups_before_it_encodes(grouped: Autoencoder) -> None:
    latents = grouped.posteriors(_images(2)).mean
    assert torch.equal(grouped.copy_on("cpu").decode(latents), grouped.decode(latents))


def test_mixup_trains_a_model_with_groups(ladder: Ladder) -> None:
    losses = [
        mixup_loss(encode, decode, _images(8), scale="log_variance", generator=Generator().manual_seed(2))
        for encode, decode in ((ladder.encode, ladder.decode), (ladder.encode_joined, ladder.decode_joined))
    ]
    assert torch.equal(*losses)


MEANS = [_drawn(5, 3), _drawn(5, 2, 2, seed=1)]
SPREADS = [_drawn(5, 3, seed=2), _drawn(5, 2, 2, seed=3)]
FORMS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "pair": lambda mean, spread: (mean, spread),
    "list": lambda mean, spread: [mean, spread],
    "Normal": lambda mean, spread: Normal(mean, (0.5 * spread).exp()),
    "Independent": lambda mean, spread: Independent(Normal(mean, (0.5 * spread).exp()), 1),
    "mapping": lambda mean, spread: {"mean": mean, "logvar": spread},
    "object": lambda mean, spread: SimpleNamespace(latent_dist=SimpleNamespace(mean=mean, logvar=spread)),
}


@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_posterior_may_be_a_group(form: str, kind: type) -> None:
    found = read_posterior(kind(FORMS[form](*group) for group in zip(MEANS, SPREADS, strict=True)))
    assert found.layout == Layout(shapes=((3,), (2, 2)))
    assert found.log_variance is not None
    for part, mean in zip(found.layout.split(found.mean), MEANS, strict=True):
        assert torch.equal(part, mean)
    for part, spread in zip(found.layout.split(found.log_variance), SPREADS, strict=True):
        torch.testing.assert_close(part, spread)


def test_steps_of_a_recurrence_have_one_shape() -> None:
    found = read_posterior(
        [(mean, spread) for mean, spread in zip(_drawn(4, 5, 3), _drawn(4, 5, 3, seed=1), strict=True)]
    )
    assert found.layout == Layout(shapes=((3,),) * 4)
    assert found.mean.shape == (5, 12)


def test_codes_in_groups_are_tuples_of_one() -> None:
    found = read_posterior(tuple((mean,) for mean in MEANS))
    assert found.log_variance is None
    assert found.layout == Layout(shapes=((3,), (2, 2)))


def test_a_group_may_have_one_unit_without_a_dimension_of_its_own_and_a_batch_may_be_empty() -> None:
    layout = Layout(shapes=((), (2, 2)))
    latents = layout.joined([_drawn(5), MEANS[1]])
    assert latents.shape == (5, layout.units) == (5, 5)
    assert [part.shape for part in layout.split(latents)] == [(5,), (5, 2, 2)]
    assert [part.shape for part in layout.split(latents[:0])] == [(0,), (0, 2, 2)]


def test_a_pair_of_tensors_and_what_is_wrapped_alone_keep_their_meaning() -> None:
    assert read_posterior((MEANS[0], SPREADS[0])).layout is None
    assert read_posterior(((MEANS[0], SPREADS[0]),)).layout is None
    assert read_posterior([Normal(MEANS[0], 1.0)]).layout is None


SAME = ((MEANS[0], SPREADS[0]), (MEANS[0] + 1, SPREADS[0] - 1))


def test_two_pairs_of_one_shape_are_read_once_it_is_said_what_a_second_member_is() -> None:
    with pytest.raises(
        EncoderOutputError, match=r"two groups or their \(means, log_variances\).*two ways: scale='log_v"
    ):
        read_posterior(SAME)
    found = read_posterior(SAME, "log_variance")
    assert found.log_variance is not None
    assert torch.equal(found.log_variance, torch.cat([SPREADS[0], SPREADS[0] - 1], 1))
    assert torch.equal(read_posterior(SAME, doubt=False).mean, found.mean)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        pytest.param(
            (MEANS, SPREADS),
            r"group 1 of 2: the encoder returned a list of 2 .*equal shapes.*one pair \(mean",
            id="lists",
        ),
        pytest.param(
            (MEANS[0], SPREADS[0], MEANS[0]), r"a tuple of 3 .*one 1-tuple \(code,\) a group", id="bare tensors"
        ),
        pytest.param(
            (SAME[0], MEANS[0]), r"a tuple of 2 \(a tuple of 2 .*\), a tensor \(5, 3\)\); a pair", id="one bare"
        ),
        pytest.param((SAME[0], (MEANS[0],)), r"some groups of it with a variance and some without", id="mixed kinds"),
        pytest.param(
            (SAME[0], Normal(MEANS[0][:4], 1.0)), r"must have one batch, got \(5, 3\), \(4, 3\)", id="batches"
        ),
        pytest.param((Normal(MEANS[0], 1.0), None), r"group 2 of 2: the encoder returned a NoneType", id="None"),
        pytest.param((SAME, SAME), r"group 1 of 2: the encoder returned a tuple of 2 .*was expected", id="deeper"),
        pytest.param((SAME[0], (MEANS[1], MEANS[1].abs() + 1)), r"group 2 of 2: .*positive everywhere", id="positive"),
    ],
)
def test_what_cannot_be_told_apart_is_an_error_with_the_ways_to_say_it(output: Any, message: str) -> None:
    with pytest.raises(EncoderOutputError, match=message):
        read_posterior(output)


def test_latents_of_another_size_are_refused(grouped: Autoencoder) -> None:
    grouped.posteriors(_images(2))
    with pytest.raises(ModelError, match=r"2 groups of 8 units together, .*\(batch, 8\) were expected; got \(2, 7\)"):
        grouped.decode(torch.zeros(2, 7, dtype=torch.float64))


def test_an_encoder_whose_latent_is_of_one_piece_again_is_followed(ladder: Ladder) -> None:
    parts = [ladder.encode, ladder.encode_joined]
    ae = Autoencoder(lambda x: parts[0](x), lambda z: z, scale="log_variance")
    assert ae.encode(_images(2)).layout is not None
    parts.reverse()
    assert ae.encode(_images(2)).layout is None
    assert ae.decode(torch.ones(2, 3, dtype=torch.float64)).shape == (2, 3)


def test_posteriors_without_groups_have_no_layout() -> None:
    assert Posterior(mean=MEANS[0], log_variance=None).layout is None

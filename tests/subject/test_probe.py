"""The probe sees what a model does, and says in which way one cannot be audited."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vaeaudit import AuditError, Autoencoder, EncoderOutputError, GradientError, ModelError
from vaeaudit.probe import Probe, probe

WEIGHT = torch.linspace(-1, 1, 12).reshape(6, 2)
IMAGES = torch.rand(5, 6, generator=torch.Generator().manual_seed(0))


def _code(x: Tensor) -> Tensor:
    return x @ WEIGHT


def _decode(z: Tensor) -> Tensor:
    return (z @ WEIGHT.T).sigmoid()


def _probed(encoder: Callable[..., Any] = _code, decoder: Callable[..., Any] = _decode, **options: Any) -> Probe:
    ae = Autoencoder(encoder, decoder, **options)
    with ae.at_rest():
        return probe(ae, IMAGES)


SOUND = Probe(
    latent_shape=(2,),
    deterministic_code=True,
    encoder_noise=0.0,
    decoder_noise=0.0,
    drift=0.0,
    batch_dependence=0.0,
    outside_bounds=0.0,
    saturated_outputs=0.0,
    zero_gradients=0.0,
    behaviour="",
)


def test_a_sound_autoencoder_has_nothing_to_report() -> None:
    seen = _probed()
    assert dataclasses.replace(seen, batch_dependence=0.0, behaviour="") == SOUND
    assert seen.batch_dependence < 1e-5


def test_behaviour_tells_models_apart_by_what_they_do() -> None:
    assert _probed().behaviour == _probed().behaviour
    assert _probed(decoder=lambda z: 2 * _decode(z)).behaviour != _probed().behaviour
    assert _probed(lambda x: 2 * _code(x), lambda z: _decode(z / 2)).behaviour != _probed().behaviour


def test_behaviour_sees_weights_of_inputs_that_are_black_in_all_data() -> None:
    def behaviour(weight: Tensor) -> str:
        return probe(Autoencoder(lambda x: x @ weight, _decode), black).behaviour

    black, changed = IMAGES.clone(), WEIGHT.clone()
    black[:, 3], changed[3] = 0, 5
    assert torch.equal(black @ WEIGHT, black @ changed)
    assert behaviour(WEIGHT) == behaviour(WEIGHT.clone()) != behaviour(changed)


@pytest.mark.parametrize("bounds", [(0, 1), (0.2, 0.7), (0, float("inf")), (-float("inf"), float("inf"))])
def test_behaviour_is_that_of_images_and_of_noise_in_the_bounds(bounds: tuple[float, float]) -> None:
    seen: list[Tensor] = []
    ae = Autoencoder(lambda x: (seen.append(x.detach().clone()), _code(x))[1], _decode, bounds=bounds)
    probe(ae, IMAGES.clamp(*bounds).repeat(100, 1))
    noisy = torch.cat(seen[-4:])
    assert noisy.shape == (32, 6)
    assert noisy.min() >= bounds[0]
    assert noisy.max() <= bounds[1]
    assert noisy.std() > 0.1
    assert noisy.unique(dim=0).shape == noisy.shape


def test_a_model_that_refuses_noise_can_be_audited() -> None:
    def picky(x: Tensor) -> Tensor:
        if not all(any(torch.equal(row, image) for image in IMAGES) for row in x.detach()):
            raise ValueError("this is no image")
        return _code(x)

    assert _probed(picky).behaviour


def test_a_gaussian_posterior_is_no_deterministic_code() -> None:
    assert not _probed(lambda x: (_code(x), -torch.ones(len(x), 2))).deterministic_code


def test_the_shape_of_a_feature_map_is_seen() -> None:
    seen = _probed(lambda x: _code(x).reshape(-1, 1, 2, 1), lambda z: _decode(z.flatten(1)))
    assert seen.latent_shape == (1, 2, 1)


def test_the_model_is_tried_on_a_few_images_only() -> None:
    sizes = []
    ae = Autoencoder(lambda x: (sizes.append(len(x)), _code(x))[1], _decode)
    probe(ae, IMAGES.repeat(100, 1))
    assert max(sizes) <= 8


def test_noise_of_the_encoder_is_measured_relative_to_its_scale() -> None:
    seen = [_probed(lambda x, c=c: c * _code(x) * (1 + 0.1 * torch.rand(1))) for c in (1, 1000)]
    assert 1e-4 < seen[0].encoder_noise < 0.1
    assert seen[1].encoder_noise == pytest.approx(seen[0].encoder_noise, rel=1e-4)
    assert seen[0].decoder_noise == 0


def test_noise_of_the_decoder_is_told_from_the_encoders() -> None:
    seen = _probed(decoder=lambda z: _decode(z) * torch.rand(1))
    assert seen.decoder_noise > 1e-4
    assert seen.encoder_noise == 0


class BatchNormalised(nn.Module):
    """Batch norm by hand, with no running statistics to evaluate with."""

    def forward(self, x: Tensor) -> Tensor:
        return _code((x - x.mean(0)) / (x.std(0, correction=0) + 0.1))


def test_an_encoder_that_looks_at_the_whole_batch_is_seen() -> None:
    seen = _probed(BatchNormalised())
    assert seen.batch_dependence > 0.1
    assert seen.encoder_noise == 0


def test_batch_norm_at_rest_looks_at_no_batch() -> None:
    norm = nn.BatchNorm1d(6)
    seen = _probed(lambda x: _code(norm(x)))
    assert seen.batch_dependence < 1e-5
    assert norm.training


@pytest.mark.parametrize(
    ("bounds", "share"), [((0, 1), 0.0), ((0, 0.25), 1.0), ((0.9, 2), 1.0), ((0, float("inf")), 0)]
)
def test_outputs_outside_the_bounds_are_counted(bounds: tuple[float, float], share: float) -> None:
    assert _probed(decoder=lambda z: 0.5 + 0 * _decode(z), bounds=bounds).outside_bounds == share


def test_rounding_is_not_outside_the_bounds() -> None:
    assert _probed(decoder=lambda z: 0 * z.sum() + torch.full((len(z), 6), 1.0005)).outside_bounds == 0
    assert _probed(decoder=lambda z: 0 * z.sum() + torch.full((len(z), 6), 1.002)).outside_bounds == 1


def test_images_without_gradient_are_counted() -> None:
    threshold = IMAGES.sum(1).sort().values[2]
    seen = _probed(lambda x: _code(x) * (x.sum(1, keepdim=True) > threshold))
    assert seen.zero_gradients == pytest.approx(3 / 5)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_model_that_changes_with_its_calls_is_seen(part: str) -> None:
    """It says the same twice in a row, so that no noise is seen, and something else later."""
    calls = 0

    def drifting(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return (_code(x) if part == "encoder" else _decode(x)) * (1 + 0.05 * (calls > 6))

    seen = _probed(**{part: drifting})
    assert (seen.encoder_noise, seen.decoder_noise) == (0, 0)
    assert seen.drift == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize(("steep", "share"), [(1.0, 0.0), (1e6, 1.0)])
def test_outputs_on_a_bound_are_counted(steep: float, share: float) -> None:
    assert _probed(decoder=lambda z: (steep * (z @ WEIGHT.T + 3)).sigmoid()).saturated_outputs == share


def test_a_gradient_that_is_zero_everywhere_is_counted_and_no_error() -> None:
    assert _probed(lambda x: (4 * _code(x)).round()).zero_gradients == 1


def _nan_gradient(x: Tensor) -> Tensor:
    return _code(x) + (x - x.detach()).abs().sum(1, keepdim=True).sqrt()


UNFIT: dict[str, tuple[dict[str, Any], type[AuditError], str]] = {
    "decoder without gradient": (
        {"decoder": lambda z: (z @ torch.ones(2, 6)).detach()},
        GradientError,
        "the decoder cannot be attacked: no gradient flows",
    ),
    "decoder of another latent": (
        {"decoder": nn.Linear(3, 6)},
        ModelError,
        r"encoder and decoder do not fit together: the encoder gives latents \(5, 2\), and the decoder failed on "
        r"latents of shape \(5, 2\) and torch.float32: RuntimeError: ",
    ),
    "reconstruction of another shape": (
        {"decoder": lambda z: _decode(z)[:, None]},
        ModelError,
        r"reconstructions of shape \(5, 1, 6\) for images of shape \(5, 6\); .*lambda z: decoder\(z\).reshape\(-1, 6\)",
    ),
    "mean and log-variance side by side": (
        {"encoder": lambda x: torch.cat([_code(x), -_code(x)], 1)},
        EncoderOutputError,
        r"one tensor of 4 latents and the decoder takes 2: it may hold mean and log-variance.*in one of two ways: "
        r"Autoencoder\(lambda x: encoder\(x\).chunk\(2, dim=1\), decoder\).*or pass the decoder that takes the whole",
    ),
    "pair of a latent twice too long": (
        {"encoder": lambda x: (torch.cat([_code(x), _code(x)], 1), -torch.ones(len(x), 4))},
        ModelError,
        r"encoder and decoder do not fit together: the encoder gives latents \(5, 4\)",
    ),
    "one latent for the batch": (
        {"encoder": lambda x: _code(x).mean(0, keepdim=True)},
        ModelError,
        r"latents of shape \(1, 2\) for 5 images; expected \(batch, \*latent\), one latent an image",
    ),
    "no latent dimension": ({"encoder": lambda x: _code(x)[:, 0]}, ModelError, r"latents of shape \(5,\) for 5 images"),
    "NaN from the encoder": (
        {"encoder": lambda x: _code(x) / 0 * 0},
        ModelError,
        r"the encoder returned NaN or infinite values on finite images; check the weights",
    ),
    "infinite log-variance": (
        {"encoder": lambda x: (_code(x), torch.full((len(x), 2), -torch.inf))},
        ModelError,
        r"posterior variances are zero, negative, NaN or infinite; check that scale= says",
    ),
    "negative deviation": (
        {"encoder": lambda x: (_code(x), -torch.ones(len(x), 2)), "scale": "std"},
        ModelError,
        r"posterior variances are zero, negative, NaN or infinite; check that scale= says",
    ),
    "NaN from the decoder": (
        {"decoder": lambda z: _decode(z).log() - torch.inf},
        ModelError,
        r"the decoder returned NaN or infinite values; check the weights",
    ),
    "encoder under no_grad": (
        {"encoder": torch.no_grad()(_code)},
        GradientError,
        r"no gradient flows from the model's output to its input: it is detached, computed under torch.no_grad\(\)",
    ),
    "detached encoder": ({"encoder": lambda x: _code(x).detach()}, GradientError, r"no gradient flows.*detached"),
    "encoder in numpy": (
        {"encoder": lambda x: torch.from_numpy(x.detach().numpy() @ WEIGHT.numpy())},
        GradientError,
        r"no gradient flows.*not differentiable \(rounding, argmax, numpy\)",
    ),
    "encoder that ignores its input": (
        {"encoder": lambda x: torch.ones(len(x), 2, requires_grad=True) * 3},
        GradientError,
        r"does not depend on its input through differentiable operations",
    ),
    "NaN gradient": (
        {"encoder": _nan_gradient},
        GradientError,
        r"the gradient of the posterior mean holds NaN or infinite values; a sqrt, log or norm at zero\?",
    ),
    "integer codes": (
        {"encoder": lambda x: _code(x).argmax(1, keepdim=True)},
        EncoderOutputError,
        r"the code has dtype torch.int64, which carries no gradient",
    ),
    "undecided pair": (
        {"encoder": lambda x: (_code(x), _code(x).exp())},
        EncoderOutputError,
        r"second member is positive everywhere: it may be a standard deviation",
    ),
    "other kind of images": (
        {"encoder": nn.Linear(7, 2)},
        ModelError,
        r"the encoder failed on inputs of shape \(5, 6\) and torch.float32: RuntimeError: ",
    ),
    "unreadable reconstruction": (
        {"decoder": lambda z: (_decode(z), z)},
        EncoderOutputError,
        r"the decoder returned a tuple of 2 .*expected a tensor of reconstructions",
    ),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_a_model_that_cannot_be_audited_says_why(kind: str) -> None:
    parts, error, message = UNFIT[kind]
    with pytest.raises(AuditError, match=message) as caught:
        _probed(**parts)
    assert type(caught.value) is error


def test_the_images_are_left_alone() -> None:
    ae = Autoencoder(_code, _decode)
    images = IMAGES.clone()
    probe(ae, images)
    assert torch.equal(images, IMAGES)
    assert not images.requires_grad

"""The mixup objective equals a slow reference, has exact gradients, and is what its formula says where that is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.distributions import Independent, Normal

import vaeaudit
from vaeaudit.remedies import Mixup, mixup_loss
from vaeaudit.remedies.mixing import Mixing, draw_mixing
from vaeaudit.remedies.mixup import VARIANTS
from vaeaudit.zoo.models import build

PIXELS, UNITS = 6, 3
PARTS = ("reconstruction", "kl", "mixed_kl", "image_consistency", "latent_consistency")


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


@dataclass(frozen=True, kw_only=True)
class Curved:
    """A small autoencoder that bends, so that no term vanishes."""

    inward: Tensor  # (pixels, 2 * units)
    outward: Tensor  # (units, pixels)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = (x @ self.inward).tanh().chunk(2, dim=1)
        return 2 * mean, log_variance - 1

    def decode(self, z: Tensor) -> Tensor:
        return (z @ self.outward).sigmoid()


@pytest.fixture
def curved() -> Curved:
    generator = seeded(3)
    shapes = ((PIXELS, 2 * UNITS), (UNITS, PIXELS))
    inward, outward = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return Curved(inward=inward, outward=outward)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, PIXELS, generator=seeded(4), dtype=torch.float64)


def reference(
    model: Curved, images: Tensor, noises: tuple[Tensor, Tensor], of_images: Mixing, of_latents: Mixing, fit: str
) -> dict[str, float]:
    """Every term by loops over images, partners and units, with the draws that are given."""
    codes = [[v[0].tolist() for v in model.encode(x[None])] for x in images]
    latents = [sampled(mean, log, noise.tolist()) for (mean, log), noise in zip(codes, noises[0], strict=True)]
    totals = dict.fromkeys(PARTS, 0.0)
    for i, image in enumerate(images.tolist()):
        partner = images[int(of_images.permutation[i])].tolist()
        mixed = blended(image, partner, float(of_images.weight))
        mixed_latent = blended(latents[i], latents[int(of_latents.permutation[i])], float(of_latents.weight))
        mean, log = (v[0].tolist() for v in model.encode(torch.tensor([mixed], dtype=torch.float64)))
        decoded = model.decode(torch.tensor([latents[i]], dtype=torch.float64))[0].tolist()
        mixed_decoded = model.decode(torch.tensor([mixed_latent], dtype=torch.float64))[0].tolist()
        totals["reconstruction"] += negative_log_likelihood(image, decoded, fit)
        totals["kl"] += kl_to_standard_normal(*codes[i])
        totals["mixed_kl"] += kl_to_standard_normal(mean, log)
        totals["image_consistency"] += sum((a - b) ** 2 for a, b in zip(mixed, mixed_decoded, strict=True))
        encoded = sampled(mean, log, noises[1][i].tolist())
        totals["latent_consistency"] += sum((a - b) ** 2 for a, b in zip(mixed_latent, encoded, strict=True))
    return {name: total / len(images) for name, total in totals.items()}


def sampled(mean: list[float], log: list[float], noise: list[float]) -> list[float]:
    return [m + math.sqrt(math.exp(v)) * e for m, v, e in zip(mean, log, noise, strict=True)]


def blended(own: list[float], other: list[float], weight: float) -> list[float]:
    return [weight * a + (1 - weight) * b for a, b in zip(own, other, strict=True)]


def kl_to_standard_normal(mean: list[float], log: list[float]) -> float:
    return sum((math.exp(v) + m * m - 1 - v) / 2 for m, v in zip(mean, log, strict=True))


def negative_log_likelihood(image: list[float], decoded: list[float], fit: str) -> float:
    pairs = list(zip(image, decoded, strict=True))
    if fit == "gaussian":
        return sum((x - p) ** 2 / 2 for x, p in pairs)
    return -sum(x * math.log(p) + (1 - x) * math.log(1 - p) for x, p in pairs)


@pytest.mark.parametrize("fit", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_term_equals_the_slow_reference(curved: Curved, images: Tensor, variant: Any, fit: Any) -> None:
    objective = Mixup(beta=2.5, variant=variant, reconstruction=fit)
    terms = objective.terms(curved.encode, curved.decode, images, generator=seeded())
    draws = seeded()  # the same again, in the documented order
    first = torch.randn(5, UNITS, dtype=torch.float64, generator=draws)
    of_images = draw_mixing(images, 0.5, draws)
    of_latents = of_images if variant == "shared" else draw_mixing(images, 0.5, draws)
    second = torch.randn(5, UNITS, dtype=torch.float64, generator=draws)
    expected = reference(curved, images, (first, second), of_images, of_latents, fit)
    found = terms.to_dict()
    total = found.pop("total")
    assert found == pytest.approx(expected, rel=1e-12)
    assert total == pytest.approx(sum(expected.values()) + 1.5 * expected["kl"], rel=1e-12)
    assert float(terms.elbo_loss) == pytest.approx(expected["reconstruction"] + 2.5 * expected["kl"], rel=1e-12)
    loss = mixup_loss(
        curved.encode, curved.decode, images, beta=2.5, variant=variant, reconstruction=fit, generator=seeded()
    )
    assert float(loss) == total


@pytest.mark.parametrize("part", [*PARTS, "total"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_are_those_of_finite_differences(curved: Curved, images: Tensor, variant: Any, part: str) -> None:
    objective = Mixup(beta=2.5, variant=variant)

    def value(inward: Tensor, outward: Tensor, inputs: Tensor) -> Tensor:
        model = Curved(inward=inward, outward=outward)
        found: Tensor = getattr(objective.terms(model.encode, model.decode, inputs, generator=seeded()), part)
        return found

    leaves = tuple(leaf.clone().requires_grad_() for leaf in (curved.inward, curved.outward, images))
    assert torch.autograd.gradcheck(value, leaves)


@pytest.mark.parametrize("part", ["image_consistency", "latent_consistency"])
def test_consistency_holds_the_mixed_latents_too(curved: Curved, images: Tensor, part: str) -> None:
    """With everything else cut off from the graph, a gradient is left through the latents of the images."""
    inward = curved.inward.clone().requires_grad_()
    calls: list[Tensor] = []

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(x)
        return Curved(inward=inward if len(calls) == 1 else inward.detach(), outward=curved.outward).encode(x)

    terms = Mixup().terms(encode, curved.decode, images, generator=seeded())
    (gradient,) = torch.autograd.grad(getattr(terms, part), inward)
    assert gradient.abs().max() > 0


def ends(part: str, model: Curved, images: Tensor, weight: float) -> Tensor:
    """A term whose weight has come out as 0 or 1, beside the permutation."""
    for seed in range(100):
        draws = seeded(seed)
        torch.randn(5, UNITS, dtype=torch.float64, generator=draws)
        mixing = draw_mixing(images, 1e-6, draws)
        if float(mixing.weight) == weight and sorted(mixing.permutation.tolist()) != mixing.permutation.tolist():
            terms = Mixup(concentration=1e-6).terms(model.encode, model.decode, images, generator=seeded(seed))
            found: Tensor = getattr(terms, part)
            return found
    raise AssertionError("no such weight in a hundred draws")


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_at_the_ends_of_the_weight_the_mixed_terms_are_those_of_the_images(
    curved: Curved, images: Tensor, weight: float
) -> None:
    """A weight of 1 mixes nothing; one of 0 permutes the batch, which leaves its mean alone."""
    assert float(ends("mixed_kl", curved, images, weight)) == pytest.approx(float(ends("kl", curved, images, weight)))

    certain = Curved(inward=curved.inward, outward=curved.outward)
    object.__setattr__(certain, "encode", lambda x: curved.encode(x)[0])
    error = (certain.decode(certain.encode(images)) - images).square().sum(1).mean()
    assert float(ends("latent_consistency", certain, images, weight)) == 0
    assert float(ends("image_consistency", certain, images, weight)) == pytest.approx(float(error))


def flat(std: float | None, generator: Generator) -> tuple[Callable[[Tensor], Any], Callable[[Tensor], Tensor]]:
    """A linear encoder and decoder that undo each other, with one standard deviation or none."""
    square = torch.randn(UNITS, UNITS, generator=generator, dtype=torch.float64)
    inverse = torch.linalg.inv(square)

    def encode(x: Tensor) -> Any:
        mean = x @ square + 1
        return mean if std is None else Normal(mean, torch.full_like(mean, std))

    return encode, lambda z: (z - 1) @ inverse


def test_shared_mixup_costs_a_linear_autoencoder_nothing() -> None:
    """An affine map commutes with a convex combination, if it is the same on both sides."""
    encode, decode = flat(None, seeded(1))
    images = torch.randn(8, UNITS, generator=seeded(2), dtype=torch.float64)
    for seed in range(10):
        terms = Mixup(reconstruction="gaussian").terms(encode, decode, images, generator=seeded(seed)).to_dict()
        assert terms["latent_consistency"] < 1e-24
        assert terms["image_consistency"] < 1e-24
        assert terms["kl"] == terms["mixed_kl"] == 0
        released = Mixup(reconstruction="gaussian", variant="khan2022")
        assert released.terms(encode, decode, images, generator=seeded(seed)).to_dict()["latent_consistency"] > 1e-3


def z_score(values: list[float], expected: float) -> float:
    found = torch.tensor(values, dtype=torch.float64)
    return float((found.mean() - expected) / (found.std() / len(values) ** 0.5))


def test_released_mixup_punishes_a_linear_autoencoder_by_a_known_amount() -> None:
    """Two images at a distance D: E (s (1 - a) - t (1 - b))^2 D^2 = (2 * 3/8 * 1/2 - 2 * 1/16) D^2 = D^2 / 4.

    s and t say whether a permutation swaps the two; a and b are Beta(1/2, 1/2), E (1 - a)^2 = 3/8.
    """
    encode, decode = flat(None, seeded(1))
    images = torch.randn(2, UNITS, generator=seeded(2), dtype=torch.float64)
    distances = [float((x[0] - x[1]).square().sum()) for x in (images, encode(images))]
    objective, draws = Mixup(reconstruction="gaussian", variant="khan2022"), seeded(6)
    found = [objective.terms(encode, decode, images, generator=draws).to_dict() for _ in range(2000)]
    for part, distance in zip(("image_consistency", "latent_consistency"), distances, strict=True):
        assert abs(z_score([terms[part] for terms in found], distance / 4)) < 4


def test_posterior_noise_adds_a_known_amount() -> None:
    """k units of variance v: v k (1 + E a^2 + E (1 - a)^2) = 7/4 v k for a row with a partner, 2 v k for one without.

    A permutation of n leaves one row in place on average, so the mean over the batch is (7/4 (n - 1) + 2) / n.
    """
    encode, decode = flat(0.3, seeded(1))
    images = torch.randn(4, UNITS, generator=seeded(2), dtype=torch.float64)
    objective, draws = Mixup(reconstruction="gaussian"), seeded(6)
    found = [objective.terms(encode, decode, images, generator=draws).to_dict() for _ in range(2000)]
    expected = 0.09 * UNITS * (1.75 * 3 + 2) / 4
    assert abs(z_score([terms["latent_consistency"] for terms in found], expected)) < 4


def test_a_generator_is_the_only_source_of_randomness(curved: Curved, images: Tensor) -> None:
    def loss(generator: Generator | None) -> float:
        return float(mixup_loss(curved.encode, curved.decode, images, generator=generator))

    before = torch.get_rng_state()
    assert loss(seeded(1)) == loss(seeded(1)) != loss(seeded(2))
    draws = seeded(1)
    assert loss(draws) != loss(draws)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_generator_torchs_own_is_used(curved: Curved, images: Tensor) -> None:
    with torch.random.fork_rng(devices=[]):
        losses = []
        for _ in range(2):
            torch.manual_seed(0)
            losses.append(float(mixup_loss(curved.encode, curved.decode, images)))
    assert losses[0] == losses[1]


def test_every_tensor_is_made_where_the_inputs_are(curved: Curved, images: Tensor) -> None:
    """What is made without a device lands on meta here, where it cannot be used."""
    expected = mixup_loss(curved.encode, curved.decode, images, variant="khan2022", generator=seeded())
    generator = seeded()
    with torch.device("meta"):
        found = mixup_loss(curved.encode, curved.decode, images, variant="khan2022", generator=generator)
    assert float(found) == float(expected)


FORMS: dict[str, tuple[Callable[[Tensor, Tensor], Any], Any]] = {
    "pair": (lambda m, v: (m, v), None),
    "list": (lambda m, v: [m, v], "log_variance"),
    "variance": (lambda m, v: (m, v.exp()), "variance"),
    "std": (lambda m, v: (m, (v / 2).exp()), "std"),
    "normal": (lambda m, v: Normal(m, (v / 2).exp()), None),
    "independent": (lambda m, v: Independent(Normal(m, (v / 2).exp()), 1), None),
    "object": (lambda m, v: SimpleNamespace(embedding=m, log_covariance=v), None),
    "mapping": (lambda m, v: {"mean": m, "logvar": v}, None),
    "latent_dist": (lambda m, v: SimpleNamespace(latent_dist=SimpleNamespace(mean=m, logvar=v)), None),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_encoder_may_answer_in_any_form_that_an_audit_reads(curved: Curved, images: Tensor, form: str) -> None:
    shape, scale = FORMS[form]
    expected = mixup_loss(curved.encode, curved.decode, images, generator=seeded())
    found = mixup_loss(
        lambda x: shape(*curved.encode(x)), lambda z: {"sample": curved.decode(z)}, images, scale=scale,
        generator=seeded(),
    )  # fmt: skip
    assert float(found) == pytest.approx(float(expected), rel=1e-12)


def test_a_deterministic_code_has_no_kl(curved: Curved, images: Tensor) -> None:
    terms = Mixup().terms(lambda x: curved.encode(x)[0], curved.decode, images, generator=seeded())
    assert terms.to_dict()["kl"] == terms.to_dict()["mixed_kl"] == 0
    assert terms.to_dict()["latent_consistency"] > 0


def test_latents_may_be_feature_maps() -> None:
    encoder = torch.nn.Conv2d(1, 4, 4, stride=2, padding=1)
    decoder = torch.nn.Sequential(torch.nn.ConvTranspose2d(2, 1, 4, stride=2, padding=1), torch.nn.Sigmoid())
    images = torch.rand(3, 1, 8, 8, generator=seeded())
    loss = mixup_loss(lambda x: encoder(x).chunk(2, dim=1), decoder, images, generator=seeded())
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for m in (encoder, decoder) for p in m.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_model_gets_latents_of_the_dtype_of_its_inputs(curved: Curved, images: Tensor, dtype: torch.dtype) -> None:
    model = Curved(inward=curved.inward.to(dtype), outward=curved.outward.to(dtype))
    loss = mixup_loss(model.encode, model.decode, images.to(dtype), generator=seeded())
    assert loss.dtype == torch.float32
    assert loss.isfinite()


def test_a_batch_of_one_has_nothing_to_mix_but_does_not_fail(curved: Curved, images: Tensor) -> None:
    terms = Mixup().terms(curved.encode, curved.decode, images[:1], generator=seeded()).to_dict()
    assert terms["mixed_kl"] == pytest.approx(terms["kl"])


def test_the_loss_trains_a_model_of_the_zoo() -> None:
    torch.manual_seed(0)
    images, _ = vaeaudit.zoo.images("mnist-vae")
    model = build("DenseAutoencoder", {"latent": 4, "hidden": 32})
    optimiser, draws, losses = torch.optim.Adam(model.parameters(), lr=3e-3), seeded(), []
    for _ in range(60):
        optimiser.zero_grad()
        loss = mixup_loss(model.encode, model.decode, images[:64], generator=draws)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"beta": -1.0}, "beta expects a number at least 0, got -1.0"),
        ({"beta": math.nan}, "beta expects a number at least 0, got nan"),
        ({"beta": "4"}, "beta expects a number at least 0, got '4'"),
        ({"concentration": 0.0}, "concentration expects a number above 0, got 0.0"),
        ({"concentration": math.inf}, "concentration expects a number above 0, got inf"),
        ({"variant": "own"}, "variant expects one of shared, khan2022, got 'own'"),
        ({"scale": "sigma"}, "scale expects one of log_variance, variance, std, got 'sigma'"),
        ({"reconstruction": "mse"}, "reconstruction expects one of 'bernoulli', 'gaussian', or a function"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    curved: Curved, images: Tensor, setting: dict[str, Any], expected: str
) -> None:
    with pytest.raises(vaeaudit.OptionError, match=expected):
        mixup_loss(curved.encode, curved.decode, images, **setting)
    with pytest.raises(vaeaudit.OptionError, match=expected):
        Mixup(**setting)


@pytest.mark.parametrize(
    "inputs", [torch.ones(2, 3, dtype=torch.uint8), torch.ones(()), torch.ones(3), torch.ones(0, 3), [[0.5]]]
)
def test_inputs_that_are_no_batch_are_refused(curved: Curved, inputs: Any) -> None:
    with pytest.raises(vaeaudit.DataError, match=r"floating-point tensor \(batch, \*event\), got .*; convert it first"):
        mixup_loss(curved.encode, curved.decode, inputs)


def test_a_generator_of_another_device_is_refused(curved: Curved) -> None:
    with pytest.raises(vaeaudit.OptionError, match=r"on cpu, the inputs are on meta; make it there: torch\.Generator"):
        mixup_loss(curved.encode, curved.decode, torch.ones(2, 3, device="meta"), generator=seeded())


def test_outputs_of_the_wrong_shape_are_refused(curved: Curved, images: Tensor) -> None:
    with pytest.raises(vaeaudit.ModelError, match=r"decoder returned \(5, 5\) for inputs \(5, 6\); expected the shape"):
        mixup_loss(curved.encode, lambda z: curved.decode(z)[:, :5], images)
    with pytest.raises(vaeaudit.EncoderOutputError, match=r"latents \(4, 3\) for inputs \(5, 6\)"):
        mixup_loss(lambda x: curved.encode(x)[0][1:], curved.decode, images)


def test_log_variances_may_be_positive_everywhere_while_a_model_learns(curved: Curved, images: Tensor) -> None:
    terms = Mixup().terms(
        lambda x: (curved.encode(x)[0], 0.1 + 0 * x[:, :UNITS]), curved.decode, images, generator=seeded()
    )
    mean = curved.encode(images)[0]
    assert terms.to_dict()["kl"] == pytest.approx(
        float((mean.square() + math.exp(0.1) - 1.1).sum(1).mean() / 2), rel=1e-12
    )

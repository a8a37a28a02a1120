"""Every attack inside a ball: what must hold of all of them, whatever they raise or lower."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from vaeaudit import Autoencoder, DataError, OptionError, zoo
from vaeaudit.adapters import wrap
from vaeaudit.attacks import (
    FOR_POSTERIORS,
    TARGETED_IN_BALL,
    UNTARGETED,
    BallAttack,
    as_starts,
    latent_damage,
    maximum_damage,
    targeted_attacks,
    targeted_ball,
    untargeted_attacks,
)
from vaeaudit.attacks.goals import Goal
from vaeaudit.divergences import DIVERGENCES
from vaeaudit.latent import Posterior

BOX = (0.0, 1.0)
RADII = [0.9, 0.1, 0.4]
NAMES = [*UNTARGETED, *TARGETED_IN_BALL]
EVENT = (2, 6)


@pytest.fixture(scope="module")
def curved() -> Autoencoder:
    """In float64."""
    return _curved(torch.float64)


def _curved(dtype: torch.dtype) -> Autoencoder:
    """A smooth VAE whose mean, spread and decoder all bend."""
    generator = torch.Generator().manual_seed(3)
    mean, spread, outward = torch.randn(3, 4, 12, generator=generator, dtype=torch.float64).to(dtype) / 3

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        flat = 3 * (x.flatten(1) - 0.4)
        return 2 * (flat @ mean.T).tanh(), (flat @ spread.T).sin() - 2

    return Autoencoder(encode, lambda z: (z @ outward).sigmoid().view(-1, *EVENT), BOX, scale="log_variance")


def _images(linear: ModuleType, count: int, seed: int) -> Tensor:
    images = linear.points(12, count, seed, bounds=BOX).view(count, *EVENT)
    images[0, 0], images[-1, 1] = 0, 1
    return images


def _run(name: str, ae: Autoencoder, x: Tensor, t: Tensor, radii: list[float], norm: str, **options) -> BallAttack:
    settings = {"steps": 8, "restarts": 1, "seed": 5, "starts": None} | options
    if name in UNTARGETED:
        return UNTARGETED[name](ae, x, radii, norm, **settings)
    return TARGETED_IN_BALL[name](ae, x, t, radii, norm, **settings)


def _worth(name: str, found: BallAttack) -> Tensor:
    """The objective, so that more is better for the attacker."""
    return found.objective if name in UNTARGETED else -found.objective


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("name", NAMES)
def test_an_attack_keeps_to_its_ball_never_falls_back_and_tells_what_its_images_are(
    linear: ModuleType, curved: Autoencoder, name: str, norm: str
) -> None:
    x, t = _images(linear, 4, 0), _images(linear, 4, 1)
    found = _run(name, curved, x, t, RADII, norm)
    assert found.radii.tolist() == pytest.approx(sorted(RADII))
    assert found.norm == norm
    assert found.adversarial.shape == (4, 3, *EVENT)
    assert float(found.adversarial.min()) >= 0
    assert float(found.adversarial.max()) <= 1
    moved = (found.adversarial - x[:, None]).flatten(2)
    length = moved.norm(dim=2) if norm == "l2" else moved.abs().amax(2)
    torch.testing.assert_close(found.distortion, length)
    assert bool((length <= found.radii * (1 + 1e-12)).all())
    displaced = curved.reconstruct(found.adversarial.flatten(0, 1)) - curved.reconstruct(x).repeat_interleave(3, 0)
    torch.testing.assert_close(found.displacement, displaced.flatten(1).norm(dim=1).view(4, 3))
    assert bool((_worth(name, found).diff(dim=1) >= -1e-12).all())
    clean = _worth(name, _run(name, curved, x, t, [1e-9], norm, steps=1))
    assert bool((_worth(name, found) > clean).all()), "an attack that does nothing"
    assert bool((found.gradient_evaluations > 0).all())


@pytest.mark.parametrize("name", NAMES)
def test_points_stay_in_the_models_precision_and_figures_are_measured_in_double(
    linear: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ae = _curved(torch.float32)
    x, t = _images(linear, 2, 0).float(), _images(linear, 2, 1).float()
    seen: set[torch.dtype] = set()

    def watched(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(goal: Goal, points: Tensor, problem: Tensor) -> Any:
            seen.add(points.dtype)
            return method(goal, points, problem)

        return call

    for method in ("at", "with_gradient"):
        monkeypatch.setattr(Goal, method, watched(getattr(Goal, method)))
    for norm in ("l2", "linf"):
        found = _run(name, ae, x, t, [0.4], norm, steps=2)
        assert found.adversarial.dtype == ae.figures_dtype == torch.float32
        assert {getattr(found, f).dtype for f in ("distortion", "displacement", "divergence", "objective")} == {
            torch.float64
        }
    assert seen == {torch.float32}


@pytest.mark.parametrize(
    ("name", "norm"),
    [*((name, "linf") for name in NAMES), ("maximum_damage", "l2"), ("latent_kl", "l2"), ("target_elbo", "l2")],
)
def test_neither_the_order_of_images_nor_their_company_matters(
    linear: ModuleType, curved: Autoencoder, name: str, norm: str
) -> None:
    x, t = _images(linear, 5, 2), _images(linear, 5, 3)
    together = _run(name, curved, x, t, [0.4], norm)
    order = torch.tensor([3, 0, 4, 1, 2])
    shuffled = _run(name, curved, x[order], t[order], [0.4], norm)
    alone = _run(name, curved, x[2:3], t[2:3], [0.4], norm)
    torch.testing.assert_close(shuffled.objective, together.objective[order], rtol=1e-7, atol=1e-12)
    torch.testing.assert_close(alone.objective[0], together.objective[2], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("name", ["latent_kl", "latent_kl_reverse", "latent_symmetric_kl", "latent_wasserstein"])
def test_the_divergence_is_that_of_the_adversarial_from_the_clean_posterior(
    linear: ModuleType, curved: Autoencoder, name: str
) -> None:
    x = _images(linear, 3, 0)
    found = _run(name, curved, x, x, [0.4], "l2")
    before, after = curved.encode(x), curved.encode(found.adversarial[:, 0])
    normal = torch.distributions.Normal
    p, q = normal(after.mean, after.std), normal(before.mean, before.std)
    kl = torch.distributions.kl_divergence
    slow = {
        "latent_kl": kl(p, q), "latent_kl_reverse": kl(q, p), "latent_symmetric_kl": (kl(p, q) + kl(q, p)) / 2,
        "latent_wasserstein": (after.mean - before.mean) ** 2 + (after.std - before.std) ** 2,
    }  # fmt: skip
    torch.testing.assert_close(found.objective[:, 0], slow[name].sum(1))
    assert torch.equal(found.objective, found.divergence)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("name", ["maximum_damage", "latent_wasserstein", "target_output", "target_kl"])
def test_what_another_attack_found_is_a_start_that_is_kept_unless_something_is_better(
    linear: ModuleType, curved: Autoencoder, name: str, norm: str
) -> None:
    x, t = _images(linear, 4, 0), _images(linear, 4, 1)
    other = "latent_symmetric_kl" if name == "maximum_damage" else "maximum_damage"
    if name not in UNTARGETED:
        other = "target_wasserstein"
    better = _run(name, curved, x, t, RADII, norm, steps=60, restarts=4)
    again = _run(name, curved, x, t, RADII, norm, steps=1, restarts=0, starts=as_starts(x, better))
    assert bool((_worth(name, again) >= _worth(name, better) - 1e-9).all())
    from_other = _run(
        name, curved, x, t, RADII, norm, steps=1, starts=as_starts(x, _run(other, curved, x, t, RADII, norm))
    )
    assert bool((_worth(name, from_other).diff(dim=1) >= -1e-12).all())


def test_names_are_in_order_and_those_that_a_code_has_no_use_for_are_left_out(
    linear: ModuleType, curved: Autoencoder
) -> None:
    assert untargeted_attacks(deterministic=False) == UNTARGETED
    assert targeted_attacks(deterministic=False) == TARGETED_IN_BALL
    assert NAMES[0] == "maximum_damage"
    assert set(NAMES) >= FOR_POSTERIORS
    codes = Autoencoder(lambda x: curved.encoder(x)[0], curved.decoder, BOX)
    x, t = _images(linear, 2, 0), _images(linear, 2, 1)
    left = [*untargeted_attacks(deterministic=True), *targeted_attacks(deterministic=True)]
    assert left == ["maximum_damage", "latent_mean_l2", "target_output", "target_mean_l2"]
    for name in left:
        assert bool(_run(name, codes, x, t, [0.4], "l2").objective.isfinite().all())


def test_options_that_cannot_be_used_are_refused(linear: ModuleType, curved: Autoencoder) -> None:
    x = _images(linear, 2, 0)
    codes = Autoencoder(lambda x: curved.encoder(x)[0], curved.decoder, BOX)
    signed = Autoencoder(curved.encoder, lambda z: curved.decoder(z) - 0.5, BOX)
    for message, call in (
        (
            "unknown aim 'image'; choose one of latent, output, elbo",
            lambda: targeted_ball(curved, x, x, 1.0, aim="image"),
        ),
        ("unknown divergence 'js'", lambda: latent_damage(curved, x, 1.0, divergence="js")),
        ("needs posterior variances", lambda: latent_damage(codes, x, 1.0)),
        ("aim 'elbo' needs posterior variances", lambda: targeted_ball(codes, x, x, 1.0, aim="elbo")),
        ("samples expects at least 1", lambda: targeted_ball(curved, x, x, 1.0, aim="elbo", samples=0)),
        ("unknown likelihood 'poisson'", lambda: targeted_ball(curved, x, x, 1.0, aim="elbo", likelihood="poisson")),
        ("reconstructions in", lambda: targeted_ball(signed, x, x, 1.0, aim="elbo", likelihood="bernoulli")),
        ("samples expects 0 or more, got -1", lambda: maximum_damage(curved, x, 1.0, samples=-1)),
        ("latent_damage expects steps >= 1", lambda: latent_damage(curved, x, 1.0, steps=0)),
        ("targeted_ball expects steps >= 1 and restarts >= 0", lambda: targeted_ball(curved, x, x, 1.0, restarts=-1)),
    ):
        with pytest.raises(OptionError, match=message):
            call()
    with pytest.raises(DataError, match=r"starts expect the shape .* got \(1, 3, 2, 6\)"):
        maximum_damage(curved, x, 1.0, starts=torch.zeros(1, 3, *EVENT))
    with pytest.raises(DataError, match="originals and targets expect one shape"):
        targeted_ball(curved, x, x[:1], 1.0)


def _double(name: str) -> Autoencoder:
    return wrap(zoo.load_model(name).double(), bounds=BOX, name=name)


@pytest.mark.parametrize("name", ["mnist-vae", "fashion-conv-vae"])
def test_latent_damage_does_on_average_more_than_the_published_search_with_fewer_gradients(
    published: ModuleType, name: str
) -> None:
    ae, x = _double(name), zoo.images(name)[0][:2].double()
    found = latent_damage(ae, x, 0.1, "linf", "symmetric_kl", steps=40)
    slow = []
    for image in x:
        clean = ae.encode(image[None])
        goal = Posterior(mean=clean.mean.detach(), log_variance=clean.log_variance.detach())
        slow.append(
            published.kuzina2022(ae, image, lambda a, g=goal: DIVERGENCES["symmetric_kl"](ae.encode(a), g), 0.1)
        )
    assert int(found.gradient_evaluations.max()) <= slow[0][1]
    assert float(found.objective.mean()) >= sum(value for value, _ in slow) / len(slow)


@pytest.mark.parametrize("name", ["mnist-ae", "fashion-conv-vae"])
def test_the_encoder_attack_comes_on_average_closer_than_sign_steps_with_fewer_gradients(
    published: ModuleType, name: str
) -> None:
    images = zoo.images(name)[0].double()
    ae, x, t = _double(name), images[:3], images[100:103]
    found = targeted_ball(ae, x, t, 0.1, "linf", divergence="mean_l2", steps=60)
    slow = []
    for image, target in zip(x, t, strict=True):
        goal = ae.encode(target[None]).mean.detach()
        slow.append(
            published.photoguard(ae, image, lambda a, g=goal: (ae.encode(a[None]).mean - g).norm(), 0.1, steps=200)
        )
    assert int(found.gradient_evaluations.max()) <= slow[0][1]
    assert float(found.objective.sqrt().mean()) <= sum(value for value, _ in slow) / len(slow)

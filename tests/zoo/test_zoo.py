"""The bundled models are what their cards say, and their images are real and licensed."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from vaeaudit import OptionError, zoo
from vaeaudit.autoencoder import Autoencoder

ROOM = Path(str(resources.files("vaeaudit.zoo")))
NAMES = zoo.names()
VARIATIONAL = tuple(name for name in NAMES if zoo.card(name)["beta"] is not None)
FOUR_SIGMA = 4.0


def _errors(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean squared error and L2 error of the bundled images' reconstructions, `(300,)`."""
    model, (images, _) = zoo.load(name), zoo.images(name)
    with torch.no_grad():
        squared = (model.reconstruct(images) - images).double().square().flatten(1)
    return squared.mean(1).numpy(), squared.sum(1).sqrt().numpy()


def _z_score(figures: np.ndarray, expected: float) -> float:
    return float((figures.mean() - expected) / (figures.std(ddof=1) / np.sqrt(len(figures))))


def test_the_family_that_papers_compare_is_there() -> None:
    assert {zoo.card(name)["beta"] for name in NAMES} >= {1.0, 4.0, 10.0, None}
    assert {zoo.card(name)["architecture"] for name in NAMES} == {"DenseAutoencoder", "ConvolutionalVAE"}


@pytest.mark.parametrize("name", NAMES)
def test_a_model_comes_ready_for_use(name: str) -> None:
    model = zoo.load_model(name)
    assert not any(module.training for module in model.modules())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    found = zoo.load(name)
    assert isinstance(found, Autoencoder)
    assert (found.name, found.bounds) == (name, (0.0, 1.0))


@pytest.mark.parametrize("name", NAMES)
def test_only_a_variational_model_has_a_posterior(name: str) -> None:
    with torch.no_grad():
        posterior = zoo.load(name).encode(zoo.images(name)[0][:3])
    assert (posterior.log_variance is not None) == (name in VARIATIONAL)
    assert posterior.mean.shape == (3, zoo.card(name)["options"]["latent"])


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_what_a_model_is_and_how_well_it_does(name: str) -> None:
    card = zoo.card(name)
    assert card["data"] in {"mnist", "fashion-mnist"}
    assert card["training"]["seed"] == 2016
    figures = {"reconstruction_mse", "reconstruction_l2", "active_units"}
    assert set(card["test_figures"]) == (figures | {"elbo", "kl"} if name in VARIATIONAL else figures)


@pytest.mark.parametrize("name", NAMES)
def test_the_cards_reconstruction_error_is_that_of_the_bundled_images(name: str) -> None:
    squared, distance = _errors(name)
    figures = zoo.card(name)["test_figures"]
    assert abs(_z_score(squared, figures["reconstruction_mse"])) < FOUR_SIGMA
    assert abs(_z_score(distance, figures["reconstruction_l2"])) < FOUR_SIGMA


@pytest.mark.parametrize("name", VARIATIONAL)
def test_the_cards_elbo_is_that_of_the_bundled_images(name: str) -> None:
    model, (images, _) = zoo.load(name), zoo.images(name)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        posterior = model.encode(images)
        assert posterior.log_variance is not None
        noise = torch.randn(posterior.mean.shape, generator=generator)
        decoded = model.decode(posterior.mean + (0.5 * posterior.log_variance).exp() * noise)
        likelihood = F.binary_cross_entropy(decoded, images, reduction="none").double().flatten(1).sum(1)
        prior = torch.distributions.Normal(0.0, 1.0)
        own = torch.distributions.Normal(posterior.mean, (0.5 * posterior.log_variance).exp())
        kl = torch.distributions.kl_divergence(own, prior).double().sum(1)
    figures = zoo.card(name)["test_figures"]
    assert abs(_z_score(kl.numpy(), figures["kl"])) < FOUR_SIGMA
    assert abs(_z_score((-likelihood - kl).numpy(), figures["elbo"])) < FOUR_SIGMA


@pytest.mark.parametrize("name", NAMES)
def test_the_images_are_thirty_of_each_class(name: str) -> None:
    images, labels = zoo.images(name)
    assert images.shape == (300, 1, 28, 28)
    assert images.dtype == torch.float32
    assert (float(images.min()), float(images.max())) == (0.0, 1.0)
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(np.bincount(labels), np.full(10, 30))
    assert len(torch.unique(images.flatten(1), dim=0)) == 300


def test_images_of_one_class_are_more_alike_than_of_two() -> None:
    for name in ("mnist-vae", "fashion-conv-vae"):
        images, labels = zoo.images(name)
        distances = torch.cdist(images.flatten(1), images.flatten(1))
        distances.fill_diagonal_(torch.inf)
        agreement = np.mean(labels[distances.argmin(1).numpy()] == labels)
        assert agreement > 0.6


def test_a_licence_lies_beside_every_set_of_images() -> None:
    for name in NAMES:
        data = zoo.card(name)["data"]
        text = (ROOM / "images" / f"LICENSE-{data}.txt").read_text()
        assert {"mnist": "Creative Commons Attribution-Share Alike 3.0", "fashion-mnist": "The MIT License"}[
            data
        ] in " ".join(text.split())


def test_the_readme_shows_every_card() -> None:
    rows = [line for line in (ROOM / "README.md").read_text().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == list(NAMES)
    for name, row in zip(NAMES, rows, strict=True):
        figures = zoo.card(name)["test_figures"]
        assert f"| {figures['reconstruction_mse']:.5f} |" in row
        assert f"| {figures['elbo']:.2f} |" in row if "elbo" in figures else "| – |" in row


def test_everything_bundled_is_under_ten_megabytes_together() -> None:
    files = [path for path in ROOM.rglob("*") if path.is_file()]
    assert {f"{name}.safetensors" for name in NAMES} <= {path.name for path in files}
    assert sum(path.stat().st_size for path in files) < 10e6


@pytest.mark.parametrize("look_up", [zoo.load, zoo.load_model, zoo.images, zoo.card])
def test_an_unknown_name_lists_the_choices(look_up: object) -> None:
    assert callable(look_up)
    with pytest.raises(OptionError, match=f"unknown zoo model 'mnist'; choose one of {', '.join(NAMES)}$"):
        look_up("mnist")

"""How much of the paper is run again: everything, a reduced run for two CPU cores, or a smoke test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Architecture = Literal["dense", "convolutional"]
Likelihood = Literal["bernoulli", "gaussian"]


@dataclass(frozen=True, kw_only=True)
class Model:
    """One autoencoder of the study.

    Attributes:
        name: of its folder and in tables.
        data: which images, see `images.DATASETS`.
        architecture: "dense" (784-512-512-20) or "convolutional" (the paper's for SVHN).
        likelihood: of a VAE; None makes an autoencoder trained on squared error.
    """

    name: str
    data: str
    architecture: Architecture
    likelihood: Likelihood | None

    @property
    def variational(self) -> bool:
        return self.likelihood is not None


@dataclass(frozen=True, kw_only=True)
class Duel:
    """A VAE held against an AE on the same pairs.

    Attributes:
        name: key among the results.
        title: heading on the page.
        vae, ae: the two models.
        aims: attacks beside the latent one: "kl_tabacof2016" (VAE alone) and "output".
        reference: key among `reference.AUTOENCODERS`; None where the paper has no such model.
    """

    name: str
    title: str
    vae: Model
    ae: Model
    aims: tuple[str, ...]
    reference: str | None = None

    @property
    def models(self) -> tuple[Model, Model]:
        return self.vae, self.ae


def _duel(name: str, title: str, data: str, architecture: Architecture, **options: object) -> Duel:
    likelihood: Likelihood = "bernoulli" if name == "mnist" else "gaussian"
    return Duel(
        name=name, title=title,
        vae=Model(name=f"{name}-vae", data=data, architecture=architecture, likelihood=likelihood),
        ae=Model(name=f"{data}-ae", data=data, architecture=architecture, likelihood=None),
        **options,  # type: ignore[arg-type]
    )  # fmt: skip


MNIST = _duel("mnist", "MNIST, fully connected, Bernoulli likelihood", "mnist", "dense",
              aims=("kl_tabacof2016", "output"), reference="mnist")  # fmt: skip
MNIST_GAUSSIAN = _duel(
    "mnist-gaussian", "MNIST, fully connected, Gaussian likelihood", "mnist", "dense", aims=("kl_tabacof2016",)
)
SVHN = _duel("svhn", "SVHN, convolutional, Gaussian likelihood", "svhn", "convolutional",
             aims=("kl_tabacof2016", "output"), reference="svhn")  # fmt: skip
FASHION = _duel(
    "fashion", "Fashion-MNIST in the place of SVHN, convolutional, Gaussian likelihood", "fashion", "convolutional",
    aims=("kl_tabacof2016",),
)  # fmt: skip
DUELS = (MNIST, MNIST_GAUSSIAN, FASHION, SVHN)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How much is trained and measured. Numbers in brackets in the comments of `FULL` are the paper's.

    Attributes:
        name: on the command line.
        hidden: width of the dense models.
        width: channels of the convolutional networks' first layer.
        images: training images; None is all.
        conv_images: the same for the convolutional models.
        epochs: of the dense models.
        conv_epochs: of the convolutional ones.
        pairs: original/target pairs a model.
        every: the attack takes every so manieth value of the paper's series of C, with the dense models.
        aside_every: the same with the models that the paper's figures on MNIST do not rest on.
        output_every: the same of the output attack.
        samples: posterior samples behind each point.
        classifier_hidden: width of the dense classifier.
        classifier_epochs: it is trained for.
        attacked: images under the classifier attack.
        classifier_every: as `every`, of the series of the classifier attack.
        audit: preset of the audit that stands beside the attack; None for no audit.
    """

    name: str
    hidden: int
    width: int
    images: int | None
    conv_images: int | None
    epochs: int
    conv_epochs: int
    pairs: int
    every: int
    aside_every: int
    output_every: int
    samples: int
    classifier_hidden: int
    classifier_epochs: int
    attacked: int
    classifier_every: int
    audit: str | None


FULL = Setting(
    name="full", hidden=512, width=32, images=None, conv_images=None, epochs=50, conv_epochs=25, pairs=25, every=1,
    aside_every=1, output_every=1, samples=100, classifier_hidden=1024, classifier_epochs=50, attacked=25,
    classifier_every=1, audit="standard",
)  # fmt: skip
REDUCED = Setting(
    name="reduced", hidden=512, width=16, images=30000, conv_images=15000, epochs=8, conv_epochs=10, pairs=25, every=1,
    aside_every=4, output_every=4, samples=100, classifier_hidden=512, classifier_epochs=3, attacked=25,
    classifier_every=3, audit="quick",
)  # fmt: skip
SMOKE = Setting(
    name="smoke", hidden=64, width=2, images=200, conv_images=100, epochs=80, conv_epochs=10, pairs=5, every=20,
    aside_every=30, output_every=30, samples=16, classifier_hidden=24, classifier_epochs=40, attacked=4,
    classifier_every=16, audit=None,
)  # fmt: skip
SETTINGS = {setting.name: setting for setting in (REDUCED, FULL, SMOKE)}

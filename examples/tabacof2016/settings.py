"""What is trained and attacked, and how much of it: everything, a reduced run for two CPU cores, or a smoke test."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Model:
    """One autoencoder of the study.

    Attributes:
        name: of its folder and in tables.
        data: which images, see `images.UNITS`.
        architecture: "dense" (784-512-512-20) or "convolutional" (the paper's for SVHN).
        likelihood: of a VAE; None makes an autoencoder trained on squared error.
    """

    name: str
    data: str
    architecture: Literal["dense", "convolutional"]
    likelihood: Literal["bernoulli", "gaussian"] | None


@dataclass(frozen=True, kw_only=True)
class Duel:
    """A VAE held against an AE on the same pairs.

    Attributes:
        name: key among the results, and among the paper's figures.
        title: heading on the page.
        vae, ae: the two models.
        attacks: role and attack; "kl_tabacof2016" is the latent attack with the divergence of the paper's code.
    """

    name: str
    title: str
    vae: Model
    ae: Model
    attacks: tuple[tuple[str, str], ...] = (("vae", "latent"), ("ae", "latent"), ("vae", "kl_tabacof2016"))

    def model(self, role: str) -> Model:
        """The model of a role."""
        return self.vae if role == "vae" else self.ae


_OUTPUT = (("vae", "output"), ("ae", "output"))
MNIST = Duel(
    name="mnist", title="MNIST, fully connected, Bernoulli likelihood", attacks=Duel.attacks + _OUTPUT,
    vae=Model(name="mnist-vae", data="mnist", architecture="dense", likelihood="bernoulli"),
    ae=Model(name="mnist-ae", data="mnist", architecture="dense", likelihood=None),
)  # fmt: skip
MNIST_GAUSSIAN = Duel(
    name="mnist-gaussian", title="MNIST, fully connected, Gaussian likelihood", ae=MNIST.ae,
    vae=replace(MNIST.vae, name="mnist-gaussian-vae", likelihood="gaussian"),
)  # fmt: skip
FASHION = Duel(
    name="fashion", title="Fashion-MNIST in the place of SVHN, convolutional, Gaussian likelihood",
    vae=Model(name="fashion-vae", data="fashion", architecture="convolutional", likelihood="gaussian"),
    ae=Model(name="fashion-ae", data="fashion", architecture="convolutional", likelihood=None),
)  # fmt: skip
SVHN = Duel(
    name="svhn", title="SVHN, convolutional, Gaussian likelihood", attacks=Duel.attacks + _OUTPUT,
    vae=replace(FASHION.vae, name="svhn-vae", data="svhn"), ae=replace(FASHION.ae, name="svhn-ae", data="svhn"),
)  # fmt: skip
DUELS = (MNIST, MNIST_GAUSSIAN, FASHION, SVHN)
CLASSIFIED = ("mnist", "svhn")
"""Data sets whose classifiers are attacked."""


def _size(words: str) -> Any:
    """One of the sizes of a setting, with what the page calls it."""
    return field(metadata={"words": words})


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How much is trained and measured; where images are None, all there are. `FULL` is the paper's, as far as it tells."""

    name: str
    epochs: int = _size("epochs of the dense models")
    conv_epochs: int = _size("epochs of the convolutional models")
    images: int | None = _size("training images of the dense models")
    conv_images: int | None = _size("training images of the convolutional models")
    hidden: int = _size("units of the dense models' hidden layers")
    width: int = _size("channels of the convolutional models' first layer")
    pairs: int = _size("pairs a model")
    every: int = _size("taking every so manieth C of the series")
    aside_every: int = _size("taking every so manieth C with the Gaussian and the convolutional models")
    output_every: int = _size("taking every so manieth C in the output attack")
    samples: int = _size("posterior samples")
    classifier_hidden: int = _size("units of the classifier's hidden layers")
    classifier_epochs: int = _size("epochs of the classifier")
    attacked: int = _size("images under the classifier attack")
    classifier_every: int = _size("taking every so manieth C of the classifier's series")
    audit: str | None
    """Preset of the audit that stands beside the attack; None for no audit."""


FULL = Setting(
    name="full", epochs=50, conv_epochs=25, images=None, conv_images=None, hidden=512, width=32, pairs=25, every=1,
    aside_every=1, output_every=1, samples=100, classifier_hidden=1024, classifier_epochs=50, attacked=25,
    classifier_every=1, audit="standard",
)  # fmt: skip
REDUCED = replace(
    FULL, name="reduced", epochs=8, conv_epochs=10, images=30000, conv_images=15000, width=16, aside_every=4,
    output_every=4, classifier_hidden=512, classifier_epochs=3, classifier_every=3, audit="quick",
)  # fmt: skip
SMOKE = Setting(
    name="smoke", epochs=80, conv_epochs=10, images=200, conv_images=100, hidden=64, width=2, pairs=5, every=20,
    aside_every=30, output_every=30, samples=16, classifier_hidden=24, classifier_epochs=40, attacked=4,
    classifier_every=16, audit=None,
)  # fmt: skip
SETTINGS = {setting.name: setting for setting in (REDUCED, FULL, SMOKE)}

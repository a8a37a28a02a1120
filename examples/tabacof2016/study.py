"""The whole study: what is trained and attacked, and the plain figures that the page is made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

import vaeaudit
from examples.papers.keeping import kept_json, versions
from vaeaudit import Autoencoder

from . import classifying, images, measuring
from .measuring import Attack, Trial
from .settings import DUELS, Duel, Model, Setting
from .training import trained, trained_classifier

SEED = 2016


@dataclass(kw_only=True)
class Study:
    """One run of the study in a folder of its own; what is finished there is not done again.

    Attributes:
        data: folder of the data sets.
        folder: of models and attacks.
        setting: how much is measured.
        download: whether torchvision may fetch data sets that are not there.
        device: where models are trained and attacked.
    """

    data: Path
    folder: Path
    setting: Setting
    download: bool
    device: str = "cpu"
    _images: dict[str, images.Images | None] = field(default_factory=dict)
    _models: dict[str, Autoencoder] = field(default_factory=dict)

    def __post_init__(self) -> None:
        run = {"setting": dataclasses.asdict(self.setting), "versions": versions()}
        if kept_json(self.folder / "run.json", lambda: run) != run:
            raise SystemExit(
                f"{self.folder} holds a run of other settings or versions, which its run.json names; choose another --out, "
                "or delete the folder"
            )

    def images(self, name: str) -> images.Images | None:
        """A data set, read once; None where it cannot be had."""
        if name not in self._images:
            self._images[name] = images.load(name, self.data, download=self.download)
        return self._images[name]

    def duels(self) -> Iterator[Duel]:
        """Those whose data are there."""
        return (duel for duel in DUELS if self.images(duel.vae.data) is not None)

    def autoencoder(self, model: Model) -> Autoencoder:
        """A trained model, ready to be attacked."""
        if model.name not in self._models:
            data = self.images(model.data)
            assert data is not None
            net: Any = trained(model, data, self.setting, self.folder, SEED, self.device)
            self._models[model.name] = Autoencoder(
                net.encode, net.decode, bounds=data.bounds, scale="log_variance", name=model.name
            )
        return self._models[model.name]

    def trial(self, model: Model, attack: Attack) -> Trial:
        """An attack on all pairs."""
        data = self.images(model.data)
        assert data is not None
        return measuring.tried(
            self.autoencoder(model), data.test, data.pairs(self.setting.pairs), attack,
            self.folder / f"{model.name}-{attack}.npz", every=self.every(model, attack), samples=self.setting.samples,
            seed=0,
        )  # fmt: skip

    def every(self, model: Model, attack: Attack) -> int:
        """The attack takes every so manieth C."""
        if attack == "output":
            return self.setting.output_every
        central = model.data == "mnist" and model.likelihood != "gaussian"
        return self.setting.every if central else self.setting.aside_every

    def trials(self, duel: Duel) -> dict[tuple[str, Attack], Trial]:
        """All attacks of a duel by role and attack."""
        roles = {"vae": duel.vae, "ae": duel.ae}
        found: dict[tuple[str, Attack], Trial] = {
            (role, "latent"): self.trial(model, "latent") for role, model in roles.items()
        }
        if "kl_tabacof2016" in duel.aims:
            found["vae", "kl_tabacof2016"] = self.trial(duel.vae, "kl_tabacof2016")
        if "output" in duel.aims:
            for role, model in roles.items():
                found[role, "output"] = self.trial(model, "output")
        return found

    def audited(self, model: Model) -> vaeaudit.AuditReport | None:
        """The library's own audit on the same pairs, with the series of C that it chooses itself."""
        if self.setting.audit is None:
            return None
        folder = self.folder / f"{model.name}-audit"
        if not (folder / "report.json").exists():
            print(f"{model.name}: audit", flush=True)
            data = self.images(model.data)
            assert data is not None
            report = vaeaudit.audit(
                self.autoencoder(model), (data.test, data.test_labels), preset=self.setting.audit,
                pairs=data.pairs(self.setting.pairs), checkpoint=self.folder / "checkpoint",
            )  # fmt: skip
            report.save(folder)
        return vaeaudit.load(folder)

    def classified(self, name: str) -> dict[str, NDArray[Any]] | None:
        """The attack on a classifier of a data set; None where that is not there."""
        data = self.images(name)
        if data is None:
            return None
        net = trained_classifier(name, data, self.setting, self.folder, SEED, self.device)
        return classifying.tried(
            net, data, self.folder / f"{name}-classifier-attack.npz", count=self.setting.attacked,
            every=self.setting.classifier_every, seed=0,
        )  # fmt: skip

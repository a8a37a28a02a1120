"""The whole study: what is trained and attacked, and the plain figures that the page is made from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import vaeaudit
from examples.papers.keeping import kept_arrays, kept_json, plain, versions
from vaeaudit import Autoencoder

from . import classifiers, images
from .attacking import Arrays, attacked
from .settings import CLASSIFIED, DUELS, MNIST, Duel, Model, Setting
from .training import trained

Results = dict[str, Any]
"""Builtin values, as the results file has them."""
_PICTURES = ("pictures", "reconstructions")


@dataclass(frozen=True, kw_only=True)
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

    def __post_init__(self) -> None:
        run = {"setting": dataclasses.asdict(self.setting), "versions": versions()}
        if kept_json(self.folder / "run.json", lambda: run) != run:
            raise SystemExit(
                f"{self.folder} holds a run of other settings or versions, which its run.json names; choose another --out, "
                "or delete the folder"
            )

    def results(self) -> Results:
        """Train and attack whatever is not on disk yet, and take the figures together."""
        duels = {duel.name: self._duel(duel) for duel in self.duels()}
        trials = {name: self._classifier(name) for name in CLASSIFIED if self.has(name)}
        return {
            "setting": dataclasses.asdict(self.setting), "versions": versions(), "duels": duels,
            "pending": [duel.name for duel in DUELS if duel.name not in duels], "classifiers": plain(trials),
        }  # fmt: skip

    def duels(self) -> list[Duel]:
        """Those whose data are there."""
        return [duel for duel in DUELS if self.has(duel.vae.data)]

    def has(self, name: str) -> bool:
        """Whether a data set is there."""
        return images.load(name, self.data, download=self.download) is not None

    def images(self, name: str) -> images.Images:
        """A data set that is there."""
        found = images.load(name, self.data, download=self.download)
        assert found is not None
        return found

    def trial(self, model: Model, attack: str) -> Arrays:
        """An attack on all pairs, see `attacking.attacked`."""
        data = self.images(model.data)

        def measured() -> Arrays:
            ae, pairs, every = self._autoencoder(model), data.pairs(self.setting.pairs), self._every(model, attack)
            return attacked(ae, data.test, pairs, attack, every=every, samples=self.setting.samples)

        return kept_arrays(self.folder / f"{model.name}-{attack}.npz", measured)

    def _every(self, model: Model, attack: str) -> int:
        """The attack takes every so manieth C."""
        if attack == "output":
            return self.setting.output_every
        return self.setting.every if model in (MNIST.vae, MNIST.ae) else self.setting.aside_every

    def _duel(self, duel: Duel) -> Results:
        data = self.images(duel.vae.data)
        attacks: Results = {"vae": {}, "ae": {}}
        for role, attack in duel.attacks:
            trial = self.trial(duel.model(role), attack)
            attacks[role][attack] = plain({name: values for name, values in trial.items() if name not in _PICTURES})
        found: Results = {
            "title": duel.title, "published_pairs": data.published, "pairs": plain(data.pairs(self.setting.pairs)),
            "attacks": attacks,
        }  # fmt: skip
        if duel == MNIST and self.setting.audit is not None:
            found["audits"] = {role: self._audit(duel.model(role), self.setting.audit) for role in attacks}
        return found

    def _autoencoder(self, model: Model) -> Autoencoder:
        data = self.images(model.data)
        net: Any = trained(model, data, self.setting, self.folder, self.device)
        return Autoencoder(net.encode, net.decode, bounds=data.bounds, scale="log_variance", name=model.name)

    def _audit(self, model: Model, preset: str) -> Results:
        """What the library's own audit says on the same pairs, with the series of C that it places itself."""
        folder, data = self.folder / f"{model.name}-audit", self.images(model.data)
        if not (folder / "report.json").exists():
            print(f"{model.name}: audit", flush=True)
            vaeaudit.audit(
                self._autoencoder(model), (data.test, data.test_labels), preset=preset,
                pairs=data.pairs(self.setting.pairs), checkpoint=self.folder / "checkpoint",
            ).save(folder)  # fmt: skip
        report = vaeaudit.load(folder)
        scores = {
            name: plain([found.value, found.low, found.high])
            for name, found in report.scores().items()
            if "." not in name
        }
        findings = [finding.message for finding in report.health if finding.severity != "info"]
        return {"preset": preset, "strengths": report.curves.strengths.size, "scores": scores, "findings": findings}

    def _classifier(self, name: str) -> Arrays:
        """The attack on a classifier of a data set."""
        data = self.images(name)
        net = classifiers.trained(name, data, self.setting, self.folder, self.device)
        return kept_arrays(
            self.folder / f"{name}-classifier-attack.npz",
            partial(classifiers.attacked, net, data, count=self.setting.attacked, every=self.setting.classifier_every),
        )


def array(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Numbers of a results file, NaN where there is none."""
    return np.array(values, dtype=np.float64)

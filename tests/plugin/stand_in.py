"""A torch-free stand-in for vaeaudit: models are a chosen hinge, measuring is a seeded draw, and every draw is written down."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vaeaudit.errors import ModelError
from vaeaudit.health import Finding
from vaeaudit.report.model import AuditReport
from vaeaudit.spec import preset_named

MASKED = Finding(
    name="gradient_masked",
    severity="invalid",
    message="A perturbed copy of the model is far easier to fool, so its gradients mislead the attack.",
    remedy="Audit the model without its quantisation step.",
    affects=("hinge", "auddc"),
)


def _synthetic() -> Callable[..., AuditReport]:
    """The maker of synthetic reports, of the tests of reports."""
    path = Path(__file__).parents[1] / "report" / "conftest.py"
    spec = importlib.util.spec_from_file_location("vaeaudit_tests_synthetic", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    maker: Callable[..., AuditReport] = module.synthetic
    return maker


@dataclass(frozen=True)
class Model:
    """What stands for an autoencoder.

    Attributes:
        hinge: median of its pairs' hinges.
        spread: their standard deviation.
        weights: its fingerprint.
        findings: of its audits.
        device: where it lives.
        images: how many pairs the data allow.
        seconds: that an audit takes.
        source: identifies the images.
        censored: whether none of its curves saturates.
        known: whether its weights can be seen.
        late: findings once more than 50 pairs are measured.
        hinges: of each pair, in order; empty for a draw.
    """

    hinge: float = 0.5
    spread: float = 0.1
    weights: str = "w1"
    findings: tuple[Finding, ...] = ()
    device: str = "cpu"
    images: int = 1000
    seconds: float = 0.0
    source: str = "images"
    censored: bool = False
    known: bool = True
    late: tuple[Finding, ...] = ()
    hinges: tuple[float, ...] = ()


@dataclass
class Plan:
    """A seeded draw of hinges, nested as the number of pairs grows."""

    model: Model
    options: dict[str, Any]
    log: Path
    pairs: int = field(init=False)
    most_pairs: int = field(init=False)
    identity: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        first, most = self.options["pairs"], self.options["most_pairs"]
        first = len(first) if isinstance(first, list) else first
        self.pairs = min(first or preset_named(self.options["preset"]).pairs, self.model.images)
        self.most_pairs = min(most or self.pairs, self.model.images)
        self.identity = {
            **self.options,
            "model": repr(self.model),
            "most_pairs": None,
            "weights_known": self.model.known,
        }

    def report(self, pairs: int | None = None, *, checkpoint: Path | None = None, progress: Any = None) -> AuditReport:
        """Draw, write the draw down, and take as long as the model says."""
        count = pairs or self.pairs
        with self.log.open("a") as log:
            log.write(f"{self.model.weights} {self.options['seed']} {count} {self.options['preset']}\n")
        if self.model.seconds:
            time.sleep(self.model.seconds)
        if progress is not None:
            progress("targeted attack", count, count)
        rng = np.random.default_rng(self.options["seed"])
        drawn = self.model.hinge + self.model.spread * rng.standard_normal(self.model.images)
        hinges = np.array(self.model.hinges) if self.model.hinges else drawn
        made = SYNTHETIC(
            name="stand-in",
            pairs=count,
            hinges=hinges[:count],
            censored=count if self.model.censored else 0,
            health=self.model.findings + (self.model.late if count > 50 else ()),
            seed=self.options["seed"] % 1000,
            **SMALL,
        )
        return replace(made, provenance=self._provenance(made, count))

    def _provenance(self, made: AuditReport, count: int) -> Any:
        environment = {**made.provenance.environment, "device_type": self.options["device"] or self.model.device}
        settings = {"pairs": count, "divergence": self.options["divergence"]}
        return replace(
            made.provenance, preset=self.options["preset"], seed=self.options["seed"], weights=self.model.weights,
            environment=environment, settings=settings, source=self.model.source,
        )  # fmt: skip


SYNTHETIC = _synthetic()
SMALL: dict[str, Any] = {"strengths": 6, "event": (1, 4, 4), "local": None, "worst_case": None, "certificates": None}
"""Of a report what the plugin's tests look at, since each of their runs writes several."""


@dataclass
class Auditor:
    """What the plugin is given instead of the library.

    Attributes:
        log: file with a line for every measurement.
    """

    log: Path

    def weights(self, model: Any) -> str:
        """The model's fingerprint."""
        if not isinstance(model, Model):
            raise ModelError(f"expected a stand-in model, got a {type(model).__name__}")
        return model.weights

    def plan(self, model: Model, images: Any, **options: Any) -> Plan:
        """Plan a draw."""
        return Plan(model, options, self.log)

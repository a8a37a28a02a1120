"""Certificates in an audit: no attack of ours beats one, and they are kept, extended, shown and judged like other figures."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vaeaudit
from vaeaudit import Autoencoder, at_least
from vaeaudit.measurements import certificates as measuring
from vaeaudit.report import codec
from vaeaudit.report.certificates import Certified
from vaeaudit.report.model import AuditReport, load
from vaeaudit.spec import PRESETS

SMALL = dataclasses.replace(
    PRESETS["quick"], pairs=6, strengths=4, between=0, extensions=0, samples=4, images=16, spectra=4, damaged=6,
    damage_steps=8, second_looks=1, queries=4, certified=6, certified_balls=2, certified_through="budgets", certificate_work=10**11,
)  # fmt: skip
SLACK = 1 + 1e-9


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A preset of few pairs, whose certificates are as thorough as any."""
    monkeypatch.setitem(PRESETS, "quick", SMALL)


def _made(models: ModuleType, kind: str, activation: type[nn.Module], seed: int, **options: bool) -> Autoencoder:
    generator = torch.Generator().manual_seed(seed)
    model = models.randomised(getattr(models, kind)(activation, **options), generator, 0.8)
    return Autoencoder(model.encode, model.decode, (0.0, 1.0), modules=(model,), scale="log_variance")


def _images(kind: str) -> Tensor:
    shape = (1, 6, 6) if kind == "ConvVAE" else (8,)
    return torch.rand(16, *shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def _certified(report: AuditReport) -> Certified:
    assert report.certificates is not None
    return report.certificates


@pytest.mark.parametrize(
    ("kind", "activation", "variational"),
    [
        ("DenseVAE", nn.ReLU, True), ("DenseVAE", nn.Tanh, False), ("ConvVAE", nn.ELU, True),
        ("ResidualVAE", nn.SiLU, True),
    ],
)  # fmt: skip
def test_no_attack_of_an_audit_beats_its_certificate(
    models: ModuleType, kind: str, activation: type[nn.Module], variational: bool
) -> None:
    options = {"variational": variational} if kind == "DenseVAE" else {}
    report = vaeaudit.audit(_made(models, kind, activation, 3, **options), _images(kind), preset="quick")
    found = _certified(report)
    assert found.refusals == {}
    assert found.distortion.shape == (6,)
    assert found.balls == 2
    assert (found.distortion <= found.attacked * SLACK).all()
    assert np.isfinite(found.attacked_damage).all()
    assert (found.attacked_damage <= found.damage * SLACK).all()
    assert (found.distortion > 0).any()
    # the attack's own curve, read at the untargeted attack's budgets, stays above the divergence that is certified
    spans = _spans(report, _images(kind))
    for row in range(6):
        for column, radius in enumerate(found.radii):
            inside = report.curves.distortion[row] * spans[row] <= radius
            assert (report.curves.divergence[row][inside] * SLACK + 1e-9 >= found.divergence[row, column]).all()
    assert not any(finding.name == "attack_beats_certificate" for finding in report.health)


def _spans(report: AuditReport, images: Tensor) -> np.ndarray:
    originals, targets = images[report.curves.originals], images[report.curves.targets]
    return (originals - targets).flatten(1).norm(dim=1).numpy()


def test_of_a_linear_model_nothing_is_left_open_between_certificate_and_attack(linear: ModuleType) -> None:
    twin = linear.linear_gaussian(n=8, k=3, seed=2)
    weight, slope, decoder = (nn.Parameter(part.clone()) for part in (twin.weight, twin.slope, twin.decoder))
    holder = nn.ParameterList([weight, slope, decoder])
    ae = Autoencoder(
        lambda x: (x @ weight.T + twin.offset, x @ slope.T + twin.log_variance),
        lambda z: z @ decoder.T + twin.decoder_offset, twin.bounds, scale="log_variance", modules=(holder,),
    )  # fmt: skip
    report = vaeaudit.audit(ae, linear.points(8, 16), preset="quick", pairs=6)
    found = _certified(report)
    assert (found.distortion <= found.attacked * SLACK).all()
    np.testing.assert_allclose(found.distortion, found.attacked, rtol=1e-3)
    exact = [twin.optimal_step(radius) for radius in found.radii]
    np.testing.assert_allclose(found.damage, np.broadcast_to(exact, found.damage.shape), rtol=1e-6)
    np.testing.assert_allclose(found.attacked_damage, found.damage, rtol=1e-4)
    assert found.tightness.value == pytest.approx(1, rel=1e-3)
    (verdict,) = report.check(certified_distortion=at_least(0.01))
    assert verdict.outcome == "PASS"


def test_an_extension_certifies_new_pairs_only_and_equals_a_fresh_audit(
    models: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[int] = []
    read: list[int] = []
    certificates_of, prepare = measuring.certificates_of, measuring.prepare
    monkeypatch.setattr(
        measuring, "certificates_of", lambda m, x, t, a: (asked.append(len(x)), certificates_of(m, x, t, a))[1]
    )
    monkeypatch.setattr(measuring, "prepare", lambda *a, **k: (read.append(1), prepare(*a, **k))[1])
    ae, images = _made(models, "DenseVAE", nn.ReLU, 5), _images("DenseVAE")
    few = vaeaudit.plan(ae, images, preset="quick", most_pairs=8).report(checkpoint=tmp_path)
    assert (sum(asked), len(read)) == (6, 1)
    more = vaeaudit.plan(ae, images, preset="quick", most_pairs=8).report(8, checkpoint=tmp_path)
    assert (sum(asked), len(read)) == (8, 2)
    again = vaeaudit.plan(ae, images, preset="quick", most_pairs=8).report(8, checkpoint=tmp_path)
    assert (sum(asked), len(read)) == (8, 2)  # all rows are finished, so that the model is not even read
    assert codec.equal(again.certificates, more.certificates)
    fresh = vaeaudit.plan(ae, images, preset="quick", most_pairs=8).report(8)
    old, new, whole = (_certified(report) for report in (few, more, fresh))
    assert new.r == old.r
    for name in ("distortion", "damage", "divergence", "margin"):
        np.testing.assert_allclose(getattr(new, name), getattr(whole, name), rtol=1e-8)
        np.testing.assert_array_equal(getattr(new, name)[:6], getattr(old, name))


class _Refused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head, self.out = nn.LayerNorm(8), nn.Linear(8, 3), nn.Linear(3, 8)

    def encode(self, x: Tensor) -> Tensor:
        return self.head(self.norm(x))

    def decode(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.out(z))


def test_a_model_that_is_not_certified_says_why_and_passes_no_bar(tmp_path: Path) -> None:
    torch.manual_seed(0)
    report = vaeaudit.audit(vaeaudit.wrap(_Refused(), bounds=(0, 1)), _images("DenseVAE").float(), preset="quick")
    found = _certified(report)
    assert "LayerNorm" in found.refusals["encoder"]
    assert np.isnan(found.distortion).all()
    assert found.encoder is found.decoder is None
    (verdict,) = report.check(certified_distortion=at_least(0.01))
    assert verdict.outcome == "INVALID"
    assert "LayerNorm" in verdict.reason
    assert "certified_distortion" not in report.scores()
    assert "No attack is ruled out: not certified, because of layer 'norm'" in " ".join(str(report).split())
    report.save(tmp_path)
    assert "No attack is ruled out" in (tmp_path / "report.html").read_text()
    assert load(tmp_path) == report


def test_an_attack_that_beats_a_certificate_invalidates_both(
    models: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a model would whose code computes something else when it is traced: bounds of a model that is less sensitive."""
    certificates_of = measuring.certificates_of

    def of_another(*arguments: object) -> object:
        found = certificates_of(*arguments)
        return dataclasses.replace(found, distortion=found.distortion + 2 * found.spans[:, None])

    monkeypatch.setattr(measuring, "certificates_of", of_another)
    report = vaeaudit.audit(_made(models, "DenseVAE", nn.ReLU, 5), _images("DenseVAE"), preset="quick")
    (finding,) = [f for f in report.health if f.name == "attack_beats_certificate"]
    assert "the targeted one at 6 pairs, the untargeted one at 0" in finding.message
    bars = {name: at_least(0.001) for name in ("hinge", "auddc", "certified_distortion")}
    assert {verdict.outcome for verdict in report.check(**bars)} == {"INVALID"}
    assert not _certified(report).certified_distortion.trusted


def test_a_vacuous_bound_is_no_success(models: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steep units that cancel: the model is no easier to fool, but bounds over all inputs do not know it."""
    monkeypatch.setitem(PRESETS, "quick", dataclasses.replace(SMALL, certified_balls=0))
    ae = _made(models, "DenseVAE", nn.ReLU, 5)
    first, second = ae.modules[0].encoder[0], ae.modules[0].encoder[2]
    with torch.no_grad():
        first.weight[:2], first.bias[:2] = 1e4 * first.weight[2], 1e4 * first.bias[2]
        second.weight[:, 0] = -second.weight[:, 1]
    report = vaeaudit.audit(ae, _images("DenseVAE"), preset="quick")
    found = _certified(report)
    assert 0 < found.certified_distortion.value < 0.01
    assert found.distortion_vacuous.mean() >= 0.5
    (verdict,) = report.check(certified_distortion=at_least(1e-9))
    assert verdict.outcome == "INVALID"
    assert "vacuous" in verdict.reason
    assert "vacuous" in str(report)
    assert math.isnan(report.score("certified_distortion").value)

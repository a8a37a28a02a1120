"""The worst case over all attacks: never beaten by one of them, resumed, extended, told."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import vaeaudit
from vaeaudit import attacks, spec
from vaeaudit.measurements import worst_case
from vaeaudit.report.model import AuditReport
from vaeaudit.report.text.terminal import table_text
from vaeaudit.report.worst_case import WorstCase

OPTIONS: dict[str, Any] = {"preset": "quick", "pairs": 6, "strengths": [0.1, 1.0, 10.0, 100.0]}

STRIPES = torch.zeros(2, 1, 16, 16)
STRIPES[0, :, ::2], STRIPES[1, :, :, ::2] = 0.8, 0.8
QUICK = dataclasses.replace(
    spec.PRESETS["quick"], pairs=6, family=6, family_steps=6, family_restarts=1, queries=16, second_looks=1, spectra=4,
    damaged=6, damage_steps=8, certified=1,
)  # fmt: skip


@pytest.fixture(autouse=True)
def family(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick preset, with every attack at a few images."""
    monkeypatch.setitem(spec.PRESETS, "quick", QUICK)


def _only_two_of_each_kind(patch: pytest.MonkeyPatch) -> None:
    for kind, names in (
        ("UNTARGETED", ("maximum_damage", "latent_kl")),
        ("TARGETED_IN_BALL", ("target_output", "target_kl")),
    ):
        everything = getattr(attacks, kind)
        patch.setattr(attacks.family, kind, {name: everything[name] for name in names})


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two attacks of each kind, for what does not depend on which."""
    _only_two_of_each_kind(monkeypatch)


class Bent(torch.nn.Module):
    """A small VAE with bends that tells two kinds of stripes apart, on 16x16 images in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        stripes = STRIPES.flatten(1)
        others = torch.randn(3, 256, generator=torch.Generator().manual_seed(1))
        basis, _ = torch.linalg.qr(torch.cat([stripes[:1] - stripes[1:], others]).T)
        self.basis = torch.nn.Parameter(basis.T.contiguous())

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen = (x - STRIPES.mean(0)).flatten(1) @ self.basis.T
        return 2 * torch.tanh(seen / 4), -4 + 0.1 * seen

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(12 * z @ self.basis).view(-1, 1, 16, 16)


def pictures(count: int = 40) -> tuple[torch.Tensor, np.ndarray[Any, Any]]:
    generator = torch.Generator().manual_seed(2)
    labels = np.arange(count) % 2
    return (STRIPES[torch.from_numpy(labels)] + 0.2 * torch.rand(count, 1, 16, 16, generator=generator)), labels


def audited(**options: Any) -> AuditReport:
    return vaeaudit.audit(Bent().eval(), pictures(), **{**OPTIONS, **options})


@pytest.fixture(scope="module")
def report() -> AuditReport:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(spec.PRESETS, "quick", QUICK)
        return audited()


@pytest.fixture(scope="module")
def brief() -> AuditReport:
    """With few attacks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(spec.PRESETS, "quick", QUICK)
        _only_two_of_each_kind(patch)
        return audited()


def worst_of(report: AuditReport) -> WorstCase:
    assert report.worst_case is not None
    return report.worst_case


def test_the_gallery_shows_the_worst_of_all_attacks(report: AuditReport) -> None:
    assert report.gallery is not None
    shown = report.gallery.untargeted
    assert shown is not None
    worst = worst_of(report).damage
    np.testing.assert_array_equal(shown.images, worst.originals[: len(shown.images)])
    np.testing.assert_array_equal(shown.displacement, worst.worst[: len(shown.images)])
    changed = (shown.reconstructions - shown.original_reconstructions[:, None]).reshape(*shown.displacement.shape, -1)
    np.testing.assert_allclose(np.linalg.norm(changed, axis=2), shown.displacement, rtol=1e-4)


def test_no_attack_beats_the_worst_case_which_grows_with_the_budget(report: AuditReport) -> None:
    worst = worst_of(report)
    for family in (worst.damage, worst.damage_linf):
        assert family.figures.shape == (len(family.attacks), 6, 3)
        assert (family.worst >= family.figures).all()
        assert (np.diff(family.worst, axis=1) > -1e-6).all()
        np.testing.assert_allclose(family.estimates[1].value, family.worst[:, 1].mean())
    for family in (worst.gap, worst.gap_linf):
        assert (family.worst <= family.figures).all()
        np.testing.assert_allclose(family.estimates[1].value, np.median(family.worst[:, 1]))


def test_the_last_attack_starts_from_what_the_others_found(report: AuditReport) -> None:
    for family in (worst_of(report).damage, worst_of(report).damage_linf):
        others = family.attacks.index("maximum_damage_from_the_others")
        assert (family.figures[others] >= family.figures[:others].max(0) * (1 - 1e-5)).all()


def test_every_attack_by_name_is_the_library_attack_itself(report: AuditReport) -> None:
    worst = worst_of(report)
    ae = vaeaudit.wrap(Bent().eval())
    images = pictures()[0][torch.from_numpy(worst.damage.originals)]
    for name in ("maximum_damage", "latent_kl"):
        alone = attacks.UNTARGETED[name](
            ae, images, worst.damage.radii.tolist(), "l2", steps=QUICK.family_steps, restarts=1, seed=0, starts=None
        )
        figures = worst.damage.figures[worst.damage.attacks.index(name)]
        np.testing.assert_allclose(alone.displacement.numpy(), figures, rtol=1e-5)


def test_shares_say_which_attacks_are_the_worst(report: AuditReport) -> None:
    for family in worst_of(report).families().values():
        assert (family.shares.sum(0) >= 1 - 1e-12).all()
        best = family.worst
        scale = np.abs(best) if family.kind == "damage" else 1.0
        expected = (np.abs(family.figures - best) <= 1e-3 * scale).mean(1)
        np.testing.assert_allclose(family.shares, expected)


def test_the_scores_can_be_held_against_bars(report: AuditReport) -> None:
    for score, bar in (("worst_damage", vaeaudit.at_most(1e3)), ("worst_gap", vaeaudit.at_least(-1e3))):
        (verdict,) = report.check(**{score: bar})
        assert len(report.sample(score).values) == 6
        assert verdict.outcome == "PASS", str(verdict)
    assert report.scores()["worst_damage_linf"].higher_is_better is False


def test_effects_are_those_of_the_worst_attacked_images(report: AuditReport) -> None:
    effects = worst_of(report).effects
    assert effects.refusals == {}
    assert set(effects.figures) >= {"amplification", "elbo_drop", "latent_class_kept", "ms_ssim_reconstructions"}
    squares = effects.figures["amplification"] * effects.radii**2
    # the ball is used up wherever the bounds leave room, which they do here
    np.testing.assert_allclose(np.sqrt(squares), worst_of(report).damage.worst, rtol=1e-3)
    assert ((effects.figures["r_robust_share"] >= 0) & (effects.figures["r_robust_share"] <= 1)).all()
    assert (effects.broke[~effects.unbroken] <= effects.radii[-1] * (1 + 1e-6)).all()


@pytest.mark.usefixtures("few")
def test_without_labels_there_is_no_classifier_and_the_report_says_so() -> None:
    images, _ = pictures()
    report = vaeaudit.audit(Bent().eval(), images, **OPTIONS)
    effects = worst_of(report).effects
    assert "labels" in effects.refusals["latent_class_kept"]
    assert "latent_class_kept" not in effects.figures
    assert "Class of latent kept" in table_text(report)


def test_a_report_survives_saving_and_loading(report: AuditReport, tmp_path: Path) -> None:
    assert vaeaudit.load(report.save(tmp_path)) == report


@pytest.mark.usefixtures("few")
def test_an_interrupted_family_goes_on_without_what_it_has(brief: AuditReport, tmp_path: Path) -> None:
    def interrupt(measurement: str, finished: int, total: int) -> None:
        if measurement == "all targeted attacks, l2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audited(checkpoint=tmp_path, progress=interrupt)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worst_case, "_attacked", lambda *_, **__: pytest.fail("what was finished is attacked again"))
        resumed = audited(checkpoint=tmp_path)
    for ours, theirs in zip(worst_of(resumed).families().values(), worst_of(brief).families().values(), strict=True):
        np.testing.assert_array_equal(ours.figures, theirs.figures)


@pytest.mark.usefixtures("few")
def test_an_extension_keeps_the_images_and_measures_only_new_ones() -> None:
    plan = vaeaudit.plan(Bent().eval(), pictures(), most_pairs=9, **OPTIONS)
    first, later = plan.report(), plan.report(9)
    few, more = worst_of(first).damage, worst_of(later).damage
    assert len(more.originals) == 9
    np.testing.assert_array_equal(more.originals[:6], few.originals)
    np.testing.assert_array_equal(more.figures[:, :6], few.figures)


def test_a_finding_marks_the_scores_that_it_spoils_and_no_others(report: AuditReport) -> None:
    worst = worst_of(report).distrusted(lambda score: score == "worst_gap")
    trusted = {name: family.estimates[1].trusted for name, family in worst.families().items()}
    assert trusted == {"worst_damage": True, "worst_damage_linf": True, "worst_gap": False, "worst_gap_linf": True}
    assert worst.effects.margin.trusted
    assert not worst_of(report).distrusted(lambda score: score == "worst_damage").effects.margin.trusted


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_model_that_breaks_down_under_any_attack_never_passes(bad: float) -> None:
    model = Bent().eval()

    def decode(z: torch.Tensor) -> torch.Tensor:
        broken = (z[:, 1:].abs().amax(1) > 0.3)[:, None, None, None]
        return model.decode(z) + torch.where(broken, bad, 0.0)

    ae = vaeaudit.Autoencoder(lambda x: model.encode(x)[0], decode, modules=(model,))
    report = vaeaudit.audit(ae, pictures(), **OPTIONS)
    (verdict,) = report.check(worst_damage=vaeaudit.at_most(1e3))
    assert verdict.outcome == "INVALID"
    assert "NaN or infinite" in verdict.reason


@pytest.mark.parametrize(
    ("ours", "told"), [([[0.0, 1.0, 1.0]], "warning"), ([[0.0, 0.5, 1.0]], "invalid"), ([[0.0, 1.1, 2.0]], "")]
)
def test_a_much_stronger_attack_of_the_family_spoils_the_headline(
    report: AuditReport, ours: list[list[float]], told: str
) -> None:
    """A budget at which nothing moves hides nothing at another."""
    assert report.damage is not None
    family = worst_of(report).damage
    theirs = np.array([[[0.0, 1.1, 1.0]]])
    one = {"originals": family.originals[:1], "attacks": ("all",), "shares": np.ones((1, 3))}
    found = dataclasses.replace(worst_of(report), damage=dataclasses.replace(family, figures=theirs, **one))
    damage = dataclasses.replace(report.damage, displacement=np.array(ours), images=family.originals[:1], latent=None)
    findings = worst_case._findings(found, damage)
    assert [finding.severity for finding in findings] == ([told] if told else [])


@pytest.mark.usefixtures("few")
def test_pairs_in_another_order_and_company_have_the_same_figures(
    brief: AuditReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worst_case, "IMAGES_AT_ONCE", 2)
    pairs = list(zip(brief.curves.originals.tolist(), brief.curves.targets.tolist(), strict=True))[::-1]
    other, here = worst_of(audited(pairs=pairs)), worst_of(brief)
    np.testing.assert_allclose(other.gap.figures[:, ::-1], here.gap.figures, rtol=1e-4, atol=1e-5)
    shared, there, ours = np.intersect1d(other.damage.originals, here.damage.originals, return_indices=True)
    assert len(shared) >= 4
    np.testing.assert_allclose(other.damage.figures[:, there], here.damage.figures[:, ours], rtol=1e-4)


def test_a_deterministic_code_leaves_out_what_is_another_attack_over_again() -> None:
    model = Bent().eval()
    ae = vaeaudit.Autoencoder(lambda x: model.encode(x)[0], model.decode, modules=(model,))
    worst = worst_of(vaeaudit.audit(ae, pictures(), **OPTIONS))
    assert worst.damage.attacks == (
        "maximum_damage", "latent_mean_l2", "maximum_damage_from_the_others", "random_search",
    )  # fmt: skip
    assert worst.gap.attacks == ("target_output", "target_mean_l2")
    assert "no ELBO" in worst.effects.refusals["elbo_drop"]


def test_on_a_linear_model_no_attack_does_more_than_the_leading_direction(linear: ModuleType) -> None:
    model = linear.linear_gaussian(n=9, k=3, seed=0)
    images = linear.points(9, 30)
    worst = worst_of(vaeaudit.audit(model.autoencoder, images, **OPTIONS))
    for place, radius in enumerate(worst.damage.radii):
        np.testing.assert_allclose(worst.damage.worst[:, place], model.optimal_step(float(radius)), rtol=1e-4)


def test_the_presets_but_the_thorough_one_do_not_pay_for_it() -> None:
    assert {name: bool(preset.family) for name, preset in spec.PRESETS.items() if name != "quick"} == {
        "standard": False, "thorough": True,
    }  # fmt: skip

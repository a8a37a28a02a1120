"""A plan settles an audit; its report can be extended, and an extension measures only what is new."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import vaeaudit
from vaeaudit import attacks, geometry
from vaeaudit.spec import PRESETS, preset_named

SERIES = [1e-3, 1e-2, 0.1, 1.0]
SHORT = dataclasses.replace(
    preset_named("quick"), pairs=8, strengths=8, samples=4, spectra=12, damaged=8, damage_steps=8, second_looks=1, queries=8
)  # fmt: skip
"""The quick preset for eight pairs, with shorter searches."""


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "quick", SHORT)


class LinearVAE(nn.Module):
    """Six orthonormal directions of sixty-four."""

    def __init__(self) -> None:
        super().__init__()
        basis, _ = torch.linalg.qr(torch.randn(64, 6, generator=torch.Generator().manual_seed(0)))
        self.weight = nn.Parameter(basis.T.contiguous())

    def encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = (images.flatten(1) - 0.5) @ self.weight.T
        return mean, torch.full_like(mean, -4.0)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return (latents @ self.weight + 0.5).view(-1, 1, 8, 8)


@pytest.fixture
def model() -> LinearVAE:
    return LinearVAE().train()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(80, 1, 8, 8, generator=torch.Generator().manual_seed(1))


class Counted:
    """How many rows each probe of the model was given."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.pairs, self.damaged, self.spectra, self.local = 0, 0, 0, 0
        targeted, damage, jacobians = attacks.targeted, attacks.maximum_damage, geometry.encoder_jacobians

        def count_pairs(ae: Any, originals: Any, *rest: Any, **options: Any) -> Any:
            self.pairs += len(originals)
            return targeted(ae, originals, *rest, **options)

        def count_damaged(ae: Any, images: Any, *rest: Any, **options: Any) -> Any:
            self.damaged += len(images)
            return damage(ae, images, *rest, **options)

        def count_spectra(ae: Any, images: Any, **options: Any) -> Any:
            if options:  # those of the local prediction, which asks for a part of them only
                self.local += len(images)
            else:
                self.spectra += len(images)
            return jacobians(ae, images, **options)

        patch.setattr(attacks, "targeted", count_pairs)
        patch.setattr(attacks, "maximum_damage", count_damaged)
        patch.setattr(geometry, "encoder_jacobians", count_spectra)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def timeless(report: vaeaudit.AuditReport) -> vaeaudit.AuditReport:
    return dataclasses.replace(report, provenance=dataclasses.replace(report.provenance, seconds={}, work={}))


def same_within_rounding(a: vaeaudit.AuditReport, b: vaeaudit.AuditReport) -> None:
    """Every figure of the pairs and images, and every score, to a millionth."""
    for name in ("strengths", "distortion", "gap", "objective", "hinge", "auddc", "originals", "targets", "reach"):
        np.testing.assert_allclose(getattr(a.curves, name), getattr(b.curves, name), rtol=1e-6, atol=1e-9)
    assert a.damage is not None
    assert b.damage is not None
    np.testing.assert_array_equal(a.damage.images, b.damage.images)
    np.testing.assert_allclose(a.damage.displacement, b.damage.displacement, rtol=1e-6)
    assert a.encoder is not None
    assert b.encoder is not None
    np.testing.assert_array_equal(a.encoder.images, b.encoder.images)
    np.testing.assert_allclose(a.encoder.eigenvalues, b.encoder.eigenvalues, rtol=1e-6)
    assert a.scores().keys() == b.scores().keys()
    for name, score in a.scores().items():
        np.testing.assert_allclose(score.value, b.scores()[name].value, rtol=1e-6, err_msg=name)


@pytest.mark.usefixtures("short")
def test_an_audit_is_the_report_of_its_plan_even_if_the_images_are_overwritten_meanwhile(
    model: LinearVAE, images: torch.Tensor
) -> None:
    mine = images.clone()
    planned = vaeaudit.plan(model, mine, "quick", 6)
    mine.zero_()
    assert (planned.pairs, planned.most_pairs) == (6, 6)
    assert timeless(planned.report()) == timeless(vaeaudit.audit(model, images, "quick", 6))


@pytest.mark.parametrize(
    ("where", "strengths"), [("memory", SERIES), ("folder", None)], ids=["memory-given", "folder-automatic"]
)
def test_an_extension_measures_only_what_is_new_and_equals_a_fresh_report(
    model: LinearVAE, images: torch.Tensor, counted: Counted, tmp_path: Path, where: str, strengths: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(PRESETS, "quick", dataclasses.replace(SHORT, second_looks=0))

    def planned() -> vaeaudit.Plan:
        return vaeaudit.plan(model, images, "quick", 8, strengths=strengths, most_pairs=16)

    folder = tmp_path if where == "folder" else None
    plan = planned()
    small = plan.report(checkpoint=folder)
    rounds = counted.pairs // 8  # an automatic series may be lowered in further rounds
    local = counted.local
    assert (counted.damaged, counted.spectra) == (8, 12)
    large = (plan if folder is None else planned()).report(16, checkpoint=folder)
    assert counted.pairs == 16 * rounds
    assert (counted.damaged, counted.spectra, counted.local) == (16, 24, 2 * local)
    assert large.provenance.settings["pairs"] == 16
    same_within_rounding(large, planned().report(16))
    np.testing.assert_array_equal(large.curves.strengths, small.curves.strengths)
    np.testing.assert_array_equal(large.curves.objective[:8], small.curves.objective)
    np.testing.assert_array_equal(large.curves.evaluations[:8], small.curves.evaluations)


@pytest.mark.usefixtures("short")
def test_pairs_and_images_of_a_smaller_report_are_among_those_of_a_larger(
    model: LinearVAE, images: torch.Tensor
) -> None:
    plan = vaeaudit.plan(model, images[:40], "quick", 6, most_pairs=27, strengths=SERIES)
    reports = [plan.report(n) for n in (6, 12, 27)]
    for few, many in itertools.pairwise(reports):
        count = len(few.curves.originals)
        np.testing.assert_array_equal(many.curves.originals[:count], few.curves.originals)
        np.testing.assert_array_equal(many.curves.targets[:count], few.curves.targets)
        assert few.damage is not None
        assert many.damage is not None
        assert few.encoder is not None
        assert many.encoder is not None
        assert set(few.damage.images) <= set(many.damage.images)
        assert set(few.encoder.images) <= set(many.encoder.images)
    assert reports[-1].damage is not None
    assert reports[-1].encoder is not None
    assert (len(reports[-1].damage.images), len(reports[-1].encoder.images)) == (27, 40)


@pytest.mark.usefixtures("short")
def test_a_report_repeats_without_measuring_anything(model: LinearVAE, images: torch.Tensor, counted: Counted) -> None:
    plan = vaeaudit.plan(model, images, "quick", 8)
    first, spent = plan.report(), (counted.pairs, counted.damaged, counted.spectra, counted.local)
    assert timeless(plan.report()) == timeless(first)
    assert (counted.pairs, counted.damaged, counted.spectra, counted.local) == spent


@pytest.mark.usefixtures("short")
def test_a_larger_audit_measures_more_images_too(model: LinearVAE, images: torch.Tensor) -> None:
    report = vaeaudit.audit(model, images, "quick", 12, strengths=SERIES)
    assert report.damage is not None
    assert report.encoder is not None
    assert (len(report.damage.images), len(report.encoder.images)) == (12, 18)
    assert {report.provenance.settings[name] for name in ("damaged", "spectra")} == {8, 12}


@pytest.mark.parametrize("preset", ["quick", "standard", "thorough"])
def test_a_preset_does_not_grow_for_as_many_pairs_as_it_has(preset: str) -> None:
    spec = preset_named(preset)
    assert spec.grown(spec.pairs) == spec.grown(1) == spec
    twice = spec.grown(2 * spec.pairs)
    assert (twice.damaged, twice.spectra, twice.jacobian_rows) == (
        2 * spec.damaged, 2 * spec.spectra, 2 * spec.jacobian_rows,
    )  # fmt: skip


def test_a_plan_is_extended_as_far_as_the_data_allow(model: LinearVAE, images: torch.Tensor) -> None:
    assert vaeaudit.plan(model, images, "quick", most_pairs=1000).most_pairs == 80
    given = vaeaudit.plan(model, images, "quick", [(0, 1), (2, 3)], most_pairs=1000)
    assert (given.pairs, given.most_pairs) == (2, 2)


@pytest.mark.parametrize("pairs", [7, 21, True, 8.5])
def test_pairs_outside_the_plan_are_refused(model: LinearVAE, images: torch.Tensor, pairs: Any) -> None:
    plan = vaeaudit.plan(model, images, "quick", 8, most_pairs=20)
    with pytest.raises(vaeaudit.OptionError, match=r"pairs=\d+ is not within this plan, which measures 8|whole number"):
        plan.report(pairs)


@pytest.mark.parametrize(
    ("most", "message"), [(7, "at least the 8 pairs first measured, got 7"), (9.5, "whole number")]
)
def test_a_bad_most_pairs_is_refused(model: LinearVAE, images: torch.Tensor, most: Any, message: str) -> None:
    with pytest.raises(vaeaudit.OptionError, match=message):
        vaeaudit.plan(model, images, "quick", 8, most_pairs=most)


@pytest.mark.usefixtures("short")
def test_the_model_is_at_rest_only_while_it_is_planned_and_measured(model: LinearVAE, images: torch.Tensor) -> None:
    before = torch.get_rng_state()
    plan = vaeaudit.plan(model, images, "quick", 6, strengths=SERIES)
    assert model.training
    assert model.weight.requires_grad
    seen: list[bool] = []
    report = plan.report(progress=lambda *_: seen.append(model.training))
    assert set(seen) == {False}
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)
    assert "training_mode" in {finding.name for finding in report.health}


def test_a_model_that_was_trained_meanwhile_is_planned_again(model: LinearVAE, images: torch.Tensor) -> None:
    plan = vaeaudit.plan(model, images, "quick", 6)
    with torch.no_grad():
        model.weight[0, 0] += 1
    with pytest.raises(vaeaudit.ModelError, match="weights have changed since the audit was planned; plan it again"):
        plan.report()


# identity


def test_an_identity_is_builtin_and_repeats(model: LinearVAE, images: torch.Tensor) -> None:
    identity = vaeaudit.plan(model, images, "quick", 6).identity
    assert json.loads(json.dumps(identity)) == identity
    again = vaeaudit.plan(LinearVAE(), images.numpy(), "quick", 6, most_pairs=30).identity
    assert again == identity
    assert {"threads", "platform"}.isdisjoint(identity["versions"])


def _trained(model: LinearVAE) -> LinearVAE:
    with torch.no_grad():
        model.weight[0, 0] += 1e-3
    return model


def _buffered(model: LinearVAE) -> LinearVAE:
    model.register_buffer("steps", torch.zeros(1))
    return model


CHANGES: dict[str, Callable[[LinearVAE, torch.Tensor], tuple[Any, Any, dict[str, Any]]]] = {
    "weight": lambda m, x: (_trained(m), x, {}),
    "buffer": lambda m, x: (_buffered(m), x, {}),
    "code": lambda m, x: (vaeaudit.Autoencoder(m.encode, lambda z: m.decode(z) + 0, modules=(m,)), x, {}),
    "dtype": lambda m, x: (m.double(), x, {}),
    "data": lambda m, x: (m, x.clamp(max=0.99), {}),
    "labels": lambda m, x: (m, (x, np.arange(80) % 3), {}),
    "pairs": lambda m, x: (m, x, {"pairs": 7}),
    "given pairs": lambda m, x: (m, x, {"pairs": [(i, i + 1) for i in range(6)]}),
    "seed": lambda m, x: (m, x, {"seed": 1}),
    "preset": lambda m, x: (m, x, {"preset": "standard"}),
    "strengths": lambda m, x: (m, x, {"strengths": SERIES}),
    "divergence": lambda m, x: (m, x, {"divergence": "mean_l2"}),
    "penalty": lambda m, x: (m, x, {"penalty": "l2"}),
    "bounds": lambda m, x: (vaeaudit.wrap(m, (0.0, 1.5)), x, {}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_identity_changes_with_all_that_determines_the_figures(
    model: LinearVAE, images: torch.Tensor, change: str
) -> None:
    options: dict[str, Any] = {"preset": "quick", "pairs": 6}
    before = vaeaudit.plan(model, images, **options).identity
    changed, data, more = CHANGES[change](model, images)
    assert vaeaudit.plan(changed, data, **{**options, **more}).identity != before


@pytest.mark.usefixtures("short")
def test_rows_of_another_model_in_the_same_folder_are_not_used(images: torch.Tensor, tmp_path: Path) -> None:
    options: dict[str, Any] = {"preset": "quick", "pairs": 6, "strengths": SERIES}
    vaeaudit.audit(LinearVAE(), images, **options, checkpoint=tmp_path)
    other = vaeaudit.audit(_trained(LinearVAE()), images, **options, checkpoint=tmp_path)
    assert timeless(other) == timeless(vaeaudit.audit(_trained(LinearVAE()), images, **options))


@pytest.mark.usefixtures("short")
def test_given_pairs_in_another_order_keep_their_pictures(images: torch.Tensor, tmp_path: Path) -> None:
    pairs = [(i, i + 1) for i in range(6)]
    options: dict[str, Any] = {"preset": "quick", "strengths": SERIES}
    vaeaudit.audit(LinearVAE(), images, pairs=pairs, checkpoint=tmp_path, **options)
    turned = vaeaudit.audit(LinearVAE(), images, pairs=pairs[::-1], checkpoint=tmp_path, **options)
    fresh = vaeaudit.audit(LinearVAE(), images, pairs=pairs[::-1], **options)
    assert turned.gallery is not None
    assert fresh.gallery is not None
    np.testing.assert_allclose(turned.gallery.adversarials, fresh.gallery.adversarials, atol=1e-5)


@pytest.mark.usefixtures("short")
def test_a_plan_knows_whether_the_weights_of_both_parts_were_found(model: LinearVAE, images: torch.Tensor) -> None:
    def closed_form(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = x.flatten(1)[:, :6] - 0.5
        return mean, 0 * mean - 4

    def planned(*parts: Any, **options: Any) -> vaeaudit.Plan:
        return vaeaudit.plan(vaeaudit.Autoencoder(*parts, **options), images, "quick", 8, strengths=SERIES)

    partly = planned(closed_form, model.decode)
    assert planned(model.encode, model.decode).identity["weights_known"] is True
    assert partly.identity["weights_known"] is False
    assert planned(closed_form, model.decode, modules=(model,)).identity["weights_known"] is True
    (finding,) = [f for f in partly.report().health if f.name == "weights_not_found"]
    assert finding.severity == "warning"
    assert "behind the encoder: its mode" in finding.message

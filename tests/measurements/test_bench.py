"""What all measurements work on: the share of the bounds that the images take up, and budgets as shares of the bounds."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

import vaeaudit
from vaeaudit import Autoencoder, at_least, at_most
from vaeaudit.spec import PRESETS


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A preset of few pairs."""
    few = replace(
        PRESETS["quick"], pairs=12, strengths=8, between=0, extensions=0, samples=4, images=24, spectra=4, damaged=12,
        second_looks=0, certified=0,
    )  # fmt: skip
    monkeypatch.setitem(PRESETS, "quick", few)


def _audited(bounds: tuple[float, float]) -> vaeaudit.AuditReport:
    """Of a model whose reconstruction stops at [0, 1], where its images are."""
    images = torch.rand(24, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ae = Autoencoder(lambda x: 4 * x - 2, lambda z: z.sigmoid(), bounds=bounds)
    return vaeaudit.audit(ae, images, "quick")


def _of_bounds(report: vaeaudit.AuditReport) -> list[tuple[str, str]]:
    return [
        (finding.severity, finding.message)
        for finding in report.health
        if finding.name == "images_fill_little_of_bounds"
    ]


def test_bounds_of_another_scale_pass_no_bar_on_damage() -> None:
    """Budgets of 255 levels saturate the decoder: hardly any damage a unit of distortion, which looks robust."""
    report = _audited((0.0, 255.0))
    assert report.score("damage_gain").value < 0.5
    assert [verdict.outcome for verdict in report.check(damage_gain=at_most(1.0), damage=at_most(100))] == [
        "INVALID"
    ] * 2
    assert [verdict.outcome for verdict in report.check(hinge=at_least(0.01))] == ["PASS"]
    ((severity, message),) = _of_bounds(report)
    assert severity == "invalid"
    assert message.endswith("0.39% of the bounds, 0 to 255.")


def test_bounds_of_the_images_own_or_none_are_in_order() -> None:
    assert not _of_bounds(_audited((0.0, 1.0)))
    assert not _of_bounds(_audited((0.0, math.inf)))


def test_bounds_twice_as_wide_as_the_images_are_a_warning() -> None:
    ((severity, _),) = _of_bounds(_audited((-1.0, 1.0)))
    assert severity == "warning"

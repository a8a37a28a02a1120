"""The plugin as it is installed: found by its entry point, and taking part in an audit."""

from __future__ import annotations

import pytest
import torch
import vaeaudit_example
from torch import Tensor, nn
from torch.nn import functional

import vaeaudit
from vaeaudit import extensions

STRENGTHS = [0.1, 1.0, 10.0, 100.0]
BLOCKS = torch.rand(12, 1, 3, 3, generator=torch.Generator().manual_seed(0))


class Compressor(nn.Module):
    """What no adapter of vaeaudit knows: the means of 2 x 2 blocks, which are all there is to images made of such."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def compress(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.gain * functional.avg_pool2d(x, 2)
        return mean, torch.full_like(mean, -6.0)

    def expand(self, z: Tensor) -> Tensor:
        return functional.interpolate(z / self.gain, scale_factor=2)


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Images of 3 x 3 blocks of 2 x 2 equal pixels each."""
    return functional.interpolate(BLOCKS, scale_factor=2)


@pytest.fixture(scope="module")
def report(images: Tensor) -> vaeaudit.AuditReport:
    """One small audit of a model that only the plugin recognises."""
    return vaeaudit.audit(Compressor(), images, preset="quick", pairs=6, strengths=STRENGTHS)


def test_the_plugin_is_found_by_its_entry_point() -> None:
    plugin = extensions.active().plugins["example"]
    assert plugin.module is vaeaudit_example
    assert plugin.distribution == "vaeaudit-example 0.1.0"


def test_its_score_is_reported_and_held_against_bars(report: vaeaudit.AuditReport) -> None:
    detail = report.score("example.detail")
    assert detail.value == pytest.approx(1)
    assert detail.n == 12
    report.require(**{"example.detail": vaeaudit.at_least(0.5)})
    assert "example detail" in str(report)


def test_its_check_speaks_of_a_blur_only(report: vaeaudit.AuditReport) -> None:
    assert "example.blurred" not in {finding.name for finding in report.health}
    (seen,) = vaeaudit_example.blurred(_Blurred())
    assert "keep 20%" in seen.message


class _Blurred:
    """A report, as far as the check looks at it."""

    def score(self, name: str) -> vaeaudit.Estimate:
        assert name == "example.detail"
        return vaeaudit.Estimate(value=0.2, low=0.1, high=0.3, n=9)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_its_attack_stays_inside_the_ball(norm: str, images: Tensor) -> None:
    ae = vaeaudit.wrap(Compressor())
    found = vaeaudit_example.exposure(ae, images, 0.5, norm, steps=1, restarts=0, seed=0)
    moved = (found - images).flatten(1)
    length = moved.norm(dim=1) if norm == "l2" else moved.abs().amax(1)
    assert bool((length <= 0.5 + 1e-5).all())
    assert bool((length > 0).all())
    assert 0 <= float(found.min()) <= float(found.max()) <= 1


def test_the_report_says_which_plugin_measured(report: vaeaudit.AuditReport) -> None:
    assert report.provenance.environment["plugin example"].startswith("vaeaudit-example 0.1.0, code ")
    assert report.extensions[0].plugin == "vaeaudit-example 0.1.0"

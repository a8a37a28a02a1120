"""What a costly model is measured at: counted, cut down to what is afforded, never below what tells something, and told."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vaeaudit
from vaeaudit import OptionError
from vaeaudit.affording import Cost, Extent, cost_of, shortened
from vaeaudit.attacks.goals import LatentGoal
from vaeaudit.divergences import DIVERGENCES
from vaeaudit.spec import PRESETS

EXTENT = Extent(pairs=2, strengths=6, images=8, automatic=True)
LARGE = Cost(encoder=5 * 10**11, decoder=10**12)
SIDE = 304
"""Images of more elements than a CPU's micro-batch holds, so that no row is there to fill one up."""


class Blurred(nn.Module):
    """Means of blocks of 8 x 8 pixels, and images of them; counts rows, and refuses some as a full memory does.

    Args:
        most: rows that fit without a gradient; half as many fit with one.
    """

    def __init__(self, most: float = math.inf) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 3, 8, stride=8, groups=3), nn.ConvTranspose2d(3, 3, 8, stride=8, groups=3)
        nn.init.constant_(self.down.weight, 1 / 64)
        nn.init.ones_(self.up.weight)
        for part in (self.down, self.up):
            assert part.bias is not None
            nn.init.zeros_(part.bias)
        self.most, self.refused = most, 0

    def _admit(self, x: Tensor) -> None:
        if len(x) > (self.most / 2 if torch.is_grad_enabled() and x.requires_grad else self.most):
            self.refused += 1
            raise torch.OutOfMemoryError("out of memory")

    def encode(self, x: Tensor) -> Tensor:
        self._admit(x)
        code: Tensor = self.down(x)
        return code

    def decode(self, z: Tensor) -> Tensor:
        self._admit(z)
        image: Tensor = self.up(z)
        return image


def _images(side: int, count: int = 4) -> Tensor:
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(coarse, size=(side, side))


def _wrapped(model: Blurred) -> vaeaudit.Autoencoder:
    return vaeaudit.Autoencoder(model.eval().encode, model.decode, modules=(model,))


def _audit(model: Blurred, side: int, pairs: int) -> vaeaudit.AuditReport:
    return vaeaudit.audit(_wrapped(model), _images(side), "quick", pairs, strengths=4, work=1e6)


def test_the_multiply_adds_of_known_layers_are_counted() -> None:
    encoder, decoder = nn.Linear(784, 20), nn.Linear(20, 784)
    ae = vaeaudit.Autoencoder(encoder, decoder)
    assert cost_of(ae, torch.rand(3, 784)) == Cost(encoder=784 * 20, decoder=20 * 784)
    assert cost_of(_wrapped(Blurred()), _images(64)) == Cost(encoder=3 * 64**2, decoder=3 * 64**2)


class Tokens(nn.Module):
    """A layer over 32 tokens of 64 features, which returns nothing beside them."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer(x, x, x) if isinstance(self.layer, nn.MultiheadAttention) else self.layer(x)
        return out if isinstance(out, Tensor) else out[0]  # type: ignore[no-any-return]


_ATTENTION = 4 * 64 * 64 + 2 * 32 * 64
"""Multiply-adds a token: three projections and the one behind, and twice the product with all tokens."""
FUSED = {
    "attention": (lambda: nn.MultiheadAttention(64, 4, batch_first=True), _ATTENTION),
    "transformer": (lambda: nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), _ATTENTION + 2 * 64 * 128),
    "LSTM": (lambda: nn.LSTM(64, 32, batch_first=True), 4 * 32 * (64 + 32)),
    "two LSTMs, both ways": (
        lambda: nn.LSTM(64, 32, 2, batch_first=True, bidirectional=True), 2 * 2 * 4 * 32 * (64 + 32),
    ),
    "GRU": (lambda: nn.GRU(64, 32, batch_first=True), 3 * 32 * (64 + 32)),
}  # fmt: skip


@pytest.mark.parametrize("kind", FUSED)
def test_what_some_machines_compute_in_one_kernel_counts_as_its_products(kind: str) -> None:
    make, a_token = FUSED[kind]
    ae = vaeaudit.Autoencoder(Tokens(make()), nn.Identity())
    fused = torch.backends.mha.get_fastpath_enabled()
    with ae.at_rest():
        assert cost_of(ae, torch.rand(2, 32, 64)).encoder == 32 * a_token
    assert torch.backends.mha.get_fastpath_enabled() == fused


def test_a_model_that_fails_counts_as_nothing_and_the_probe_says_why() -> None:
    ae = vaeaudit.Autoencoder(nn.Linear(784, 20), nn.Linear(21, 784))
    assert cost_of(ae, torch.rand(3, 784)) == Cost(encoder=0, decoder=0)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_small_model_gets_all_of_its_preset(preset: str) -> None:
    spec = PRESETS[preset]
    assert shortened(spec, Cost(encoder=4 * 10**5, decoder=4 * 10**5), EXTENT, 1e15) is spec
    assert "shortened" not in spec.settings()
    assert "probed" not in spec.settings()


@pytest.mark.parametrize("preset", PRESETS)
def test_less_work_never_measures_more(preset: str) -> None:
    amounts = [
        {k: v for k, v in dataclasses.asdict(shortened(PRESETS[preset], LARGE, EXTENT, work)).items() if isinstance(v, int)}
        for work in (1e21, 1e18, 1e17, 1e16, 1e15, 1e14, 1e13)
    ]  # fmt: skip
    first = amounts[0]
    assert first == {name: getattr(PRESETS[preset], name) for name in first}
    assert amounts[-1] != first
    for more, less in itertools.pairwise(amounts):
        grown = {name for name in less if less[name] > more[name]}
        assert grown <= {"damage_steps", "evaluations"}  # those left have more each where others are dropped
        assert all(less[name] <= first[name] for name in less)


@pytest.mark.parametrize("work", [1.0, 1e12, 1e14])
def test_what_is_cut_down_still_tells_something(work: float) -> None:
    spec = shortened(PRESETS["standard"], LARGE, EXTENT, work)
    assert spec.evaluations >= 4
    assert spec.samples >= 2
    assert spec.damaged >= 1
    assert spec.damage_steps >= 1
    assert spec.probed >= 2
    assert spec.varied >= EXTENT.images


def test_the_note_tells_the_cost_and_every_cut() -> None:
    spec = shortened(PRESETS["quick"], LARGE, EXTENT, 1e14)
    assert spec.shortened.startswith("one reconstruction takes 1.5e+12 multiply-adds, and this audit affords 1e+14: ")
    assert "samples 16 to 2" in spec.shortened
    assert "second_looks 3 to 0" in spec.shortened
    assert spec.settings()["shortened"] == spec.shortened


def test_an_audit_of_large_images_keeps_to_its_evaluations_and_says_what_it_left_out() -> None:
    report = _audit(Blurred(), SIDE, pairs=1)
    findings = {finding.name: finding for finding in report.health}
    assert "evaluations 500 to 4" in findings["shortened"].message
    assert findings["no_second_look"].severity == "invalid"
    assert findings["no_second_look"].invalidates("hinge")
    assert findings["no_second_look"].invalidates("damage")
    assert not findings["no_second_look"].invalidates("reach")
    assert "spectrum_not_computed" in findings
    strengths, phases, evaluations = 4, 3, 4
    assert 0 < report.provenance.work["targeted attack"].gradients <= strengths * phases * evaluations
    assert report.provenance.settings["samples"] == 2


def test_a_plan_that_affords_all_says_nothing_of_it() -> None:
    plan = vaeaudit.plan(vaeaudit.zoo.load("mnist-vae"), vaeaudit.zoo.images("mnist-vae"), "quick", 2, strengths=5)
    assert plan.spec is PRESETS["quick"]
    assert "shortened" not in plan.settings


def test_images_of_512_pixels_are_probed_and_differentiated_one_at_a_time() -> None:
    model = Blurred(most=2)
    plan = vaeaudit.plan(_wrapped(model), _images(512, count=2), "quick", 2, strengths=4)
    images = plan.data.pixels
    goal = LatentGoal(
        autoencoder=plan.subject, originals=images, posteriors=plan.subject.posteriors(images.flip(0)),
        divergence=DIVERGENCES["mean_l2"],
    )  # fmt: skip
    goal.with_gradient(torch.zeros_like(images).flatten(1), torch.arange(len(images)))
    assert model.refused == 0


def test_an_audit_that_runs_out_of_memory_goes_on_with_less_at_once_and_finds_the_same() -> None:
    roomy, narrow = Blurred(), Blurred(most=8)
    expected = _audit(roomy, 64, pairs=3)
    with pytest.warns(vaeaudit.FallbackWarning, match="memory ran out on cpu at 32 rows at once"):
        found = _audit(narrow, 64, pairs=3)
    assert roomy.refused == 0 < narrow.refused
    assert expected.damage is not None
    assert found.damage is not None
    assert np.isfinite(expected.curves.gap).all()
    np.testing.assert_allclose(found.curves.distortion, expected.curves.distortion, rtol=1e-4)
    np.testing.assert_allclose(found.curves.gap, expected.curves.gap, rtol=1e-4)
    np.testing.assert_allclose(found.damage.displacement, expected.damage.displacement, rtol=1e-4)


@pytest.mark.parametrize("work", [0, -1.0, True, "1e15", math.nan])
def test_work_that_is_no_amount_is_refused(work: object) -> None:
    with pytest.raises(OptionError, match="work expects a positive number of multiply-adds"):
        vaeaudit.plan(vaeaudit.zoo.load("mnist-vae"), vaeaudit.zoo.images("mnist-vae"), work=work)  # type: ignore[arg-type]

"""The audit end to end: figures, invariances, the model left as it was, survival, bad input."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import vaeaudit
from vaeaudit import spec, zoo
from vaeaudit.geometry import jacobians
from vaeaudit.measurements import damage, spectra, tradeoff
from vaeaudit.pullbacks import products_an_image
from vaeaudit.report import codec

QUICK: dict[str, Any] = {"preset": "quick", "pairs": 6}
BRIEF: dict[str, Any] = {**QUICK, "strengths": [0.1, 1.0, 10.0, 100.0]}
SHORT = dataclasses.replace(
    spec.PRESETS["quick"], samples=4, spectra=8, damaged=8, damage_steps=12, second_looks=1, queries=16, certified=2
)
"""The quick preset with fewer images and shorter searches around its targeted attack."""


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(spec.PRESETS, "quick", SHORT)
        yield


@pytest.fixture(scope="module")
def digits() -> Any:
    return zoo.images("mnist-vae")


@pytest.fixture(scope="module")
def report(digits: Any) -> vaeaudit.AuditReport:
    return vaeaudit.audit(zoo.load("mnist-vae"), digits, **QUICK)


def same_figures(a: vaeaudit.AuditReport, b: vaeaudit.AuditReport) -> bool:
    """Equal in everything but the time it took."""
    timeless = [
        dataclasses.replace(r, provenance=dataclasses.replace(r.provenance, seconds={}, work={})) for r in (a, b)
    ]
    return timeless[0] == timeless[1]


class SmallVAE(nn.Module):
    """A trained-looking linear VAE on 8x8 images, with modes to get wrong."""

    def __init__(self, *, dropout: float = 0.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        basis, _ = torch.linalg.qr(torch.randn(64, 6, generator=generator))
        self.weight = nn.Parameter(basis.T)
        self.norm = nn.BatchNorm1d(6)
        self.dropout = nn.Dropout(dropout)
        self.frozen = nn.Parameter(torch.zeros(1), requires_grad=False)

    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        mean = self.norm(self.dropout(images.flatten(1) - 0.5) @ self.weight.T)
        return [mean, torch.full_like(mean, -4.0)]

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return (latents @ self.weight + 0.5).view(-1, 1, 8, 8)


class Mean(nn.Module):
    """The mean alone, as a module that can be traced."""

    def __init__(self, model: SmallVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model.encode(images)[0]


class Failing(Dataset[torch.Tensor]):
    """A data set whose items cannot be read."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> torch.Tensor:
        raise OSError("disk on fire")


def _small_images() -> torch.Tensor:
    return torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def small_images() -> torch.Tensor:
    return _small_images()


@pytest.fixture(scope="module")
def expected() -> vaeaudit.AuditReport:
    """The short audit of the small model at the small images."""
    return vaeaudit.audit(SmallVAE().eval(), _small_images(), **BRIEF)


# what a report holds


def test_every_score_is_an_estimate_whose_interval_holds_its_value(report: vaeaudit.AuditReport) -> None:
    scores = report.scores()
    assert {"hinge", "auddc", "reach", "damage", "encoder.condition_number", "round_trip.active_units"} <= set(scores)
    for name, score in scores.items():
        assert score.low <= score.value <= score.high, name
        assert score.n > 0, name


def test_a_report_says_where_the_time_went(report: vaeaudit.AuditReport) -> None:
    source = report.provenance
    assert list(source.seconds) == [
        *(
            "planning",
            "probe",
            "activity",
            "targeted attack",
            "pullback spectra",
            "untargeted attack",
            "local prediction",
            "second look",
            "all attacks",
            "certificates",
        ),
    ]
    for attack in ("targeted attack", "untargeted attack"):
        assert 0 < source.work[attack].model_seconds < source.seconds[attack]
    assert source.work["targeted attack"].gradients >= report.curves.evaluations.sum()
    assert source.work["activity"].gradients == 0


def test_a_healthy_model_gets_no_finding_that_invalidates(report: vaeaudit.AuditReport) -> None:
    assert [finding for finding in report.health if finding.severity == "invalid"] == []
    assert all(score.trusted for score in report.scores().values())


def test_the_gap_starts_near_one_and_ends_near_zero(report: vaeaudit.AuditReport) -> None:
    gap = report.curves.gap
    assert np.nanmedian(gap[:, -1]) > 0.9
    assert abs(np.nanmedian(gap[:, 0])) < 0.05


def test_distortion_falls_and_divergence_rises_with_the_strength(report: vaeaudit.AuditReport) -> None:
    curves = report.curves
    assert (np.diff(curves.strengths) > 0).all()
    assert (np.diff(curves.distortion, axis=1) < 1e-3).all()
    assert (np.diff(curves.divergence, axis=1) > -1e-3 * curves.divergence[:, 1:] - 1e-3).all()


def test_objective_is_divergence_plus_strength_times_squared_distortion(
    report: vaeaudit.AuditReport, digits: Any
) -> None:
    curves, (images, _) = report.curves, digits
    spans = (images[curves.originals] - images[curves.targets]).flatten(1).norm(dim=1).numpy()
    squares = (curves.distortion * spans[:, None]) ** 2
    np.testing.assert_allclose(curves.objective, curves.divergence + curves.strengths * squares, rtol=1e-5)


def test_pairs_differ_in_label_and_are_positions_in_the_users_data(report: vaeaudit.AuditReport, digits: Any) -> None:
    images, labels = digits
    assert (labels[report.curves.originals] != labels[report.curves.targets]).all()
    assert report.gallery is not None
    shown = images[report.curves.originals[report.gallery.pairs]].numpy()
    np.testing.assert_array_equal(report.gallery.originals, shown)


def test_the_gallery_shows_adversarials_inside_the_bounds_at_their_distortion(report: vaeaudit.AuditReport) -> None:
    gallery = report.gallery
    assert gallery is not None
    assert gallery.adversarials.min() >= 0
    assert gallery.adversarials.max() <= 1
    moved = np.linalg.norm(
        (gallery.adversarials - gallery.originals[:, None]).reshape(len(gallery.pairs), -1, 784), axis=2
    )
    spans = np.linalg.norm((gallery.originals - gallery.targets).reshape(len(gallery.pairs), -1), axis=1)
    expected = report.curves.distortion[gallery.pairs][:, gallery.strengths]
    np.testing.assert_allclose(moved / spans[:, None], expected, rtol=1e-4)


def test_the_gallery_shows_what_the_untargeted_attack_did_at_every_budget(report: vaeaudit.AuditReport) -> None:
    assert report.gallery is not None
    assert report.damage is not None
    shown = report.gallery.untargeted
    assert shown is not None
    np.testing.assert_array_equal(shown.images, report.damage.images[: len(shown.images)])
    np.testing.assert_array_equal(shown.displacement, report.damage.displacement[: len(shown.images)])
    moved = (shown.adversarials - shown.originals[:, None]).reshape(*shown.displacement.shape, -1)
    assert (np.linalg.norm(moved, axis=2) <= shown.radii * (1 + 1e-5)).all()
    changed = (shown.reconstructions - shown.original_reconstructions[:, None]).reshape(*shown.displacement.shape, -1)
    np.testing.assert_allclose(np.linalg.norm(changed, axis=2), shown.displacement, rtol=1e-4)


def test_the_table_of_pairs_has_their_distances_and_labels(report: vaeaudit.AuditReport, digits: Any) -> None:
    curves, (images, labels) = report.curves, digits
    assert curves.spans is not None
    spans = (images[curves.originals] - images[curves.targets]).flatten(1).norm(dim=1).numpy()
    np.testing.assert_allclose(curves.spans, spans, rtol=1e-5)
    expected = np.stack([labels[curves.originals], labels[curves.targets]], axis=1)
    np.testing.assert_array_equal(curves.labels, expected)


def test_damage_grows_with_the_budget_and_is_damage_per_radius_as_gain(report: vaeaudit.AuditReport) -> None:
    damage = report.damage
    assert damage is not None
    assert (np.diff(damage.displacement, axis=1) >= 0).all()
    for radius, displaced, gain in zip(damage.radii, damage.estimates, damage.gains, strict=True):
        assert gain.value == pytest.approx(displaced.value / radius)


def test_a_report_survives_saving_and_loading(report: vaeaudit.AuditReport, tmp_path: Path) -> None:
    assert vaeaudit.load(report.save(tmp_path)) == report


def test_collapsed_units_leave_the_condition_number_finite(digits: Any) -> None:
    report = vaeaudit.audit(zoo.load("mnist-vae-beta10"), digits, **BRIEF)
    assert report.encoder is not None
    assert report.encoder.active_units.value < 20
    assert report.encoder.condition_number.value < 100


def test_a_deterministic_autoencoder_is_audited_by_squared_distance(digits: Any) -> None:
    report = vaeaudit.audit(zoo.load("mnist-ae"), digits, **BRIEF)
    assert report.provenance.settings["divergence"] == "mean_l2"
    assert report.encoder is not None
    assert report.encoder.metric == "mean"


def test_the_identity_has_the_straight_line_to_the_target(small_images: torch.Tensor) -> None:
    identity = vaeaudit.Autoencoder(lambda x: x.flatten(1) * 1.0, lambda z: z.view(-1, 1, 8, 8))
    report = vaeaudit.audit(identity, small_images, **QUICK)
    assert report.hinge.value == pytest.approx(1.0, abs=0.01)
    assert report.auddc.value == pytest.approx(0.5, abs=0.01)
    assert report.damage is not None
    assert [gain.value for gain in report.damage.gains] == pytest.approx([1.0, 1.0, 1.0], rel=1e-3)
    assert report.round_trip is not None
    assert report.round_trip.condition_number.value == pytest.approx(1.0)


# the same figures again


def test_another_seed_draws_other_pairs(small_images: torch.Tensor) -> None:
    one, other = (vaeaudit.plan(SmallVAE().eval(), small_images, **QUICK, seed=seed).drawn for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_no_strength_has_a_solution_that_another_betters(report: vaeaudit.AuditReport, digits: Any) -> None:
    curves = report.curves
    assert len(curves.strengths) > spec.PRESETS["quick"].strengths, "several calls of the attack must have met"
    images = digits[0].flatten(1).double().numpy()
    spans = np.linalg.norm(images[curves.originals] - images[curves.targets], axis=1)
    squares = (curves.distortion * spans[:, None]) ** 2
    cost = curves.divergence[:, None] + curves.strengths[:, None] * squares[:, None]
    assert (cost.min(2) >= curves.objective * (1 - 1e-4)).all()
    assert (np.diff(curves.distortion) <= 1e-3).all(), "distortion falls with C"
    np.testing.assert_allclose(curves.objective, np.diagonal(cost, axis1=1, axis2=2), rtol=1e-5)


def test_the_automatic_series_is_made_denser_only_between_its_ends(
    small_images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def series(**fewer: int) -> Any:
        monkeypatch.setitem(spec.PRESETS, "quick", dataclasses.replace(quick, **fewer))
        return vaeaudit.audit(SmallVAE().eval(), small_images, **QUICK).curves.strengths

    quick = dataclasses.replace(SHORT, second_looks=0, damaged=2)
    full, first = series(), series(between=0, extensions=0)
    assert len(first) == quick.strengths
    assert np.isin(first, full).all()
    assert quick.strengths < len(full) <= quick.strengths + quick.between + 5 * quick.extensions


def test_order_company_and_number_of_pairs_solved_together_change_nothing(
    digits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(spec.PRESETS, "quick", dataclasses.replace(SHORT, damaged=12, spectra=12, second_looks=0))
    brief = vaeaudit.audit(zoo.load("mnist-vae"), digits, **BRIEF)
    monkeypatch.setattr(tradeoff, "pairs_at_once", lambda images, strengths: 3)
    for room in (damage, spectra):
        monkeypatch.setattr(room, "IMAGES_AT_ONCE", 5)
    pairs = list(zip(brief.curves.originals.tolist(), brief.curves.targets.tolist(), strict=True))
    other = vaeaudit.audit(zoo.load("mnist-vae"), digits, **{**BRIEF, "pairs": pairs[:2:-1]})
    for name in ("objective", "hinge", "auddc"):
        np.testing.assert_allclose(getattr(other.curves, name), getattr(brief.curves, name)[:2:-1], rtol=1e-6)
    assert other.damage is not None
    assert brief.damage is not None
    shared, here, there = np.intersect1d(other.damage.images, brief.damage.images, return_indices=True)
    assert len(shared) >= 5
    np.testing.assert_allclose(other.damage.displacement[here], brief.damage.displacement[there], rtol=1e-6)
    assert other.encoder is not None
    assert brief.encoder is not None
    shared, here, there = np.intersect1d(other.encoder.images, brief.encoder.images, return_indices=True)
    assert len(shared) >= 5
    leading = (part.encoder.eigenvalues[rows, 0] for part, rows in ((other, here), (brief, there)))
    np.testing.assert_allclose(*leading, rtol=1e-6)


@pytest.mark.parametrize(
    "source",
    [
        lambda x: x.numpy(),
        lambda x: TensorDataset(x),
        lambda x: DataLoader(TensorDataset(x), batch_size=7),
    ],
    ids=["array", "dataset", "loader"],
)
def test_the_form_of_the_data_changes_no_figure(
    source: Callable[[Any], Any], small_images: torch.Tensor, expected: vaeaudit.AuditReport
) -> None:
    assert same_figures(vaeaudit.audit(SmallVAE().eval(), source(small_images), **BRIEF), expected)


# the user's model is sacred


def snapshot(model: nn.Module) -> dict[str, Any]:
    return {
        "state": {k: v.clone() for k, v in model.state_dict().items()},
        "modes": [m.training for m in model.modules()],
        "grads": [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()],
        "hooks": [len(m._forward_hooks) + len(m._backward_hooks) for m in model.modules()],
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),
        "torch": torch.get_rng_state().tolist(),
        "cudnn": (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark),
        "grad mode": torch.is_grad_enabled(),
    }


def test_a_training_model_is_audited_in_evaluation_mode_and_comes_back_as_it_was(
    small_images: torch.Tensor, expected: vaeaudit.AuditReport
) -> None:
    model = SmallVAE(dropout=0.5).train()
    model.norm.eval()
    model.weight.grad = torch.ones_like(model.weight)
    before = snapshot(model)
    report = vaeaudit.audit(model, small_images, **BRIEF)
    after = snapshot(model)
    states = before.pop("state"), after.pop("state")
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    gradients = before.pop("grads"), after.pop("grads")
    assert all(a[0] == b[0] and codec.equal(a[1] is None, b[1] is None) for a, b in zip(*gradients, strict=True))
    assert after == before
    (finding,) = [f for f in report.health if f.name == "training_mode"]
    assert "Dropout" in finding.message
    assert same_figures(report, dataclasses.replace(expected, health=report.health))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_an_audit_works_where_the_caller_has_switched_gradients_off(
    mode: Any, small_images: torch.Tensor, expected: vaeaudit.AuditReport
) -> None:
    model = SmallVAE().eval()
    with mode():
        assert same_figures(vaeaudit.audit(model, small_images, **BRIEF), expected)


def test_a_model_may_work_in_place_without_touching_the_users_images(
    small_images: torch.Tensor, expected: vaeaudit.AuditReport
) -> None:
    model = SmallVAE().eval()
    before = small_images.clone()
    in_place = vaeaudit.Autoencoder(
        lambda x: model.encode(x.mul_(2).div_(2)), lambda z: model.decode(z.add_(1).sub_(1)), modules=(model,)
    )
    report = vaeaudit.audit(in_place, small_images, **BRIEF)
    assert torch.equal(small_images, before)
    np.testing.assert_allclose(report.curves.hinge, expected.curves.hinge, rtol=1e-2)


def test_a_model_that_raises_in_the_middle_comes_back_as_it_was(small_images: torch.Tensor) -> None:
    model = SmallVAE().train()
    calls = iter(range(10**6))

    def encoder(images: torch.Tensor) -> Any:
        if next(calls) > 30:
            raise RuntimeError("the disk is on fire")
        return model.encode(images)

    with pytest.raises(vaeaudit.ModelError, match=r"encoder failed on inputs of shape .* the disk is on fire"):
        vaeaudit.audit(vaeaudit.Autoencoder(encoder, model.decode), small_images, **QUICK)
    assert model.training
    assert model.weight.requires_grad


# survival


def test_an_interrupted_audit_goes_on_and_repeats_every_figure_of_one_that_was_not(
    report: vaeaudit.AuditReport, digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**QUICK, "checkpoint": tmp_path / "partial"}
    model = zoo.load("mnist-vae")

    def interrupt(measurement: str, finished: int, total: int) -> None:
        if measurement == "untargeted attack":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vaeaudit.audit(model, digits, progress=interrupt, **options)
    kept = sorted(path.name for path in (tmp_path / "partial").iterdir())
    assert {name.split("-")[0] for name in kept} == {"tradeoff", "spectra"}
    monkeypatch.setattr(tradeoff, "_tradeoff", lambda *_, **__: pytest.fail("what was finished is attacked again"))
    resumed = vaeaudit.audit(model, digits, **options)
    assert same_figures(resumed, report)


def test_finished_measurements_of_another_seed_are_not_used(small_images: torch.Tensor, tmp_path: Path) -> None:
    model, options = SmallVAE().eval(), {**BRIEF, "pairs": [(row, row + 1) for row in range(6)]}

    def interrupt(measurement: str, finished: int, total: int) -> None:
        if measurement == "untargeted attack":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vaeaudit.audit(model, small_images, **options, checkpoint=tmp_path, progress=interrupt)
    other = vaeaudit.audit(model, small_images, **options, seed=1, checkpoint=tmp_path)
    assert same_figures(other, vaeaudit.audit(model, small_images, **options, seed=1))


def test_finished_measurements_of_changed_code_or_another_scale_are_not_used(
    small_images: torch.Tensor, tmp_path: Path
) -> None:
    model = SmallVAE().eval()

    def audited(factor: float, scale: str, checkpoint: Path | None) -> vaeaudit.AuditReport:
        changed = vaeaudit.Autoencoder(
            lambda x: (model.encode(x)[0], torch.full((len(x), 6), 0.2)),
            lambda z: factor * model.decode(z), scale=scale, modules=(model,),
        )  # fmt: skip
        return vaeaudit.audit(changed, small_images, **BRIEF, checkpoint=checkpoint)

    audited(1.0, "std", tmp_path)
    for factor, scale in ((0.5, "std"), (1.0, "variance")):
        report = audited(factor, scale, tmp_path)
        assert same_figures(report, audited(factor, scale, None))
        assert report.provenance.settings["scale"] == scale


# bad input


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        (lambda x: x[:0], {}, vaeaudit.DataError, "the data are empty"),
        (lambda x: x[:1], {}, vaeaudit.DataError, "one image only"),
        (lambda x: x * torch.nan, {}, vaeaudit.DataError, "20 of 20 images hold NaN"),
        (lambda x: x * 255, {}, vaeaudit.DataError, r"range over \[.*\], outside the bounds .* 8-bit pixels"),
        (lambda x: x * 2 - 1, {}, vaeaudit.DataError, r"pass bounds=\(-1, 1\)"),
        (lambda x: x, {"pairs": 21}, vaeaudit.DataError, "pairs=21 cannot be drawn: 20 images allow 1 to 20"),
        (lambda x: x, {"preset": "fast"}, vaeaudit.OptionError, "unknown preset 'fast'; choose one of quick, standard"),
        (lambda x: x, {"divergence": "kld"}, vaeaudit.OptionError, "unknown divergence 'kld'; choose one of kl"),
        (lambda x: x, {"penalty": "l1"}, vaeaudit.OptionError, "unknown penalty 'l1'; choose one of l2_squared, l2"),
        (lambda x: x, {"strengths": "tabacof"}, vaeaudit.OptionError, "unknown strengths 'tabacof'; choose one of"),
        (lambda x: x, {"strengths": ["a"]}, vaeaudit.OptionError, "strengths expects a list of finite numbers"),
        (lambda x: x, {"strengths": [1.0, 2.0, 2.0, 3.0]}, vaeaudit.OptionError, "at least 4 different values of C"),
        (lambda x: x, {"strengths": True}, vaeaudit.OptionError, "strengths expects numbers"),
        (lambda x: x, {"pairs": [(0, 1), (0, 1)]}, vaeaudit.DataError, "given more than once"),
        (lambda x: x, {"device": "meta"}, vaeaudit.ModelError, "which meta does not compute"),
        (lambda x: DataLoader(Failing()), {}, vaeaudit.DataError, "the DataLoader failed: OSError: disk on fire"),
        (lambda x: Failing(), {}, vaeaudit.DataError, "item 0 of the Failing failed: OSError: disk on fire"),
        (lambda x: x, {"device": "cuda:99"}, vaeaudit.ModelError, "device 'cuda:99' cannot be used here"),
        (lambda x: x, {"seed": -1}, vaeaudit.OptionError, "seed expects an integer"),
        (lambda x: (x, np.zeros(20)), {}, vaeaudit.DataError, "all 20 images have the label 0"),
    ],
)
def test_bad_input_gets_its_own_error(
    change: Callable[[Any], Any], options: Any, error: type, message: str, small_images: torch.Tensor
) -> None:
    with pytest.raises(error, match=message):
        vaeaudit.audit(SmallVAE().eval(), change(small_images), **{"preset": "quick", **options})


@pytest.mark.parametrize(
    "options",
    [
        {"strengths": 3}, {"strengths": [1.0, 2.0, 2.0, 3.0]}, {"strengths": "tabacof"}, {"divergence": "kld"},
        {"penalty": "l1"}, {"precision": "half"}, {"work": 0}, {"seed": -1},
    ],
    ids=str,
)  # fmt: skip
def test_a_costly_model_is_not_called_for_options_that_no_audit_takes(options: Any) -> None:
    def called(_: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the model was called")

    def images() -> Any:
        raise AssertionError("the images were loaded")
        yield

    with pytest.raises(vaeaudit.OptionError, match=r"expects|unknown"):
        vaeaudit.audit((called, called), images(), "quick", **options)


def broken(encoder: Callable[[SmallVAE, torch.Tensor], Any]) -> vaeaudit.Autoencoder:
    model = SmallVAE().eval()
    return vaeaudit.Autoencoder(lambda x: encoder(model, x), model.decode, modules=(model,))


@pytest.mark.parametrize(
    ("encoder", "error", "message"),
    [
        (lambda m, x: [*m.encode(x), x], vaeaudit.EncoderOutputError, "a list of 3 .* in one of two ways"),
        (lambda m, x: [t.detach() for t in m.encode(x)], vaeaudit.GradientError, "detached"),
        (lambda m, x: m.encode(x)[0] * torch.nan, vaeaudit.ModelError, "encoder returned NaN"),
        (lambda m, x: m.encode(x)[0][:, :5], vaeaudit.ModelError, "do not fit together"),
        (lambda m, x: torch.cat(m.encode(x), 1), vaeaudit.EncoderOutputError, "side by side"),
        (
            lambda m, x: m.encode(x)[0] * 0 + x.sum() * 0,
            vaeaudit.GradientError,
            "gives originals and targets the same posterior",
        ),
        (lambda m, x: m.encode((x - x.detach()).sqrt() + x)[0], vaeaudit.GradientError, "NaN or infinite"),
    ],
)
def test_a_broken_encoder_gets_its_own_error(
    encoder: Callable[..., Any], error: type, message: str, small_images: torch.Tensor
) -> None:
    with pytest.raises(error, match=message):
        vaeaudit.audit(broken(encoder), small_images, **QUICK)


def test_nan_on_an_image_beyond_the_first_few_is_named(small_images: torch.Tensor) -> None:
    worst = small_images[17]

    def encoder(model: SmallVAE, x: torch.Tensor) -> torch.Tensor:
        bad = (x == worst).flatten(1).all(1)
        return model.encode(x)[0].masked_fill(bad[:, None], torch.nan)

    with pytest.raises(vaeaudit.ModelError, match="encoder returned NaN or infinite values for image 17"):
        vaeaudit.audit(broken(encoder), small_images, **QUICK)


def test_a_duplicated_latent_unit_gives_a_lower_bound_on_the_condition_number(small_images: torch.Tensor) -> None:
    model = SmallVAE().eval()
    twice = vaeaudit.Autoencoder(
        lambda x: model.encode(x)[0][:, [0, 0, 1, 2, 3, 4, 5]], lambda z: model.decode(z[:, 1:]), modules=(model,)
    )
    report = vaeaudit.audit(twice, small_images, **BRIEF)
    assert report.encoder is not None
    assert report.encoder.condition_number.high == np.inf
    assert "condition_number_unresolved" in {finding.name for finding in report.health}
    (verdict,) = report.check(condition_number=vaeaudit.at_most(1e9))
    assert verdict.outcome == "INCONCLUSIVE"


@pytest.mark.filterwarnings("ignore")  # torch warns of its own compilers
@pytest.mark.parametrize("compiled", ["traced", "aot_eager"])
def test_compiled_encoders_are_audited_like_plain_ones(compiled: str, small_images: torch.Tensor) -> None:
    model = SmallVAE().eval()

    def mean(x: torch.Tensor) -> torch.Tensor:
        return model.encode(x)[0]

    traced = (
        torch.jit.trace(Mean(model), small_images) if compiled == "traced" else torch.compile(mean, backend=compiled)
    )
    report = vaeaudit.audit(vaeaudit.Autoencoder(traced, model.decode, modules=(model,)), small_images, **BRIEF)
    expected = vaeaudit.audit(vaeaudit.Autoencoder(mean, model.decode), small_images, **BRIEF)
    np.testing.assert_allclose(report.curves.hinge, expected.curves.hinge, rtol=1e-2)


def test_a_stochastic_encoder_makes_the_verdict_invalid(small_images: torch.Tensor) -> None:
    def encoder(model: SmallVAE, x: torch.Tensor) -> torch.Tensor:
        mean = model.encode(x)[0]
        return mean + 0.1 * torch.randn_like(mean)

    report = vaeaudit.audit(broken(encoder), small_images, **BRIEF)
    assert "stochastic_encoder" in {finding.name for finding in report.health}
    (verdict,) = report.check(hinge=vaeaudit.at_least(0.0))
    assert verdict.outcome == "INVALID"


def test_a_bar_on_a_score_that_was_not_measured_is_invalid(
    small_images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jacobians, "SMALL_SIDE", 2)
    monkeypatch.setitem(spec.PRESETS, "quick", dataclasses.replace(SHORT, jacobian_rows=2000))
    report = vaeaudit.audit(SmallVAE().eval(), small_images, **BRIEF)
    assert report.encoder is None
    (finding,) = [finding for finding in report.health if finding.name == "spectrum_not_computed"]
    assert "1250 rows of Jacobians or products with them an image, and this preset affords 2000" in finding.message
    (verdict,) = report.check(condition_number=vaeaudit.at_most(100))
    assert verdict.outcome == "INVALID"


class ConvolutionalVAE(nn.Module):
    """4 x 4 x 4 latents of 1 x 8 x 8 images."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.down = nn.Sequential(nn.Conv2d(1, 8, 4, stride=2, padding=1), nn.SiLU(), nn.Conv2d(8, 8, 1))
            self.up = nn.Sequential(nn.Conv2d(4, 8, 1), nn.SiLU(), nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1))
        self.down[2].weight.data[:4] *= 8
        self.up[2].weight.data *= 4

    def encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_variance = self.down(images).chunk(2, 1)
        return mean, log_variance - 3

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self.up(latents).sigmoid()


def test_spectra_too_large_to_be_decomposed_come_from_products(
    small_images: torch.Tensor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images, options = small_images.repeat(2, 1, 1, 1)[:24], {**QUICK, "strengths": [0.01, 0.1, 1.0, 10.0]}
    few = dataclasses.replace(SHORT, second_looks=0, probe_steps=8)
    fewer = dataclasses.replace(few, jacobian_rows=6 * products_an_image(few.probes, few.probe_steps))
    monkeypatch.setitem(spec.PRESETS, "quick", fewer)
    exact = vaeaudit.audit(ConvolutionalVAE().eval(), images, **options)
    monkeypatch.setattr(jacobians, "SMALL_SIDE", 20)
    report = vaeaudit.audit(ConvolutionalVAE().eval(), images, **options)
    assert "spectrum_estimated" in {finding.name for finding in report.health}
    assert "spectrum_estimated" not in {finding.name for finding in exact.health}
    for part in ("encoder", "decoder", "round_trip"):
        found, known = getattr(report, part), getattr(exact, part)
        rows = [known.images.tolist().index(image) for image in found.images]
        assert len(rows) == 6
        for score, tolerance in (("spectral_radius", 1e-2), ("von_neumann_entropy", 0.1), ("trace", 0.3)):
            np.testing.assert_allclose(found.per_image[score], known.per_image[score][rows], rtol=tolerance)
        assert (found.per_image["condition_number"] <= known.per_image["condition_number"][rows] * 1.001).all()
    assert report.local is not None
    np.testing.assert_allclose(report.local.latent.predicted, exact.local.latent.predicted[:2], rtol=1e-2)
    assert vaeaudit.load(report.save(tmp_path)) == report


def test_an_extension_keeps_its_way_to_spectra_and_its_images(
    small_images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the pairs would afford decomposing; the first ones did not."""
    images = small_images.repeat(2, 1, 1, 1)[:24]
    few = dataclasses.replace(SHORT, pairs=4, spectra=4, jacobian_rows=1600, probes=2, probe_steps=3, second_looks=0)
    monkeypatch.setattr(spectra, "ROWS_A_UNIT", 8)
    monkeypatch.setitem(spec.PRESETS, "quick", few)
    plan = vaeaudit.plan(ConvolutionalVAE().eval(), images, preset="quick", pairs=4, most_pairs=8)
    first, more = plan.report(), plan.report(8)
    for report in (first, more):
        assert "spectrum_estimated" in {finding.name for finding in report.health}
    assert first.encoder is not None
    assert more.encoder is not None
    assert set(first.encoder.images) < set(more.encoder.images)
    again = more.encoder.per_image["trace"][: len(first.encoder.images)]
    np.testing.assert_array_equal(again, first.encoder.per_image["trace"])


def test_given_pairs_that_share_their_original_settle_nothing(small_images: torch.Tensor) -> None:
    pairs = [(0, target) for target in range(1, 8)]
    report = vaeaudit.audit(SmallVAE().eval(), small_images, preset="quick", pairs=pairs, strengths=6)
    (verdict,) = report.check(reach=vaeaudit.at_least(-1e6))
    assert verdict.outcome == "INVALID"
    assert "the 7 pairs have only 1 different original:" in verdict.reason


def test_two_images_carry_figures_but_no_interval(small_images: torch.Tensor) -> None:
    report = vaeaudit.audit(SmallVAE().eval(), small_images[:2], preset="quick")
    assert report.hinge.n == 2
    assert (report.hinge.low, report.hinge.high) == (-np.inf, np.inf)
    assert "too_few_pairs" in {finding.name for finding in report.health}
    (verdict,) = report.check(hinge=vaeaudit.at_least(0.01))
    assert verdict.outcome == "INCONCLUSIVE"


def test_a_model_that_ignores_its_input_has_nothing_to_attack(small_images: torch.Tensor) -> None:
    same = small_images[:1].expand(10, -1, -1, -1)
    with pytest.raises(vaeaudit.GradientError, match="gives originals and targets the same posterior"):
        vaeaudit.audit(SmallVAE().eval(), same, **QUICK)


def test_curves_of_ones_own_series_that_do_not_saturate_are_left_so_and_never_a_pass(
    small_images: torch.Tensor,
) -> None:
    high = [10.0, 20.0, 50.0, 100.0]
    report = vaeaudit.audit(SmallVAE().eval(), small_images, **QUICK, strengths=high)
    assert report.curves.strengths.tolist() == high, "it is neither lowered nor made denser"
    assert report.curves.censored.any()
    assert "curves_not_saturating" in {finding.name for finding in report.health}
    verdicts = report.check(hinge=vaeaudit.at_least(0.1), auddc=vaeaudit.at_least(0.1))
    assert [verdict.outcome for verdict in verdicts] == ["INVALID", "INVALID"]

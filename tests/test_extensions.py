"""Plugins are checked where they are registered, named where they fail, and never believed without a look."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vaeaudit
from vaeaudit import Autoencoder, OptionError, PluginError, attacks, extensions, run, score_names, spec, wrap
from vaeaudit.checkpoint import Checkpoint
from vaeaudit.health import Check, Finding
from vaeaudit.health.finding import found
from vaeaudit.health.measured import findings_of_originals
from vaeaudit.hookspecs import Attack, HealthCheck, Score, Seen, hookimpl
from vaeaudit.identity import versions_beside
from vaeaudit.measurements.bench import Bench
from vaeaudit.measurements.plugin_attacks import PluginAttack
from vaeaudit.measurements.plugin_checks import plugin_findings
from vaeaudit.measurements.plugin_scores import plugin_scores, spoiled_too
from vaeaudit.report.pages.html import render

ABOUT = Check(severity="warning", measured="m", threshold="t", cause="a cause", consequence="so what", remedy="mend it")
OPTIONS: dict[str, Any] = {"preset": "quick", "pairs": 6, "strengths": [0.1, 1.0, 10.0, 100.0]}
SMALL = dataclasses.replace(
    spec.PRESETS["quick"], pairs=6, family=6, family_steps=5, family_restarts=0, queries=8, second_looks=1, spectra=4,
    damaged=6, damage_steps=5,
)  # fmt: skip


class Linear(nn.Module):
    """Four latents of 16 pixels in [0, 1]; the reconstruction moves by exactly what the four directions move."""

    def __init__(self) -> None:
        super().__init__()
        basis, _ = torch.linalg.qr(torch.randn(16, 4, generator=torch.Generator().manual_seed(0)))
        self.basis = nn.Parameter(basis)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = x.flatten(1) @ self.basis
        return mean, torch.full_like(mean, -6.0)

    def decode(self, z: Tensor) -> Tensor:
        return (z @ self.basis.T).view(-1, 1, 4, 4)


IMAGES = torch.rand(14, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def brightness(ae: Autoencoder, images: Tensor) -> Tensor:
    return images.flatten(1).mean(1)


def apart(ae: Autoencoder, originals: Tensor, targets: Tensor) -> Tensor:
    return (originals - targets).flatten(1).norm(dim=1)


@contextlib.contextmanager
def registered(name: str = "mine", distribution: str = "its-package 1.2", **added: Any) -> Iterator[None]:
    extensions.active().register(_made(**added), name, distribution=distribution)
    try:
        yield
    finally:
        extensions.active().unregister(name)


def _made(**added: Any) -> ModuleType:
    """A plugin whose hooks are these functions, or return these values."""
    made = ModuleType("made")
    for hook, value in added.items():
        if callable(value):
            setattr(made, hook, hookimpl(value))
        else:
            setattr(made, hook, hookimpl(_returning(value)))
    return made


def _returning(value: Any) -> Any:
    def hook() -> Any:
        return value

    return hook


def _audit(**options: Any) -> vaeaudit.AuditReport:
    return vaeaudit.audit(wrap(Linear().eval()), IMAGES, **{**OPTIONS, **options})


SCORES = [
    Score(name="brightness", measure=brightness, unit="mean of input", least=0.0, most=1.0, says="How <b>bright</b>."),
    Score(name="apart", measure=apart, per="pair", statistic="mean", higher_is_better=True, least=0.0),
]


@pytest.fixture(scope="module")
def measured() -> tuple[vaeaudit.AuditReport, Bench]:
    """One audit with two scores and a check of a plugin, and what it was measured on; the plugin is gone afterwards."""
    look = HealthCheck(name="looked", about=ABOUT, look=lambda report: [Seen(severity="warning", message="I saw it.")])
    benches: list[Bench] = []

    def seen(bench: Bench) -> Any:
        benches.append(bench)
        return plugin_scores(bench)

    with pytest.MonkeyPatch.context() as patch, registered(scores=SCORES, checks=[look]):
        patch.setitem(spec.PRESETS, "quick", SMALL)
        patch.setattr(run, "plugin_scores", seen)
        return _audit(suppress=("mine.looked",)), benches[0]


@pytest.fixture
def report(measured: tuple[vaeaudit.AuditReport, Bench]) -> vaeaudit.AuditReport:
    """Its report."""
    return measured[0]


@pytest.fixture
def bench(measured: tuple[vaeaudit.AuditReport, Bench]) -> Iterator[Bench]:
    """Its bench, with the model at rest."""
    with measured[1].ae.at_rest():
        yield measured[1]


def test_checks_can_be_set_aside_before_anything_else_has_asked_for_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    ae = wrap(Linear().eval())
    monkeypatch.setattr(extensions, "_ACTIVE", [])
    look = HealthCheck(name="looked", about=ABOUT, look=lambda report: [])

    def loaded(wanted: str | None) -> extensions.Extensions:
        found = extensions.Extensions()
        found.register(_made(checks=[look]), "installed")
        return found

    monkeypatch.setattr(extensions, "_loaded", loaded)
    try:
        assert vaeaudit.plan(ae, IMAGES, suppress=("installed.looked",), **OPTIONS).suppress == ("installed.looked",)
    finally:
        extensions.active().unregister("installed")


# where it is registered

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a hook that there is not": ({"scorse": []}, "unknown hook 'scorse'"),
    "an argument that its hook has not": ({"recognise": lambda modell: None}, "modell"),
    "no list": ({"scores": 3}, "scores must return a list of Score, got 3"),
    "something else in it": ({"attacks": SCORES}, r"attacks must return a list of Attack, got Score\("),
    "two of one name": ({"scores": [SCORES[0], SCORES[0]]}, "scores returned two of the name 'brightness'"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_a_plugin_adds_is_checked_when_it_is_registered(case: str) -> None:
    added, message = WRONG[case]
    with pytest.raises(
        PluginError, match=rf"(?s)plugin 'mine' \(its-package 1.2\) failed while it was registered.*{message}"
    ):
        extensions.active().register(_made(**added), "mine", distribution="its-package 1.2")
    assert "mine" not in extensions.active().plugins
    with registered(scores=SCORES):
        assert [score.name for _, score in extensions.active().scores()] == ["brightness", "apart"]


@pytest.mark.parametrize("name", ["encoder", "vaeaudit", "none", "Mine", "my-plugin", "", "a.b"])
def test_a_plugin_is_called_as_a_score_can_begin(name: str) -> None:
    with pytest.raises(PluginError, match=r"cannot be called|small letters, digits and underscores"):
        extensions.active().register(_made(scores=[]), name)


def test_two_plugins_cannot_go_by_one_name() -> None:
    with registered(), pytest.raises(PluginError, match=r"plugin 'mine' \(its-package 1.2\) goes by the same name"):
        extensions.active().register(_made(), "mine")


def test_what_is_not_registered_cannot_be_taken_out() -> None:
    with pytest.raises(OptionError, match="no plugin 'nobody' is registered"):
        extensions.active().unregister("nobody")


INVALID: dict[str, tuple[Any, str]] = {
    "a name for a table": (lambda: Score(name="Bright ness", measure=brightness), "small letters"),
    "no function": (lambda: Score(name="x", measure=3), "Score 'x' expects a function, got 3"),
    "per": (lambda: Score(name="x", measure=apart, per="batch"), "per expects one of image, pair, got 'batch'"),
    "ends": (lambda: Score(name="x", measure=apart, least=1.0, most=1.0), "least must lie below most"),
    "direction": (lambda: Score(name="x", measure=apart, higher_is_better="yes"), "higher_is_better expects a bool"),
    "aim": (lambda: Attack(name="x", run=apart, aim="random"), "aim expects one of untargeted, targeted"),
    "norms": (lambda: Attack(name="x", run=apart, norms=("l3",)), "norms expects one of l2, linf, got 'l3'"),
    "no norm": (lambda: Attack(name="x", run=apart, norms=()), "norms expects a tuple"),
    "about": (lambda: HealthCheck(name="x", about="it", look=apart), "about expects a vaeaudit.health.Check"),
    "nothing affected": (lambda: Seen(severity="invalid", message="m"), "the scores it affects where it is invalid"),
    "severity": (lambda: Seen(severity="bad", message="m"), "severity expects one of info, warning, invalid"),
    "no message": (lambda: Seen(severity="info", message=""), "Seen expects a message"),
}  # fmt: skip


@pytest.mark.parametrize("case", INVALID)
def test_what_hooks_return_is_checked_where_it_is_made(case: str) -> None:
    make, message = INVALID[case]
    with pytest.raises(OptionError, match=message):
        make()


# recognising


def test_plugins_are_asked_before_the_adapters_and_what_the_user_says_holds() -> None:
    def recognise(model: Any, name: str) -> Autoencoder | None:
        return Autoencoder(model.encode, model.decode, (0.0, 2.0), name=f"mine {name}", modules=(model,))

    model = Linear()
    with registered(recognise=recognise):
        assert wrap(model).name == "mine "
        assert wrap(model).bounds == (0.0, 2.0)
        said = wrap(model, (-1.0, 1.0), name="said", scale="std")
        assert (said.bounds, said.name, said.scale) == ((-1.0, 1.0), "said", "std")
    assert wrap(model).name == "Linear"


def test_a_plugin_that_knows_nothing_leaves_the_model_to_others() -> None:
    with registered(recognise=lambda model: None):
        assert wrap(Linear()).name == "Linear"


@pytest.mark.parametrize(
    ("recognise", "message"),
    [
        (lambda model: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda model: 3, "must return an Autoencoder or None"),
    ],
)
def test_a_plugin_that_fails_to_recognise_is_named(recognise: Any, message: str) -> None:
    told = rf"plugin 'mine' \(its-package 1.2\) failed while it looked at a Linear: .*{message}.* VAEAUDIT_PLUGINS=none"
    with registered(recognise=recognise), pytest.raises(PluginError, match=told):
        wrap(Linear())


# scores


def test_a_score_is_estimated_from_a_figure_an_image_or_a_pair(report: vaeaudit.AuditReport) -> None:
    sample = report.sample("mine.brightness")
    assert report.score("mine.brightness").value == pytest.approx(np.median(sample.values))
    assert sample.values == pytest.approx(IMAGES.flatten(1).mean(1).numpy()[sample.originals])
    apart_ = report.sample("mine.apart")
    assert apart_.targets is not None
    moved = (IMAGES[apart_.originals] - IMAGES[apart_.targets]).flatten(1).norm(dim=1)
    assert apart_.values == pytest.approx(moved.numpy())
    assert report.score("mine.apart").value == pytest.approx(apart_.values.mean())


def test_bars_on_it_are_judged_where_the_plugin_is_not_installed(report: vaeaudit.AuditReport, tmp_path: Path) -> None:
    score_names.DECLARED.clear()
    assert not extensions.known_score("mine.brightness")
    loaded = vaeaudit.load(report.save(tmp_path))
    assert loaded == report
    bright, far = loaded.check(**{"mine.brightness": vaeaudit.at_least(0.1), "mine.apart": vaeaudit.at_least(0.1)})
    assert (bright.outcome, far.outcome) == ("PASS", "PASS")
    assert "6 images)" in bright.headline
    assert "6 pairs)" in far.headline
    with pytest.raises(OptionError, match="higher is more robust, so the bar is at_least"):
        loaded.check(**{"mine.apart": vaeaudit.at_most(1.0)})
    with pytest.raises(OptionError, match=r"mine.brightness is never above 1"):
        loaded.check(**{"mine.brightness": vaeaudit.at_least(2.0)})


def test_a_score_that_this_report_lacks_is_not_measured(report: vaeaudit.AuditReport) -> None:
    with registered("other", scores=SCORES):
        (verdict,) = report.check(**{"other.apart": vaeaudit.at_least(0.1)})
    assert verdict.outcome == "INVALID"


def test_two_meanings_of_one_score_cannot_meet(report: vaeaudit.AuditReport) -> None:
    score_names.DECLARED.clear()
    dataclasses.replace(report)
    turned = dataclasses.replace(SCORES[1], higher_is_better=False)
    with pytest.raises(PluginError, match="two versions of a plugin have met in one process"):
        extensions.active().register(_made(scores=[turned]), "mine")


def test_tables_and_pages_show_it_and_escape_what_it_says(report: vaeaudit.AuditReport) -> None:
    assert "mine brightness" in str(report)
    page = render(report)
    assert "How &lt;b&gt;bright&lt;/b&gt;." in page
    assert "its-package 1.2" in page


def test_the_report_says_who_took_part_and_what_its_check_saw(report: vaeaudit.AuditReport) -> None:
    assert report.provenance.environment["plugin mine"].startswith("its-package 1.2, code ")
    (seen,) = (finding for finding in report.health if finding.name == "mine.looked")
    assert (seen.message, seen.remedy, seen.cause, seen.suppressed) == ("I saw it.", "mend it", "a cause", True)


def test_a_figure_that_cannot_be_makes_the_score_invalid(report: vaeaudit.AuditReport, bench: Bench) -> None:
    def odd(ae: Autoencoder, images: Tensor) -> Tensor:
        return torch.where(images.flatten(1).mean(1) > 0.5, torch.nan, 1.0)

    with registered(scores=[Score(name="odd", measure=odd)]):
        scores, findings = plugin_scores(bench)
    told = dataclasses.replace(report, extensions=scores, health=tuple(findings))
    (verdict,) = told.check(**{"mine.odd": vaeaudit.at_least(0.1)})
    assert verdict.outcome == "INVALID"
    assert "mine.odd of the plugin 'mine' (its-package 1.2) is no figure that it can be at" in verdict.reason
    assert 0 < scores[0].estimate.n < len(scores[0].values)


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (lambda ae, images: images.mean(), r"expected one number a row, shape \(6,\)"),
        (lambda ae, images: ["much"] * len(images), "expected one number a row"),
        (lambda ae, images: torch.complex(images[:, 0, 0, 0], images[:, 0, 0, 1]), "expected one number a row"),
        (lambda ae, images: 1 / 0, "ZeroDivisionError"),
        (lambda ae, images: sys.exit(0), "SystemExit: 0"),
        (lambda ae, images: _audit(), r"OptionError: plugin 'mine' \(its-package 1.2\) asks for an audit while"),
        (lambda ae, images: _shifted(ae, images[:, 0, 0, 0]), r"left the model changed \(weights\)"),
    ],
)
def test_a_score_that_fails_names_its_plugin(measure: Any, message: str, bench: Bench) -> None:
    told = rf"plugin 'mine' \(its-package 1.2\) failed while it measured mine.bad: .*{message}"
    with registered(scores=[Score(name="bad", measure=measure)]), pytest.raises(PluginError, match=told):
        plugin_scores(bench)


def test_a_model_that_answers_by_chance_spoils_every_score_of_a_plugin(report: vaeaudit.AuditReport) -> None:
    chance, other = found("stochastic_encoder", "invalid", "m", ("hinge",)), found("training_mode", "warning", "m")
    spoiled, left = spoiled_too([chance, other], report.extensions)
    assert spoiled.affects == ("hinge", "mine.brightness", "mine.apart")
    assert left == other
    assert isinstance(spoiled, Finding)


def test_pairs_that_share_originals_spoil_a_plugins_scores_of_pairs(report: vaeaudit.AuditReport) -> None:
    few, several = (findings_of_originals(24, originals)[0] for originals in (6, 20))
    spoiled, warned = spoiled_too([few, several], report.extensions)
    assert spoiled.affects == (*few.affects, "mine.apart")
    assert warned == several


def test_kept_figures_are_those_of_the_same_plugin(bench: Bench, tmp_path: Path) -> None:
    asked: list[int] = []

    def measure(ae: Autoencoder, images: Tensor) -> Tensor:
        asked.append(len(images))
        return images.flatten(1).mean(1)

    for version, times in (("1.2", 1), ("1.2", 1), ("1.3", 2)):
        fresh = dataclasses.replace(bench, checkpoint=Checkpoint(tmp_path, {}))
        with registered(distribution=f"its-package {version}", scores=[Score(name="kept", measure=measure)]):
            plugin_scores(fresh)
        assert len(asked) == times


def test_the_identity_follows_a_plugins_code() -> None:
    def version(measure: Any) -> str:
        with registered(scores=[Score(name="x", measure=measure)]):
            return extensions.active().versions()["plugin mine"]

    with registered():
        assert versions_beside(wrap(Linear()).read_code()).keys() > {"plugin mine", "torch"}
    assert version(lambda ae, images: images.flatten(1).mean(1)) == version(
        lambda ae, images: images.flatten(1).mean(1)
    )
    assert version(lambda ae, images: images.flatten(1).mean(1)) != version(
        lambda ae, images: images.flatten(1).amax(1)
    )


# attacks


def _run(run: Any, norm: str = "l2", targeted: bool = False) -> Any:
    ae, given = wrap(Linear().eval()), (IMAGES[:3], IMAGES[3:6]) if targeted else (IMAGES[:3],)
    attack = Attack(name="tried", run=run, aim="targeted" if targeted else "untargeted")
    owner = extensions.Plugin(name="mine", distribution="its-package 1.2", module=None)
    with ae.at_rest():
        return PluginAttack(plugin=owner, attack=attack)(ae, given, [0.1, 0.2], norm, steps=1, restarts=0, seed=0)


def _towards_grey(ae: Autoencoder, images: Tensor, radius: float, norm: str, **effort: Any) -> Tensor:
    way = (0.5 - images).flatten(1)
    length = way.norm(dim=1) if norm == "l2" else way.abs().amax(1)
    return images + (way * (radius / length).clamp_max(1)[:, None]).view_as(images)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_an_attack_is_measured_and_not_asked_how_far_it_came(norm: str) -> None:
    outcome = _run(_towards_grey, norm)
    assert not outcome.faults.any()
    basis = Linear().basis.detach()
    moved = (outcome.adversarial - IMAGES[:3, None]).flatten(2) @ basis
    torch.testing.assert_close(outcome.displacement, moved.norm(dim=2).double(), rtol=1e-4, atol=1e-6)


FAULTS: dict[str, tuple[Any, int]] = {
    "another shape": (lambda ae, x, r, n, **_: x[:1], 0),
    "no tensor": (lambda ae, x, r, n, **_: None, 0),
    "whole numbers": (lambda ae, x, r, n, **_: (255 * x).long(), 0),
    "sparse": (lambda ae, x, r, n, **_: x.to_sparse(), 0),
    "no values": (lambda ae, x, r, n, **_: x.to("meta"), 0),
    "NaN": (lambda ae, x, r, n, **_: x * torch.nan, 1),
    "too far": (lambda ae, x, r, n, **_: x + 0.11 * (0.5 - x).sign(), 2),
    "out of bounds": (lambda ae, x, r, n, **_: (x - 0.5 * r).where(x == x.amin((1, 2, 3), keepdim=True), x), 3),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_what_no_attack_may_return_counts_as_not_attacked(case: str) -> None:
    run, fault = FAULTS[case]
    dark = IMAGES[:3].flatten(1).amin(1)
    outcome = _run(run)
    assert outcome.faults[:, fault].any()
    bad = outcome.faults.any(1)
    assert bad.all() or (case == "out of bounds" and (dark[~torch.from_numpy(bad)] > 0.05).all())
    assert torch.equal(outcome.adversarial[torch.from_numpy(bad), 0], IMAGES[:3][torch.from_numpy(bad)])
    assert torch.equal(outcome.displacement[torch.from_numpy(bad), 0], torch.zeros(int(bad.sum()), dtype=torch.float64))


def test_an_attack_cannot_change_the_images_that_it_is_given() -> None:
    before = IMAGES.clone()
    _run(lambda ae, x, r, n, **_: x.zero_())
    assert torch.equal(IMAGES, before)


def _shifted(ae: Autoencoder, returned: Tensor) -> Tensor:
    with torch.no_grad():
        ae.found.weights()[0].add_(1)
    return returned


def test_neither_can_it_change_the_model() -> None:
    given: list[Tensor] = []

    def train(ae: Autoencoder, images: Tensor, radius: float, norm: str, **_: Any) -> Tensor:
        given.append(ae.found.weights()[0])
        return _shifted(ae, images)

    with pytest.raises(PluginError, match=r"its attack mine.tried ran: ModelError: it left the model changed"):
        _run(train)
    assert torch.equal(given[0], Linear().basis)


def test_an_attack_that_fails_names_its_plugin() -> None:
    told = r"plugin 'mine' \(its-package 1.2\) failed while its attack mine.tried ran: ZeroDivisionError"
    with pytest.raises(PluginError, match=told):
        _run(lambda *_, **__: 1 / 0)


def test_attacks_join_the_worst_case_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(spec.PRESETS, "quick", SMALL)
    for kind, name in (("UNTARGETED", "maximum_damage"), ("TARGETED_IN_BALL", "target_mean_l2")):
        monkeypatch.setattr(attacks.family, kind, {name: getattr(attacks, kind)[name]})
    added = [
        Attack(name="grey", run=_towards_grey),
        Attack(name="cheat", run=lambda ae, x, r, n, **_: 1 - x, norms=("linf",)),
        Attack(name="there", run=lambda ae, x, t, r, n, **_: t, aim="targeted", norms=("l2",)),
        Attack(name="stay", run=lambda ae, x, t, r, n, **_: x, aim="targeted"),
    ]
    with registered(attacks=added):
        report = _audit()
    worst = report.worst_case
    assert worst is not None
    assert worst.damage.attacks[-1] == "mine.grey"
    assert worst.damage_linf.attacks[-2:] == ("mine.grey", "mine.cheat")
    assert worst.gap.attacks[-2:] == ("mine.there", "mine.stay")
    assert worst.gap_linf.attacks[-1] == "mine.stay"
    assert (worst.damage.figures[-1] > 0).all()
    assert worst.gap.figures[-1] == pytest.approx(1, abs=1e-4)
    assert (worst.damage_linf.figures[-1] == 0).all()
    told = {f.affects: f.message for f in report.health if f.name == "plugin_attack_at_fault"}
    assert set(told) == {("worst_damage_linf",), ("worst_gap",)}
    assert (
        "mine.cheat of the plugin 'mine' (its-package 1.2) returned, of 6: outside the ball at 6"
        in told["worst_damage_linf",]
    )
    assert not report.score("worst_gap").trusted
    assert report.score("worst_damage").trusted


def _looking(*seen: Any) -> list[HealthCheck]:
    return [HealthCheck(name="x", about=ABOUT, look=lambda report: seen)]


def test_a_check_cannot_change_what_it_looks_at(report: vaeaudit.AuditReport) -> None:
    def erase(seen: vaeaudit.AuditReport) -> list[Seen]:
        seen.curves.distortion[...] = 0
        return []

    before = report.curves.distortion.copy()
    with registered(checks=[HealthCheck(name="x", about=ABOUT, look=erase)]):
        assert plugin_findings(report) == []
    assert np.array_equal(report.curves.distortion, before)


def test_what_a_check_affects_is_spoiled_by_its_full_name(report: vaeaudit.AuditReport) -> None:
    seen = Seen(severity="invalid", message="m", affects=("trace", "decoder", "mine.apart"))
    with registered(scores=SCORES, checks=_looking(seen)):
        (finding,) = plugin_findings(report)
    assert (finding.name, finding.affects) == ("mine.x", ("encoder.trace", "decoder", "mine.apart"))
    assert finding.invalidates("decoder.trace")


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        (Seen(severity="invalid", message="m", affects=("hing",)), "unknown score 'hing'"),
        ("a blur", "each a vaeaudit.hookspecs.Seen, got 'a blur'"),
    ],
)
def test_a_check_that_returns_what_cannot_be_is_named(report: vaeaudit.AuditReport, seen: Any, message: str) -> None:
    told = rf"plugin 'mine' \(its-package 1.2\) failed while its check mine.x looked at the report: .*{message}"
    with registered(checks=_looking(seen)), pytest.raises(PluginError, match=told):
        plugin_findings(report)

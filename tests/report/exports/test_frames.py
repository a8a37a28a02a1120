"""A report as pandas frames."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable

import numpy as np
import pytest

from vaeaudit import AuditError, AuditReport, PackageError
from vaeaudit.health import Finding

pandas = pytest.importorskip("pandas")

MakeReport = Callable[..., AuditReport]
INVALID = Finding(
    name="blind_inputs", severity="invalid", message="m", remedy="r", affects=("hinge", "auddc"), cause="c"
)


def test_scores_stand_one_a_row_with_their_intervals(make_report: MakeReport) -> None:
    report = make_report(health=(INVALID,))
    scores = report.to_pandas().scores.set_index("score")
    assert list(scores.index) == list(report.scores())
    for name, estimate in report.scores().items():
        row = scores.loc[name]
        assert (row["value"], row["low"], row["high"], row["n"]) == (
            estimate.value,
            estimate.low,
            estimate.high,
            estimate.n,
        )
        assert row["trusted"] == (name not in ("hinge", "auddc"))
    assert scores["higher_is_better"]["hinge"]
    assert not scores["higher_is_better"]["damage"]
    assert pandas.isna(scores["higher_is_better"]["reach"])


def test_pairs_have_every_figure_that_there_is_one_of_a_pair(make_report: MakeReport) -> None:
    report = make_report(pairs=6, strengths=4, excluded=1, censored=2)
    pairs = report.to_pandas().pairs
    assert list(pairs["pair"]) == list(range(6))
    assert list(pairs["original"]) == report.curves.originals.tolist()
    assert list(pairs["target"]) == report.curves.targets.tolist()
    own = {"originals": "original", "targets": "target"}
    for field in dataclasses.fields(report.curves):
        value = getattr(report.curves, field.name)
        if value is not None and value.shape == (6,):
            assert np.array_equal(pairs[own.get(field.name, field.name)], value)
    assert pairs["censored"].dtype == bool


def test_curves_have_a_row_for_each_pair_and_strength(make_report: MakeReport) -> None:
    report = make_report(pairs=3, strengths=4)
    curves = report.to_pandas().curves
    assert len(curves) == 12
    for pair in range(3):
        own = curves[curves["pair"] == pair]
        assert np.array_equal(own["strength"], report.curves.strengths)
        assert np.array_equal(own["distortion"], report.curves.distortion[pair])
        assert np.array_equal(own["converged"], report.curves.converged[pair])


def test_as_many_pairs_as_strengths_confuse_nothing(make_report: MakeReport) -> None:
    frames = make_report(pairs=4, strengths=4).to_pandas()
    assert "strengths" not in frames.pairs
    assert len(frames.curves) == 16


def test_damage_has_a_row_for_each_image_and_budget(make_report: MakeReport) -> None:
    report = make_report()
    damage = report.to_pandas().damage
    assert report.damage is not None
    assert np.array_equal(damage["displacement"].to_numpy().reshape(32, 3), report.damage.displacement)
    assert damage.groupby("radius")["displacement"].mean().tolist() == pytest.approx(
        [one.value for one in report.damage.estimates]
    )
    assert damage.groupby("radius")["gain"].mean().tolist() == pytest.approx([one.value for one in report.damage.gains])


def test_the_latents_movement_has_a_column_and_its_channels_a_frame(make_report: MakeReport) -> None:
    report = make_report()
    frames = report.to_pandas()
    assert report.damage is not None
    assert report.damage.latent is not None
    assert np.array_equal(frames.damage["latent"].to_numpy().reshape(32, 3), report.damage.latent.moved)
    assert frames.channels["channel"].tolist() == [0, 1, 2, 3]
    assert frames.channels["moved"].tolist() == report.damage.latent.by_channel.tolist()
    assert frames.channels["collapsed"].tolist() == [False, False, False, True]
    older = dataclasses.replace(report, damage=dataclasses.replace(report.damage, latent=None)).to_pandas()
    assert older.damage["latent"].isna().all()
    assert older.channels.empty


def test_spectra_and_their_scores_have_rows_for_each_image(make_report: MakeReport) -> None:
    report = make_report()
    frames = report.to_pandas()
    assert report.decoder is not None
    decoder = frames.spectra[frames.spectra["room"] == "decoder"]
    assert np.array_equal(decoder["eigenvalue"].to_numpy().reshape(64, 20), report.decoder.eigenvalues)
    assert sorted(set(decoder["rank"])) == list(range(1, 21))
    medians = frames.geometry.groupby(["room", "score"])["value"].median()
    for room in ("encoder", "decoder", "round_trip"):
        assert medians[room, "trace"] == pytest.approx(report.scores()[f"{room}.trace"].value)
    known = frames.geometry[frames.geometry["score"] == "condition_number"]["resolved"]
    assert known.all()
    assert frames.geometry[frames.geometry["score"] == "trace"]["resolved"].isna().all()


def test_findings_stand_one_a_row(make_report: MakeReport) -> None:
    (row,) = make_report(health=(INVALID,)).to_pandas().health.to_dict("records")
    assert row == {
        "check": "blind_inputs", "severity": "invalid", "message": "m", "remedy": "r", "affects": "hinge auddc",
        "cause": "c", "consequence": "", "suppressed": False,
    }  # fmt: skip


def test_what_was_not_measured_is_a_frame_without_rows(make_report: MakeReport) -> None:
    whole, bare = make_report().to_pandas(), make_report(sections=False, health=()).to_pandas()
    for name in ("damage", "channels", "spectra", "geometry", "health"):
        assert getattr(bare, name).empty
        assert list(getattr(bare, name).columns) == list(getattr(whole, name).columns)


def test_without_pandas_the_error_says_what_to_install(
    make_report: MakeReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        PackageError, match=r"to_pandas needs pandas, which could not be imported .*; pip install pandas"
    ):
        make_report().to_pandas()
    assert issubclass(PackageError, (AuditError, ImportError))

"""What is said of the latent's movement: which channels move furthest, and which hardly vary without attack."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from vaeaudit.errors import ReportError
from vaeaudit.report import movement_words
from vaeaudit.report.damage import Damage
from vaeaudit.report.model import AuditReport
from vaeaudit.report.movement import LatentMovement
from vaeaudit.report.pages.html import render

from .conftest import MakeReport


def _damage(report: AuditReport, **latent: Any) -> Damage:
    assert report.damage is not None
    assert report.damage.latent is not None
    return dataclasses.replace(report.damage, latent=dataclasses.replace(report.damage.latent, **latent))


def _channels(count: int, **changes: Any) -> dict[str, Any]:
    """As many channels, each moving by its index."""
    given = {
        "by_channel": np.arange(count, dtype=float), "by_channel_errors": np.full(count, 0.25),
        "deviations": np.ones(count), "collapsed": np.zeros(count, dtype=bool),
    }  # fmt: skip
    return {**given, **changes}


def test_the_channels_that_move_furthest_come_first(make_report: MakeReport) -> None:
    (told,) = movement_words.summary(_damage(make_report(), **_channels(20)))
    assert told == (
        "At 2, of 20 latent channels (counted from 0) these move furthest, mean ± standard error: "
        "19 (19.0 ± 0.250), 18 (18.0 ± 0.250), 17 (17.0 ± 0.250), 16 (16.0 ± 0.250)."
    )
    latent = _damage(make_report(), **_channels(20)).latent
    assert latent is not None
    assert [row[0] for row in movement_words.channel_rows(latent)] == [str(i) for i in range(19, 3, -1)]


def test_one_image_has_no_standard_error_and_a_lost_channel_no_rank(make_report: MakeReport) -> None:
    changes = _channels(3, by_channel=np.array([1.0, np.nan, 2.0]), by_channel_errors=np.full(3, np.nan))
    (told,) = movement_words.summary(_damage(make_report(), **changes))
    assert told.endswith("mean ± standard error: 2 (2.00), 0 (1.00).")


def test_channels_that_hardly_vary_are_told(make_report: MakeReport) -> None:
    told = movement_words.summary(_damage(make_report()))
    assert told[1].startswith("1 of 4 latent channels hardly varies over the clean images: its movement is counted")
    assert "hardly varies</span>" in render(make_report())


def test_without_a_channel_that_varies_it_is_said_why_there_is_no_figure(make_report: MakeReport) -> None:
    (told,) = movement_words.summary(_damage(make_report(), collapsed=np.ones(4, dtype=bool)))
    assert told.startswith("No latent channel varies over the clean images")


def test_one_channel_alone_is_told_by_the_damage_itself(make_report: MakeReport) -> None:
    damage = _damage(make_report(), **_channels(1))
    assert movement_words.summary(damage) == ()
    page = render(dataclasses.replace(make_report(), damage=damage))
    assert "Table of latent channels" not in page
    assert "Table of latent channels" in render(make_report())


def test_an_older_report_says_nothing_of_it(make_report: MakeReport) -> None:
    report = make_report()
    assert report.damage is not None
    older = dataclasses.replace(report, damage=dataclasses.replace(report.damage, latent=None))
    assert "damage_latent" not in older.scores()
    assert older.damage is not None
    assert movement_words.summary(older.damage) == ()
    assert "in the latent" not in str(older)
    assert "Table of latent channels" not in render(older)


@pytest.mark.parametrize("part", ["by_channel", "by_channel_errors", "deviations", "collapsed", "estimates", "moved"])
def test_a_movement_of_another_shape_is_refused(make_report: MakeReport, part: str) -> None:
    latent = _damage(make_report()).latent
    assert latent is not None
    assert isinstance(latent, LatentMovement)
    with pytest.raises(ReportError, match=r"LatentMovement\.\w+ has shape"):
        _damage(make_report(), **{part: getattr(latent, part)[:-1]})

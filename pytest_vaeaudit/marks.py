"""The marker: which bars and options a test asks for, checked when it is collected."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from pytest_vaeaudit.looks import budget_fault, looks_planned
from pytest_vaeaudit.options import IN_TESTS, OPTIONS, plain, settled

if TYPE_CHECKING:
    from vaeaudit import Bar

MARKER = "vaeaudit"
DESCRIPTION = (
    f"{MARKER}(hinge=at_least(0.3), ..., preset=..., confidence=..., device=...): bars that every audit of this test "
    "has to clear, and options of its audits"
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the markers of a test ask for; the closest marker counts.

    Attributes:
        marked: whether there is a marker at all.
        bars: bars by score.
        options: options by name.
    """

    marked: bool = False
    bars: Mapping[str, Bar] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def read_marks(item: pytest.Item) -> Asked:
    """Bars and options of a test's markers.

    Raises:
        ValueError: with all that is wrong, and the valid choices.
    """
    marks = _closest_first(item)
    if not marks:
        return Asked()
    said: dict[str, Any] = {}
    faults = []
    for mark in reversed(marks):
        said |= mark.kwargs
        if mark.args:
            faults.append(f"bars and options go in by name, such as hinge=at_least(0.3); got {mark.args[0]!r}")
    options = plain({name: value for name, value in said.items() if name in IN_TESTS})
    bars = {name: value for name, value in said.items() if name not in options}
    faults += [*faults_of_options(options), *_faults_of_bars(bars)]
    asked = Asked(marked=True, bars=bars, options=options)
    budget = {name: settled(item.config, name, options) for name in ("preset", "pairs", "max_pairs", "confidence")}
    faults = faults or list(faults_of_budget(bars, budget))
    if faults:
        raise ValueError("\n".join(faults))
    return asked


def _closest_first(item: pytest.Item) -> list[pytest.Mark]:
    """Markers of a test; that of a single parameter is closer than the function's, which pytest puts first."""
    of_parameters = getattr(getattr(item, "callspec", None), "marks", ())
    return sorted(item.iter_markers(MARKER), key=lambda mark: not any(mark is other for other in of_parameters))


def faults_of_options(options: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with options that a test says."""
    for name, value in options.items():
        if fault := OPTIONS[name].fault(value):
            yield f"{name} {fault}"


def _faults_of_bars(bars: Mapping[str, Any]) -> Iterator[str]:
    if not bars:
        return
    from vaeaudit.errors import OptionError
    from vaeaudit.extensions import known_score
    from vaeaudit.score_names import DIRECTIONS
    from vaeaudit.verdict import check_bar

    for name, bar in bars.items():
        if not known_score(name):
            yield f"unknown {name!r}{_nearest(name, DIRECTIONS)}; scores are {', '.join(DIRECTIONS)}; options are {', '.join(IN_TESTS)}"
            continue
        try:
            check_bar(name, bar)
        except OptionError as error:
            yield str(error)


def _nearest(name: str, scores: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, [*scores, *(score.partition(".")[2] for score in scores), *IN_TESTS], n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def faults_of_budget(bars: Mapping[str, Bar], settings: Mapping[str, Any]) -> Iterator[str]:
    """Bars that so few pairs can never pass, as far as is known before anything is planned.

    Args:
        bars: by score.
        settings: preset, pairs, max_pairs and confidence, settled.
    """
    from vaeaudit.spec import preset_named

    pairs = settings["pairs"] or preset_named(settings["preset"]).pairs
    if fault := budget_fault(pairs, settings["max_pairs"]):
        yield fault
        return
    yield from hopeless(bars, settings["confidence"], looks_planned(pairs, settings["max_pairs"]))


def hopeless(bars: Mapping[str, Bar], confidence: float, looks: tuple[int, ...]) -> Iterator[str]:
    """Bars that a number of pairs can never pass, with the smallest number that can."""
    from vaeaudit.verdict import PAIR_SCORES, smallest_sample

    for score in bars:
        needed = smallest_sample(score, confidence=confidence, looks=len(looks))
        if score in PAIR_SCORES and looks[-1] < needed:
            yield (
                f"{score}: {looks[-1]} pairs can never pass a bar at {confidence:g} confidence; "
                f"the smallest number that can is {needed}"
            )

"""When a growing measurement is judged, and that judging it several times keeps the stated error."""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_vaeaudit.looks import GROWTH, budget_fault, looks_planned
from pytest_vaeaudit.options import IN_TESTS, OPTIONS
from pytest_vaeaudit.store import Store
from pytest_vaeaudit.trial import Decision, Trial
from vaeaudit import AuditReport, at_least

FIRST = st.integers(1, 2000)
MOST = st.none() | st.integers(1, 20000)


@given(first=FIRST, most=MOST)
def test_looks_begin_with_the_first_measurement_and_grow(first: int, most: int | None) -> None:
    looks = looks_planned(first, most)
    assert looks[0] == first
    assert all(earlier < later <= 2 * earlier for earlier, later in itertools.pairwise(looks))


@given(first=FIRST, most=MOST)
def test_looks_stay_within_the_budget(first: int, most: int | None) -> None:
    assert looks_planned(first, most)[-1] <= (GROWTH * first if most is None else max(first, most))


@given(first=FIRST, most=st.integers(1, 20000))
def test_looks_leave_no_quarter_of_the_budget_unused(first: int, most: int) -> None:
    assert looks_planned(first, most)[-1] * 1.25 > most


@given(first=FIRST, most=st.integers(1, 20000))
def test_every_look_but_the_last_doubles_so_that_few_share_the_error(first: int, most: int) -> None:
    looks = looks_planned(first, most)
    assert all(later == 2 * earlier for earlier, later in itertools.pairwise(looks[:-1]))
    assert len(looks) <= 2 + max(0, math.log2(most / first))


@pytest.mark.parametrize(
    ("first", "most", "looks"),
    [
        (24, None, (24, 48, 96)),
        (50, None, (50, 100, 200)),
        (24, 24, (24,)),
        (24, 29, (24,)),
        (24, 30, (24, 30)),
        (24, 50, (24, 48)),
        (24, 100, (24, 48, 96)),
        (24, 10, (24,)),
    ],
)
def test_looks_of_usual_budgets(first: int, most: int | None, looks: tuple[int, ...]) -> None:
    assert looks_planned(first, most) == looks


def test_a_budget_below_the_first_measurement_is_a_fault_and_no_budget_is_none() -> None:
    assert budget_fault(24, 23) == "max_pairs = 23 is fewer than the 24 pairs first measured"
    assert budget_fault(24, 24) == budget_fault(24, None) == ""


BAR = 0.3
FEW = 20
DRAWS = 2000
Hinges = Callable[[np.random.Generator, int], Any]


class DrawnPlan:
    """A plan whose hinges were drawn before; more pairs are more of the same draw."""

    pairs = FEW
    most_pairs = GROWTH * FEW
    identity: dict[str, Any]

    def __init__(self, templates: dict[int, AuditReport], hinges: Any) -> None:
        self.templates, self.hinges = templates, hinges
        self.identity = {}

    def report(self, pairs: int | None = None, **_: Any) -> AuditReport:
        template, hinges = self.templates[pairs or self.pairs], self.hinges[: pairs or self.pairs]
        headline = replace(template.hinge, value=float(np.median(hinges)), low=-math.inf, high=math.inf)
        return replace(template, hinge=headline, curves=replace(template.curves, hinge=hinges))


class Drawing:
    """An auditor whose every plan is a new draw."""

    def __init__(self, templates: dict[int, AuditReport], draw: Hinges, seed: int) -> None:
        self.templates, self.draw = templates, draw
        self.rng = np.random.default_rng(seed)

    def weights(self, model: Any) -> str:
        return "drawn"

    def plan(self, model: Any, images: Any, **options: Any) -> DrawnPlan:
        return DrawnPlan(self.templates, self.draw(self.rng, GROWTH * FEW))


@pytest.fixture(scope="module")
def templates() -> dict[int, AuditReport]:
    """Reports of every number of pairs, into which hinges are put."""
    path = Path(__file__).parents[1] / "report" / "conftest.py"
    spec = importlib.util.spec_from_file_location("vaeaudit_tests_synthetic", path)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {
        pairs: module.synthetic(pairs=pairs, strengths=2, gallery=False, sections=False, health=())
        for pairs in looks_planned(FEW)
    }


def decisions(templates: dict[int, AuditReport], draw: Hinges, confidence: float, number: int) -> list[Decision]:
    """What a test with the bar comes to, over many draws of its pairs."""
    auditor = Drawing(templates, draw, seed=20)
    settings = {name: OPTIONS[name].default for name in IN_TESTS} | {"pairs": FEW}
    found = []
    for _ in range(number):
        trial = Trial(
            auditor=auditor, store=Store(None), model=None, images=None, settings=settings, scope="test_it.py",
            fingerprint="drawn", environment={},
        )  # fmt: skip
        found.append(trial.decide({"hinge": at_least(BAR)}, confidence))
    return found


def skewed(median: float) -> Hinges:
    """Hinges of a lognormal distribution with that median: nothing about a median's bounds may rest on symmetry."""
    return lambda rng, count: median * np.exp(0.4 * rng.standard_normal(count))


def most_of(number: int, rate: float) -> float:
    """The most that a count may be, four standard errors above its expectation, if its rate is no higher."""
    return number * rate + 4 * math.sqrt(number * rate * (1 - rate))


@pytest.mark.parametrize("confidence", [0.95, 0.8])
@pytest.mark.parametrize(
    ("wrong", "median"), [("PASS", BAR * (1 - 1e-9)), ("FAIL", BAR)], ids=("false pass", "false fail")
)
def test_wrong_verdicts_of_all_looks_together_stay_within_the_stated_error(
    templates: dict[int, AuditReport], confidence: float, wrong: str, median: float
) -> None:
    found = decisions(templates, skewed(median), confidence, DRAWS)
    # on the bar itself, where mistakes are most frequent
    assert sum(decision.outcome == wrong for decision in found) <= most_of(DRAWS, 1 - confidence)
    assert {len(decision.looks) for decision in found} == {1, 2, 3}


def test_the_simulation_notices_when_looks_do_not_share_the_error(
    templates: dict[int, AuditReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = AuditReport.check
    monkeypatch.setattr(AuditReport, "check", lambda report, *, looks, **rest: check(report, looks=1, **rest))
    found = decisions(templates, skewed(BAR), 0.8, DRAWS)
    assert sum(decision.outcome == "PASS" for decision in found) > most_of(DRAWS, 0.2)


@pytest.mark.parametrize(("median", "right"), [(1.5 * BAR, "PASS"), (BAR / 1.5, "FAIL")])
def test_a_real_difference_is_found_in_most_draws(templates: dict[int, AuditReport], median: float, right: str) -> None:
    found = decisions(templates, skewed(median), 0.95, 300)
    assert sum(decision.outcome == right for decision in found) > 0.98 * len(found)


def test_extending_settles_what_the_first_look_left_open(templates: dict[int, AuditReport]) -> None:
    found = decisions(templates, skewed(1.3 * BAR), 0.95, 300)
    at_once = sum(decision.outcome == "PASS" and len(decision.looks) == 1 for decision in found)
    in_all = sum(decision.outcome == "PASS" for decision in found)
    assert at_once < 0.6 * len(found) < 0.9 * len(found) < in_all

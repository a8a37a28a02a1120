"""Which rows a batch holds: places that fall free, looks that come seldom, paths followed once more."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from vaeaudit.optimize import BoxLBFGS, Minimum, flight, follow

from .bowls import INF, ROWS, SERIES, TIGHT, Bowls, N, assert_close, reason_index


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_that_wait_for_a_place_get_the_answers_of_all_at_once(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    bowls = Bowls(seed=8, dtype=dtype)
    solver = TIGHT if dtype == torch.float64 else BoxLBFGS()
    close = 1e-9 if dtype == torch.float64 else 1e-5  # batches of other sizes round differently
    at_once = bowls.follow(solver=solver)
    monkeypatch.setitem(flight.IN_FLIGHT, "cpu", 3)
    waited = bowls.follow(solver=solver)
    torch.testing.assert_close(waited.value, at_once.value, rtol=close, atol=close)
    torch.testing.assert_close(waited.point, at_once.point, rtol=0, atol=3 * math.sqrt(close))


def test_rows_in_flight_stay_as_many_as_there_are_places_until_none_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(flight.IN_FLIGHT, "cpu", 3)
    bowls = Bowls(seed=9)
    seen: list[set[int]] = []

    def watched(points: Tensor, problem: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(set(problem.tolist()))
        return bowls(points, problem)

    bowls.follow(objective=watched)
    last_enters = max(next(tick for tick, rows in enumerate(seen) if row in rows) for row in range(ROWS))
    assert last_enters > ROWS
    assert set(bowls.sizes[: last_enters + 1]) == {3}
    assert all(len(rows) == 3 for rows in seen[: last_enters + 1])
    assert bowls.sizes == sorted(bowls.sizes, reverse=True)


def test_places_are_as_many_as_their_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    bowls = Bowls(seed=9)
    expected = bowls.follow()
    bowls.sizes.clear()
    monkeypatch.setattr(flight, "STATE_BYTES", 1)
    assert_close(bowls.follow(), expected, tolerance=1e-4)
    assert set(bowls.sizes) == {1}


def test_evaluations_are_those_that_the_objective_has_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(flight.IN_FLIGHT, "cpu", 1)
    bowls = Bowls(seed=10)
    assert torch.equal(bowls.follow().evaluations.sum(1), bowls.calls)


def test_at_most_a_fifth_of_a_batch_is_rows_that_have_finished() -> None:
    bowls = Bowls(seed=10)
    bowls.lower[:7] = bowls.upper[:7] = 0.0  # these are done at once
    spent = bowls.follow().evaluations.sum(1)
    assert bool((spent <= bowls.calls).all())
    assert int(bowls.calls.sum()) == sum(bowls.sizes)
    assert int(spent.sum()) >= 0.8 * sum(bowls.sizes)


@pytest.mark.parametrize("places", [3, 256])
@pytest.mark.parametrize("poison", [math.nan, INF])
def test_a_row_without_a_finite_start_leaves_all_its_stages_unsolved_and_harms_no_other(
    monkeypatch: pytest.MonkeyPatch, poison: float, places: int
) -> None:
    bowls = Bowls(seed=12)
    clean = bowls.follow()
    monkeypatch.setitem(flight.IN_FLIGHT, "cpu", places)
    found = bowls.follow(objective=bowls.poisoned([0, 5], poison))
    bad = torch.isin(torch.arange(ROWS), torch.tensor([0, 5]))
    assert bool((found.reason[bad] == reason_index("not finite at the start")).all())
    assert bool((found.value[bad] == INF).all())
    assert bool(found.point.isfinite().all())
    assert bool((found.evaluations[bad].sum(1) == 1).all())
    assert bool(found.converged[~bad].all())
    assert_close(found, clean, ~bad, tolerance=1e-4)


def _look_seldom(monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    """As away from the CPU, where the solver looks for finished rows at every LOOK_EVERY-th tick."""
    look, ticks = flight.Flight.look, itertools.count(1)
    monkeypatch.setattr(flight.Flight, "look", lambda flight, s: s if next(ticks) % every else look(flight, s))


@pytest.mark.parametrize("places", [3, 256])
@pytest.mark.parametrize("every", [2, 4, 7])
def test_seldom_looks_at_who_has_finished_change_no_answer(
    monkeypatch: pytest.MonkeyPatch, every: int, places: int
) -> None:
    bowls = Bowls(seed=13)
    always = bowls.follow()
    monkeypatch.setitem(flight.IN_FLIGHT, "cpu", places)
    _look_seldom(monkeypatch, every)
    seldom = bowls.follow()
    assert_close(seldom, always, tolerance=1e-4)
    assert bool(seldom.converged.all())
    # ticks after the end are no evaluations that the row needed
    torch.testing.assert_close(seldom.evaluations.sum() / 1.0, always.evaluations.sum() / 1.0, rtol=0.05, atol=0)


@pytest.mark.parametrize("budget", [2, 3, 5])
def test_a_row_that_has_finished_stays_where_it_is_until_someone_looks(
    monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    bowls, solver = Bowls(seed=13), BoxLBFGS(tolerance=1e-12, max_evaluations=budget)
    always = bowls.follow(solver=solver)
    _look_seldom(monkeypatch, 7)
    seldom = bowls.follow(solver=solver)
    torch.testing.assert_close(seldom.point, always.point, rtol=0, atol=1e-9)
    assert torch.equal(seldom.evaluations, always.evaluations)
    assert torch.equal(seldom.reason, always.reason)


def test_the_order_of_rows_does_not_matter_along_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    bowls = Bowls(seed=14)
    forward = bowls.follow()
    monkeypatch.setitem(flight.IN_FLIGHT, "cpu", 4)
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))
    shuffled = follow(
        lambda points, problem: bowls(points, order[problem]), bowls.start, bowls.lower[order], bowls.upper[order],
        SERIES.expand(ROWS, -1), TIGHT,
    )  # fmt: skip
    torch.testing.assert_close(shuffled.value, forward.value[order], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(shuffled.point, forward.point[order], rtol=0, atol=1e-4)


def test_no_rows_are_no_work() -> None:
    bowls = Bowls()
    none = bowls.start[:0]
    found = follow(bowls, none, none, none, SERIES.expand(0, -1))
    assert found.point.shape == (0, len(SERIES), N)
    assert not bowls.sizes


def test_inputs_are_not_written_to() -> None:
    bowls, weights = Bowls(seed=15), SERIES.repeat(ROWS, 1)
    bowls.start = torch.full_like(bowls.start, 0.5)
    given = bowls.start, bowls.lower, bowls.upper, weights
    kept = [tensor.clone() for tensor in given]
    follow(bowls, *given, TIGHT)
    assert all(map(torch.equal, kept, given))


class Again:
    """Follows some paths once more, each from a start of its own, when all of a group of rows have ended."""

    def __init__(self, groups: Tensor, starts: Tensor, times: int) -> None:
        self.groups, self.starts, self.left = groups, starts, {int(group): times for group in groups}
        self.missing = {group: int((groups == group).sum()) for group in self.left}
        self.told: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def __call__(self, problem: Tensor, points: Tensor, goals: Tensor, converged: Tensor) -> tuple[Tensor, Tensor]:
        self.told.append((problem, points, goals, converged))
        again = []
        for group in self.groups[problem].tolist():
            self.missing[group] -= 1
            if not self.missing[group] and self.left[group]:
                self.left[group] -= 1
                members = torch.nonzero(self.groups == group)[:, 0].tolist()
                self.missing[group] = len(members)
                again += members
        rows = torch.tensor(again, dtype=torch.long)
        return rows, self.starts[rows]


def _renewed(bowls: Bowls, times: int, **options) -> tuple[Minimum, Again]:
    starts = torch.rand(ROWS, N, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    again = Again(torch.arange(ROWS) // 3, starts, times)
    return bowls.follow(renew=again, **options), again


@pytest.mark.parametrize("places", [1, 4, 256])
def test_paths_followed_once_more_end_as_ones_that_start_there(monkeypatch: pytest.MonkeyPatch, places: int) -> None:
    monkeypatch.setitem(flight.IN_FLIGHT, "cpu", places)
    bowls, loose = Bowls(seed=20), BoxLBFGS(tolerance=1e-3, patience=1)
    once = bowls.follow(solver=loose).evaluations
    found, again = _renewed(bowls, 1, solver=loose)
    bowls.start = again.starts
    expected = bowls.follow(solver=loose)
    torch.testing.assert_close(found.point, expected.point, rtol=0, atol=1e-9)
    assert torch.equal(found.evaluations, once + expected.evaluations)


@pytest.mark.parametrize("times", [0, 1, 3])
def test_whoever_renews_is_told_of_every_path_that_ends_and_of_no_other(times: int) -> None:
    bowls = Bowls(seed=21)
    start = bowls.start.clone()
    _, again = _renewed(bowls, times)
    problem, points, goals, converged = (torch.cat(parts) for parts in zip(*again.told, strict=True))
    assert torch.equal(problem.bincount(minlength=ROWS), torch.full((ROWS,), 1 + times))
    torch.testing.assert_close(goals, bowls(points, problem)[0], rtol=1e-12, atol=0)
    assert bool(converged.all())
    assert torch.equal(bowls.start, start), "the caller's own starting points stay"


def test_rows_without_a_finite_start_are_said_not_to_have_converged() -> None:
    bowls = Bowls(seed=22)
    _, again = _renewed(bowls, 2, objective=bowls.poisoned([4], math.nan))
    problem, _, goals, converged = (torch.cat(parts) for parts in zip(*again.told, strict=True))
    assert torch.equal(converged, problem != 4)
    assert bool((goals[problem == 4] == INF).all())
    assert int((problem == 4).sum()) == 3


def test_paths_followed_once_more_go_before_those_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(flight.IN_FLIGHT, "cpu", 3)
    _, again = _renewed(Bowls(seed=23), 1)
    order = torch.cat([part[0] for part in again.told]).tolist()
    assert max(place for place, row in enumerate(order) if row < 3) < min(order.index(row) for row in range(6, ROWS))

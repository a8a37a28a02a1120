"""What polishes bring is handed on within a pair, in rounds of that pair alone: held to plain lists."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vaeaudit.attacks.exchange import Exchange
from vaeaudit.attacks.penalised import Penalised

PAIRS, STRENGTHS, N = 3, 4, 2
SERIES = torch.tensor([0.1, 1.0, 3.0, 20.0], dtype=torch.float64)
OBJECTIVE = Penalised(goal=None, spans=torch.ones(PAIRS), penalty="l2_squared")  # type: ignore[arg-type]  # its size is asked for alone


def _exchange(candidates: Tensor, goals: Tensor, rounds: int = 8) -> Exchange:
    return Exchange(OBJECTIVE, SERIES, candidates, goals, rounds)


def _begun(rounds: int = 8) -> Exchange:
    """One candidate a strength, apart in length, and goals that make each the best of its own strength."""
    lengths = torch.tensor([3.0, 2.0, 1.0, 0.0], dtype=torch.float64)
    goals = torch.tensor([0.0, 2.5, 8.5, 18.5], dtype=torch.float64).expand(PAIRS, -1).contiguous()
    points = torch.zeros(PAIRS, STRENGTHS, N, dtype=torch.float64)
    points[..., 0] = lengths
    exchange = _exchange(points, goals, rounds)
    assert torch.equal(exchange.points, points)
    return exchange


def _told(exchange: Exchange, rows: list[int], goals: list[float], lengths: list[float]) -> list[int]:
    points = torch.zeros(len(rows), N, dtype=torch.float64)
    points[:, 0] = torch.tensor(lengths)
    again, starts = exchange.renew(
        torch.tensor(rows), points, torch.tensor(goals, dtype=torch.float64), torch.ones(len(rows), dtype=torch.bool)
    )
    assert torch.equal(starts, exchange.points.flatten(0, 1)[again])
    return again.tolist()


def test_every_strength_begins_at_the_candidate_of_its_own_least_objective() -> None:
    generator = torch.Generator().manual_seed(0)
    candidates = torch.randn(PAIRS, 9, N, generator=generator, dtype=torch.float64)
    goals = torch.rand(PAIRS, 9, generator=generator, dtype=torch.float64)
    goals[0, 0] = math.nan
    exchange = _exchange(candidates, goals)
    for pair in range(PAIRS):
        for at, strength in enumerate(SERIES.tolist()):
            cost = [goals[pair, k].item() + strength * candidates[pair, k].square().sum().item() for k in range(9)]
            best = min((c, k) for k, c in enumerate(cost) if math.isfinite(c))
            assert exchange.values[pair, at].item() == pytest.approx(best[0], rel=1e-12)
            assert torch.equal(exchange.points[pair, at], candidates[pair, best[1]])


def test_a_pair_exchanges_when_all_its_own_polishes_have_ended_and_waits_for_no_other_pair() -> None:
    exchange = _begun()
    # strength 0 comes back with a point that suits strengths 1 and 2 as well: goal 0 at length 0.5
    assert _told(exchange, [0, 1], [0.0, 2.5], [0.5, 2.0]) == []
    assert _told(exchange, [2, STRENGTHS], [8.5, 0.0], [1.0, 3.0]) == []
    again = _told(exchange, [3], [18.5], [0.0])
    assert again == [1, 2, 3], "all that the new point suits better are polished again, of this pair alone"
    torch.testing.assert_close(exchange.values[0], 0.25 * SERIES)
    assert exchange.converged[0].tolist() == [True, False, False, False]
    assert _told(exchange, again, [0.0] * 3, [0.5] * 3) == []
    assert bool(exchange.converged[0].all())
    assert not exchange.converged[1, 1:].any(), "nobody has told of these yet"


def test_a_polish_that_ends_higher_than_it_began_is_not_taken() -> None:
    exchange = _begun()
    before = exchange.values.clone(), exchange.points.clone()
    for row in range(PAIRS * STRENGTHS):
        assert _told(exchange, [row], [math.inf if row % 2 else 1e3], [5.0]) == []
    assert torch.equal(exchange.values, before[0])
    assert torch.equal(exchange.points, before[1])


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_no_strength_is_polished_more_often_than_there_are_rounds(rounds: int) -> None:
    exchange = _begun(rounds)
    again, polishes = list(range(STRENGTHS)), 0
    while again:  # the first of them finds something better for all others in every round
        polishes += 1
        last, goals = again[0], [-10.0 * polishes, *[1e3] * (len(again) - 1)]
        again = _told(exchange, again, goals, [0.1] * len(again))
    assert polishes == rounds
    assert exchange.converged[0].tolist() == [row == last for row in range(STRENGTHS)], (
        "the others' points are not polished"
    )

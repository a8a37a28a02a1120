"""Brackets keep a root between their ends, and narrow on it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaeaudit.attacks.brackets import Brackets

ROOTS = torch.tensor([0.4, 0.5, 0.9], dtype=torch.float64)


def _values(at: Tensor) -> Tensor:
    return ROOTS.pow(5) - at.pow(5)


def _brackets() -> Brackets:
    low, high = torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    return Brackets(low=low, low_value=_values(low), high=high, high_value=_values(high))


def test_a_figure_that_bends_is_closed_in_from_both_sides() -> None:
    """Plain false position, whose far end hardly ever moves, takes 270 steps to the first root."""
    found, every = _brackets(), torch.arange(3)
    for _ in range(16):
        at = found.guess(every, 1e-4)
        found.note(every, at, _values(at))
        assert bool(((found.high <= ROOTS) & (found.low >= ROOTS)).all())
    assert bool(((found.low - ROOTS).abs() < 1e-9).logical_or((found.high - ROOTS).abs() < 1e-9).all())


def test_rows_that_are_not_noted_stay() -> None:
    found, before = _brackets(), _brackets()
    row = torch.tensor([2, 0])
    found.note(row, torch.full((2,), 0.5, dtype=torch.float64), _values(torch.full((3,), 0.5).double())[row])
    assert found.low.tolist() == [0.5, 1.0, 1.0]
    assert found.high.tolist() == [0.0, 0.0, 0.5]
    assert (found.low_value[1], found.high_value[1]) == (before.low_value[1], before.high_value[1])


def test_an_end_that_stays_a_second_time_counts_half() -> None:
    found, first = _brackets(), torch.tensor([0])
    held = found.high_value[0].item()
    for at, share in ((0.9, 1.0), (0.8, 0.5), (0.7, 0.25)):
        found.note(first, torch.tensor([at]).double(), _values(torch.full((3,), at).double())[first])
        assert found.high_value[0] == held * share


def test_without_both_ends_there_is_no_guess_and_what_is_not_a_number_is_not_below() -> None:
    empty = torch.full((4, 1), math.nan, dtype=torch.float64)
    found, first = (
        Brackets(**dict(zip(("low", "low_value", "high", "high_value"), empty, strict=True))),
        torch.tensor([0]),
    )
    found.note(first, torch.tensor([2.0]).double(), torch.tensor([math.nan]).double())
    assert found.high.item() == 2.0
    assert math.isnan(found.guess(first, 0.1).item())
    found.note(first, torch.tensor([1.0]).double(), torch.tensor([-1.0]).double())
    assert found.guess(first, 0.1).item() == 1.5, "where a figure is missing, the middle"

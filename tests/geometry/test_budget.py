"""The memory budget: what is found, what is asked for, what a row costs, and running out of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vaeaudit import GradientError, OptionError
from vaeaudit.geometry import budget
from vaeaudit.geometry.jacobians import batched_jacobian, planned

CPU = torch.device("cpu")


def test_a_quarter_of_free_memory_is_found_and_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget.os, "sysconf", {"SC_AVPHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert budget.memory_budget(CPU) == 1000 * 4096 // 4
    monkeypatch.setattr(budget.os, "sysconf", {"SC_AVPHYS_PAGES": 10**9, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert budget.memory_budget(CPU) == 2**31


def test_a_system_that_does_not_tell_gets_a_budget_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(budget.os, "sysconf")
    assert budget.memory_budget(CPU) == 2**28


def test_what_is_asked_for_is_granted_and_nonsense_refused() -> None:
    assert budget.memory_budget(CPU, 12345) == 12345
    with pytest.raises(OptionError, match="memory expects a number of bytes, at least 1, got 0"):
        budget.memory_budget(CPU, 0)


def test_a_row_costs_what_is_kept_for_its_backward_pass_and_weights_cost_nothing() -> None:
    model = nn.Sequential(nn.Linear(10, 300), nn.Tanh(), nn.Linear(300, 7))
    cost = budget.row_cost(model, torch.zeros(5, 10))
    assert cost.largest == 4 * 300
    assert 4 * 300 <= cost.saved <= 4 * 2 * 310  # the output of tanh, and inputs of layers where weights need them


def test_a_model_without_gradient_is_named_before_anything_is_computed() -> None:
    with pytest.raises(GradientError, match="no gradient flows"):
        budget.row_cost(lambda x: x.detach(), torch.zeros(2, 3))


@pytest.mark.parametrize(("memory", "rows"), [(10**9, 50), (10**6, None), (1, 1)])
def test_a_smaller_budget_takes_fewer_rows_at_once(memory: int, rows: int | None) -> None:
    model = nn.Sequential(nn.Linear(64, 300), nn.Tanh(), nn.Linear(300, 7))
    passes = planned(model, torch.zeros(50, 64), memory)
    if rows is None:
        assert 1 < passes.rows < 50
    else:
        assert passes.rows == rows


@pytest.mark.parametrize("size", [1, 4, 7, 100])
@pytest.mark.parametrize("fits", [1, 2, 5])
def test_chunks_are_halved_until_they_fit_and_no_row_is_lost_or_repeated(size: int, fits: int) -> None:
    tried: list[int] = []

    def work(rows: Tensor) -> Tensor:
        tried.append(len(rows))
        if len(rows) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return rows * 2

    rows = torch.arange(11.0)
    assert torch.equal(torch.cat(budget.in_chunks(work, rows, size)), rows * 2)
    assert sum(count > fits for count in tried) <= 7


def test_a_single_row_that_does_not_fit_is_an_error_of_memory() -> None:
    def work(rows: Tensor) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    with pytest.raises(RuntimeError, match="can't allocate memory"):
        budget.in_chunks(work, torch.zeros(4, 2), 4)


def test_another_error_is_not_mistaken_for_a_lack_of_memory() -> None:
    calls: list[int] = []

    def work(rows: Tensor) -> Tensor:
        calls.append(len(rows))
        raise RuntimeError("out of paper")

    with pytest.raises(RuntimeError, match="out of paper"):
        budget.in_chunks(work, torch.zeros(4, 2), 4)
    assert calls == [4]


def test_a_jacobian_is_the_same_when_memory_runs_out_on_the_way() -> None:
    model = nn.Sequential(nn.Linear(12, 20), nn.Tanh(), nn.Linear(20, 3)).double()
    x = torch.randn(9, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def scarce(rows: Tensor) -> Tensor:
        if len(rows) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return model(rows)

    torch.testing.assert_close(batched_jacobian(scarce, x), batched_jacobian(model, x))

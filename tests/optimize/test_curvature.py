"""What rows remember, and the step it leads to: held to dense BFGS matrices in float64."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vaeaudit.optimize import curvature
from vaeaudit.optimize.curvature import SMALLEST_COSINE, Curvature


class Histories:
    """Rows that see random pairs of random Hessians, each at its own ticks, in batch and as plain lists."""

    def __init__(
        self, *, seed: int = 0, rows: int = 6, n: int = 9, memory: int = 4, ticks: int = 12,
        least: float = 0.1, dtype: torch.dtype = torch.float64,
    ) -> None:  # fmt: skip
        self.generator = torch.Generator().manual_seed(seed)
        self.memory, self.dtype = memory, dtype
        basis = torch.linalg.qr(self.draw(rows, n, n))[0]
        spectrum = least + (3 - least) * torch.rand(rows, 1, n, generator=self.generator, dtype=torch.float64)
        self.hessian = (basis * spectrum) @ basis.mT
        self.pairs: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in range(rows)]
        self.curvature = Curvature.none(torch.zeros(rows, n, dtype=dtype), memory)
        for _ in range(ticks):
            self.tick(torch.rand(rows, generator=self.generator) < 0.7)

    def draw(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def tick(self, remembers: Tensor, scale: float = 1.0) -> None:
        """One pair for the rows that remember; the others are offered one too, and must not take it."""
        moved = scale * self.draw(*self.hessian.shape[:2])
        change = (self.hessian @ moved[..., None])[..., 0]
        self.curvature.remember(moved.to(self.dtype), change.to(self.dtype), remembers)
        for row in torch.nonzero(remembers)[:, 0].tolist():
            self.pairs[row] = [*self.pairs[row], (moved[row].numpy(), change[row].numpy())][-self.memory :]

    def forget(self, rows: Tensor) -> None:
        self.curvature.forget(rows)
        for row in torch.nonzero(rows)[:, 0].tolist():
            self.pairs[row] = []

    def usable(self, row: int, shift: float) -> list[tuple[np.ndarray, np.ndarray]]:
        """Pairs with y + shift s in the place of y, those of positive curvature alone."""
        shifted = [(s, y + shift * s) for s, y in self.pairs[row]]
        return [(s, y) for s, y in shifted if s @ y > SMALLEST_COSINE * np.linalg.norm(s) * np.linalg.norm(y)]

    def question(self, free_share: float = 0.7) -> tuple[Tensor, Tensor, Tensor]:
        """A gradient, zero where it is not free; which coordinates are free; and theta."""
        free = (torch.rand(self.hessian.shape[:2], generator=self.generator) < free_share).double()
        theta = torch.rand(len(free), generator=self.generator, dtype=torch.float64) + 0.05
        return self.draw(*free.shape) * free, free, theta

    def steps(self, shift: Tensor, gradient: Tensor, free: Tensor, theta: Tensor) -> Tensor:
        model = self.curvature.shifted(shift)
        return model.step(gradient.to(self.dtype), free.to(self.dtype), theta).double()

    def slow_steps(self, boxes: ModuleType, shift: Tensor, gradient: Tensor, free: Tensor, theta: Tensor) -> Tensor:
        steps = []
        for row in range(len(gradient)):
            matrix = boxes.bfgs_matrix(self.usable(row, float(shift[row])), float(theta[row]), gradient.shape[1])
            steps.append(boxes.subspace_step(matrix, gradient[row].numpy(), free[row].numpy() > 0))
        return torch.from_numpy(np.array(steps))

    def check(self, boxes: ModuleType, shift: Tensor, tolerance: float = 1e-8, free_share: float = 0.7) -> None:
        question = self.question(free_share)
        found, slow = self.steps(shift, *question), self.slow_steps(boxes, shift, *question)
        torch.testing.assert_close(found, slow, rtol=0, atol=tolerance * float(slow.norm(dim=1).max()))
        assert not found[question[1] == 0].any()


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6), n=st.integers(1, 14), memory=st.integers(1, 9), ticks=st.integers(0, 25),
    shift=st.sampled_from([0.0, 1e-3, 1.0, 50.0]), free_share=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
)  # fmt: skip
def test_the_step_is_that_of_the_dense_bfgs_matrix_on_the_free_coordinates(
    boxes: ModuleType, seed: int, n: int, memory: int, ticks: int, shift: float, free_share: float
) -> None:
    rows = Histories(seed=seed, n=n, memory=memory, ticks=ticks)
    shifts = shift * torch.rand(6, generator=rows.generator, dtype=torch.float64)
    rows.check(boxes, shifts, tolerance=1e-6, free_share=free_share)


@pytest.mark.parametrize("shift", [0.0, 0.4, 10.0])
def test_pairs_of_no_positive_curvature_are_left_out_unless_the_shift_makes_it_positive(
    boxes: ModuleType, shift: float
) -> None:
    rows = Histories(least=-3.0, rows=20)
    total = sum(len(pairs) for pairs in rows.pairs)
    used = sum(len(rows.usable(row, shift)) for row in range(20))
    assert (0 < used < total) if shift < 3 else used == total, "the case must be what its name says"
    shifts = torch.full((20,), shift, dtype=torch.float64)
    rows.check(boxes, shifts, tolerance=1e-6)
    known = rows.curvature.shifted(shifts).known
    assert known.tolist() == [bool(rows.usable(row, shift)) for row in range(20)]


@pytest.mark.parametrize(("cosine", "used"), [(1e-10, False), (1e-6, True)])
def test_a_pair_of_hardly_any_curvature_is_left_out(cosine: float, used: bool) -> None:
    moved, across = torch.eye(9, dtype=torch.float64)[:2].tile(6, 1, 1).unbind(1)
    rows = Histories(ticks=0)
    rows.curvature.remember(moved, cosine * moved + across, torch.ones(6, dtype=torch.bool))
    assert bool((rows.curvature.shifted(torch.zeros(6, dtype=torch.float64)).known == used).all())


def test_a_shift_changed_later_gives_what_pairs_seen_with_it_would_have_given() -> None:
    rows = Histories(seed=3)
    shift = torch.linspace(0.0, 4.0, 6, dtype=torch.float64)
    question = rows.question()
    later = rows.steps(shift, *question)
    rows.hessian += shift[:, None, None] * torch.eye(9, dtype=torch.float64)
    seen = Curvature.none(question[0], rows.memory)
    for age in range(rows.memory):
        moved, change = (torch.from_numpy(np.array([pairs[age][i] for pairs in rows.pairs])) for i in (0, 1))
        seen.remember(moved, change + shift[:, None] * moved, torch.ones(6, dtype=torch.bool))
    at_once = seen.shifted(torch.zeros_like(shift)).step(*question)
    torch.testing.assert_close(later, at_once, rtol=0, atol=1e-9 * float(at_once.norm()))


def test_conjugate_pairs_give_newtons_step_whatever_theta() -> None:
    rows = Histories(n=5, memory=5, ticks=0)
    axes = torch.linalg.eigh(rows.hessian).eigenvectors
    for i in range(5):
        moved = axes[:, :, i]
        rows.curvature.remember(moved, (rows.hessian @ moved[..., None])[..., 0], torch.ones(6, dtype=torch.bool))
    gradient, free, theta = rows.question()
    for factor in (1e-3, 1.0, 1e3):
        step = rows.steps(torch.zeros(6, dtype=torch.float64), gradient, free, factor * theta)
        left = (gradient + (rows.hessian @ step[..., None])[..., 0]) * free
        assert float(left.abs().max()) < 1e-9


def test_a_row_without_pairs_goes_along_its_gradient() -> None:
    rows = Histories(ticks=0)
    gradient, free, theta = rows.question()
    model = rows.curvature.shifted(torch.ones(6, dtype=torch.float64))
    assert not model.known.any()
    torch.testing.assert_close(model.step(gradient, free, theta), -gradient / theta[:, None])


def test_a_row_that_forgets_starts_anew_and_no_other_does(boxes: ModuleType) -> None:
    rows = Histories(seed=4, ticks=10)
    forgetful = torch.tensor([True, False, False, True, False, True])
    shift = torch.full((6,), 0.2, dtype=torch.float64)
    rows.forget(forgetful)
    assert torch.equal(rows.curvature.shifted(shift).known, ~forgetful)
    rows.check(boxes, shift)
    for _ in range(6):  # fewer pairs than memory, as many, and more
        rows.tick(torch.ones(6, dtype=torch.bool))
        rows.check(boxes, shift)


def test_the_upper_estimate_is_that_of_the_newest_usable_pair() -> None:
    rows = Histories(least=-1.0, rows=20, seed=5)
    shift = torch.full((20,), 0.3, dtype=torch.float64)
    model = rows.curvature.shifted(shift)
    for row in range(20):
        usable = rows.usable(row, 0.3)
        if usable:
            s, y = usable[-1]
            assert float(model.steepest[row]) == pytest.approx((y @ y) / (s @ y), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6, 1e12])
def test_steps_do_not_depend_on_the_length_of_the_pairs(boxes: ModuleType, dtype: torch.dtype, scale: float) -> None:
    rows = Histories(seed=6, ticks=0, dtype=dtype)
    for _ in range(6):
        rows.tick(torch.ones(6, dtype=torch.bool), scale=scale)
    rows.check(boxes, torch.full((6,), 0.5, dtype=torch.float64), tolerance=1e-8 if dtype == torch.float64 else 1e-3)


def test_float32_steps_are_those_of_float64_to_its_rounding(boxes: ModuleType) -> None:
    for seed in range(5):
        rows = Histories(seed=seed, n=40, memory=8, dtype=torch.float32)
        rows.check(boxes, torch.full((6,), 0.5, dtype=torch.float64), tolerance=1e-4)


def _differently_far(rows: Histories) -> tuple[Tensor, ...]:
    shift = torch.linspace(0, 2, len(rows.pairs), dtype=torch.float64)
    return shift, *rows.question()


def test_neither_order_nor_company_of_rows_matters() -> None:
    rows = Histories(seed=7, rows=9)
    question = _differently_far(rows)
    together = rows.steps(*question)
    order = torch.tensor([4, 0, 8, 2, 7, 1, 3, 6, 5])
    shuffled = rows.curvature.select(order).shifted(question[0][order]).step(*(t[order] for t in question[1:]))
    torch.testing.assert_close(shuffled, together[order], rtol=1e-10, atol=1e-12)
    for row in range(9):
        one = torch.tensor([row])
        alone = rows.curvature.select(one).shifted(question[0][one]).step(*(t[one] for t in question[1:]))
        torch.testing.assert_close(alone[0], together[row], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_change_that_is_not_finite_and_not_remembered_leaves_no_trace(boxes: ModuleType, poison: float) -> None:
    rows = Histories(seed=8)
    bad = torch.full((6, 9), poison, dtype=torch.float64)
    rows.curvature.remember(rows.draw(6, 9), bad, torch.zeros(6, dtype=torch.bool))
    rows.check(boxes, torch.full((6,), 0.2, dtype=torch.float64))


def test_rows_taken_a_few_at_a_time_step_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Histories(seed=9, rows=7)
    monkeypatch.setattr(curvature, "_CACHED_BYTES", 2000)  # three rows of 2 x 4 pairs of 9 float64
    parted = Histories(seed=9, rows=7)
    question = _differently_far(whole)
    torch.testing.assert_close(parted.steps(*question), whole.steps(*question), rtol=1e-10, atol=1e-12)

"""The attack on classifiers: distances known in closed form, scipy in float64, and what must hold on any classifier."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor, nn

from vaeaudit import DataError, GradientError, ModelError, OptionError
from vaeaudit.attacks.classifier import TargetedClass, targeted_class
from vaeaudit.optimize import BoxLBFGS

FREE, BOX = (-math.inf, math.inf), (0.0, 1.0)
TIGHT = BoxLBFGS(tolerance=1e-11, max_evaluations=3000)


def linear(n: int, classes: int, *, seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(n, classes).double()


def points(count: int, n: int, *, seed: int = 1, inside: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand if inside else torch.randn
    return drawn(count, n, generator=generator, dtype=torch.float64)


def hyperplane(model: nn.Linear, wanted: int) -> tuple[Tensor, Tensor]:
    """w and b of the wanted class's margin w'x + b over the other of two classes."""
    sign = 1.0 if wanted == 0 else -1.0
    weight, bias = model.weight.detach(), model.bias.detach()
    return sign * (weight[0] - weight[1]), sign * (bias[0] - bias[1])


@pytest.mark.parametrize("penalty", ["l2_squared", "l2"])
def test_the_crossing_of_a_linear_classifier_is_the_distance_to_its_hyperplane(penalty: str) -> None:
    model, x = linear(12, 2), points(6, 12)
    wanted = 1 - model(x).argmax(1)
    found = targeted_class(model, x, wanted, penalty=penalty, bounds=FREE)
    for i, label in enumerate(wanted.tolist()):
        weight, bias = hyperplane(model, label)
        distance = float((weight @ x[i] + bias).abs() / weight.norm())
        assert float(found.crossing[i]) == pytest.approx(distance, rel=1e-3)
        assert float(found.crossing[i]) >= distance * (1 - 1e-9)
        # every distortion goes straight to the plane, so the logit is a line of slope |w|
        logit = float(weight @ x[i] + bias) + float(weight.norm()) * found.distortion[i]
        torch.testing.assert_close(found.logit[i], logit, rtol=0, atol=2e-2)


def least_in_box(weight: Tensor, bias: Tensor, x: Tensor) -> float:
    """Length of the shortest d with w'(x + d) + b >= 0 in the unit box: d = clip(m w) for the least such multiplier m."""

    def moved(multiplier: float) -> Tensor:
        return (multiplier * weight).clamp(-x, 1 - x)

    needed = scipy.optimize.brentq(lambda m: float(weight @ (x + moved(m)) + bias), 0, 1e6, xtol=1e-13)
    return float(moved(needed).norm())


def with_largest_margin(share: float) -> nn.Linear:
    """A classifier whose second class wins by at most this share of the margin's range over the unit box."""
    model = linear(10, 2, seed=3)
    weight, bias = hyperplane(model, 1)
    with torch.no_grad():
        model.bias[1] += share * weight.abs().sum() - weight.clamp_min(0).sum() - bias
    return model


def test_with_active_bounds_the_crossing_is_the_least_distance_in_the_box() -> None:
    model, x = with_largest_margin(0.15), points(4, 10, inside=True)
    found = targeted_class(model, x, 1, bounds=BOX, solver=TIGHT)
    known = [least_in_box(*hyperplane(model, 1), one) for one in x]
    np.testing.assert_allclose(found.crossing.numpy(), known, rtol=1e-3)
    crossed = found.crossing_adversarial
    assert bool(((crossed == 0) | (crossed == 1)).any()), "the bounds must matter for this test to say anything"


def test_a_class_that_the_bounds_keep_out_of_reach_is_never_crossed_into() -> None:
    model, x = with_largest_margin(-0.01), points(3, 10, inside=True)
    found = targeted_class(model, x, 1, bounds=BOX)
    assert found.crossing.tolist() == [math.inf] * 3
    assert bool(found.crossing_strength.isnan().all())
    assert torch.equal(found.crossing_adversarial, x)
    assert not bool(found.wins.any())


def curved(n: int = 8, classes: int = 4) -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(n, 16), nn.Tanh(), nn.Linear(16, classes)).double()


def by_scipy(model: nn.Module, x: Tensor, label: int, strength: float) -> float:
    """The least objective of tight scipy runs from several starts."""

    def objective(d: np.ndarray) -> tuple[float, np.ndarray]:
        change = torch.from_numpy(d).requires_grad_()
        loss = nn.functional.cross_entropy(model(x[None] + change), torch.tensor([label])) + strength * change @ change
        loss.backward()
        return loss.item(), change.grad.numpy()

    box = list(zip((-x).tolist(), (1 - x).tolist(), strict=True))
    starts = [np.zeros(len(x)), *np.random.default_rng(0).uniform(-x, 1 - x, (4, len(x)))]
    runs = [
        scipy.optimize.minimize(
            objective, start, jac=True, bounds=box, method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-9}
        )
        for start in starts
    ]
    return min(float(run.fun) for run in runs)


def test_on_a_curved_classifier_no_tight_scipy_run_ends_lower() -> None:
    model, x = curved(), points(4, 8, inside=True)
    wanted = (model(x).argmax(1) + 1) % 4
    strengths = [1e-3, 1e-2, 0.1, 1.0]
    found = targeted_class(model, x, wanted, strengths, bounds=BOX)
    for i, label in enumerate(wanted.tolist()):
        for j, strength in enumerate(strengths):
            assert float(found.objective[i, j]) <= by_scipy(model, x[i], label, strength) * (1 + 1e-3)
    assert bool(found.converged.all())


def test_what_is_reported_is_true_of_the_images_that_were_found() -> None:
    model, x = curved(), points(5, 8, inside=True)
    wanted = (model(x).argmax(1) + 2) % 4
    found = targeted_class(model, x, wanted, 8, bounds=BOX)
    odds = model(found.adversarial).softmax(2)
    rows = torch.arange(5)
    torch.testing.assert_close(found.probability, odds[rows, :, wanted])
    torch.testing.assert_close(found.logit, torch.logit(odds[rows, :, wanted]))
    torch.testing.assert_close(found.original_probability, odds[rows, :, found.original_class])
    assert torch.equal(found.original_class, model(x).argmax(1))
    assert torch.equal(found.wins, odds.argmax(2) == wanted[:, None])
    torch.testing.assert_close(found.distortion, (found.adversarial - x[:, None]).norm(dim=2))
    assert bool((found.adversarial >= 0).all() & (found.adversarial <= 1).all())
    reached = found.crossing.isfinite()
    assert torch.equal(model(found.crossing_adversarial).argmax(1) == wanted, reached)
    torch.testing.assert_close((found.crossing_adversarial - x).norm(dim=1)[reached], found.crossing[reached])


def test_a_crossing_lies_at_a_boundary_and_not_above_any_win_of_the_series() -> None:
    model, x = curved(), points(6, 8, inside=True, seed=2)
    wanted = (model(x).argmax(1) + 1) % 4
    found = targeted_class(model, x, wanted, 10, bounds=BOX)
    for i in torch.nonzero(found.crossing.isfinite())[:, 0].tolist():
        winning = found.distortion[i][found.wins[i]]
        assert float(found.crossing[i]) <= float(winning.min()) * (1 + 1e-12)
        two = model(found.crossing_adversarial[i][None])[0].topk(2).values
        assert float(two[0] - two[1]) < 1e-4


def test_the_logit_stays_finite_where_the_probability_rounds_to_one() -> None:
    model, x = linear(3, 2), points(2, 3)
    with torch.no_grad():
        model.weight *= 100
    found = targeted_class(model, x, 1 - model(x).argmax(1), [1e-25, 1.0], bounds=(-10, 10))
    assert bool((found.probability == 1).any())
    assert bool(found.logit.isfinite().all())
    assert float(found.logit.max()) > 40


def test_an_image_of_its_wanted_class_crosses_without_distortion() -> None:
    model, x = curved(), points(3, 8, inside=True)
    found = targeted_class(model, x, model(x).argmax(1), [0.1, 1.0], bounds=BOX)
    assert found.crossing.tolist() == [0, 0, 0]
    assert torch.equal(found.crossing_adversarial, x)


def test_an_image_is_attacked_alike_alone_and_in_company_and_whatever_the_batch() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 3))
    x = torch.rand(5, 1, 4, 3)
    wanted = (model(x).argmax(1) + 1) % 3
    together = targeted_class(model, x, wanted, [1e-3, 1e-2, 0.1])
    alone = targeted_class(model, x[2:3], int(wanted[2]), [1e-3, 1e-2, 0.1])
    assert torch.equal(together.adversarial[2], alone.adversarial[0])
    assert torch.equal(together.crossing[2], alone.crossing[0])
    assert together.adversarial.shape == (5, 3, 1, 4, 3)
    assert together.adversarial.dtype == torch.float32
    assert together.distortion.dtype == torch.float64


def test_the_classifier_comes_back_as_it_was() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = torch.rand(4, 6)
    state = torch.get_rng_state()
    first = targeted_class(model, x, 1, [1e-3, 0.1], restarts=1)
    again = targeted_class(model, x, 1, [1e-3, 0.1], restarts=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(first.adversarial, again.adversarial)


def attacked(model=None, x=None, classes=0, **options) -> TargetedClass:
    x = points(3, 4, inside=True) if x is None else x
    return targeted_class(linear(4, 3) if model is None else model, x, classes, **options)


def test_what_cannot_be_attacked_is_refused() -> None:
    with pytest.raises(OptionError, match="classifier must be callable"):
        attacked(model=3)
    with pytest.raises(OptionError, match="restarts expects 0 or more"):
        attacked(restarts=-1)
    with pytest.raises(OptionError, match="unknown penalty"):
        attacked(penalty="l1")
    with pytest.raises(OptionError, match="unknown strengths"):
        attacked(strengths="nobody1999")
    with pytest.raises(DataError, match="images range over"):
        attacked(x=points(3, 4) * 9)
    for classes in (0.5, True, torch.tensor([0.0, 1.0, 2.0]), "cat"):
        with pytest.raises(DataError, match="classes expects whole numbers"):
            attacked(classes=classes)
    with pytest.raises(DataError, match=r"one for all images, or \(3,\)"):
        attacked(classes=torch.tensor([0, 1]))
    with pytest.raises(DataError, match="the classifier has 0 to 2"):
        attacked(classes=3)


def test_a_classifier_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ModelError, match="the classifier failed on inputs of shape"):
        attacked(model=lambda x: x @ torch.zeros(3, 3))
    with pytest.raises(ModelError, match=r"returned a tensor \(\d+,\); expected logits"):
        attacked(model=lambda x: x.sum(1))
    with pytest.raises(ModelError, match="returned a dict; expected logits"):
        attacked(model=lambda x: {"logits": x})
    with pytest.raises(ModelError, match="NaN or infinite logits"):
        attacked(model=lambda x: x * math.nan)
    with pytest.raises(GradientError, match="no gradient flows"):
        attacked(model=lambda x: x.detach().round())
    with pytest.raises(GradientError, match="ignores its input"):
        attacked(model=lambda x: 0 * x + torch.arange(4.0, dtype=x.dtype))

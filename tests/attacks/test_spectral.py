"""Steps along eigenvectors: optimal on a linear model, full inside a box, and never worse for looking again."""

from __future__ import annotations

import itertools
import math
from types import ModuleType

import pytest
import torch
from torch import Tensor

from vaeaudit import Autoencoder, OptionError
from vaeaudit.attacks import SPECTRAL_METRICS, directions, maximum_damage, spectral, spectral_products
from vaeaudit.geometry.products import JacobianProducts

RADII = [0.1, 0.7, 2.0]
BOX = (0.0, 1.0)


@pytest.fixture(scope="module")
def bent() -> Autoencoder:
    """A smooth non-linear Gaussian model in float64."""
    generator = torch.Generator().manual_seed(0)
    inward, outward, spread = torch.randn(3, 5, 16, generator=generator, dtype=torch.float64) / 3
    return Autoencoder(
        lambda x: ((2 * (x - 0.4) @ inward.T).exp().log1p(), (x @ spread.T).sin() - 1),
        lambda z: (z @ outward).tanh(), bounds=BOX, scale="log_variance",
    )  # fmt: skip


def _metric(model, x: Tensor, metric: str) -> Tensor:
    if metric == "round_trip_mean":
        return model.weight.T @ model.decoder_metric() @ model.weight
    return model.round_trip_metric(x) if metric == "round_trip" else model.encoder_metric(x, metric)


@pytest.mark.parametrize("metric", SPECTRAL_METRICS)
def test_a_linear_model_does_what_its_metric_predicts(linear: ModuleType, metric: str) -> None:
    model = linear.linear_gaussian()
    x = linear.points(12, 3)
    found = spectral(model.autoencoder, x, RADII, metric)
    largest = float(torch.linalg.eigvalsh(_metric(model, x[0], metric))[-1])
    assert found.eigenvalue.tolist() == pytest.approx([largest] * 3, rel=1e-6)
    expected = math.sqrt(largest) * found.radii.expand(3, 3)
    torch.testing.assert_close(found.predicted, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(found.realised, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(found.distortion, found.radii.expand(3, 3))


@pytest.mark.parametrize("metric", ["wasserstein", "fisher"])
def test_small_steps_of_a_model_whose_spread_changes_realise_the_prediction(linear: ModuleType, metric: str) -> None:
    model = linear.linear_gaussian(slope=1.0)
    x = linear.points(12, 3)
    found = spectral(model.autoencoder, x, 1e-5, metric)
    lengths = [1e-5 * float(torch.linalg.eigvalsh(_metric(model, row, metric))[-1]) ** 0.5 for row in x]
    assert found.predicted[:, 0].tolist() == pytest.approx(lengths, rel=1e-6)
    assert found.realised[:, 0].tolist() == pytest.approx(lengths, rel=1e-4)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_in_the_cube_no_corner_is_longer_than_the_step_by_much_and_none_next_to_it_at_all(
    linear: ModuleType, seed: int
) -> None:
    model = linear.linear_gaussian(n=8, k=3, seed=seed)
    x = linear.points(8, 2)
    found = spectral(model.autoencoder, x, 0.5, "mean", "linf")
    corners = 0.5 * torch.tensor(list(itertools.product((-1.0, 1.0), repeat=8)), dtype=torch.float64)
    best = float((corners @ model.weight.T).norm(dim=1).max())
    assert bool((found.predicted >= 0.9 * best).all())
    assert bool((found.predicted <= best * (1 + 1e-9)).all())
    eigenvector = torch.linalg.eigh(model.encoder_metric(x[0], "mean"))[1][:, -1]
    assert bool((found.predicted >= 0.5 * (model.weight @ eigenvector.sign()).norm()).all())
    gram = model.encoder_metric(x[0], "mean")
    step = (found.adversarial - x[:, None])[:, 0]
    torch.testing.assert_close((step @ gram).sign(), step.sign())


def test_in_a_box_the_step_is_the_best_of_a_brute_force_search(linear: ModuleType) -> None:
    model = linear.linear_gaussian(n=3, k=2, bounds=BOX)
    x = torch.tensor([[0.0, 0.5, 1.0], [0.0, 0.0, 0.0], [0.1, 0.9, 0.4]], dtype=torch.float64)
    found = spectral(model.autoencoder, x, 0.4, "mean")
    generator = torch.Generator().manual_seed(0)
    ball = torch.randn(200_000, 3, generator=generator, dtype=torch.float64)
    ball = 0.4 * ball / ball.norm(dim=1, keepdim=True)
    for row in range(3):
        inside = ball[((x[row] + ball >= 0) & (x[row] + ball <= 1)).all(1)]
        best = float((inside @ model.weight.T).norm(dim=1).max())
        assert float(found.predicted[row, 0]) >= 0.99 * best
    assert float(found.adversarial.min()) >= 0
    assert float(found.adversarial.max()) <= 1


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_box_is_respected_and_the_budget_used_up_until_the_box_is_full(
    linear: ModuleType, bent: Autoencoder, norm: str
) -> None:
    x = linear.points(16, 4, bounds=BOX)
    x[0] = 0
    for steps in (1, 3):
        found = spectral(bent, x, [0.05, 0.3, 100.0], norm=norm, steps=steps)
        for side in (found.adversarial, found.opposite):
            assert float(side.min()) >= 0
            assert float(side.max()) <= 1
        assert bool((found.distortion <= found.radii * (1 + 1e-9)).all())
        assert bool((found.distortion[:, 0] > 0.999 * 0.05).all())


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("metric", ["wasserstein", "round_trip"])
def test_what_the_metric_predicts_never_falls_as_the_budget_grows(
    linear: ModuleType, bent: Autoencoder, metric: str, norm: str
) -> None:
    found = spectral(bent, linear.points(16, 4, bounds=BOX), torch.logspace(-3, 1, 15).tolist(), metric, norm)
    assert bool((found.predicted.diff(dim=1) >= -1e-12).all())
    if norm == "l2":
        assert bool((found.predicted <= found.eigenvalue.sqrt()[:, None] * found.radii * (1 + 1e-9)).all())


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("metric", ["wasserstein", "fisher", "round_trip_mean"])
def test_more_steps_are_never_worse_and_sometimes_better(
    linear: ModuleType, bent: Autoencoder, metric: str, norm: str
) -> None:
    x = linear.points(16, 4, bounds=BOX)
    reached = [spectral(bent, x, [0.2, 0.8], metric, norm, steps=steps).realised for steps in (1, 2, 4)]
    assert bool((reached[1] >= reached[0]).all())
    assert bool((reached[2] >= reached[1]).all())
    assert bool((reached[2] > 1.001 * reached[0]).any())


def test_more_steps_change_nothing_on_a_linear_model(linear: ModuleType) -> None:
    model = linear.linear_gaussian()
    x = linear.points(12, 3)
    one, three = (spectral(model.autoencoder, x, RADII, "mean", steps=steps) for steps in (1, 3))
    torch.testing.assert_close(one.realised, three.realised)


@pytest.mark.parametrize("steps", [1, 2])
def test_an_image_is_attacked_alike_in_any_company_and_order(linear: ModuleType, bent: Autoencoder, steps: int) -> None:
    x = linear.points(16, 40, bounds=BOX)
    together = spectral(bent, x, [0.2, 0.9], steps=steps)
    reversed_ = spectral(bent, x.flip(0), [0.9, 0.2], steps=steps)
    alone = spectral(bent, x[7:8], [0.2, 0.9], steps=steps)
    torch.testing.assert_close(reversed_.adversarial.flip(0), together.adversarial, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(alone.adversarial[0], together.adversarial[7], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("metric", ["wasserstein", "round_trip_mean"])
def test_products_alone_lead_to_the_same_steps(
    linear: ModuleType, bent: Autoencoder, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = linear.points(16, 3, bounds=BOX)
    held = spectral(bent, x, [0.2, 0.9], metric)
    monkeypatch.setattr(directions, "are_held", lambda *_: False)
    monkeypatch.setattr(directions, "CLIMBS_BY_PRODUCTS", 30)
    by_products = spectral(bent, x, [0.2, 0.9], metric)
    for name in ("eigenvalue", "predicted", "realised"):
        torch.testing.assert_close(getattr(by_products, name), getattr(held, name), rtol=1e-4, atol=0)


def test_no_step_does_more_than_the_untargeted_attack_finds(linear: ModuleType, bent: Autoencoder) -> None:
    x = linear.points(16, 3, bounds=BOX)
    best = maximum_damage(bent, x, [0.2, 0.8], restarts=3, steps=80).displacement
    for metric in SPECTRAL_METRICS:
        assert bool((spectral(bent, x, [0.2, 0.8], metric).displacement <= best * (1 + 1e-6)).all())


def test_no_steps_are_refused(linear: ModuleType) -> None:
    with pytest.raises(OptionError, match="spectral expects steps >= 1, got 0"):
        spectral(linear.linear_gaussian().autoencoder, linear.points(12, 2), 1.0, steps=0)


@pytest.mark.parametrize(("metric", "parts"), [("wasserstein", 1), ("round_trip_mean", 2)])
def test_no_more_products_are_taken_than_counted_on(
    bent: Autoencoder, linear: ModuleType, monkeypatch: pytest.MonkeyPatch, metric: str, parts: int
) -> None:
    taken = []
    for way in ("push", "pull"):
        plain = getattr(JacobianProducts, way)
        monkeypatch.setattr(JacobianProducts, way, lambda self, v, plain=plain: taken.append(1) or plain(self, v))
    monkeypatch.setattr(directions, "are_held", lambda *_: False)
    spectral(bent, linear.points(16, 1, bounds=BOX), RADII, metric)
    assert 0 < len(taken) <= parts * spectral_products(len(RADII))


def test_random_directions_are_stretched_by_the_root_of_the_mean_eigenvalue(linear: ModuleType) -> None:
    """What the eigenvector gains over chance is what a report's spectral radius and trace say; by z-score."""
    model = linear.linear_gaussian()
    x = linear.points(12, 1)
    metric = _metric(model, x[0], "round_trip_mean")
    d = torch.randn(4000, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    d = 0.7 * d / d.norm(dim=1, keepdim=True)
    moved = (model.autoencoder.reconstructions(x + d) - model.autoencoder.reconstructions(x)).square().sum(1)
    error = float(moved.std()) / math.sqrt(len(moved))
    assert abs(float(moved.mean()) - 0.7**2 * float(metric.trace()) / 12) < 4 * error
    eigenvector = spectral(model.autoencoder, x, 0.7, "round_trip_mean").realised.square()
    assert float(eigenvector) == pytest.approx(0.7**2 * float(torch.linalg.eigvalsh(metric)[-1]), rel=1e-6)
    assert bool((moved <= eigenvector[0, 0] * (1 + 1e-9)).all())


@pytest.mark.parametrize("metric", SPECTRAL_METRICS)
def test_further_directions_do_what_their_eigenvalues_predict_and_are_orthogonal(
    linear: ModuleType, metric: str
) -> None:
    model = linear.linear_gaussian()
    x = linear.points(12, 2)
    values = torch.linalg.eigvalsh(_metric(model, x[0], metric)).flip(0)
    found = [spectral(model.autoencoder, x, RADII, metric, direction=k) for k in (1, 2, 3, 4)]
    for value, attack in zip(values, found, strict=False):
        expected = value.sqrt() * attack.radii.expand(2, 3)
        torch.testing.assert_close(attack.eigenvalue, value.expand(2), rtol=1e-6, atol=0)
        torch.testing.assert_close(attack.predicted, expected, rtol=1e-6, atol=0)
        torch.testing.assert_close(attack.realised, expected, rtol=1e-6, atol=0)
    steps = torch.stack([(attack.adversarial - x[:, None])[0, 0] / 0.1 for attack in found])
    torch.testing.assert_close(steps @ steps.T, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize("metric", ["wasserstein", "round_trip_mean"])
def test_a_further_direction_is_used_up_to_its_budget_inside_the_box_and_products_find_the_same(
    linear: ModuleType, bent: Autoencoder, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = linear.points(16, 3, bounds=BOX)
    held = spectral(bent, x, [0.2, 0.9], metric, direction=2)
    assert 0 <= float(held.adversarial.min()) <= float(held.adversarial.max()) <= 1
    torch.testing.assert_close(held.distortion, held.radii.expand(3, 2).double(), rtol=1e-4, atol=0)
    monkeypatch.setattr(directions, "are_held", lambda *_: False)
    by_products = spectral(bent, x, [0.2, 0.9], metric, direction=2)
    for name in ("eigenvalue", "predicted", "realised"):
        torch.testing.assert_close(getattr(by_products, name), getattr(held, name), rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("direction", "steps", "message"),
    [(0, 1, "direction >= 1"), (2, 2, "one step where it is not 1; got 2 and 2"), (5, 1, "expects 1 to 4, the mean")],
)
def test_directions_that_cannot_be_are_refused(
    linear: ModuleType, direction: int, steps: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = linear.linear_gaussian().autoencoder, linear.points(12, 2)
    with pytest.raises(OptionError, match=message):
        spectral(model, x, 1.0, "mean", steps=steps, direction=direction)
    monkeypatch.setattr(directions, "are_held", lambda *_: False)
    with pytest.raises(OptionError, match=message):
        spectral(model, x, 1.0, "mean", steps=steps, direction=direction)

"""Figures of whole spectra by random probes: against exact spectra, and how often their intervals hold the truth."""

from __future__ import annotations

import math
from itertools import pairwise
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from vaeaudit import Autoencoder, OptionError
from vaeaudit.geometry import (
    METRICS,
    Jacobians,
    decoder_jacobian,
    decoder_spectrum,
    encoder_jacobians,
    encoder_spectrum,
    round_trip_factor,
    round_trip_spectrum,
    scores,
    stochastic_condition_number,
    stochastic_scores,
)

LATENT, PIXELS = 60, 90
FIGURES = ("trace", "von_neumann_entropy", "effective_rank", "entropy_khan2022", "log_pseudo_determinant")


def _weight(values: Tensor) -> Tensor:
    """A matrix of random singular vectors whose squared singular values are chosen."""
    generator = torch.Generator().manual_seed(0)

    def basis(rows: int) -> Tensor:
        return torch.linalg.qr(torch.randn(rows, rows, generator=generator, dtype=torch.float64))[0]

    return basis(len(values)) @ torch.diag(values.sqrt()) @ basis(PIXELS)[: len(values)]


def _linear(values: Tensor) -> Autoencoder:
    """A deterministic linear code whose pullback metric has chosen eigenvalues."""
    weight = nn.Linear(PIXELS, len(values), bias=False, dtype=torch.float64)
    weight.weight.data = _weight(values)
    return Autoencoder(weight, nn.Linear(len(values), PIXELS, dtype=torch.float64), (-10, 10))


class _Switched(nn.Module):
    """A code that is linear wherever one looks; which one it is, an image's last pixel says."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x: Tensor) -> Tensor:
        return (self.weights[x[:, -1].detach().long()] @ x[:, :-1, None])[..., 0]


K = torch.arange(LATENT, dtype=torch.float64)
SPECTRA = {"geometric": 0.93**K, "heavy": 1 / (1 + K), "flat": torch.linspace(1, 0.01, LATENT, dtype=torch.float64)}
POINT = torch.zeros(1, PIXELS, dtype=torch.float64)


def _exact(values: Tensor) -> dict[str, float]:
    rows = values[None]
    found = {name: float(getattr(scores, name)(rows)) for name in FIGURES[:4]}
    return {**found, FIGURES[4]: float(scores.log_pseudo_determinant(rows, torch.zeros_like(rows)))}


def test_intervals_hold_the_truth_as_often_as_they_say_whatever_the_spectrum() -> None:
    """Over 60 seeds; 95 % less three standard errors of that frequency, for each spectrum."""
    encoder, trials = _Switched(torch.stack([_weight(values) for values in SPECTRA.values()])), 60
    ae = Autoencoder(encoder, nn.Linear(LATENT, PIXELS + 1, dtype=torch.float64), (-10, 10))
    points = torch.cat([POINT.expand(3, -1), torch.arange(3, dtype=torch.float64)[:, None]], 1)
    known = [_exact(values) for values in SPECTRA.values()]
    exact = {name: torch.tensor([one[name] for one in known], dtype=torch.float64) for name in FIGURES}
    hits = dict.fromkeys(FIGURES, torch.zeros(3))
    for seed in range(trials):
        found = stochastic_scores(ae, points, "mean", probes=5, steps=16, top=4, seed=seed)
        for name in FIGURES:
            interval = getattr(found, name)
            hits[name] = hits[name] + ((interval.low <= exact[name]) & (exact[name] <= interval.high))
    least = trials * (0.95 - 3 * math.sqrt(0.95 * 0.05 / trials))
    assert all(bool((count >= least).all()) for count in hits.values()), hits


def test_estimates_have_no_bias_and_more_probes_narrow_them() -> None:
    ae, exact = _linear(SPECTRA["flat"]), _exact(SPECTRA["flat"])["trace"]
    few = [stochastic_scores(ae, POINT, "mean", probes=4, steps=20, top=0, seed=s).trace for s in range(40)]
    values = torch.cat([one.value for one in few])
    assert abs(float(values.mean()) - exact) < 4 * float(values.std()) / math.sqrt(40)
    many = stochastic_scores(ae, POINT, "mean", probes=64, steps=20, top=0).trace
    assert float(many.high - many.low) < 0.5 * sum(float(one.high - one.low) for one in few) / 40


def test_everything_set_aside_is_exact() -> None:
    values = SPECTRA["heavy"]
    found = stochastic_scores(_linear(values), POINT, "mean", probes=2, steps=5, top=LATENT)
    for name, known in _exact(values).items():
        interval = getattr(found, name)
        assert float(interval.value) == pytest.approx(known, rel=1e-6)
        assert float(interval.high - interval.low) < 1e-6 * abs(known)


def test_the_density_counts_eigenvalues() -> None:
    edges = torch.tensor([0.0, 0.2, 0.5, 2.0])
    found = stochastic_scores(_linear(SPECTRA["flat"]), POINT, "mean", probes=40, steps=LATENT, top=0).measure
    density = found.density(edges)
    values = SPECTRA["flat"]
    for j, (low, high) in enumerate(pairwise(edges)):
        count = int(((values >= low) & (values < high)).sum())
        assert float(density.low[0, j]) <= count <= float(density.high[0, j])
    assert float(density.value.sum()) == pytest.approx(LATENT)


@pytest.fixture(scope="module")
def ae() -> Autoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 48)).double()
        decoder = nn.Sequential(nn.Linear(24, 40), nn.Tanh(), nn.Linear(40, 40)).double()
    return Autoencoder(lambda x: tuple(encoder(x).chunk(2, 1)), decoder, (-10, 10), scale="log_variance")


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_has_its_scores_at_every_point(ae: Autoencoder, linear: ModuleType, metric: str) -> None:
    x = linear.points(40, 3)
    points = ae.encode(x).mean.detach() if metric.startswith("decoder") else x
    if metric.startswith("decoder"):
        exact = decoder_spectrum(ae, points, metric=metric)
    elif metric.startswith("round_trip"):
        exact = round_trip_spectrum(ae, points, metric=metric)
    else:
        exact = encoder_spectrum(ae, points, metric)
    found = stochastic_scores(ae, points, metric, probes=12, steps=60, top=6)
    assert found.metric == metric
    assert found.leading is not None
    for name in FIGURES[:4]:
        interval, known = getattr(found, name), getattr(scores, name)(exact.eigenvalues)
        slack = 0.5 * (interval.high - interval.low)  # three intervals of 95 % at once may just miss
        assert bool(((interval.low - slack <= known) & (known <= interval.high + slack)).all()), name


def test_products_are_counted(ae: Autoencoder, linear: ModuleType) -> None:
    found = stochastic_scores(ae, linear.points(40, 2), probes=3, steps=10, top=0)
    assert found.products == 3 * 10 * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probes": 1}, "at least 2 probes and 3 steps, got 1 and 40"),
        ({"steps": 2}, "at least 2 probes and 3 steps, got 10 and 2"),
        ({"top": -1}, "top expects 0 or more, got -1"),
        ({"metric": "fischer"}, "unknown metric 'fischer'"),
    ],
)
def test_nonsense_is_refused(ae: Autoencoder, linear: ModuleType, options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        stochastic_scores(ae, linear.points(40, 1), **options)


@pytest.mark.parametrize("condition", [1.5, 40.0, 1e3])
def test_a_condition_number_that_can_be_resolved_is_bracketed(condition: float) -> None:
    values = torch.logspace(0, -2 * math.log10(condition), LATENT, dtype=torch.float64)
    found = stochastic_condition_number(_linear(values), POINT)
    assert bool(found.resolved.all())
    assert float(found.value) == pytest.approx(condition, rel=1e-4)
    assert float(found.low) <= condition * (1 + 1e-9)
    assert condition <= float(found.high) * (1 + 1e-9)


def test_a_bottom_beyond_reach_gives_a_lower_bound_that_says_so() -> None:
    values = torch.logspace(0, -8, LATENT, dtype=torch.float64)
    found = stochastic_condition_number(_linear(values), POINT, steps=10)
    assert not bool(found.resolved.any())
    assert 1 < float(found.value) <= 1e4
    assert float(found.value) == float(found.low)
    assert math.isinf(float(found.high))


def test_a_singular_jacobian_gives_a_lower_bound_however_many_steps() -> None:
    values = SPECTRA["geometric"].clone()
    values[-1] = 0
    found = stochastic_condition_number(_linear(values), POINT)
    assert not bool(found.resolved.any())
    assert float(found.low) > 1e5


def test_only_active_units_count() -> None:
    """Rows of a diagonal Jacobian: 1, 0.5, 0.25 and one that is dead."""
    encoder = nn.Linear(4, 4, bias=False, dtype=torch.float64)
    encoder.weight.data = torch.diag(torch.tensor([1.0, 1e-9, 0.5, 0.25], dtype=torch.float64))
    ae = Autoencoder(encoder, nn.Linear(4, 4, dtype=torch.float64), (-10, 10))
    x = torch.zeros(2, 4, dtype=torch.float64)
    active = torch.tensor([True, False, True, True])
    found = stochastic_condition_number(ae, x, active=active)
    assert found.resolved.tolist() == [True, True]
    assert found.value.tolist() == pytest.approx([4.0, 4.0])
    exact = scores.condition_number(encoder_jacobians(ae, x).mean[:, active], 3)
    assert found.value.tolist() == pytest.approx(exact.tolist())
    with pytest.raises(OptionError, match="a boolean for each of 4 latent units with at least two of them True"):
        stochastic_condition_number(ae, x, active=torch.tensor([True, False, False, False]))
    with pytest.raises(
        OptionError, match="units can be left out of mean, decoder and round trip metrics, not of 'wass"
    ):
        stochastic_condition_number(ae, x, "wasserstein", active=active)


def _restricted(ae: Autoencoder, x: Tensor, metric: str, active: Tensor) -> Tensor:
    """The condition number on the active units from Jacobians that are held."""
    found = encoder_jacobians(ae, x, spread=False)
    on_active = Jacobians(mean=found.mean[:, active], log_std=None, std=None)
    decoder = decoder_jacobian(ae, ae.encode(x).mean.detach())[:, :, active]
    factors = {"mean": on_active.mean, "decoder": decoder, "round_trip": round_trip_factor(on_active, decoder)}
    return scores.condition_number(factors[metric], int(active.sum()))


@pytest.mark.parametrize("units", [2, 9, 24])
@pytest.mark.parametrize("metric", ["mean", "decoder", "round_trip"])
def test_active_units_alone_are_resolved_whole_or_bounded_from_below(
    ae: Autoencoder, linear: ModuleType, metric: str, units: int
) -> None:
    x = linear.points(40, 3)
    active = torch.arange(24) % 24 < units
    points = ae.encode(x).mean.detach() if metric == "decoder" else x
    known = _restricted(ae, x, metric, active)
    whole = stochastic_condition_number(ae, points, metric, active=active, steps=60)
    assert bool(whole.resolved.all())
    assert whole.value.tolist() == pytest.approx(known.tolist(), rel=1e-3)
    few = stochastic_condition_number(ae, points, metric, active=active, steps=max(2, units // 3))
    assert bool((few.low <= known * (1 + 1e-9)).all())
    assert bool((known <= few.high * (1 + 1e-9)).all())


def test_rounding_does_not_lead_a_round_trip_out_of_its_range(linear: ModuleType) -> None:
    """In float32, with fewer units than steps: nothing below the smallest singular value is taken for one."""
    model = linear.linear_gaussian(n=60, k=12, condition=20.0)
    single = nn.Linear(60, 12).requires_grad_(requires_grad=False)
    single.weight.data, single.bias.data = model.weight.float(), model.offset.float()
    back = nn.Linear(12, 60).requires_grad_(requires_grad=False)
    back.weight.data = model.decoder.float()
    ae = Autoencoder(single, back, (-10, 10))
    found = stochastic_condition_number(ae, linear.points(60, 2).float(), "round_trip", steps=50)
    values = torch.linalg.svdvals(model.decoder @ model.weight)[:12]
    known = float(values[0] / values[-1])
    assert bool((found.low <= known * 1.001).all())
    assert bool((found.value > 0.2 * known).all())

"""Spectra: n x n brute force in float64, closed forms, and the local meaning of every metric."""

from __future__ import annotations

import copy
import math
from types import ModuleType

import pytest
import torch
from torch import Tensor

from vaeaudit import Autoencoder, OptionError, wrap, zoo
from vaeaudit.divergences import divergence_kl, divergence_wasserstein
from vaeaudit.geometry import (
    DECODER_METRICS,
    ENCODER_METRICS,
    METRICS,
    ROUND_TRIP_METRICS,
    Spectrum,
    decoder_spectrum,
    encoder_jacobians,
    encoder_spectrum,
    round_trip_spectrum,
    scores,
    spectrum_of,
)

KINDS = ("narrow", "overcomplete", "feature maps", "learned output variance")


@pytest.fixture(scope="module", params=KINDS)
def ae(request: pytest.FixtureRequest) -> Autoencoder:
    """Smooth models in float64 whose posterior variance depends on the input."""
    n, k = 12, {"narrow": 4, "overcomplete": 20}.get(request.param, 6)
    shape = (-1, 2, 3) if request.param == "feature maps" else (-1, k)
    generator = torch.Generator().manual_seed(k)
    mean, spread, back = (
        torch.randn(a, b, generator=generator, dtype=torch.float64) / math.sqrt(b) for a, b in ((k, n), (k, n), (n, k))
    )

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        return (x @ mean.T).tanh().view(shape), ((x @ spread.T).sin() - 1).view(shape)

    def decode(z: Tensor) -> Tensor | torch.distributions.Normal:
        mean = (z.flatten(1) @ back.T).sin()
        if request.param != "learned output variance":
            return mean
        return torch.distributions.Normal(mean, (0.5 * (z.flatten(1) @ back.T.flip(1)).cos()).exp())

    return Autoencoder(encode, decode, (-10, 10), scale="log_variance")


def _measure(ae: Autoencoder, x: Tensor, metric: str, **options) -> Spectrum:
    if metric in DECODER_METRICS:
        return decoder_spectrum(ae, ae.encode(x).mean, metric=metric, **options)
    if metric in ROUND_TRIP_METRICS:
        return round_trip_spectrum(ae, x, metric=metric, **options)
    return encoder_spectrum(ae, x, metric, **options)


@pytest.mark.parametrize("metric", METRICS)
def test_eigenvalues_are_the_leading_ones_of_the_whole_metric(
    ae: Autoencoder, linear: ModuleType, metrics: ModuleType, metric: str
) -> None:
    x = linear.points(12, 3)
    found = _measure(ae, x, metric)
    assert found.metric == metric
    assert found.eigenvalues.dtype == torch.float64
    for row in range(3):
        whole = metrics.eigenvalues(metrics.metric(ae, x[row], metric), 1000)
        r = found.eigenvalues.shape[1]
        torch.testing.assert_close(found.eigenvalues[row], whole[:r], rtol=1e-9, atol=1e-12)
        assert float(whole[r:].abs().sum()) < 1e-10, "an eigenvalue that is not zero was left out"


@pytest.mark.parametrize("metric", METRICS)
def test_eigenvectors_have_unit_length_and_satisfy_their_equation(
    ae: Autoencoder, linear: ModuleType, metrics: ModuleType, metric: str
) -> None:
    x = linear.points(12, 2)
    found = _measure(ae, x, metric, eigenvectors=True)
    event = ae.encode(x).mean.shape[1:] if metric in DECODER_METRICS else x.shape[1:]
    assert found.eigenvectors.shape == (2, found.eigenvalues.shape[1], *event)
    for row in range(2):
        whole = metrics.metric(ae, x[row], metric)
        solid = found.eigenvalues[row] > 1e-9 * found.eigenvalues[row, 0]
        vectors = found.eigenvectors[row].flatten(1)[solid]
        torch.testing.assert_close(vectors @ vectors.T, torch.eye(len(vectors), dtype=torch.float64), rtol=0, atol=1e-6)
        torch.testing.assert_close(
            vectors @ whole, found.eigenvalues[row, solid, None] * vectors, rtol=0, atol=1e-8
        )  # fmt: skip


@pytest.mark.parametrize("metric", METRICS)
def test_top_keeps_the_leading_ones(ae: Autoencoder, linear: ModuleType, metric: str) -> None:
    x = linear.points(12, 2)
    everything = _measure(ae, x, metric, eigenvectors=True)
    for top in (1, 3, 10_000):
        some = _measure(ae, x, metric, top=top, eigenvectors=True)
        torch.testing.assert_close(some.eigenvalues, everything.eigenvalues[:, :top])
        assert some.eigenvectors.shape[1] == some.eigenvalues.shape[1] == some.error.shape[1]
    assert _measure(ae, x, metric).eigenvectors is None
    with pytest.raises(OptionError, match="top expects at least 1, got 0"):
        _measure(ae, x, metric, top=0)


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_a_linear_gaussian_model_agrees_with_the_closed_form(
    linear: ModuleType, slope: float, deterministic: bool
) -> None:
    model = linear.linear_gaussian(slope=slope, deterministic=deterministic)
    x = linear.points(12, 3)
    names = ("wasserstein", "mean") if deterministic else ENCODER_METRICS
    known = {name: [model.encoder_metric(row, name) for row in x] for name in names}
    known["decoder"] = [model.decoder_metric()] * 3
    known["decoder_mean"] = known["decoder"]
    gram = model.weight.T @ model.decoder_metric() @ model.weight
    known["round_trip_mean"] = [gram] * 3
    known["round_trip"] = [model.round_trip_metric(row) for row in x]
    for name, grams in known.items():
        found = _measure(model.autoencoder, x, name).eigenvalues
        for row in range(3):
            values = torch.linalg.eigvalsh(grams[row]).flip(0)[: found.shape[1]]
            torch.testing.assert_close(found[row], values, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("condition", [1.0, 67.0, 1e5])
def test_a_linear_models_condition_number_is_the_chosen_one(linear: ModuleType, condition: float) -> None:
    model = linear.linear_gaussian(condition=condition)
    assert model.condition_number() == pytest.approx(condition, rel=1e-9)
    factor = encoder_jacobians(model.autoencoder, linear.points(12, 3)).mean
    found = scores.condition_number(factor, 4)
    assert found.tolist() == pytest.approx([condition] * 3, rel=1e-6)


@pytest.mark.parametrize(
    ("metric", "divergence", "factor"), [("wasserstein", divergence_wasserstein, 1.0), ("fisher", divergence_kl, 0.5)]
)
def test_a_metric_is_the_second_order_of_its_divergence(
    ae: Autoencoder, linear: ModuleType, metrics: ModuleType, metric: str, divergence, factor: float
) -> None:
    x, directions = linear.points(12, 3), linear.points(12, 3, 5)
    here = ae.encode(x)
    for row in range(3):
        quadratic = factor * directions[row] @ metrics.encoder_metric(ae, x[row], metric) @ directions[row]
        for step in (1e-3, -1e-3):
            there = ae.encode((x + step * directions)[row : row + 1])
            measured = float(divergence(there, here[row : row + 1])) / step**2
            assert measured == pytest.approx(float(quadratic), rel=0.02)
    # and the library's own spectrum bounds it: |d|^2 lambda_max
    largest = factor * encoder_spectrum(ae, x, metric, top=1, eigenvectors=True).eigenvalues[:, 0]
    vectors = encoder_spectrum(ae, x, metric, top=1, eigenvectors=True).eigenvectors[:, 0]
    along = divergence(ae.encode(x + 1e-4 * vectors), here) / 1e-8
    torch.testing.assert_close(along, largest, rtol=0.01, atol=0)


@pytest.mark.parametrize("metric", ["decoder_mean", "round_trip_mean"])
def test_a_mean_metric_is_the_second_order_of_the_squared_reconstruction_distance(
    ae: Autoencoder, linear: ModuleType, metric: str
) -> None:
    x = linear.points(12, 3)
    inside = metric == "decoder_mean"
    points = ae.encode(x).mean if inside else x
    found = _measure(ae, x, metric, eigenvectors=True)
    for j in range(2):
        moved = points + 1e-4 * found.eigenvectors[:, j]
        there, here = (ae.decode(z if inside else ae.encode(z).mean) for z in (moved, points))
        distance = (there - here).square().sum(1) / 1e-8
        torch.testing.assert_close(distance, found.eigenvalues[:, j], rtol=0.01, atol=1e-6)


def test_the_decoder_metric_is_the_second_order_of_the_distance_of_its_output_distributions(
    ae: Autoencoder, linear: ModuleType
) -> None:
    """W2 squared of Gaussians, |difference of means|^2 + |difference of standard deviations|^2."""
    z = ae.encode(linear.points(12, 3)).mean
    found = decoder_spectrum(ae, z, eigenvectors=True)

    def parts(latents: Tensor) -> Tensor:
        output = ae.decoder(latents)
        return output if isinstance(output, Tensor) else torch.cat([output.mean, output.stddev], 1)

    for j in range(2):
        distance = (parts(z + 1e-4 * found.eigenvectors[:, j]) - parts(z)).square().sum(1) / 1e-8
        torch.testing.assert_close(distance, found.eigenvalues[:, j], rtol=0.01, atol=1e-6)


def test_the_decoder_metric_is_the_mean_over_sampled_outputs(linear: ModuleType) -> None:
    """Row 22 by its definition: E_eps |d/dz (g + s eps) . v|^2."""
    generator = torch.Generator().manual_seed(0)
    mean, spread = (torch.randn(9, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    ae = Autoencoder(
        lambda x: x[:, :3], lambda z: torch.distributions.Normal(z @ mean.T, (0.3 * z @ spread.T).exp()), (-10, 10),
        modules=(torch.nn.Linear(1, 1, dtype=torch.float64),),  # what says that it computes in float64
    )  # fmt: skip
    z, v = linear.points(3, 1), linear.points(3, 1, 3)[0]
    slope = (0.3 * z[0] @ spread.T).exp()[:, None] * 0.3 * spread
    noise = torch.randn(40_000, 9, 1, generator=generator, dtype=torch.float64)
    samples = ((mean + noise * slope) @ v).square().sum(1)
    found = decoder_spectrum(ae, z, eigenvectors=True)
    along = (found.eigenvectors[0] @ v).square() @ found.eigenvalues[0]
    error = float(samples.std()) / math.sqrt(len(samples))
    assert abs(float(samples.mean() - along)) < 4 * error
    assert abs(float(samples.mean() - (mean @ v).square().sum())) > 6 * error  # it sees the variance


def test_the_stochastic_round_trip_metric_is_the_mean_over_posterior_samples(linear: ModuleType) -> None:
    """Row 23 by its definition: E_eps |d/dx g(mu + sigma eps) . v|^2, with a decoder that is linear."""
    model = linear.linear_gaussian(n=8, k=3, slope=2.0)
    x, v = linear.points(8, 1)[0], linear.points(8, 1, 3)[0]
    spread = model.std(x)[:, None] * model.slope / 2
    noise = torch.randn(200_000, 3, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = (model.weight + noise * spread) @ v  # J_z v for every sample
    samples = (moved @ model.decoder.T).square().sum(1)
    found = round_trip_spectrum(model.autoencoder, x[None], eigenvectors=True)
    along = (found.eigenvectors[0] @ v).square() @ found.eigenvalues[0]
    error = float(samples.std()) / math.sqrt(len(samples))
    assert abs(float(samples.mean() - along)) < 4 * error
    # the test can tell the diagonal of the decoder metric from the whole of it
    gram = model.decoder_metric()
    wrong = along - (spread @ v) @ torch.diag(gram.diagonal()) @ (spread @ v) + (spread @ v) @ gram @ (spread @ v)
    assert abs(float(samples.mean() - wrong)) > 6 * error


def test_the_stochastic_encoder_metric_is_the_mean_over_posterior_samples(linear: ModuleType) -> None:
    model = linear.linear_gaussian(n=8, k=3, slope=2.0)
    x, v = linear.points(8, 1)[0], linear.points(8, 1, 3)[0]
    spread = model.std(x)[:, None] * model.slope / 2
    noise = torch.randn(40_000, 3, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    samples = ((model.weight + noise * spread) @ v).square().sum(1)
    found = encoder_spectrum(model.autoencoder, x[None], eigenvectors=True)
    along = (found.eigenvectors[0] @ v).square() @ found.eigenvalues[0]
    assert abs(float(samples.mean() - along)) < 4 * float(samples.std()) / math.sqrt(len(samples))
    mean_only = (model.weight @ v).square().sum()
    assert abs(float(samples.mean() - mean_only)) > 6 * float(samples.std()) / math.sqrt(len(samples))


@pytest.mark.parametrize("name", ["mnist-vae", "mnist-ae"])
def test_the_rounding_of_a_float32_model_stays_within_the_reported_error(name: str) -> None:
    model = zoo.load_model(name)
    images = zoo.images(name)[0][:4]
    single = round_trip_spectrum(wrap(model, bounds=(0, 1)), images)
    double = round_trip_spectrum(wrap(copy.deepcopy(model).double(), bounds=(0, 1)), images)
    assert bool(((single.eigenvalues - double.eigenvalues).abs() <= single.error).all())
    assert bool((single.error < 1e-4 * double.eigenvalues[:, :1]).all())
    assert bool((double.error < 1e-12 * double.eigenvalues[:, :1]).all())


def test_a_deterministic_code_has_no_fisher_metric(linear: ModuleType) -> None:
    model = linear.linear_gaussian(deterministic=True)
    with pytest.raises(OptionError, match="the fisher metric needs posterior variances"):
        encoder_spectrum(model.autoencoder, linear.points(12, 2), "fisher")


def test_an_unknown_metric_is_refused_with_the_known_ones(linear: ModuleType) -> None:
    model = linear.linear_gaussian()
    with pytest.raises(OptionError, match="unknown metric 'fischer'; choose one of wasserstein, mean, fisher"):
        encoder_spectrum(model.autoencoder, linear.points(12, 2), "fischer")


@pytest.mark.parametrize(("rows", "columns"), [(3, 9), (9, 3), (5, 5)])
def test_the_small_side_of_any_factor_gives_its_squared_singular_values(rows: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    factor = torch.randn(4, rows, columns, generator=generator, dtype=torch.float64)
    found = spectrum_of(factor, "any", (columns,), precision=torch.float64, eigenvectors=True)
    torch.testing.assert_close(found.eigenvalues, torch.linalg.svdvals(factor).square())
    stretched = (factor @ found.eigenvectors.mT).norm(dim=1).square()
    torch.testing.assert_close(stretched, found.eigenvalues)


def test_a_model_in_training_mode_is_measured_in_evaluation_mode_and_left_as_it_was() -> None:
    torch.manual_seed(0)
    encoder = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Dropout(0.5)).double().train()
    decoder = torch.nn.Linear(4, 6).double()
    ae = Autoencoder(encoder, decoder, (-10, 10))
    found = round_trip_spectrum(ae, torch.zeros(2, 6, dtype=torch.float64)).eigenvalues
    known = torch.linalg.svdvals(decoder.weight.detach() @ encoder[0].weight.detach())[:4].square()
    torch.testing.assert_close(found, known.expand(2, 4))
    assert encoder[1].training
    assert all(p.requires_grad and p.grad is None for p in encoder.parameters())

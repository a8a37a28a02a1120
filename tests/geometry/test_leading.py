"""Leading eigenpairs by products: chosen spectra, exact spectra of mid-size models, and what the errors promise."""

from __future__ import annotations

import math
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from vaeaudit import Autoencoder, ModelError, OptionError
from vaeaudit.errors import FallbackWarning
from vaeaudit.geometry import (
    METRICS,
    Spectrum,
    decoder_spectrum,
    encoder_spectrum,
    jacobians,
    modes,
    operators,
    round_trip_spectrum,
)
from vaeaudit.geometry.lanczos import Lanczos
from vaeaudit.geometry.leading import leading_eigenpairs
from vaeaudit.geometry.operators import MetricOperator, metric_operator


def _operator(grams: Tensor) -> MetricOperator:
    """A symmetric matrix for each point, as A A' with A = its square root."""
    values, vectors = torch.linalg.eigh(grams)
    root = vectors @ torch.diag_embed(values.clamp_min(0).sqrt()) @ vectors.mT

    def apply(v: Tensor) -> Tensor:
        return (root @ v[..., None])[..., 0]

    d = grams.shape[1]
    return MetricOperator(
        rows=d, columns=d, apply=apply, transpose=apply, like=grams.new_empty(len(grams), 0), precision=torch.float64
    )


def _gram(*spectra: Tensor, seed: int = 0) -> Tensor:
    """Matrices of chosen eigenvalues in random positions."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for values in spectra:
        q = torch.linalg.qr(torch.randn(len(values), len(values), generator=generator, dtype=torch.float64))[0]
        made.append(q @ torch.diag(values) @ q.T)
    return torch.stack(made)


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


GEOMETRIC = 0.9 ** torch.arange(150, dtype=torch.float64)
SLOW = 1 / (1 + torch.arange(150, dtype=torch.float64)) ** 0.5


@pytest.mark.parametrize("top", [1, 5, 20])
def test_chosen_eigenvalues_are_found_at_every_point_of_a_batch(top: int) -> None:
    grams = _gram(GEOMETRIC, 300 * GEOMETRIC, SLOW)
    found = leading_eigenpairs(_operator(grams), top, generator=_seeded())
    known = torch.stack([GEOMETRIC, 300 * GEOMETRIC, SLOW])[:, :top]
    assert bool(found.converged.all())
    assert bool(((found.values - known).abs() <= found.error).all())
    torch.testing.assert_close(found.values, known, rtol=1e-6, atol=0)
    residual = (found.vectors @ grams - found.values[..., None] * found.vectors).norm(dim=2)
    assert bool((residual <= found.error * (1 + 1e-6)).all())
    inner = found.vectors @ found.vectors.mT
    torch.testing.assert_close(inner, torch.eye(top, dtype=torch.float64).expand(3, -1, -1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("copies", [2, 5])
def test_every_copy_of_a_multiple_eigenvalue_is_found(copies: int) -> None:
    spectrum = torch.cat([torch.full((copies,), 2.0, dtype=torch.float64), GEOMETRIC[:60]])
    found = leading_eigenpairs(_operator(_gram(spectrum)), 6, generator=_seeded())
    torch.testing.assert_close(found.values[0], spectrum.sort(descending=True).values[:6], rtol=1e-6, atol=0)


def test_one_start_alone_misses_copies() -> None:
    """What the second start is for."""
    spectrum = torch.cat([torch.full((3,), 2.0, dtype=torch.float64), GEOMETRIC[:60]])
    found = leading_eigenpairs(_operator(_gram(spectrum)), 3, generator=_seeded(), confirm=0)
    assert float(found.values[0, 1]) < 1.5


def test_a_start_that_meets_few_directions_goes_on_with_fresh_ones() -> None:
    """The identity exhausts every Krylov space after one step."""
    identity = torch.eye(30, dtype=torch.float64)[None]
    found = leading_eigenpairs(_operator(identity), 7, generator=_seeded())
    torch.testing.assert_close(found.values, torch.ones(1, 7, dtype=torch.float64))


def test_too_few_steps_are_admitted_in_error_and_flag() -> None:
    found = leading_eigenpairs(_operator(_gram(SLOW)), 10, generator=_seeded(), at_most=12)
    assert not bool(found.converged.any())
    distance = (found.values[0, :, None] - SLOW).abs().amin(1)
    assert bool((distance <= found.error[0]).all()), "no eigenvalue lies within the error"
    assert float(found.error[0, -1]) > 1e-3


def test_lanczos_of_the_whole_space_is_the_matrix_itself() -> None:
    grams = _gram(GEOMETRIC[:20], SLOW[:20])
    start = torch.randn(2, 20, generator=_seeded(), dtype=torch.float64)
    space = Lanczos(lambda v: (grams @ v[..., None])[..., 0], start).run(50)
    assert space.basis.shape == (2, 20, 20)
    values = space.decomposed()[0].flip(1)
    torch.testing.assert_close(values, torch.stack([GEOMETRIC[:20], SLOW[:20]]))
    assert float(space.noise.max()) < 1e-13


class Convolutional(nn.Module):
    """4 x 6 x 6 latents of 2 x 12 x 12 images."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1), nn.SiLU(), nn.GroupNorm(2, 6), nn.Conv2d(6, 8, 4, stride=2, padding=1)
        )
        self.up = nn.Sequential(
            nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1), nn.SiLU(), nn.Conv2d(6, 4, 3, padding=1)
        )

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.down(x).chunk(2, 1)
        return mean, log_variance - 1

    def decode(self, z: Tensor) -> torch.distributions.Normal:
        mean, log_std = self.up(z).chunk(2, 1)
        return torch.distributions.Normal(mean, log_std.exp())


@pytest.fixture(scope="module", params=[torch.float64, torch.float32], ids=str)
def ae(request: pytest.FixtureRequest) -> Autoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Convolutional().to(request.param).eval()
    return Autoencoder(model.encode, model.decode, (0, 1))


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(3, 2, 12, 12, generator=torch.Generator().manual_seed(5))


def _measure(ae: Autoencoder, x: Tensor, metric: str, **options) -> Spectrum:
    if metric.startswith("decoder"):
        latents = ae.encode(x.to(ae.dtype)).mean.detach()
        return decoder_spectrum(ae, latents, metric=metric, **options)
    if metric.startswith("round_trip"):
        return round_trip_spectrum(ae, x, metric=metric, **options)
    return encoder_spectrum(ae, x, metric, **options)


@pytest.mark.parametrize("metric", METRICS)
def test_above_the_size_limit_products_give_the_exact_leading_eigenpairs(
    ae: Autoencoder, images: Tensor, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jacobians, "_ROWS_A_PRODUCT", 100)
    exact = _measure(ae, images, metric, top=5, eigenvectors=True)
    monkeypatch.setattr(jacobians, "SMALL_SIDE", 100)
    monkeypatch.setattr(operators, "NORM_PROBES", 144)  # a column each: none is estimated
    found = _measure(ae, images, metric, top=5, eigenvectors=True)
    assert exact.products == 0
    assert found.products > 0
    assert bool(found.converged.all())
    assert bool(((found.eigenvalues - exact.eigenvalues).abs() <= found.error + exact.error).all())
    assert bool((found.error < 1e-3 * found.eigenvalues).all())
    assert found.eigenvectors.shape == exact.eigenvectors.shape
    gap = float((exact.eigenvalues[:, 0] - exact.eigenvalues[:, 1]).min() / exact.eigenvalues[:, 0].max())
    cosine = (found.eigenvectors[:, 0] * exact.eigenvectors[:, 0]).flatten(1).sum(1).abs()
    assert bool((1 - cosine < 1e-3 / max(gap, 1e-3)).all())


def test_a_batch_and_its_points_alone_agree(ae: Autoencoder, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jacobians, "SMALL_SIDE", 100)
    together, alone = (encoder_spectrum(ae, x, top=3) for x in (images, images[1:2]))
    assert bool(((together.eigenvalues[1] - alone.eigenvalues[0]).abs() <= together.error[1] + alone.error[0]).all())


def test_the_same_seed_gives_the_same_figures(ae: Autoencoder, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jacobians, "SMALL_SIDE", 100)
    first, again = (encoder_spectrum(ae, images, top=3, seed=4) for _ in range(2))
    assert torch.equal(first.eigenvalues, again.eigenvalues)


def test_a_small_memory_budget_takes_another_pass_for_every_product(
    ae: Autoencoder, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jacobians, "SMALL_SIDE", 100)
    roomy, tight = (encoder_spectrum(ae, images, top=3, memory=memory) for memory in (None, 1000))
    assert bool(((roomy.eigenvalues - tight.eigenvalues).abs() <= roomy.error + tight.error).all())


def test_without_top_a_large_jacobian_is_refused_with_what_to_do(
    ae: Autoencoder, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jacobians, "SMALL_SIDE", 100)
    with pytest.raises(
        ModelError, match=r"pass top=10 for the leading eigenvalues, and see geometry\.stochastic_scores"
    ):
        encoder_spectrum(ae, images)


class Wide(Convolutional):
    """A posterior that is as sensitive in its spread as in its mean, so that the sigma term counts."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.down(x).chunk(2, 1)
        return mean, 4 * log_variance + 1


@pytest.fixture(scope="module")
def wide() -> Autoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = Wide().double().eval()
    return Autoencoder(model.encode, model.decode, (0, 1))


def test_estimated_norms_of_a_large_round_trip_are_part_of_its_errors(
    wide: Autoencoder, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two standard errors hold 95 %; over 40 seeds, less three standard errors of that frequency."""
    exact = round_trip_spectrum(wide, images[:1], top=1).eigenvalues
    mean_term = round_trip_spectrum(wide, images[:1], top=1, metric="round_trip_mean").eigenvalues
    assert float(exact) > 1.5 * float(mean_term)
    monkeypatch.setattr(jacobians, "SMALL_SIDE", 100)
    found = [round_trip_spectrum(wide, images[:1], top=1, seed=seed) for seed in range(40)]
    hits = sum(bool((one.eigenvalues - exact).abs() <= one.error) for one in found)
    assert hits >= 40 * (0.95 - 3 * math.sqrt(0.95 * 0.05 / 40))
    assert max(float(one.error / one.eigenvalues) for one in found) < 0.5


def test_estimated_norms_have_no_bias(
    wide: Autoencoder, images: Tensor, metrics: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """v' G v at a random v, against brute force, by z-score over 60 seeds."""
    x = images[:1].double()
    v = torch.randn(1, x.numel(), generator=_seeded(3), dtype=torch.float64)
    known = float((v @ metrics.round_trip_metric(wide, x[0]) @ v.T).squeeze())
    with wide.at_rest():
        lengths = torch.stack(
            [metric_operator(wide, x, "round_trip", seed=seed).apply(v).square().sum() for seed in range(60)]
        )
    assert float(lengths.std()) > 0
    assert abs(float(lengths.mean()) - known) < 4 * float(lengths.std()) / math.sqrt(60)


def test_a_jacobian_is_not_formed_where_products_are_fewer(
    ae: Autoencoder, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jacobians, "_ROWS_A_PRODUCT", 100)
    held = encoder_spectrum(ae, images, top=3)
    assert held.products == 0
    monkeypatch.setattr(jacobians, "_ROWS_A_PRODUCT", 1)
    found = encoder_spectrum(ae, images, top=3)
    assert found.products > 0
    assert bool(((found.eigenvalues - held.eigenvalues).abs() <= found.error + held.error).all())
    assert encoder_spectrum(ae, images).products == 0
    assert round_trip_spectrum(ae, images, top=3).products == 0
    assert round_trip_spectrum(ae, images, top=3, metric="round_trip_mean").products > 0


def test_a_deterministic_round_trip_needs_no_sigma_term(linear: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    model = linear.linear_gaussian(n=30, k=12, deterministic=True)
    monkeypatch.setattr(jacobians, "SMALL_SIDE", 5)
    x = linear.points(30, 2)
    found = round_trip_spectrum(model.autoencoder, x, top=2)
    values = torch.linalg.eigvalsh(model.round_trip_metric(x[0])).flip(0)[:2]
    assert found.products > 0
    assert bool(((found.eigenvalues - values).abs() <= found.error).all())


class _Cube(torch.autograd.Function):
    """x^3 as a custom operation that knows only its backward pass."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return 3 * ctx.saved_tensors[0] ** 2 * gradient


@pytest.mark.parametrize("memory", [None, 1])
def test_without_forward_mode_products_take_two_backward_passes_and_say_so(
    linear: ModuleType, monkeypatch: pytest.MonkeyPatch, memory: int | None
) -> None:
    monkeypatch.setattr(jacobians, "SMALL_SIDE", 5)
    monkeypatch.setattr(modes, "_said", set())
    model = linear.linear_gaussian(n=30, k=12)
    ae = Autoencoder(lambda x: _Cube.apply(x) @ model.weight.T.to(x), model.decode)
    x = linear.points(30, 2).float()
    with pytest.warns(FallbackWarning, match="two backward passes instead of a forward-mode one"):
        found = encoder_spectrum(ae, x, "mean", top=3, memory=memory)
    for row in range(2):
        jacobian = model.weight @ torch.diag(3 * x[row].double() ** 2)
        known = torch.linalg.svdvals(jacobian)[:3].square()
        assert bool(((found.eigenvalues[row] - known).abs() <= found.error[row]).all())


@pytest.mark.parametrize("metric", METRICS)
def test_apply_and_transpose_are_adjoint(ae: Autoencoder, images: Tensor, metric: str) -> None:
    """<u, A v> = <A' u, v>, to the precision of the model."""
    points = ae.encode(images.to(ae.dtype)).mean.detach() if metric.startswith("decoder") else images.to(ae.dtype)
    with ae.at_rest():
        operator = metric_operator(ae, points, metric)
        before = operator.products
        v, u = (torch.randn(3, d, generator=_seeded(d), dtype=torch.float64) for d in (operator.columns, operator.rows))
        forward, backward = operator.apply(v), operator.transpose(u)
    assert operator.products - before == (4 if metric.startswith("round_trip") else 2)
    left, right = (u * forward).sum(1), (v * backward).sum(1)
    scale = forward.norm(dim=1) * u.norm(dim=1)
    assert bool(((left - right).abs() <= 10 * torch.finfo(ae.dtype).eps * scale).all())


def test_an_unknown_metric_is_refused(ae: Autoencoder, images: Tensor) -> None:
    with pytest.raises(OptionError, match="unknown metric 'fischer'; choose one of wasserstein, mean, fisher, decoder"):
        metric_operator(ae, images, "fischer")


def test_the_residual_bound_holds_over_many_starts() -> None:
    """At any number of steps, however few, an eigenvalue lies within the error of each value."""
    gram, spectrum = _gram(SLOW), SLOW
    for seed in range(20):
        for steps in (4, 9, 30):
            found = leading_eigenpairs(_operator(gram), 3, generator=_seeded(seed), at_most=steps)
            assert bool(((found.values[0, :, None] - spectrum).abs().amin(1) <= found.error[0]).all())
            assert math.isfinite(float(found.error.max()))


def test_fewer_steps_take_fewer_products_and_say_what_they_miss(
    ae: Autoencoder, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = encoder_spectrum(ae, images)
    monkeypatch.setattr(jacobians, "SMALL_SIDE", 100)
    found = encoder_spectrum(ae, images, top=2, steps=4)
    assert found.products == 2 * 4
    assert not bool(found.converged.any())
    nearest = (exact.eigenvalues[:, :, None] - found.eigenvalues[:, None]).abs().amin(1)
    assert bool((nearest <= found.error + exact.error[:, :2]).all())
    with pytest.raises(OptionError, match="steps expects at least 1, got 0"):
        encoder_spectrum(ae, images, top=2, steps=0)

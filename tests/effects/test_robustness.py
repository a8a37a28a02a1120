"""r-robustness: shares of known probability, brackets of known margins, and certificates that no sample undercuts."""

from __future__ import annotations

import math
from types import ModuleType

import pytest
import scipy
import torch
from torch import Tensor, nn

from vaeaudit import Autoencoder, DataError, OptionError, attacks
from vaeaudit.certificates import certify
from vaeaudit.effects import Robustness, half_the_median_distance, r_robustness


def _line(linear: ModuleType, *, deterministic: bool = False, seed: int = 0):
    """A linear model with one latent unit: the distance of two reconstructions is |b| |a d + sqrt(2) sigma eps|."""
    return linear.linear_gaussian(n=6, k=1, seed=seed, deterministic=deterministic)


def _probability(model, shift: Tensor, r: float, sampled: bool) -> Tensor:
    """P(L2(f(x + d) - f(x)) <= r) of a model with one latent unit, at a d whose mean moves by `shift`."""
    spread = math.sqrt(2 if sampled else 1) * float((0.5 * model.log_variance).exp())
    reach = r / float(model.decoder.norm())
    norm = torch.distributions.Normal(0.0, spread)
    return norm.cdf(reach - shift.double()) - norm.cdf(-reach - shift.double())


def _steps(model, sizes: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """x + d along the encoder's one direction, d of the given lengths, and how far each moves the latent."""
    unit = model.weight[0] / model.weight.norm()
    return x[:, None] + sizes[:, None] * unit, float(model.weight.norm()) * sizes


@pytest.mark.parametrize("sampled", [True, False])
def test_shares_are_probabilities_and_intervals_hold_them(linear: ModuleType, sampled: bool) -> None:
    model, count = _line(linear), 300
    sizes = torch.tensor([0.2, 1.0, 2.0], dtype=torch.float64)
    x = linear.points(6, count, 1)
    moved, shifts = _steps(model, sizes, x)
    r = 1.2 * float(model.decoder.norm())
    found = r_robustness(model.autoencoder, x, moved, r, sampled=sampled, samples=100, confidence=0.9)
    true = _probability(model, shifts, r, sampled)
    clean = float(_probability(model, torch.zeros(1), r, sampled))
    error = (true * (1 - true) / (100 * count)).sqrt()
    assert bool(((found.share.mean(0) - true).abs() < 4 * error).all())
    assert float(found.clean_share.mean()) == pytest.approx(clean, abs=4 * math.sqrt(clean * (1 - clean) / 100 / count))
    held = ((found.share_low <= true) & (true <= found.share_high)).all(1)
    held &= (found.clean_low <= clean) & (clean <= found.clean_high)
    # all four of an image's intervals hold together; Clopper and Pearson's hold more often than they say
    assert float(held.double().mean()) > 0.9 - 3 * math.sqrt(0.09 / count)
    narrower = ((found.share - true).abs() <= (found.share_high - found.share_low) / 8).all()
    assert not bool(narrower)


def test_intervals_are_those_of_scipys_binomial_test(linear: ModuleType) -> None:
    model = _line(linear)
    x = linear.points(6, 4, 1)
    moved, _ = _steps(model, torch.tensor([0.1, 1.0, 30.0], dtype=torch.float64), x)
    found = r_robustness(model.autoencoder, x, moved, float(model.decoder.norm()), samples=40, confidence=0.8)
    assert found.share.unique().numel() > 2
    assert 0 in found.share
    ends = torch.stack([found.share, found.share_low, found.share_high], 2).flatten(0, 1)
    for k, low, high in ends.tolist():
        exact = scipy.stats.binomtest(round(40 * k), 40).proportion_ci(1 - 0.2 / 4, method="exact")
        assert (low, high) == pytest.approx((exact.low, exact.high), abs=1e-12)


@pytest.mark.parametrize("sampled", [True, False])
def test_the_bracket_holds_the_margin_of_a_model_whose_margin_is_known(linear: ModuleType, sampled: bool) -> None:
    model = _line(linear)
    r = 1.5 * float(model.decoder.norm())

    def excess(size: float) -> float:
        return float(_probability(model, torch.tensor(float(model.weight.norm()) * size), r, sampled)) - 0.5

    margin = scipy.optimize.brentq(excess, 0, 100)
    grid = margin * torch.tensor([0.3, 0.6, 0.8, 1.3, 2.0, 3.0], dtype=torch.float64)
    moved, _ = _steps(model, grid, linear.points(6, 40, 1))
    found = r_robustness(model.autoencoder, linear.points(6, 40, 1), moved, r, sampled=sampled, samples=2000)
    assert bool(((found.survived < margin) & (margin < found.broke)).all())
    assert bool((found.survived >= 0.6 * margin - 1e-9).all())
    assert bool((found.broke <= 2.0 * margin + 1e-9).all())
    assert bool(((found.survived <= found.margin) & (found.margin <= found.broke)).all())
    assert not found.censored.any()
    assert not found.recovered.any()


def test_budgets_may_come_in_any_order_and_a_later_recovery_changes_no_margin(linear: ModuleType) -> None:
    model = _line(linear, deterministic=True)
    x = linear.points(6, 1, 1)
    sizes = torch.tensor([4.0, 0.5, 1.0, 8.0, 2.0], dtype=torch.float64)
    moved, shifts = _steps(model, sizes, x)
    across = torch.linalg.svd(model.weight)[2][-1]  # moves no latent
    moved[0, 0] = x[0] + 4.0 * across
    r = 1.5 * float(shifts[2]) * float(model.decoder.norm())
    found = r_robustness(model.autoencoder, x, moved, r)
    assert found.samples == 1
    assert found.share.tolist() == [[1, 1, 1, 0, 0]]
    assert torch.equal(found.share_low, found.share)
    for figure, value in ((found.survived, 1.0), (found.margin, 2.0), (found.broke, 2.0)):
        assert figure.tolist() == pytest.approx([value])
    assert found.recovered.tolist() == [True]
    order = [3, 1, 0, 4, 2]
    again = r_robustness(model.autoencoder, x, moved[:, order], r)
    assert torch.equal(again.margin, found.margin)
    assert torch.equal(again.recovered, found.recovered)


def test_what_never_breaks_is_censored_and_what_is_broken_at_rest_has_no_margin(linear: ModuleType) -> None:
    model = _line(linear)
    x = linear.points(6, 2, 1)
    moved, _ = _steps(model, torch.tensor([0.1, 0.2], dtype=torch.float64), x)
    wide = r_robustness(model.autoencoder, x, moved, 1e3)
    assert wide.censored.tolist() == [True, True]
    assert wide.margin.tolist() == [math.inf, math.inf]
    assert wide.survived.tolist() == pytest.approx([0.2, 0.2])
    narrow = r_robustness(model.autoencoder, x, moved, 1e-3)
    for figure in (narrow.survived, narrow.margin, narrow.broke):
        assert figure.tolist() == [0, 0]


def test_an_undecided_share_widens_the_bracket(linear: ModuleType) -> None:
    size = torch.tensor([[0.5, 1.0, 2.0]], dtype=torch.float64)
    share, half = torch.tensor([[0.9, 0.48, 0.1]], dtype=torch.float64), torch.tensor([0.1])
    found = Robustness(
        distortion=size, share=share, share_low=share - half, share_high=share + half,
        clean_share=share[:, 0], clean_low=share[:, 0] - half, clean_high=share[:, 0] + half,
        r=1.0, sampled=True, samples=100, confidence=0.95,
    )  # fmt: skip
    assert (found.survived.tolist(), found.margin.tolist(), found.broke.tolist()) == ([0.5], [1.0], [2.0])


def test_a_reconstruction_that_is_not_finite_has_left(linear: ModuleType) -> None:
    ae = Autoencoder(lambda x: x, lambda z: torch.where(z > 0.5, torch.nan, z), modules=(nn.Linear(1, 1).double(),))
    x = torch.zeros(1, 3, dtype=torch.float64)
    found = r_robustness(ae, x, torch.stack([x + 0.4, x + 0.6], 1), 2.0)
    assert found.share.tolist() == [[1, 0]]


def test_neither_order_nor_company_matters(linear: ModuleType) -> None:
    model = linear.linear_gaussian(slope=1.0)
    x, d = linear.points(12, 6, 1), 0.5 * linear.points(12, 12, 2).view(6, 2, 12)

    def measured(rows: list[int], seed: int = 0) -> Robustness:
        return r_robustness(model.autoencoder, x[rows], (x[:, None] + d)[rows], 2.0, samples=50, seed=seed)

    together, shuffled = measured(list(range(6))), measured([4, 0, 3])
    for name in ("share", "share_low", "clean_share", "margin", "survived"):
        assert torch.equal(getattr(shuffled, name), getattr(together, name)[[4, 0, 3]])
    assert not torch.equal(measured(list(range(6)), seed=1).share, together.share)


def test_r_is_by_default_that_of_the_certificates(linear: ModuleType) -> None:
    model = linear.linear_gaussian()
    x, t = linear.points(12, 6, 1), linear.points(12, 6, 2)
    found = r_robustness(model.autoencoder, x, x[:, None], targets=t, samples=2)
    assert found.r == half_the_median_distance(x, t) == certify(model.autoencoder, x, t, budgets=(), balls=0).r
    middle = sorted(float(torch.dist(a, b)) for a, b in zip(x, t, strict=True))[2:4]
    assert found.r == pytest.approx(sum(middle) / 4, rel=1e-14)
    assert middle[1] > middle[0] * (1 + 1e-6)
    assert half_the_median_distance(x[:1].float(), t[:1].float()) == pytest.approx(
        float(torch.dist(x[0], t[0])) / 2, rel=1e-6
    )


class _Small(nn.Module):
    """A dense VAE of 6 inputs whose posteriors are narrow enough for margins to exist."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
        self.decoder = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 6), nn.Sigmoid())
        generator = torch.Generator().manual_seed(seed)
        self.double()
        with torch.no_grad():
            for weight in self.parameters():
                fan = weight.shape[-1] if weight.ndim > 1 else 10
                weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) * 1.5 / fan**0.5)
            self.encoder[2].bias[2:] -= 6.0

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        found: Tensor = self.decoder(z)
        return found


def test_no_sampled_margin_undercuts_a_certificate() -> None:
    broken = certified = 0
    closest = math.inf
    for seed in range(5):
        model = _Small(seed)
        ae = Autoencoder(model.encode, model.decode, (-math.inf, math.inf), modules=(model,), scale="log_variance")
        x, t = torch.rand(2, 3, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        sampled = seed % 2 == 0
        bound = certify(ae, x, t, r=0.3, sampled=sampled, balls=3).margin
        assert bound is not None
        budgets = [float(bound.clamp(min=0.02).median()) * factor for factor in (1, 1.5, 2.5, 4, 8, 16)]
        attack = attacks.maximum_damage(ae, x, budgets, steps=10)
        found = r_robustness(ae, x, attack.adversarial, 0.3, sampled=sampled, samples=300, confidence=0.999)
        assert bool((found.broke >= bound).all())
        certified += int((bound > 0).sum())
        broken += int(found.broke.isfinite().sum())
        ratios = (found.broke / bound)[found.broke.isfinite() & (bound > 0)]
        closest = min([closest, *ratios.tolist()])
    assert certified >= 12
    assert broken >= 12
    assert closest < 8  # so that a margin too small by an order of magnitude would be seen


def test_what_makes_no_sense_is_refused(linear: ModuleType) -> None:
    ae, x = linear.linear_gaussian().autoencoder, linear.points(12, 2, 1)
    with pytest.raises(OptionError, match="expects r, or the targets"):
        r_robustness(ae, x, x[:, None])
    with pytest.raises(OptionError, match="positive r, got -1"):
        r_robustness(ae, x, x[:, None], -1.0)
    with pytest.raises(OptionError, match=r"positive r, got 0\.0"):
        r_robustness(ae, x, x[:, None], targets=x)
    with pytest.raises(OptionError, match="confidence expects a number between 0 and 1"):
        r_robustness(ae, x, x[:, None], 1.0, confidence=95)
    with pytest.raises(OptionError, match="at least 1, got 0"):
        r_robustness(ae, x, x[:, None], 1.0, samples=0)
    with pytest.raises(DataError, match="targets expect the shape of the images"):
        r_robustness(ae, x, x[:, None], targets=x[:1])

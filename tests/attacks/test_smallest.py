"""The smallest distortion that comes near enough: optima of linear models, curves that jump, and what must always hold."""

from __future__ import annotations

import math
from types import ModuleType

import pytest
import torch
from scipy.optimize import brentq
from torch import Tensor

from vaeaudit import Autoencoder, GradientError, OptionError
from vaeaudit.attacks import smallest_distortion, targeted
from vaeaudit.optimize import BoxLBFGS

BOX = (0.0, 1.0)
TIGHT = BoxLBFGS(tolerance=1e-12, max_evaluations=3000)


def least_length(boxes: ModuleType, matrix: Tensor, right: Tensor, limit: float, low: Tensor, high: Tensor) -> float:
    """Length of the shortest d in a box with |M d - m|^2 = limit: by duality that of a ridge regression in the box."""
    identity = torch.eye(matrix.shape[1], dtype=matrix.dtype)

    def solved(log_strength: float) -> Tensor:
        rows = torch.cat([matrix, math.exp(0.5 * log_strength) * identity]).numpy()
        values = torch.cat([right, torch.zeros_like(low)]).numpy()
        return torch.from_numpy(boxes.box_least_squares(rows, values, low.numpy(), high.numpy()))

    def excess(log_strength: float) -> float:
        return math.log(float((matrix @ solved(log_strength) - right).square().sum()) / limit)

    return float(solved(brentq(excess, -25, 15, xtol=1e-12)).norm())


@pytest.mark.parametrize("divergence", ["kl", "mean_l2"])
@pytest.mark.parametrize("share", [0.5, 0.01])
def test_without_bounds_the_optimum_of_a_linear_model_is_found(
    linear: ModuleType, boxes: ModuleType, divergence: str, share: float
) -> None:
    model = linear.linear_gaussian(condition=5)
    x, t = linear.points(12, 2, 1), linear.points(12, 2, 2)
    found = smallest_distortion(model.autoencoder, x, t, divergence=divergence, share=share, solver=TIGHT)
    free = torch.full((12,), math.inf, dtype=torch.float64)
    for pair in range(2):
        matrix, right = model.residual(x[pair], t[pair], divergence)
        known = least_length(boxes, matrix, right, share * float(right.square().sum()), -free, free)
        assert float(found.distortion[pair]) == pytest.approx(known, rel=1e-6)
    assert bool(found.reached.all() & found.converged.all())


def test_with_active_bounds_the_optimum_of_a_linear_model_is_found(linear: ModuleType, boxes: ModuleType) -> None:
    model = linear.linear_gaussian(bounds=BOX)
    x, t = 0.1 * linear.points(12, 2, 1, bounds=BOX), linear.points(12, 2, 2, bounds=BOX)
    found = smallest_distortion(model.autoencoder, x, t, share=0.02, solver=TIGHT)
    touching = (found.adversarial == 0) | (found.adversarial == 1)
    assert bool(touching.any()), "the bounds must matter for this test to say anything"
    for pair in range(2):
        matrix, right = model.residual(x[pair], t[pair], "kl")
        known = least_length(boxes, matrix, right, 0.02 * float(right.square().sum()), -x[pair], 1 - x[pair])
        assert float(found.distortion[pair]) == pytest.approx(known, rel=1e-6)


def cliff(n: int = 6) -> tuple[Autoencoder, Tensor]:
    """A code that rises along one direction by a steep step, and that direction: the trade-off curve jumps over it."""
    towards = torch.nn.functional.normalize(torch.arange(1.0, n + 1, dtype=torch.float64), dim=0)

    def encode(x: Tensor) -> Tensor:
        along = x @ towards
        return (0.2 * along + torch.sigmoid(30 * (along - 0.5)))[:, None]

    return Autoencoder(encode, lambda z: z * towards, (-math.inf, math.inf)), towards


@pytest.mark.parametrize("share", [0.9, 0.5, 0.2, 0.05])
def test_a_value_that_the_trade_off_curve_jumps_over_is_met(share: float) -> None:
    ae, towards = cliff()
    x = torch.zeros(1, len(towards), dtype=torch.float64)
    t = towards[None].clone()
    found = smallest_distortion(ae, x, t, share=share)

    def code(along: float) -> float:
        return 0.2 * along + 1 / (1 + math.exp(-30 * (along - 0.5)))

    left = math.sqrt(share) * (code(1) - code(0))
    known = brentq(lambda along: code(1) - code(along) - left, 0, 1, xtol=1e-13)
    assert float(found.distortion[0]) == pytest.approx(known, rel=1e-6)


def curved(linear: ModuleType) -> tuple[Autoencoder, Tensor, Tensor]:
    """A two-layer model with a code that the target's has to be looked for in, with float32 weights, in the unit box."""
    torch.manual_seed(3)
    hidden, last = torch.nn.Linear(12, 24), torch.nn.Linear(24, 8)

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = (4 * last(torch.tanh(2 * hidden(x)))).chunk(2, 1)
        return mean, log_variance

    ae = Autoencoder(encode, lambda z: z.repeat(1, 3), BOX, scale="log_variance")
    return ae, *(linear.points(12, 3, seed, bounds=BOX).float() for seed in (1, 2))


def test_a_lower_value_takes_more_distortion_and_the_curve_of_the_series_is_never_below(linear: ModuleType) -> None:
    ae, x, t = curved(linear)
    series = targeted(ae, x, t, 12, "mean_l2")
    before = torch.zeros(3, dtype=torch.float64)
    clean = (ae.posteriors(x).mean - ae.posteriors(t).mean).square().sum(1).double()
    for share in (0.6, 0.2, 0.02):
        found = smallest_distortion(ae, x, t, divergence="mean_l2", share=share)
        assert bool((found.distortion > before).all())
        before = found.distortion
        best = torch.where(series.divergence <= share * clean[:, None], series.distortion, torch.inf).amin(1)
        assert bool((found.distortion <= best * (1 + 1e-3)).all())


def test_what_is_reported_is_true_of_the_images_that_were_found(linear: ModuleType) -> None:
    ae, x, t = curved(linear)
    found = smallest_distortion(ae, x, t, share=0.3)
    assert bool(found.reached.all())
    assert bool((found.divergence <= found.at_most).all())
    torch.testing.assert_close(found.objective, found.at_most, rtol=1e-4, atol=0)
    moved = (found.adversarial - x).double()
    torch.testing.assert_close(found.distortion, moved.norm(dim=1))
    torch.testing.assert_close(found.relative_distortion, found.distortion / (x - t).double().norm(dim=1))
    assert bool((found.adversarial >= 0).all() & (found.adversarial <= 1).all())
    assert found.adversarial.dtype == torch.float32
    assert found.distortion.dtype == torch.float64


def test_a_value_and_the_share_that_it_is_of_the_divergence_ask_for_the_same(linear: ModuleType) -> None:
    model = linear.linear_gaussian()
    x, t = linear.points(12, 3, 1), linear.points(12, 3, 2)
    clean = [float(model.residual(*pair, "kl")[1].square().sum()) for pair in zip(x, t, strict=True)]
    by_share = smallest_distortion(model.autoencoder, x, t, share=[0.5, 0.4, 0.3])
    by_value = smallest_distortion(model.autoencoder, x, t, [0.5 * clean[0], 0.4 * clean[1], 0.3 * clean[2]])
    torch.testing.assert_close(by_share.at_most, by_value.at_most)
    torch.testing.assert_close(by_share.distortion, by_value.distortion, rtol=1e-6, atol=0)


def test_an_output_that_the_decoder_cannot_make_is_not_reached_and_says_so(linear: ModuleType) -> None:
    model = linear.linear_gaussian()
    x, t = linear.points(12, 3, 1), linear.points(12, 3, 2)
    matrix, right = model.decoder @ model.weight, t - model.autoencoder.reconstruct(x)
    floor = (right - right @ torch.linalg.pinv(matrix).T @ matrix.T).square().sum(1)
    wanted = torch.stack([0.5 * floor[0], 1.2 * floor[1], 0.9 * floor[2]])
    found = smallest_distortion(model.autoencoder, x, t, wanted, aim="output")
    assert found.reached.tolist() == [False, True, False]
    assert found.distortion.isinf().tolist() == [True, False, True]
    assert found.converged.tolist() == [False, True, False]
    assert torch.equal(found.adversarial[[0, 2]], x[[0, 2]])
    assert float(found.objective[1]) <= float(wanted[1])


def test_an_original_that_is_near_enough_already_stays(linear: ModuleType) -> None:
    ae, x, t = curved(linear)
    found = smallest_distortion(ae, x, torch.cat([x[:1], t[1:]]), [1e-9, 1e6, 0.1], "mean_l2")
    assert found.distortion[:2].tolist() == [0, 0]
    assert torch.equal(found.adversarial[:2], x[:2])
    assert found.gradient_evaluations[:2].tolist() == [0, 0]
    assert float(found.distortion[2]) > 0
    assert bool(found.reached.all())


def test_a_model_that_breaks_down_on_the_way_is_never_said_to_be_reached_there(linear: ModuleType) -> None:
    _, x, t = curved(linear)
    corner = x[:1]

    def encode(inputs: Tensor) -> Tensor:
        far = (inputs - corner).norm(dim=1, keepdim=True) > 0.2
        return torch.where(far & (inputs[:, :1] != t[:1, :1]), math.nan, inputs)

    broken = Autoencoder(encode, lambda z: z, BOX)
    found = smallest_distortion(broken, x[:1], t[:1], share=0.1)
    assert bool(found.objective.isfinite().all())
    assert found.reached.tolist() == (found.objective <= found.at_most).tolist()


def test_a_pair_is_attacked_alike_alone_and_in_company_and_twice(linear: ModuleType) -> None:
    ae, x, t = curved(linear)
    together = smallest_distortion(ae, x, t, share=0.4, restarts=1, seed=4)
    for _ in range(2):
        alone = smallest_distortion(ae, x[2:3], t[2:3], share=0.4, restarts=1, seed=4)
        assert torch.equal(together.adversarial[2], alone.adversarial[0])
        assert together.gradient_evaluations[2] == alone.gradient_evaluations[0]


def test_the_model_comes_back_as_it_was() -> None:
    torch.manual_seed(0)
    encoder = torch.nn.Sequential(
        torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(), torch.nn.Linear(8, 2)
    )
    before = {name: value.clone() for name, value in encoder.train().state_dict().items()}
    state = torch.get_rng_state()
    ae = Autoencoder(encoder, lambda z: z.repeat(1, 3), BOX)
    smallest_distortion(ae, torch.rand(3, 6), torch.rand(3, 6), share=0.3)
    assert encoder.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in encoder.parameters())
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert not torch.equal(torch.get_rng_state(), state), "the images were drawn in between"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "expects either at_most"),
        ({"at_most": 1.0, "share": 0.5}, "expects either at_most"),
        ({"at_most": 0.0}, "at_most expects a positive number"),
        ({"at_most": [1.0, 2.0]}, r"or one for each, \(3,\)"),
        ({"at_most": math.nan}, "at_most expects a positive number"),
        ({"at_most": "near"}, "at_most expects a positive number"),
        ({"share": True}, "share expects a positive number"),
        ({"share": 1.0}, "share expects numbers between 0 and 1"),
        ({"share": 0.5, "aim": "elbo"}, "unknown aim 'elbo'"),
        ({"share": 0.5, "restarts": -1}, "restarts expects 0 or more"),
        ({"share": 0.5, "divergence": "far"}, "divergence"),
    ],
)
def test_what_cannot_be_asked_is_refused(linear: ModuleType, options: dict, said: str) -> None:
    model, x = linear.linear_gaussian(), linear.points(12, 3)
    with pytest.raises(OptionError, match=said):
        smallest_distortion(model.autoencoder, x, x + 1, **options)


def test_an_encoder_without_gradients_is_refused(linear: ModuleType) -> None:
    x, t = linear.points(12, 2, bounds=BOX), linear.points(12, 2, 1, bounds=BOX)
    with pytest.raises(GradientError, match="no gradient flows"):
        smallest_distortion(Autoencoder(lambda x: x.detach(), lambda z: z, BOX), x, t, share=0.5)

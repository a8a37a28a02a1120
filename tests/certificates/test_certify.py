"""Certificates are exact where the optimum is known, and refuse what they do not know."""

from __future__ import annotations

import dataclasses
import math
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaeaudit import Autoencoder, DataError, OptionError
from vaeaudit.certificates import NotCertifiedError, certify
from vaeaudit.certificates.ellipsoids import Spread
from vaeaudit.certificates.graph import read_network
from vaeaudit.certificates.propagation import Propagation

FREE = (-math.inf, math.inf)


class Linears(nn.Module):
    """A linear encoder with constant log-variances, and a linear decoder."""

    def __init__(self, n: int = 6, k: int = 3) -> None:
        super().__init__()
        self.mean, self.out = nn.Linear(n, k), nn.Linear(k, n)
        self.register_buffer("log_variance", torch.linspace(-1, 1, k))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.mean(x)
        return mean, torch.zeros_like(mean) + self.log_variance

    def decode(self, z: Tensor) -> Tensor:
        return self.out(z)


def _linears(seed: int = 0) -> tuple[Linears, Autoencoder, Tensor, Tensor]:
    torch.manual_seed(seed)
    model = Linears().double().eval()
    x, t = torch.randn(2, 3, 6, dtype=torch.float64)
    encoder = lambda v: (model.mean(v), model.mean(v) * 0 + model.log_variance)  # noqa: E731
    return model, Autoencoder(encoder, model.decode, FREE, modules=(model,), scale="log_variance"), x, t


def test_bounds_of_a_linear_model_are_its_optima() -> None:
    for seed in range(5):
        model, ae, x, t = _linears(seed)
        weight = model.mean.weight.detach()
        found = certify(ae, x, t, divergence="mean_l2", budgets=(0.1, 0.3), balls=0)
        gap = (t - x) @ weight.T
        exact = (gap @ torch.linalg.inv(weight @ weight.T) * gap).sum(1).sqrt()
        assert found.distortion is not None
        assert found.damage is not None
        assert (found.distortion[:, 0] <= exact).all()
        torch.testing.assert_close(found.distortion[:, 0], exact, rtol=1e-6, atol=0)
        gain = float(torch.linalg.matrix_norm(model.out.weight.detach() @ weight, 2))
        torch.testing.assert_close(found.damage, gain * found.budgets, rtol=1e-6, atol=0)


@pytest.mark.parametrize("divergence", ["mean_l2", "kl"])
def test_the_curve_of_a_linear_model_is_its_best_trade_off(divergence: str, linear: ModuleType) -> None:
    _, ae, x, t = _linears(3)
    model = ae.modules[0]
    twin = dataclasses.replace(
        linear.linear_gaussian(n=6, k=3), weight=model.mean.weight.detach(), offset=model.mean.bias.detach(),
        log_variance=model.log_variance,
    )  # fmt: skip
    for strength in (0.01, 0.1, 1.0):
        for row in range(3):
            d = twin.optimal_attack(x[row], t[row], strength, divergence, "l2_squared")
            weight, shift = twin.residual(x[row], t[row], divergence)
            reached = float((weight @ d - shift).square().sum())
            budget = float(d.norm() / (x[row] - t[row]).norm())
            pair = slice(row, row + 1)
            found = certify(ae, x[pair], t[pair], divergence=divergence, within=(reached,), budgets=(budget,), balls=0)
            assert found.distortion is not None
            assert found.divergence is not None
            assert float(found.distortion) == pytest.approx(float(d.norm()), rel=1e-4)
            assert float(found.divergence) == pytest.approx(reached, rel=2e-4, abs=1e-7)
            assert float(found.distortion) <= float(d.norm()) * (1 + 1e-12)
            assert float(found.divergence) <= reached * (1 + 1e-9)


def test_a_small_ball_around_a_relu_network_has_the_jacobians_norm() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).double()
    x = torch.randn(1, 5, dtype=torch.float64)
    network = read_network(net, [net], x)
    centres = {name: value[0] for name, value in network.arguments(x).items()}
    jacobian = torch.autograd.functional.jacobian(net, x[0])
    spread = Propagation(start=Spread(size=5, multiple=1.0), centres=centres, radius=1e-6).of(network.outputs)
    assert spread.constant == pytest.approx(float(torch.linalg.matrix_norm(jacobian, 2)), rel=1e-5)


def test_carrying_a_matrix_is_never_worse_than_the_product_and_wide_layers_fall_back_to_it() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(9, 12), nn.ReLU(), nn.Linear(12, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    network = read_network(net, [net], torch.randn(2, 9, dtype=torch.float64))
    start = Spread(size=9, multiple=1.0)
    product = math.prod(float(torch.linalg.svdvals(net[i].weight.detach())[0]) for i in (0, 2, 4))
    narrow = Propagation(start=start, widest=1).of(network.outputs).constant
    assert narrow == pytest.approx(product, rel=1e-6)
    assert narrow >= product
    assert Propagation(start=start).of(network.outputs).constant < 0.9 * product


def test_a_unit_variance_margin_is_that_of_the_product_of_constants() -> None:
    """A deterministic linear autoencoder: the margin is r over the norm of the round trip, up to the product's loss."""
    torch.manual_seed(0)
    encode, decode = nn.Linear(4, 2).double(), nn.Linear(2, 4).double()
    ae = Autoencoder(encode, decode, FREE, modules=(encode, decode))
    x, t = torch.randn(2, 3, 4, dtype=torch.float64)
    found = certify(ae, x, t, r=1.0)
    exact = 1 / float(torch.linalg.matrix_norm(decode.weight.detach() @ encode.weight.detach(), 2))
    assert found.margin is not None
    assert (found.margin <= exact).all()
    assert (found.margin > 0.5 * exact).all()


def test_reasons_constants_and_vacuity_are_told() -> None:
    _, ae, x, t = _linears()
    found = certify(ae, x, t)
    assert found.encoder is not None
    assert [layer.kind for layer in found.encoder.layers][:1] == ["Linear"]
    assert found.distortion_vacuous is not None
    assert not found.distortion_vacuous.any()
    assert found.refusals == {}
    assert found.margin_vacuous is not None
    assert found.relative_distortion is not None


class _Wrapped(nn.Module):
    def __init__(self, call, *layers: nn.Module) -> None:
        super().__init__()
        self.layers, self.call = nn.ModuleList(layers), call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self, x)


_REFUSED = [
    (_Wrapped(lambda m, x: m.layers[0](x), nn.LayerNorm(6)), "LayerNorm"),
    (_Wrapped(lambda m, x: x * x), "several tensors"),
    (_Wrapped(lambda m, x: torch.softmax(x, 1)), "softmax"),
    (_Wrapped(lambda m, x: x if x.sum() > 0 else -x), "traced"),
    (_Wrapped(lambda m, x: x + torch.randn(6)), "disagrees"),
    (_Wrapped(lambda m, x: x - x.mean(0)), "batch"),
    (_Wrapped(lambda m, x: x / x.shape[0]), "disagrees"),
    (_Wrapped(lambda m, x: F.dropout(x, 0.5)), "dropout"),
    (_Wrapped(lambda m, x: F.batch_norm(x, None, None, training=True)), "batch_norm"),
    (_Wrapped(lambda m, x: m.layers[0](x) + F.relu(x, inplace=True), nn.Linear(6, 6)), "in place|held to compute"),
    (_Wrapped(lambda m, x: m.layers[0](x), nn.BatchNorm1d(6, track_running_stats=False)), "statistics of the batch"),
    (_Wrapped(lambda m, x: m.layers[0](x), nn.Softplus(threshold=1)), "Softplus"),
    (_Wrapped(lambda m, x: torch.flip(x, [0])), "batch|disagrees|linear in each row"),
    (_Wrapped(lambda m, x: 1 / x), "truediv"),
]


@pytest.mark.parametrize(("model", "reason"), _REFUSED, ids=range(len(_REFUSED)))
def test_what_is_not_known_is_refused_with_its_reason(model: nn.Module, reason: str) -> None:
    inputs = torch.randn(3, 6, dtype=torch.float64)
    with pytest.raises(NotCertifiedError, match=f"not certified.*({reason})"):
        read_network(model.double().eval(), [model], inputs)


def test_layers_in_training_mode_are_refused() -> None:
    inputs = torch.randn(3, 6, dtype=torch.float64)
    for layer, reason in ((nn.BatchNorm1d(6), "statistics of the batch"), (nn.Dropout(), "random")):
        model = nn.Sequential(layer).double()
        with pytest.raises(NotCertifiedError, match=reason):
            read_network(model.train(), [model], inputs)
        read_network(model.eval(), [model], inputs)


def test_a_layer_with_a_hook_or_its_own_forward_is_refused() -> None:
    inputs = torch.randn(3, 6, dtype=torch.float64)
    hooked, own = (nn.Sequential(nn.Linear(6, 6)).double().eval() for _ in range(2))
    hooked[0].register_forward_hook(lambda m, args, out: 3 * out)
    own[0].forward = lambda x: 3 * x
    for model in (hooked, own):
        with pytest.raises(NotCertifiedError, match="hooks or a forward method"):
            read_network(model, [model], inputs)


def test_no_bound_is_given_where_a_part_is_refused() -> None:
    encoder = nn.Sequential(nn.Linear(6, 2), nn.Softmax(1))
    ae = Autoencoder(encoder, nn.Linear(2, 6), FREE)
    found = certify(ae, torch.randn(2, 6), torch.randn(2, 6))
    assert found.distortion is found.divergence is found.damage is found.margin is found.encoder is None
    assert found.decoder is not None
    assert "Softmax" in found.refusals["encoder"]


def test_an_exponential_head_is_certified_in_balls_alone() -> None:
    torch.manual_seed(0)
    trunk = nn.Linear(6, 4).double()
    ae = Autoencoder(
        lambda x: (trunk(x)[:, :2], (trunk(x)[:, 2:] / 2).exp()),
        nn.Linear(2, 6).double(),
        FREE,
        scale="std",
        modules=(trunk,),
    )
    x, t = torch.randn(2, 2, 6, dtype=torch.float64)
    found = certify(ae, x, t)
    assert found.distortion is not None
    assert (found.distortion > 0).all()
    assert any("no bound" in reason for reason in found.refusals.values())


def test_bad_arguments_are_errors() -> None:
    _, ae, x, t = _linears()
    with pytest.raises(DataError, match="one shape"):
        certify(ae, x, t[:1])
    with pytest.raises(OptionError, match="within expects"):
        certify(ae, x, t, within=(-1.0,))
    with pytest.raises(OptionError, match="budgets expects"):
        certify(ae, x, t, budgets=(0.0,))
    with pytest.raises(OptionError, match="r > 0"):
        certify(ae, x, t, r=0)


def test_float32_models_are_left_as_they_were() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 2)).train()
    ae = Autoencoder(model, nn.Linear(2, 6), FREE)
    before = ae.fingerprint()
    found = certify(ae, torch.randn(2, 6), torch.randn(2, 6), balls=1)
    assert found.refusals == {}
    assert ae.fingerprint() == before
    assert all(child.training for child in model.modules())
    assert all(p.requires_grad for p in model.parameters())

"""Jacobians: against autograd one point at a time, in both directions, and where one direction is missing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from vaeaudit import Autoencoder, GradientError, ModelError
from vaeaudit.errors import FallbackWarning
from vaeaudit.geometry import decoder_jacobian, encoder_jacobians, jacobians, modes
from vaeaudit.geometry.jacobians import batched_jacobian, planned


class Attention(nn.Module):
    """Self-attention over tokens `(batch, 4, 6)`."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(6, 2, batch_first=True)
        self.norm = nn.LayerNorm(6)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.norm(tokens + self.attend(tokens, tokens, tokens, need_weights=False)[0])


class Halves(nn.Module):
    """The two halves of a module's output: mean and log-variance."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.body(x).chunk(2, dim=1)
        return mean, log_variance - 2


def _dense() -> tuple[nn.Module, nn.Module]:
    return (
        nn.Sequential(nn.Linear(24, 16), nn.Tanh(), nn.Linear(16, 10)),
        nn.Sequential(nn.Linear(5, 16), nn.Softplus(), nn.Linear(16, 24)),
    )


def _convolutional() -> tuple[nn.Module, nn.Module]:
    """Its latents are feature maps, `(batch, 2, 2, 3)`."""
    return (
        nn.Sequential(nn.Unflatten(1, (1, 4, 6)), nn.Conv2d(1, 4, 4, stride=2, padding=1), nn.ELU()),
        nn.Sequential(nn.ConvTranspose2d(2, 1, 4, stride=2, padding=1), nn.Sigmoid(), nn.Flatten()),
    )


def _normalised() -> tuple[nn.Module, nn.Module]:
    return (
        nn.Sequential(nn.Linear(24, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Linear(16, 10)),
        nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.SiLU(), nn.Linear(16, 24)),
    )


def _attentive() -> tuple[nn.Module, nn.Module]:
    return (
        nn.Sequential(nn.Unflatten(1, (4, 6)), Attention(), nn.Flatten(), nn.Linear(24, 10)),
        nn.Sequential(nn.Linear(5, 24), nn.Unflatten(1, (4, 6)), Attention(), nn.Flatten()),
    )


def _overcomplete() -> tuple[nn.Module, nn.Module]:
    """More latents than inputs."""
    return (
        nn.Sequential(nn.Linear(24, 32), nn.Tanh(), nn.Linear(32, 60)),
        nn.Sequential(nn.Linear(30, 16), nn.Tanh(), nn.Linear(16, 24)),
    )


MODELS = {f.__name__[1:]: f for f in (_dense, _convolutional, _normalised, _attentive, _overcomplete)}


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test hears what is said once in a process."""
    monkeypatch.setattr(modes, "_said", set())


@pytest.fixture(autouse=True)
def shared_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is so small that each direction gets a copy of the rows, unless a test says so."""
    monkeypatch.setattr(jacobians, "SMALL_ROW", 0)


@pytest.fixture(params=["shared", "copied"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directions that share a forward pass, and a copy of the rows for each."""
    if request.param == "copied":
        monkeypatch.setattr(jacobians, "SMALL_ROW", 2**30)


@pytest.fixture(scope="module", params=MODELS)
def ae(request: pytest.FixtureRequest) -> Autoencoder:
    """Models of every kind in float64, in evaluation mode, with batch statistics that are not trivial."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body, decoder = (part.double() for part in MODELS[request.param]())
        for module in (*body.modules(), *decoder.modules()):
            if isinstance(module, nn.BatchNorm1d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return Autoencoder(Halves(body).eval(), decoder.eval(), bounds=(-10, 10))


def _latents(ae: Autoencoder, x: Tensor) -> Tensor:
    return ae.encode(x).mean.detach()


@pytest.mark.usefixtures("way")
def test_encoder_jacobians_are_those_of_autograd_at_every_point(
    ae: Autoencoder, linear: ModuleType, metrics: ModuleType
) -> None:
    x = linear.points(24, 3)
    found = encoder_jacobians(ae, x)
    for row in range(3):
        mean, std, sigma = metrics.parts(ae, x[row])
        torch.testing.assert_close(found.mean[row], mean)
        torch.testing.assert_close(found.std[row], sigma)
        torch.testing.assert_close(sigma[:, None] * found.log_std[row], std)


@pytest.mark.usefixtures("way")
def test_decoder_jacobians_are_those_of_autograd_at_every_point(
    ae: Autoencoder, linear: ModuleType, metrics: ModuleType
) -> None:
    z = _latents(ae, linear.points(24, 3))
    found = decoder_jacobian(ae, z)
    assert found.shape == (3, 24, z[0].numel())
    for row in range(3):
        torch.testing.assert_close(found[row], metrics.jacobian(ae.decode, z[row]))


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_forward_and_reverse_mode_agree_however_many_directions_a_pass_takes(
    ae: Autoencoder, linear: ModuleType, at_once: int
) -> None:
    z = _latents(ae, linear.points(24, 2))

    def decode(latents: Tensor) -> Tensor:
        return ae.decode(latents).flatten(1)

    backward = modes.reverse_mode(decode, z, at_once)
    torch.testing.assert_close(modes.forward_mode(decode, z, at_once), backward)
    torch.testing.assert_close(modes.reverse_mode(decode, z, 1), backward)


@pytest.mark.usefixtures("way")
def test_rows_of_a_batch_do_not_mix(ae: Autoencoder, linear: ModuleType) -> None:
    x = linear.points(24, 3)
    together = encoder_jacobians(ae, x)
    alone = encoder_jacobians(ae, x[1:2])
    torch.testing.assert_close(alone.mean[0], together.mean[1])
    torch.testing.assert_close(alone.log_std[0], together.log_std[1])


def test_a_long_batch_is_worked_off_in_chunks(linear: ModuleType) -> None:
    model = linear.linear_gaussian()
    whole = decoder_jacobian(model.autoencoder, linear.points(4, 7))
    sizes: list[int] = []

    def decode(z: Tensor) -> Tensor:
        sizes.append(len(z))
        return model.decode(z)

    passes = dataclasses.replace(planned(decode, linear.points(4, 7)), rows=3)
    sizes.clear()
    chunked = batched_jacobian(decode, linear.points(4, 7), passes=passes)
    assert torch.equal(chunked, whole)
    assert sizes == [3, 3, 1]


@pytest.mark.parametrize(("n", "outputs", "forward"), [(3, 40, True), (40, 3, False), (5, 5, False)])
def test_the_smaller_side_pays_and_the_model_is_called_once_for_all_its_directions(
    n: int, outputs: int, forward: bool
) -> None:
    weight = torch.randn(outputs, n, generator=torch.Generator().manual_seed(0))
    seen: list[int] = []

    def function(x: Tensor) -> Tensor:
        seen.append(len(x))
        return x @ weight.T

    passes = planned(function, torch.zeros(7, n))
    assert (passes.forward, passes.directions, passes.rows) == (forward, min(n, outputs), 7)
    seen.clear()
    found = batched_jacobian(function, torch.zeros(7, n), passes=passes)
    torch.testing.assert_close(found, weight.expand(7, -1, -1))
    assert seen == [7]


def test_a_deterministic_code_has_no_spread(linear: ModuleType) -> None:
    found = encoder_jacobians(linear.linear_gaussian(deterministic=True).autoencoder, linear.points(12, 2))
    assert found.log_std is None
    assert found.std is None


class _Cube(torch.autograd.Function):
    """x^3 as a custom operation that knows only its backward pass."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return 3 * ctx.saved_tensors[0] ** 2 * gradient


class _SetupCube(_Cube):
    """The same, in the style of torch 2 with a separate `setup_context`."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x**3

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:  # noqa: ARG004
        ctx.save_for_backward(inputs[0])


@pytest.mark.parametrize("cube", [_Cube, _SetupCube])
def test_an_operation_without_forward_mode_falls_back_on_backward_passes(
    linear: ModuleType, metrics: ModuleType, cube: type
) -> None:
    model = linear.linear_gaussian()
    ae = Autoencoder(model.encode, lambda z: model.decode(cube.apply(z)), model.bounds)
    z = linear.points(4, 2)
    with pytest.raises((NotImplementedError, RuntimeError, ModelError)):
        modes.forward_mode(ae.decode, z, 1)
    with pytest.warns(FallbackWarning, match="reverse mode is taken where forward mode would be cheaper"):
        found = decoder_jacobian(ae, z)
    for row in range(2):
        torch.testing.assert_close(found[row], model.decoder @ torch.diag(3 * z[row] ** 2))
    decoder_jacobian(ae, z)  # a second warning would be an error here


class Buffered(nn.Module):
    """Writes into a buffer of its own making, which a transformed tensor cannot be written into."""

    def forward(self, x: Tensor) -> Tensor:
        buffer = torch.zeros(len(x), 12, dtype=x.dtype)
        buffer[:, :4] = x
        buffer[:, 4:8].copy_(x.square())
        return buffer.clone().mul_(2).relu_()


class _Watched(torch.autograd.Function):
    """Doubles; its backward pass looks at a value, as a transformed one may not."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # noqa: ARG004
        return 2 * x

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return 2 * gradient if float(gradient.sum()) < math.inf else gradient


@pytest.mark.usefixtures("way")
def test_in_place_operations_are_differentiated(linear: ModuleType, metrics: ModuleType) -> None:
    ae = Autoencoder(Buffered(), Buffered(), (-10, 10))
    x = linear.points(4, 2).float()
    for found, function in ((decoder_jacobian(ae, x), ae.decode), (encoder_jacobians(ae, x).mean, ae.decode)):
        for row in range(2):
            torch.testing.assert_close(found[row], metrics.jacobian(function, x[row]))


def test_a_decoder_that_draws_numbers_falls_back_on_one_direction_a_pass(linear: ModuleType) -> None:
    model = linear.linear_gaussian()
    ae = Autoencoder(model.encode, lambda z: model.decode(z) + 0 * torch.rand(len(z), 1), model.bounds)
    with pytest.warns(FallbackWarning, match="forward mode takes one direction a pass"):
        found = decoder_jacobian(ae, linear.points(4, 2))
    torch.testing.assert_close(found, model.decoder.expand(2, -1, -1))


def test_a_backward_pass_that_looks_at_values_falls_back_on_one_direction_a_pass(linear: ModuleType) -> None:
    model = linear.linear_gaussian(deterministic=True)
    ae = Autoencoder(lambda x: _Watched.apply(model.encode(x)), model.decode, model.bounds)
    with pytest.warns(FallbackWarning, match="reverse mode takes one direction a pass"):
        found = encoder_jacobians(ae, linear.points(12, 2))
    torch.testing.assert_close(found.mean, (2 * model.weight).expand(2, -1, -1))


class Gaussian(nn.Module):
    """A decoder with a learned output variance."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 10))

    def forward(self, z: Tensor) -> torch.distributions.Distribution:
        mean, log_std = self.body(z).chunk(2, 1)
        return torch.distributions.Independent(torch.distributions.Normal(mean, log_std.exp()), 1)


@pytest.mark.usefixtures("way")
def test_a_learned_output_spread_adds_its_rows_to_the_decoders(linear: ModuleType, metrics: ModuleType) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = Gaussian().double()
    ae = Autoencoder(lambda x: x[:, :3], decoder, (-10, 10))
    z = linear.points(3, 2)
    found, mean_only = decoder_jacobian(ae, z), decoder_jacobian(ae, z, spread=False)
    for row in range(2):
        torch.testing.assert_close(found[row, :5], metrics.jacobian(lambda v: decoder(v).mean, z[row]))
        torch.testing.assert_close(found[row, 5:], metrics.jacobian(lambda v: decoder(v).stddev, z[row]))
        torch.testing.assert_close(mean_only[row], found[row, :5])


@pytest.mark.usefixtures("way")
def test_an_error_of_the_decoder_itself_is_still_its_own_after_the_fallback(linear: ModuleType) -> None:
    model = linear.linear_gaussian()
    calls: list[int] = []

    def breaking(z: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) > 1:  # the first call only asks for shapes
            raise RuntimeError("out of paper")
        return model.decode(z)

    ae = Autoencoder(model.encode, breaking, model.bounds)
    with pytest.raises(ModelError, match="out of paper"):
        decoder_jacobian(ae, linear.points(4, 2))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("outputs", [2, 12])
def test_a_detached_function_is_named(outputs: int) -> None:
    def detached(x: Tensor) -> Tensor:
        return x.detach().repeat(1, 4)[:, :outputs]

    with pytest.raises(GradientError, match="differentiable"):
        batched_jacobian(detached, torch.ones(2, 5))


@pytest.mark.parametrize(("outputs", "n"), [(3000, 3000), (1, 2**29)])
def test_a_jacobian_too_large_to_hold_is_refused_before_it_is_made(outputs: int, n: int) -> None:
    inputs = torch.zeros(1, dtype=torch.float32).expand(1, n)
    function: Callable[[Tensor], Tensor] = lambda x: torch.zeros(1).expand(len(x), outputs)  # noqa: E731
    with pytest.raises(ModelError, match=f"a Jacobian of {outputs} x {n} is too large"):
        batched_jacobian(function, inputs)

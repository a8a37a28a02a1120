"""`Autoencoder` finds device, precision, mode and weights behind any callable, and serves another device by a copy."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vaeaudit import AuditError, Autoencoder, ModelError, OptionError

from . import ways
from .ways import WAYS, Net

META = torch.device("meta")


@pytest.fixture
def net() -> Net:
    """A net of its own for each test."""
    torch.manual_seed(1)
    return Net()


def _autoencoder(way: str, net: Net) -> Autoencoder:
    return Autoencoder(*WAYS[way](net))


@pytest.mark.parametrize("way", WAYS)
def test_weights_device_and_precision_are_found_through(way: str, net: Net) -> None:
    ae = _autoencoder(way, net.double())
    assert {id(p) for p in net.parameters()} <= {id(t) for _, t in ae.found.named_state()}
    assert ae.device == torch.device("cpu")
    assert ae.dtype == ae.figures_dtype == torch.float64
    assert ae.training_modules() == ("Dropout",)
    net.eval()
    assert ae.training_modules() is None


def test_a_name_rebound_after_construction_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    ae = Autoencoder(ways.GLOBALS["lambda"], ways.NET.decode)
    assert ae.dtype == torch.float32
    monkeypatch.setattr(ways, "NET", Net().double())
    assert ae.found.modules[0] is ways.NET
    assert ae.dtype == torch.float64


def test_a_module_that_moves_or_is_cast_later_is_followed(net: Net) -> None:
    ae = Autoencoder(net.encode, net.decode)
    assert ae.dtype == torch.float32
    net.double()
    assert ae.dtype == torch.float64
    net.to(META)
    assert ae.device == META


def test_without_weights_there_is_no_device_and_the_default_precision() -> None:
    ae = Autoencoder(lambda x: x, lambda z: z)
    assert ae.device is None
    assert ae.dtype == torch.get_default_dtype()
    assert ae.on("cpu") is ae
    assert ae.on(None) is ae
    assert ae.name == "autoencoder"


def test_modules_that_cannot_be_found_may_be_named(net: Net) -> None:
    hidden = {1: net}
    ae = Autoencoder(lambda x: hidden[1].encode(x), net.decode, modules=(net,))
    assert ae.found.modules == (net,)


def test_a_model_over_several_devices_is_refused(net: Net) -> None:
    net.decoder.to(META)
    with pytest.raises(ModelError, match=r"the model is spread over cpu, meta; move it to one device"):
        _ = Autoencoder(net.encode, net.decode).device


def test_a_scalar_on_the_cpu_goes_with_a_model_elsewhere(net: Net) -> None:
    scalar = torch.tensor(0.5)
    net.to(META)
    assert Autoencoder(lambda x: net.encode(x - scalar), net.decode).device == META


@pytest.mark.parametrize("way", WAYS)
def test_the_fingerprint_changes_with_one_weight_and_not_otherwise(way: str, net: Net) -> None:
    ae = _autoencoder(way, net)
    before = ae.fingerprint()
    net.eval().requires_grad_(False)
    assert ae.fingerprint() == before
    assert _autoencoder(way, copy.deepcopy(net)).fingerprint() == before
    with torch.no_grad():
        net.decoder.bias[3] = torch.nextafter(net.decoder.bias[3], torch.tensor(9.0))
    assert ae.fingerprint() != before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_fingerprint_tells_precisions_apart(dtype: torch.dtype, net: Net) -> None:
    zeros = Autoencoder(net.requires_grad_(False).encode, net.decode)
    for tensor in net.state_dict().values():
        tensor.zero_()
    before = zeros.fingerprint()
    net.to(dtype)
    assert zeros.fingerprint() != before


def test_a_model_without_values_has_no_fingerprint() -> None:
    model = nn.Linear(3, 2, device="meta")
    with pytest.raises(ModelError, match="weight is on the meta device and holds no values; load the weights into"):
        Autoencoder(model, torch.relu).fingerprint()


@pytest.mark.parametrize("other", [torch.zeros(3, 2), torch.zeros(2, 3, dtype=torch.int32)], ids=["shape", "dtype"])
def test_the_fingerprint_tells_equal_bytes_apart_by(other: Tensor) -> None:
    one, two = (Autoencoder(lambda x, t=t: x + t, torch.relu).fingerprint() for t in (torch.zeros(2, 3), other))
    assert one != two


@pytest.mark.parametrize("change", ["buffer", "loose tensor"])
def test_the_fingerprint_covers(change: str, net: Net) -> None:
    loose = torch.zeros(2)
    ae = Autoencoder(lambda x: net.encode(x) + loose, net.decode)
    before = ae.fingerprint()
    (loose if change == "loose tensor" else net.shift)[0] += 1  # type: ignore[operator]
    assert ae.fingerprint() != before


@pytest.mark.parametrize("way", WAYS)
def test_on_another_device_a_copy_answers_and_the_original_stays(way: str, net: Net) -> None:
    ae = _autoencoder(way, net)
    before = ae.fingerprint()
    there = ae.on("meta")
    assert there.device == META
    assert there.encode(torch.rand(3, 6, device=META)).mean.shape == (3, 2)
    assert there.decode(torch.rand(3, 2, device=META)).device == META
    assert ae.device == torch.device("cpu")
    assert ae.fingerprint() == before
    assert there.name == ae.name


def test_on_its_own_device_an_autoencoder_is_itself(net: Net) -> None:
    ae = Autoencoder(net.encode, net.decode)
    assert ae.on("cpu") is ae.on(torch.device("cpu", 0)) is ae.on(None) is ae


def test_a_part_that_stays_behind_is_an_error(net: Net) -> None:
    with pytest.raises(ModelError, match=r"a part of the model could not be copied to meta; move it yourself"):
        Autoencoder(ways.GLOBALS["callable object"], net.decode).on("meta")


def test_without_weights_another_device_is_refused() -> None:
    with pytest.raises(ModelError, match=r"no weights were found.*cannot be copied to meta; name them: .*modules="):
        Autoencoder(lambda x: x, lambda z: z).on("meta")


@pytest.mark.parametrize("device", ["warp", "cuda:99"])
def test_an_unusable_device_is_refused(device: str, net: Net) -> None:
    with pytest.raises(ModelError, match=f"device '{device}' cannot be used here: "):
        Autoencoder(net.encode, net.decode).on(device)


def test_a_submodule_is_copied_with_its_owner(net: Net) -> None:
    ae = Autoencoder(net.encoder, net.decoder, modules=(net,))
    there = ae.on("meta")
    assert len(there.found.modules) == 1
    assert there.encoder is there.modules[0].encoder


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_precision_model_gives_float32_figures(dtype: torch.dtype, net: Net) -> None:
    ae = Autoencoder(net.to(dtype).encode, net.decode)
    posterior = ae.encode(torch.rand(3, 6))
    assert ae.dtype == dtype
    assert ae.figures_dtype == posterior.mean.dtype == ae.decode(posterior.mean).dtype == torch.float32


@pytest.mark.parametrize(
    ("encoder", "decoder", "event", "latent"),
    [
        pytest.param(nn.Conv2d(3, 4, 2, 2), nn.ConvTranspose2d(4, 3, 2, 2), (3, 8, 8), (4, 4, 4), id="feature maps"),
        pytest.param(nn.Conv1d(1, 2, 4, 4), nn.ConvTranspose1d(2, 1, 4, 4), (1, 32), (2, 8), id="signals"),
        pytest.param(nn.Linear(7, 3), nn.Linear(3, 7), (7,), (3,), id="rows"),
        pytest.param(
            nn.Sequential(nn.Flatten(), nn.Linear(16, 3)),
            nn.Sequential(nn.Linear(3, 16), nn.Unflatten(1, (1, 4, 4))),
            (1, 4, 4),
            (3,),
            id="images",
        ),
    ],
)
def test_inputs_and_latents_have_any_shape(
    encoder: nn.Module, decoder: nn.Module, event: tuple[int, ...], latent: tuple[int, ...]
) -> None:
    ae = Autoencoder(encoder, decoder)
    x = torch.rand(5, *event)
    assert ae.encode(x).mean.shape == (5, *latent)
    assert torch.equal(ae.reconstruct(x), decoder(encoder(x)))


def test_the_scale_reaches_the_reading() -> None:
    ae = Autoencoder(lambda x: (x, torch.full_like(x, 0.5)), lambda z: z, scale="std")
    torch.testing.assert_close(ae.encode(torch.rand(2, 3)).std, torch.full((2, 3), 0.5))


@pytest.mark.parametrize("way", ["bound methods", "closures", "plain wrapper"])
def test_the_name_is_the_models_unless_given(way: str, net: Net) -> None:
    assert _autoencoder(way, net).name == "Net"
    assert Autoencoder(net.encode, net.decode, name="mine").name == "mine"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": 3}, r"the encoder must be callable, got a int"),
        ({"decoder": None}, r"the decoder must be callable, got a NoneType"),
        ({"bounds": (1.0, 0.0)}, r"\(low, high\) with low < high, got \(1, 0\)"),
        ({"bounds": (0.5, 0.5)}, r"\(low, high\) with low < high, got \(0.5, 0.5\)"),
        ({"bounds": (math.nan, 1)}, r"\(low, high\) with low < high, got \(nan, 1\)"),
        ({"bounds": (0, 1, 2)}, r"bounds expects two numbers such as \(0.0, 1.0\), got \(0, 1, 2\)"),
        ({"bounds": ("a", "b")}, r"bounds expects two numbers such as"),
        ({"bounds": None}, r"bounds expects two numbers such as \(0.0, 1.0\), got None"),
        ({"scale": "sigma"}, r"scale expects one of log_variance, variance, std, got 'sigma'"),
    ],
)
def test_bad_arguments_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        Autoencoder(**{"encoder": torch.relu, "decoder": torch.relu, **changes})
    assert isinstance(caught.value, AuditError)
    assert isinstance(caught.value, ValueError)


def test_bounds_become_floats_and_may_be_infinite() -> None:
    bounds = Autoencoder(torch.relu, torch.relu, bounds=(0, math.inf)).bounds
    assert bounds == (0.0, math.inf)
    assert all(isinstance(bound, float) for bound in bounds)


@pytest.mark.parametrize(
    "failure", [RuntimeError("size mismatch"), AttributeError("no shape"), KeyError("size"), AssertionError("no")]
)
@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_a_failure_inside_the_users_code_says_what_it_was_given(failure: Exception, role: str) -> None:
    def fail(_: Tensor) -> Tensor:
        raise failure

    ae = Autoencoder(fail, fail)
    call = ae.encode if role == "encoder" else ae.decode
    text = rf"the {role} failed on \w+ of shape \(2, 3\) and torch.float32: {type(failure).__name__}: "
    with pytest.raises(ModelError, match=text) as caught:
        call(torch.rand(2, 3))
    assert caught.value.__cause__ is failure


def test_running_out_of_memory_is_passed_on() -> None:
    def fail(_: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError, match="full"):
        Autoencoder(fail, fail).encode(torch.rand(2, 3))

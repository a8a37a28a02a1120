"""`evaluated_in`: rough figures from a lower precision inside, and everything as it was outside."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from vaeaudit import Autoencoder, audit, batches, plan, zoo
from vaeaudit.attacks.objective import gradient_of
from vaeaudit.autoencoder import PRECISIONS, Precision
from vaeaudit.errors import ModelError, OptionError


class Net(nn.Module):
    """Notes the precision that its products are computed in."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 8))
        self.decoder = nn.Linear(4, 12)
        self.products: list[torch.dtype] = []

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        heads = self.encoder(x)
        self.products.append(heads.dtype)
        mean, log_variance = heads.chunk(2, dim=1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        out = self.decoder(z)
        self.products.append(out.dtype)
        return torch.sigmoid(out)


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def ae(net: Net) -> Autoencoder:
    return Autoencoder(net.encode, net.decode)


def _switches() -> list[object]:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        newer = [matmul.fp32_precision, cudnn.conv.fp32_precision] if hasattr(cudnn, "conv") else []
        return [
            matmul.allow_tf32,
            cudnn.allow_tf32,
            *newer,
            torch.is_autocast_enabled("cpu"),
            torch.is_autocast_enabled("cuda"),
        ]


@contextlib.contextmanager
def _mishap() -> Iterator[None]:
    with pytest.raises(ZeroDivisionError):
        yield


def test_bfloat16_products_are_close_and_are_handed_over_in_float32(net: Net, ae: Autoencoder) -> None:
    x = torch.rand(50, 12)
    with ae.at_rest():
        exact = ae.encode(x), ae.reconstruct(x)
        net.products.clear()
        with ae.evaluated_in("bfloat16"):
            rough = ae.encode(x), ae.reconstruct(x)
    assert set(net.products) == {torch.bfloat16}
    for a, b in (
        (rough[0].mean, exact[0].mean),
        (rough[0].log_variance, exact[0].log_variance),
        (rough[1], exact[1]),
    ):
        assert a.dtype == torch.float32
        assert not torch.equal(a, b)
        torch.testing.assert_close(a, b, rtol=0.02, atol=0.02)


def test_gradients_flow_in_float32_and_are_close(ae: Autoencoder) -> None:
    def gradient() -> Tensor:
        inputs = torch.linspace(0, 1, 60).view(5, 12).requires_grad_()
        return gradient_of(ae.reconstruct(inputs).square().flatten(1).sum(1), inputs)

    with ae.at_rest():
        exact = gradient()
        with ae.evaluated_in("bfloat16"):
            rough = gradient()
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    assert float((rough - exact).norm() / exact.norm()) < 0.02


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("fails", [False, True])
def test_afterwards_everything_is_as_it_was(net: Net, ae: Autoencoder, precision: Precision, fails: bool) -> None:
    net.train()
    before, switches = dict(net.state_dict()), _switches()
    exact = ae.encode(torch.ones(2, 12)).mean
    with _mishap() if fails else contextlib.nullcontext(), ae.at_rest():
        inside = _switches()
        with ae.evaluated_in(precision):
            ae.encode(torch.ones(2, 12))
            if fails:
                _ = 1 / 0
        assert _switches() == inside
    assert _switches() == switches
    assert net.training
    assert all(p.requires_grad and p.dtype == torch.float32 for p in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    net.products.clear()
    assert torch.equal(ae.encode(torch.ones(2, 12)).mean, exact)
    assert net.products == [torch.float32]


def test_tf32_is_allowed_inside_only_and_says_nothing(ae: Autoencoder) -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    with ae.at_rest():
        with ae.evaluated_in("tf32"):
            assert matmul.allow_tf32
            assert cudnn.allow_tf32
        assert not matmul.allow_tf32
        assert not cudnn.allow_tf32


def test_another_thread_than_the_main_one_does_not_touch_the_switches(ae: Autoencoder) -> None:
    def seen() -> list[object]:
        with ae.evaluated_in("tf32"):
            return _switches()

    switches = _switches()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(seen).result() == switches
    with ae.at_rest(), ae.evaluated_in("tf32"):
        assert _switches() != switches


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch has the older switches only")
def test_tf32_is_allowed_where_the_newer_switches_forbid_it(ae: Autoencoder) -> None:
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "ieee"
        with ae.at_rest(), ae.evaluated_in("tf32"):
            assert matmul.fp32_precision == "tf32"
        assert matmul.fp32_precision == "ieee"
    finally:
        matmul.fp32_precision = before


def test_an_error_inside_the_model_names_it_and_restores(net: Net, ae: Autoencoder) -> None:
    message = "the encoder failed on inputs of shape"
    with ae.at_rest(), pytest.raises(ModelError, match=message), ae.evaluated_in("bfloat16"):
        ae.encode(torch.ones(2, 5))
    assert not torch.is_autocast_enabled("cpu")


def test_at_rest_is_full_precision_again(net: Net, ae: Autoencoder) -> None:
    with ae.evaluated_in("bfloat16"):
        with ae.at_rest():
            ae.encode(torch.ones(2, 12))
        ae.encode(torch.ones(2, 12))
    assert net.products == [torch.float32, torch.bfloat16]


def test_without_a_precision_nothing_changes(net: Net, ae: Autoencoder) -> None:
    with ae.at_rest(), ae.evaluated_in("bfloat16"), ae.evaluated_in(None):
        ae.encode(torch.ones(2, 12))
    assert net.products == [torch.bfloat16]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_model_in_another_precision_keeps_its_own(net: Net, dtype: torch.dtype, precision: Precision) -> None:
    ae = Autoencoder(net.to(dtype).encode, net.decode)
    switches = _switches()
    with ae.evaluated_in(precision):
        assert _switches() == switches
        ae.encode(torch.ones(2, 12))
    assert net.products == [dtype]


def test_each_precision_settles_its_own_sizes(ae: Autoencoder) -> None:
    x = torch.rand(3, 12)
    with ae.at_rest():
        ae.posteriors(x)
        full = batches._SIZES.get()
        with ae.evaluated_in("bfloat16"):
            ae.posteriors(x)
            rough = batches._SIZES.get()
        assert batches._SIZES.get() is full
    assert rough is not full
    assert full is not None
    assert rough is not None
    assert len(full.settled) == len(rough.settled) == 1


def test_an_unknown_precision_is_refused(ae: Autoencoder) -> None:
    message = r"precision expects None or one of bfloat16, tf32, got 'fp8'"
    with pytest.raises(OptionError, match=message), ae.evaluated_in("fp8"):  # type: ignore[arg-type]
        pass


def test_rows_are_the_same_to_the_last_bit_in_any_company() -> None:
    ae, (images, _) = zoo.load("mnist-vae"), zoo.images("mnist-vae")
    with ae.at_rest(), ae.evaluated_in("bfloat16"):
        together = ae.posteriors(images).mean
        for count in (1, 5, 30):
            assert torch.equal(ae.posteriors(images[:count]).mean, together[:count])


def test_an_audit_looks_roughly_in_bfloat16_and_measures_in_full(net: Net) -> None:
    images = torch.rand(12, 12, generator=torch.Generator().manual_seed(0))
    report = audit(Autoencoder(net.encode, net.decode), images, "quick", pairs=6, precision="bfloat16")
    assert torch.bfloat16 in net.products
    assert torch.float32 in net.products
    assert report.provenance.settings["precision"] == "bfloat16"
    net.products.clear()
    full = audit(Autoencoder(net.encode, net.decode), images, "quick", pairs=6)
    # certificates look at the model by tracing it, which has no precision
    assert {kind for kind in net.products if isinstance(kind, torch.dtype)} == {torch.float32}
    assert report.damage is not None
    assert full.damage is not None
    assert report.damage.estimates == full.damage.estimates, "only the targeted attack looks roughly"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"precision": "half"}, "precision expects None or one of bfloat16, tf32, got 'half'"),
        ({"precision": ["tf32"]}, "precision expects None or one of"),
        ({"precision": "tf32", "devices": ["cpu", "cpu"]}, "tf32 is one switch for the whole process"),
        ({"devices": ["cpu", None]}, "got None among them"),
    ],
)
def test_a_precision_that_would_be_asked_for_in_vain_is_refused_at_once(net: Net, asked: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        plan(Autoencoder(net.encode, net.decode), torch.rand(12, 12), "quick", pairs=6, **asked)


def test_a_model_in_double_precision_is_not_asked_to_be_rough(net: Net) -> None:
    net.double()
    with pytest.raises(OptionError, match=r"for float32 models, and this one computes in torch\.float64"):
        plan(Autoencoder(net.encode, net.decode), torch.rand(12, 12), "quick", pairs=6, precision="bfloat16")

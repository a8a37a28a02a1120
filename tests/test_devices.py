"""Several devices: copies that share the pairs, figures of a single one, and the user's model as it came."""

from __future__ import annotations

import dataclasses
import gc
import random
import threading
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vaeaudit
from vaeaudit import AuditReport, Autoencoder, spec
from vaeaudit.commands import audit_options
from vaeaudit.commands.parser import argument_parser
from vaeaudit.errors import ModelError, OptionError
from vaeaudit.measurements import tradeoff
from vaeaudit.places import places_named

PAIRS = 6
OPTIONS: dict[str, Any] = {"preset": "quick", "pairs": PAIRS, "strengths": 6}
SHORT = dataclasses.replace(
    spec.PRESETS["quick"], pairs=4, strengths=6, samples=4, spectra=4, damaged=4, damage_steps=5, second_looks=1,
    queries=8,
)  # fmt: skip
"""The quick preset with less of what a single device does."""


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(spec.PRESETS, "quick", SHORT)


class VAE(nn.Module):
    """A small VAE that writes a buffer."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.encoder = nn.Linear(64, 12)
        self.decoder = nn.Linear(6, 64)
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(0.4 * torch.randn(weight.shape, generator=generator))
        self.register_buffer("calls", torch.zeros(1))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        mean, log_variance = self.encoder(x.flatten(1)).chunk(2, dim=1)
        return mean, log_variance - 4

    def decode(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.decoder(z)).view(-1, 1, 8, 8)


@pytest.fixture
def model() -> VAE:
    return VAE()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def _timeless(report: AuditReport) -> AuditReport:
    source = report.provenance
    environment = {key: value for key, value in source.environment.items() if key != "devices"}
    return dataclasses.replace(
        report, provenance=dataclasses.replace(source, seconds={}, work={}, environment=environment)
    )


def _audit(model: VAE, images: Tensor, **options: Any) -> AuditReport:
    return vaeaudit.audit(Autoencoder(model.encode, model.decode), images, **{**OPTIONS, **options})


@pytest.mark.parametrize("devices", [["cpu", "cpu"], ["cpu"] * 3])
def test_a_report_equals_that_of_a_single_device(
    model: VAE, images: Tensor, devices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = _audit(model, images)
    targeted, used = tradeoff.attacks.targeted, []
    all_at_work = threading.Barrier(len(devices), timeout=60)

    def note(ae: Autoencoder, *args: Any, **options: Any) -> Any:
        if len(used) >= len(devices):  # the second look comes later, and is one device's
            return targeted(ae, *args, **options)
        all_at_work.wait()
        used.append((threading.current_thread().name, id(ae.found.modules[0])))
        return targeted(ae, *args, **options)

    monkeypatch.setattr(tradeoff.attacks, "targeted", note)
    shared = _audit(model, images, devices=devices)
    assert _timeless(shared) == _timeless(alone)
    assert shared.provenance.environment["devices"] == str(len(devices))
    assert "devices" not in alone.provenance.environment
    assert set(used) == {(f"vaeaudit-{i}", dict(used)[f"vaeaudit-{i}"]) for i in range(len(devices))}
    assert len(set(dict(used).values())) == len(devices)
    assert dict(used)["vaeaudit-0"] == id(model)


def test_pairs_that_were_finished_are_not_attacked_again_by_any_device(
    model: VAE, images: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _audit(model, images, devices=["cpu", "cpu"], checkpoint=tmp_path)
    monkeypatch.setattr(tradeoff.attacks, "targeted", None)
    again = _audit(model, images, checkpoint=tmp_path)
    assert _timeless(again) == _timeless(first)


def test_an_extension_on_several_devices_attacks_new_pairs_only(model: VAE, images: Tensor) -> None:
    ae = Autoencoder(model.encode, model.decode)
    whole = vaeaudit.plan(ae, images, "quick", 4, most_pairs=8).report(8)
    plan = vaeaudit.plan(ae, images, "quick", 4, most_pairs=8, devices=["cpu", "cpu"])
    plan.report()
    assert _timeless(plan.report(8)) == _timeless(whole)


def test_the_users_model_and_process_are_as_they_were(model: VAE, images: Tensor) -> None:
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cudnn = torch.backends.cudnn
    filters, threads = list(warnings.filters), threading.active_count()
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    drawn = random.random(), np.random.rand(), torch.rand(3)
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    switches = (cudnn.benchmark, cudnn.deterministic)
    cudnn.benchmark = True
    try:
        _audit(model, images, devices=["cpu"] * 3)
        assert (cudnn.benchmark, cudnn.deterministic) == (True, switches[1])
    finally:
        cudnn.benchmark = switches[0]
    assert model.training
    assert all(weight.requires_grad for weight in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (random.random(), np.random.rand()) == drawn[:2]
    assert torch.equal(torch.rand(3), drawn[2])
    assert list(warnings.filters) == filters
    assert threading.active_count() == threads


def test_copies_are_let_go_of(model: VAE, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Any]] = []
    copied = Autoencoder.copy_on

    def note(ae: Autoencoder, device: Any) -> Autoencoder:
        there = copied(ae, device)
        made.append(weakref.ref(there.found.modules[0]))
        return there

    monkeypatch.setattr(Autoencoder, "copy_on", note)
    plan = vaeaudit.plan(Autoencoder(model.encode, model.decode), images, "quick", PAIRS, devices=["cpu"] * 3)
    plan.report()
    gc.collect()
    assert [ref() for ref in made] == [None, None]


def test_an_error_on_one_device_ends_the_audit_and_restores_the_model(
    model: VAE, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.train()
    targeted, main = tradeoff.attacks.targeted, id(model)

    def fails(ae: Autoencoder, *args: Any, **options: Any) -> Any:
        if id(ae.found.modules[0]) != main:
            raise ModelError("no luck there")
        return targeted(ae, *args, **options)

    monkeypatch.setattr(tradeoff.attacks, "targeted", fails)
    with pytest.raises(ModelError, match="no luck there"):
        _audit(model, images, devices=["cpu", "cpu"])
    assert model.training
    assert all(weight.requires_grad for weight in model.parameters())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("vaeaudit-")]


def test_a_copy_on_its_own_device_shares_no_weight(model: VAE) -> None:
    ae = Autoencoder(model.encode, model.decode)
    there = ae.copy_on("cpu")
    assert there.device == ae.device
    with torch.no_grad():
        model.encoder.weight.zero_()
    assert bool(there.found.modules[0].encoder.weight.any())


def test_a_model_that_cannot_be_copied_says_so(images: Tensor) -> None:
    class Locked(VAE):
        def __deepcopy__(self, memo: Any) -> Locked:
            raise TypeError("cannot pickle a lock")

    with pytest.raises(ModelError, match=r"Locked could not be copied to cpu: cannot pickle a lock"):
        _audit(Locked(), images, devices=["cpu", "cpu"])
    with pytest.raises(ModelError, match=r"no weights were found.*cannot be copied to cpu; name them"):
        Autoencoder(lambda x: x, lambda z: z).copy_on("cpu")


def test_a_copy_that_still_holds_the_users_weights_is_refused(images: Tensor) -> None:
    class Shared(VAE):
        def __deepcopy__(self, memo: Any) -> Shared:
            made = Shared()
            made.decoder.weight = self.decoder.weight
            return made

    with pytest.raises(ModelError, match="a part of the model could not be copied to cpu; move it yourself"):
        _audit(Shared(), images, devices=["cpu", "cpu"])


@pytest.mark.parametrize(
    ("gpus", "expected"), [(0, [None]), (1, [torch.device("cuda", 0)]), (2, [torch.device("cuda", i) for i in (0, 1)])]
)
def test_all_devices_are_the_machines_gpus(monkeypatch: pytest.MonkeyPatch, gpus: int, expected: list[Any]) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert places_named(None, "all") == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": []}, r"devices expects 'all' or a list such as \['cuda:0', 'cuda:1'\], got \[\]"),
        ({"devices": "cuda"}, r"devices expects 'all' or a list .*, got 'cuda'"),
        ({"devices": 2}, r"devices expects 'all' or a list .*, got 2"),
        ({"devices": ["cpu"], "device": "cpu"}, r"device= names one device and devices= several; pass one of them"),
        ({"devices": ["cpu", "meta"]}, r"devices of one kind, since another kind rounds differently; got cpu and meta"),
    ],
)
def test_devices_that_make_no_sense_are_refused(
    model: VAE, images: Tensor, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        _audit(model, images, **options)


def test_a_gpu_named_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from vaeaudit import places

    monkeypatch.setattr(places, "checked_device", torch.device)
    with pytest.raises(OptionError, match="devices names cuda:0 twice"):
        places._crew(torch.device("cuda"), ["cuda:1", "cuda:0"])


@pytest.mark.parametrize(
    ("text", "devices"), [("all", "all"), ("cuda:0, cuda:1", ["cuda:0", "cuda:1"]), ("cpu", ["cpu"])]
)
def test_the_command_line_takes_devices(text: str, devices: Any) -> None:
    options = argument_parser().parse_args(["demo", "--devices", text])
    assert audit_options.asked(options) == {"devices": devices}


@pytest.mark.parametrize(
    ("said", "asked", "expected"),
    [
        ({"device": "cuda"}, ["--devices", "cpu,cpu"], {"devices": ["cpu", "cpu"]}),
        ({"devices": "all"}, ["--device", "cpu"], {"device": "cpu"}),
        ({"devices": ["cpu", "cpu"]}, [], {"devices": ["cpu", "cpu"]}),
        ({"precision": "tf32"}, ["--precision", "bfloat16"], {"precision": "bfloat16"}),
        ({"work": 1e15}, ["--work", "1e14"], {"work": 1e14}),
    ],
)
def test_the_command_line_goes_before_the_file(
    said: dict[str, Any], asked: list[str], expected: dict[str, Any]
) -> None:
    assert audit_options.over_file(said, argument_parser().parse_args(["demo", *asked])) == expected

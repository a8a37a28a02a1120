"""Programs of torch.export and TorchScript modules compute what the module that they come from does, gradients too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vaeaudit import Autoencoder, OptionError, wrap
from vaeaudit.adapters import from_exported
from vaeaudit.geometry import encoder_spectrum

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.:DeprecationWarning"),
]
EVENT = (1, 3, 3)
INPUTS = torch.rand(7, *EVENT, generator=torch.Generator().manual_seed(0))
SIZES: dict[str, tuple[Any, int, int]] = {
    "one size": (None, 4, 4),
    "any": (({0: torch.export.Dim("batch")},), 1, 0),
    "some": (({0: torch.export.Dim("batch", min=3, max=5)},), 3, 5),
}


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(9, 8), nn.Tanh(), nn.Dropout())
        self.mean, self.spread = nn.Linear(8, 2), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(x)
        return self.mean(features), self.spread(features) - 5


def _decoder() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 9), nn.Sigmoid(), nn.Unflatten(1, EVENT))


@pytest.fixture(scope="module")
def parts() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return Encoder().eval(), _decoder().eval()


@pytest.fixture(scope="module", params=SIZES)
def exported(request: pytest.FixtureRequest, parts: tuple[nn.Module, nn.Module]) -> tuple[Autoencoder, int, int]:
    shapes, least, most = SIZES[request.param]
    encoder, decoder = parts
    programs = tuple(
        torch.export.export(part, (example,), dynamic_shapes=shapes)
        for part, example in ((encoder, INPUTS[:4].clone()), (decoder, torch.rand(4, 2)))
    )
    return wrap(programs), least, most


def test_batches_are_cut_and_filled_to_what_the_program_takes(
    exported: tuple[Autoencoder, int, int], parts: tuple[nn.Module, nn.Module]
) -> None:
    (ae, least, most), plain = exported, wrap(parts)
    part: Any = ae.encoder
    assert (part.least, part.most) == (least, most)
    for rows in (1, 3, 4, 7):
        ours, theirs = ae.encode(INPUTS[:rows]), plain.encode(INPUTS[:rows])
        torch.testing.assert_close(ours.mean, theirs.mean)
        torch.testing.assert_close(ours.std, theirs.std)
        torch.testing.assert_close(ae.decode(theirs.mean), plain.decode(theirs.mean))


def test_gradients_and_spectra_are_those_of_the_module(
    exported: tuple[Autoencoder, int, int], parts: tuple[nn.Module, nn.Module]
) -> None:
    plain, gradients = wrap(parts), []
    for ae in (exported[0], plain):
        inputs = INPUTS.clone().requires_grad_()
        ae.reconstruct(inputs).square().sum().backward()
        gradients.append(inputs.grad)
    torch.testing.assert_close(gradients[0], gradients[1])
    ours, theirs = (encoder_spectrum(ae, INPUTS[:3]).eigenvalues for ae in (exported[0], plain))
    torch.testing.assert_close(ours, theirs)


def test_a_program_is_put_to_rest_and_left_as_it_was(exported: tuple[Autoencoder, int, int]) -> None:
    ae = exported[0]
    weights = [(name, t.requires_grad) for module in ae.found.modules for name, t in module.named_parameters()]
    assert ae.training_modules() is None
    with ae.at_rest():
        assert not any(t.requires_grad for module in ae.found.modules for t in module.parameters())
    assert weights == [(name, t.requires_grad) for module in ae.found.modules for name, t in module.named_parameters()]
    assert weights
    torch.testing.assert_close(ae.copy_on("cpu").encode(INPUTS).mean, ae.encode(INPUTS).mean)


def test_programs_come_from_files(parts: tuple[nn.Module, nn.Module], tmp_path: Path) -> None:
    decoder = torch.export.export(parts[1], (torch.rand(4, 2),))
    torch.export.save(torch.export.export(parts[0], (INPUTS[:4].clone(),)), tmp_path / "encoder.pt2")
    ae = from_exported(tmp_path / "encoder.pt2", decoder, (0, 2), name="mine")
    torch.testing.assert_close(ae.encode(INPUTS).mean, wrap(parts).encode(INPUTS).mean)
    assert (ae.bounds, ae.name) == ((0, 2), "mine")
    (tmp_path / "broken.pt2").write_bytes(b"PK not")
    for given, message in (
        (tmp_path / "broken.pt2", "is no exported program"),
        (tmp_path / "gone.pt2", "there is no exported program at"),
        (3, r"expected a torch.export.ExportedProgram or a .pt2 file of one, got 3"),
        (
            torch.export.export(nn.Bilinear(2, 2, 2), (torch.rand(3, 2), torch.rand(3, 2))),
            "of one tensor .* got 2 inputs",
        ),
    ):
        with pytest.raises(OptionError, match=message):
            from_exported(given, decoder)


def test_one_program_alone_is_refused(parts: tuple[nn.Module, nn.Module]) -> None:
    program = torch.export.export(nn.Sequential(nn.Flatten(), nn.Linear(9, 9)), (INPUTS[:4].clone(),))
    with pytest.raises(OptionError, match="ExportedProgram is not supported, because one program is one function"):
        wrap(program)


class Scripted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.coder, self.back = nn.Linear(9, 4), nn.Linear(2, 9)

    @torch.jit.export
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        both = self.coder(x.flatten(1))
        return both[:, :2], both[:, 2:] - 5

    @torch.jit.export
    def decode(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.back(z)).view(-1, 1, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x)[0])


class Inside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Sequential(nn.Flatten(), nn.Linear(9, 2)), _decoder()

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("make", "to_script"),
    [(Scripted, torch.jit.script), (Inside, lambda model: torch.jit.trace(model, INPUTS[:2]))],
    ids=["scripted", "traced"],
)
def test_torchscript_computes_and_derives_what_its_module_does(
    make: Callable[[], nn.Module], to_script: Callable[[nn.Module], Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = make().eval()
    to_script(model).save(str(tmp_path / "model.pt"))
    ae, plain = wrap(torch.jit.load(str(tmp_path / "model.pt"))), wrap(model)
    assert ae.name == plain.name
    gradients = []
    for one in (ae, plain):
        inputs = INPUTS.clone().requires_grad_()
        one.reconstruct(inputs).square().sum().backward()
        gradients.append(inputs.grad)
    torch.testing.assert_close(gradients[0], gradients[1])
    assert gradients[0] is not None
    assert gradients[0].abs().sum() > 0


def test_frozen_torchscript_and_one_without_parts_are_refused() -> None:
    frozen = torch.jit.freeze(torch.jit.script(Scripted().eval()), preserved_attrs=["encode", "decode"])
    with pytest.raises(OptionError, match=r"it was frozen.*before torch.jit.freeze"):
        wrap(frozen)
    with pytest.raises(OptionError, match=r"neither encode and decode methods nor .* Mark them @torch.jit.export"):
        wrap(torch.jit.script(nn.Linear(2, 2)))

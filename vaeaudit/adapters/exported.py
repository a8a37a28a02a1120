"""Programs of torch.export: an encoder and a decoder, exported one by one.

A program fixes the sizes that it was not told to be dynamic, most often the batch; an audit calls a model with batches of
many sizes. So batches are cut into pieces that the program takes, and a short piece is filled with copies of its last row,
whose results are dropped.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaeaudit.adapters.refusal import unsupported
from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import OptionError, brief
from vaeaudit.hookspecs import Bounds, hookimpl
from vaeaudit.latent import Scale

Program = torch.export.ExportedProgram
_UNIT: Bounds = (0.0, 1.0)
_ANY = 2**31
"""An upper end of a dynamic size from here on is none."""


@hookimpl(trylast=True)
def recognise(model: Any, bounds: Bounds | None, scale: Scale | None, name: str) -> Autoencoder | None:
    """A pair (encoder, decoder) of exported programs; one alone is refused."""
    if isinstance(model, Program):
        raise unsupported(
            model, "one program is one function, in which encoder and decoder cannot be told apart",
            "Export them one by one, and pass both: vaeaudit.adapters.from_exported(encoder, decoder, bounds=...)",
        )  # fmt: skip
    if not (isinstance(model, tuple) and len(model) == 2 and all(isinstance(part, Program) for part in model)):
        return None
    return from_exported(*model, bounds or _UNIT, scale=scale, name=name)


def from_exported(
    encoder: Program | str | os.PathLike[str], decoder: Program | str | os.PathLike[str], bounds: Bounds = _UNIT, *,
    scale: Scale | None = None, name: str = "",
) -> Autoencoder:  # fmt: skip
    """An autoencoder of two exported programs, each of one tensor with the batch in front.

    Whether a layer such as dropout is active was settled when the program was exported: export `model.eval()`, with
    examples that are contiguous.

    Args:
        encoder: the program, or the .pt2 file that `torch.export.save` wrote.
        decoder: the same of the decoder.
        bounds: lower and upper end of valid inputs.
        scale: what the second member of a plain pair from the encoder is.
        name: name shown in reports.

    Raises:
        OptionError: no program, or one of another number of inputs.
    """
    first, second = ExportedPart(_program(encoder), "encoder"), ExportedPart(_program(decoder), "decoder")
    return Autoencoder(first, second, bounds, scale=scale, name=name or "exported program")


class ExportedPart(nn.Module):
    """A program that takes batches of any size.

    Args:
        program: of one tensor.
        role: of it, for messages.

    Raises:
        OptionError: the program has another number of inputs, or its input has no batch.
    """

    def __init__(self, program: Program, role: str) -> None:
        super().__init__()
        self.least, self.most = _batches(program, role)
        self.program = program.module()
        for child in self.modules():
            child.training = False

    def train(self, mode: bool = True) -> ExportedPart:  # noqa: ARG002
        """Nothing: the mode was settled when the program was exported, and torch refuses to be asked for another."""
        return self

    def forward(self, batch: Tensor) -> Any:
        """What the program makes of a batch `(n, *event)`."""
        batch = batch.contiguous()  # a program also remembers how its example lay in memory
        pieces = batch.split(self.most) if self.most else (batch,)
        return _joined([self._of_piece(piece) for piece in pieces])

    def _of_piece(self, piece: Tensor) -> Any:
        missing = max(0, self.least - len(piece))
        if not missing:
            return self.program(piece)
        filled = torch.cat([piece, piece[-1:].expand(missing, *piece.shape[1:])])
        return _first_rows(self.program(filled), len(piece))


def _program(part: Any) -> Program:
    if isinstance(part, Program):
        return part
    if not isinstance(part, (str, os.PathLike)):
        raise OptionError(f"expected a torch.export.ExportedProgram or a .pt2 file of one, got {brief(part)}")
    if not Path(part).is_file():
        raise OptionError(f"there is no exported program at {part}")
    try:
        return torch.export.load(part)
    except Exception as error:  # a damaged archive has no one kind of error
        raise OptionError(f"{part} is no exported program: {type(error).__name__}: {error}") from error


def _batches(program: Program, role: str) -> tuple[int, int]:
    """The smallest and the largest batch that a program takes; 0 for no largest one."""
    inputs = program.graph_signature.user_inputs
    shapes: list[Any] = [
        getattr(node.meta.get("val"), "shape", ()) for node in program.graph.nodes
        if node.op == "placeholder" and node.name in inputs
    ]  # fmt: skip
    if len(shapes) != 1 or not len(shapes[0]):
        raise OptionError(
            f"the {role} must be a program of one tensor with the batch in front, got {len(inputs)} inputs"
        )
    size = shapes[0][0]
    if isinstance(size, int):
        return size, size
    for symbol, reach in program.range_constraints.items():
        if str(symbol) == str(size):
            return max(1, int(reach.lower)), int(reach.upper) if reach.upper < _ANY else 0
    return 1, 0


def _first_rows(output: Any, rows: int) -> Any:
    """The first rows of a tensor, or of all in a tuple, list or dictionary."""
    if isinstance(output, Tensor):
        return output[:rows]
    if isinstance(output, dict):
        return {key: _first_rows(item, rows) for key, item in output.items()}
    return type(output)(_first_rows(item, rows) for item in output)


def _joined(outputs: list[Any]) -> Any:
    """Outputs of several pieces as one, each a tensor, or a tuple, list or dictionary of such."""
    first = outputs[0]
    if len(outputs) == 1:
        return first
    if isinstance(first, Tensor):
        return torch.cat(outputs)
    if isinstance(first, dict):
        return {key: _joined([output[key] for output in outputs]) for key in first}
    return type(first)(_joined(list(items)) for items in zip(*outputs, strict=True))

"""Nothing that was read of a model is believed before it was tried: on a few rows, together and one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from vaeaudit.certificates.layers import IN_PLACE
from vaeaudit.certificates.refusal import NotCertifiedError, refused
from vaeaudit.certificates.steps import Elementwise, Linear, RowMap, Step, Sum
from vaeaudit.certificates.tracing import Runner

PROBES = 3
"""Rows on which a model is tried."""
_AGREEMENT = 1e-4


def probes_of(inputs: Tensor) -> Tensor:
    """Rows near the first of some inputs `(rows, *event)`, float64, on the CPU; no two are alike."""
    rows = inputs.detach().cpu().double()[:PROBES]
    rows = rows.repeat(PROBES, *[1] * (rows.ndim - 1))[:PROBES]
    generator = torch.Generator().manual_seed(0)
    return rows + 0.1 * torch.randn(rows.shape, generator=generator, dtype=torch.float64)


def tensors_of(output: Any) -> list[Tensor]:
    """The tensors in a nested output, in order."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, (tuple, list)):
        return [tensor for item in output for tensor in tensors_of(item)]
    return []


def check_agreement(model: Callable[[Tensor], Any], graph: fx.GraphModule, rows: Tensor, inputs: Tensor) -> None:
    """The trace gives what the model gives, and a row's result does not depend on its company.

    Raises:
        NotCertifiedError: it does not, so that something in the model escapes a trace.
    """
    traced = tensors_of(Runner(graph).run(rows))
    real = tensors_of(model(rows.to(inputs)))
    alone = [
        torch.cat(parts) for parts in zip(*(tensors_of(Runner(graph).run(row[None])) for row in rows), strict=True)
    ]
    for name, others in (("the model itself", real), ("rows of the input taken one by one", alone)):
        same = len(traced) == len(others) and all(
            a.shape == b.shape and float((a - b.cpu().double()).abs().max()) <= _AGREEMENT * (1 + float(a.abs().max()))
            for a, b in zip(traced, others, strict=True)
        )
        if not same:
            raise NotCertifiedError(
                f"not certified, because the traced model disagrees with {name}: it is random, keeps state, takes "
                "another way where it is traced, or mixes the rows of a batch"
            )


def check_step(step: Step, value: Tensor, values: Mapping[Step, Tensor]) -> None:
    """From row to row a step's output changes as the operation it is held for would change it.

    Raises:
        NotCertifiedError: it does not.
    """
    change = value - value.roll(1, 0)
    if isinstance(step.operation, (Linear, Sum)):
        expected = _increment(step, values)
        wrong = not torch.allclose(change, expected, rtol=1e-7, atol=1e-7 * (1 + float(value.abs().max())))
    elif isinstance(step.operation, Elementwise):
        taken = values[step.inputs[0]]
        wrong = value.shape != taken.shape
        low, high = (side * (taken - taken.roll(1, 0)) for side in step.operation.slopes.always)
        slack = 1e-7 * (1 + taken.abs() + value.abs())
        inside = (change >= torch.minimum(low, high) - slack) & (change <= torch.maximum(low, high) + slack)
        wrong = wrong or not bool(inside.all())
    else:
        return
    if wrong:
        raise refused(step.layer, f"the {step.kind} does not compute what it was held to compute")


def _increment(step: Step, values: Mapping[Step, Tensor]) -> Tensor:
    if isinstance(step.operation, Linear):
        source = values[step.inputs[0]]
        return step.operation.apply(source - source.roll(1, 0))
    return torch.stack([_increment(part, values) for part in step.inputs]).sum(0)


def check_linear(apply: RowMap, taken: tuple[int, ...], given: tuple[int, ...]) -> None:
    """A step that is held for linear is so on random rows, and maps each by itself."""
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(PROBES + 1, *taken, generator=generator, dtype=torch.float64)
    u = torch.cat([u, (u[0] - 2 * u[1])[None]])
    try:
        together, alone = apply(u), torch.cat([apply(row[None]) for row in u])
    except Exception as error:
        raise NotCertifiedError(f"it depends on the size of the batch ({type(error).__name__}: {error})") from error
    linear = together.shape == (len(u), *given) and torch.allclose(together, alone, rtol=1e-9, atol=1e-9)
    if not linear or not torch.allclose(together[-1], together[0] - 2 * together[1], rtol=1e-9, atol=1e-9):
        raise NotCertifiedError("it is not linear in each row by itself, as it was held to be")


def check_inplace(n: fx.Node, submodules: dict[str, nn.Module], steps: Mapping[fx.Node, Any]) -> None:
    """Writing in place changes what other nodes read: their order, not their arrows, then says what is computed."""
    module = submodules.get(str(n.target)) if n.op == "call_module" else None
    writes = getattr(module, "inplace", False) or n.kwargs.get("inplace") or n.target in IN_PLACE
    writes = writes or (n.op == "call_method" and str(n.target).endswith("_"))
    source = n.all_input_nodes[0]
    while writes and source in steps:
        if len(source.users) > 1:
            raise NotCertifiedError("it works in place on a tensor that is used elsewhere; set inplace=False")
        if source.op == "placeholder":
            return
        source = source.all_input_nodes[0]

"""A model as steps whose bounds are known, and the graph that gives their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from vaeaudit.certificates.reading import Reader
from vaeaudit.certificates.steps import Step
from vaeaudit.certificates.tracing import Runner, traced
from vaeaudit.certificates.trials import check_agreement, check_step, probes_of
from vaeaudit.certificates.work import MOST_WORK


@dataclass(frozen=True, kw_only=True)
class Network:
    """A model as steps.

    Attributes:
        graph: the traced model in float64; maps `(rows, *event)` to whatever the model returns.
        input: the first step.
        outputs: what the model returns, with steps in place of tensors.
    """

    graph: fx.GraphModule
    input: Step
    outputs: Any

    def arguments(self, inputs: Tensor) -> dict[str, Tensor]:
        """What every step takes first at inputs `(rows, *event)`, float64, by the step's name."""
        recorder = _Recorder(self.graph)
        with torch.no_grad():
            recorder.run(inputs.detach().cpu().double())
        return recorder.taken

    def __call__(self, inputs: Tensor) -> Any:
        """What the model returns, in float64."""
        with torch.no_grad():
            return Runner(self.graph).run(inputs.detach().cpu().double())


def read_network(
    model: Callable[[Tensor], Any], modules: Sequence[nn.Module], inputs: Tensor, *, most: float = MOST_WORK
) -> Network:
    """Read a model that maps each row of its input by itself.

    Args:
        model: any callable; it must be in evaluation mode.
        modules: the modules it computes with.
        inputs: rows to try it on, `(rows, *event)`, where the model lives; the trace must give what the model gives.
        most: multiply-adds that reading may take.

    Raises:
        NotCertifiedError: a layer without known bound, code that cannot be traced, or a model that is too large.
    """
    graph = traced(model, modules, inputs.shape[1:], most)
    rows = probes_of(inputs)
    reader = Reader(graph)
    with torch.no_grad():
        reader.run(rows)
        for step, value in reader.values.items():
            check_step(step, value, reader.values)
        check_agreement(model, graph, rows, inputs)
    return Network(graph=graph, input=reader.input, outputs=reader.outputs)


class _Recorder(Runner):
    """Keeps what each node was given first."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.taken: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        if n.op not in ("placeholder", "output", "get_attr"):
            arguments, _ = self.fetch_args_kwargs_from_env(n)
            if arguments and isinstance(arguments[0], Tensor):
                self.taken[n.name] = arguments[0]
        return super().run_node(n)

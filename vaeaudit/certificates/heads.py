"""An encoder or a decoder as a network, with the steps that give its mean and its second head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vaeaudit.autoencoder import Autoencoder
from vaeaudit.certificates.graph import Network, read_network
from vaeaudit.certificates.refusal import NotCertifiedError
from vaeaudit.certificates.steps import Linear, Step
from vaeaudit.certificates.trials import tensors_of
from vaeaudit.certificates.work import MOST_WORK
from vaeaudit.introspection import find
from vaeaudit.latent import Scale, read_posterior, read_reconstruction


@dataclass(frozen=True, kw_only=True)
class Heads:
    """A network and what it puts out.

    Attributes:
        network: the model as steps.
        mean: the step that gives the posterior's mean, the code or the reconstruction.
        second: the step of the second head; None for a deterministic code and for a decoder.
        scale: what the second head is.
    """

    network: Network
    mean: Step
    second: Step | None
    scale: Scale | None

    @property
    def steps(self) -> tuple[Step, ...]:
        """The heads there are."""
        return (self.mean,) if self.second is None else (self.mean, self.second)

    def at(self, inputs: Tensor) -> Tensor:
        """Mean and second head, flattened and one after the other, `(rows, n)`, float64."""
        output = self.network(inputs)
        if self.second is None and not isinstance(output, Tensor) and self.scale is None:
            return self._read(output)[0].flatten(1)
        return torch.cat([head.flatten(1) for head in self._read(output)], 1)

    def _read(self, output: Any) -> list[Tensor]:
        positions = self.network.input.known["heads"]
        tensors = tensors_of(output)
        return [tensors[position] for position in positions]


def encoder_heads(ae: Autoencoder, inputs: Tensor, *, most: float = MOST_WORK) -> Heads:
    """Read the encoder; `ae` must be at rest.

    Args:
        ae: the model.
        inputs: a few of its inputs, `(rows, *event)`, float64.
        most: multiply-adds that reading may take.

    Raises:
        NotCertifiedError: a layer without known bound, or an output whose parts cannot be told apart.
    """
    network = read_network(ae.encoder, _modules(ae, ae.encoder), inputs.to(ae.device or "cpu", ae.dtype), most=most)
    output = network(inputs)
    tensors = tensors_of(output)
    posterior = read_posterior(output, ae.scale, doubt=False)
    mean = _position(tensors, posterior.mean)
    if posterior.log_variance is None:
        return _heads(network, tensors, (mean,), None)
    second = _position(tensors, posterior.log_variance)
    if second is not None:
        return _heads(network, tensors, (mean, second), "log_variance")
    if len(tensors) != 2 or mean is None or ae.scale is None:
        raise NotCertifiedError("not certified, because the encoder's second head could not be traced to a layer")
    return _heads(network, tensors, (mean, 1 - mean), ae.scale)


def decoder_heads(ae: Autoencoder, latents: Tensor, *, most: float = MOST_WORK) -> Heads:
    """Read the decoder; `ae` must be at rest.

    Args:
        ae: the model.
        latents: a few of its latents, `(rows, *latent)`, float64.
        most: multiply-adds that reading may take.

    Raises:
        NotCertifiedError: a layer without known bound.
    """
    network = read_network(ae.decoder, _modules(ae, ae.decoder), latents.to(ae.device or "cpu", ae.dtype), most=most)
    output = network(latents)
    tensors = tensors_of(output)
    return _heads(network, tensors, (_position(tensors, read_reconstruction(output)),), None)


def _modules(ae: Autoencoder, part: Any) -> Sequence[nn.Module]:
    return [*ae.modules, *(module for module in find(part).modules if module not in ae.modules)]


def _position(tensors: Sequence[Tensor], wanted: Tensor) -> int | None:
    return next((i for i, tensor in enumerate(tensors) if tensor is wanted), None)


def _heads(
    network: Network, tensors: Sequence[Tensor], positions: tuple[int | None, ...], scale: Scale | None
) -> Heads:
    if None in positions:
        raise NotCertifiedError("not certified, because what the model returns could not be traced to a layer")
    leaves = _leaves(network.outputs)
    if len(leaves) != len(tensors):
        raise NotCertifiedError("not certified, because what the model returns could not be traced to its layers")
    network.input.known["heads"] = positions
    found = [
        leaves[i] if isinstance(leaves[i], Step) else _constant(network, tensors[i], i)
        for i in positions if i is not None
    ]  # fmt: skip
    return Heads(network=network, mean=found[0], second=found[1] if len(found) > 1 else None, scale=scale)


def _leaves(outputs: Any) -> list[Any]:
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    if isinstance(outputs, (tuple, list)):
        return [leaf for item in outputs for leaf in _leaves(item)]
    return [outputs]


def _constant(network: Network, tensor: Tensor, position: int) -> Step:
    """A head that does not depend on the input."""
    event = tuple(tensor.shape[1:])
    return Step(
        name=f"constant.{position}", layer="constant", kind="constant", inputs=(network.input,), event=event,
        operation=Linear(apply=lambda u: u.new_zeros(len(u), *event), norm=lambda: 0.0, simple=True),
    )  # fmt: skip

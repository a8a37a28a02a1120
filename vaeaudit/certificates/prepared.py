"""A model made ready for certificates: what its parts are as steps, and how far they move over all inputs."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from vaeaudit.autoencoder import Autoencoder
from vaeaudit.certificates.chains import WIDEST
from vaeaudit.certificates.constants import Constants, constants_of
from vaeaudit.certificates.ellipsoids import Spread
from vaeaudit.certificates.heads import Heads, decoder_heads, encoder_heads
from vaeaudit.certificates.propagation import Propagation
from vaeaudit.certificates.refusal import NotCertifiedError
from vaeaudit.certificates.work import MOST_WORK, Work, propagation_work, too_much

Made = TypeVar("Made")
NARROWEST = 64
COORDINATES = 256
"""Coordinates of mean and second head up to which their matrix goes into a divergence's bound."""
_LEAST_SENSITIVE = 1e-3
_PROBED = 16
"""Latents at which the decoder's sensitivity to its units is taken."""
_MOST_UNITS = 512


@dataclass(kw_only=True)
class Prepared:
    """The parts of a model that can be certified, why the others cannot, and what all pairs share.

    Attributes:
        deterministic: whether the encoder returns no spread.
        encoder: the encoder; None where it is not certified.
        decoder: the decoder; likewise.
        latents: posterior means of a few inputs, `(rows, *latent)`, float64.
        widest: widest layer for which a matrix is carried.
        largest_damage: the largest L2 distance of two valid images.
        refusals: why a part is not certified, by the part's name.
        coordinates: of mean and second head up to which their matrix goes into a divergence's bound.
    """

    deterministic: bool
    encoder: Heads | None
    decoder: Heads | None
    latents: Tensor
    widest: int
    largest_damage: float
    refusals: dict[str, str] = field(default_factory=dict)
    coordinates: int = COORDINATES

    @functools.cached_property
    def through_encoder(self) -> Propagation:
        """The encoder's propagation over all inputs."""
        assert self.encoder is not None
        return self._over_all(self.encoder)

    @functools.cached_property
    def through_decoder(self) -> Propagation:
        """The decoder's propagation over all latents."""
        assert self.decoder is not None
        return self._over_all(self.decoder)

    @functools.cached_property
    def everywhere(self) -> Spread:
        """Of mean and second head together, over all inputs.

        Raises:
            NotCertifiedError: no finite bound.
        """
        assert self.encoder is not None
        return self.through_encoder.of(*self.encoder.steps)

    @functools.cached_property
    def damage_everywhere(self) -> float:
        """Bound of the mean reconstruction's displacement per unit of distortion; infinite where there is none."""
        assert self.encoder is not None
        units = math.prod(self.encoder.mean.event)
        return self._onward(part_of(self.everywhere, units))

    @functools.cached_property
    def sensitivities(self) -> Tensor:
        """How far each latent unit moves the reconstruction: weights that any positive numbers may stand in for."""
        assert self.decoder is not None
        flat = self.latents[:_PROBED].flatten(1)
        units = flat.shape[1]
        if units > _MOST_UNITS:
            return torch.ones(units, dtype=torch.float64)
        found = []
        for unit in torch.eye(units, dtype=torch.float64):
            ends = torch.cat([flat + unit, flat - unit]).view(-1, *self.latents.shape[1:])
            ahead, behind = self.decoder.at(ends).chunk(2)
            found.append((ahead - behind).norm(dim=1).square().mean().sqrt() / 2)
        weights = torch.stack(found)
        largest = float(weights.max())
        return weights.clamp_min(_LEAST_SENSITIVE * largest) if largest > 0 else torch.ones_like(weights)

    @functools.cached_property
    def weighted(self) -> Spread:
        """The spread of latents whose weighted displacement is a unit at most."""
        return Spread(size=len(self.sensitivities), matrix=torch.diag(self.sensitivities**-2))

    @functools.cached_property
    def weighted_constant(self) -> float:
        """The decoder's constant for the weighted displacement of any two latents.

        Raises:
            NotCertifiedError: no finite bound.
        """
        assert self.decoder is not None
        start = Propagation(start=self.weighted, widest=self.widest, matrices=self.through_decoder.matrices)
        return start.constant(self.decoder.mean)

    def constants(self, role: str) -> Constants | None:
        """Lipschitz constants of the "encoder" or the "decoder"; None where there are none."""
        heads = self.encoder if role == "encoder" else self.decoder
        if heads is None:
            return None
        over_all = self.through_encoder if role == "encoder" else self.through_decoder
        return self.attempted(f"{role}, constants", lambda: constants_of(heads, over_all))

    def attempted(self, part: str, make: Callable[[], Made]) -> Made | None:
        """What was made, or None and a refusal."""
        if part in self.refusals:
            return None
        try:
            return make()
        except NotCertifiedError as error:
            self.refusals[part] = str(error)
            return None

    def work_of_encoder(self) -> Work:
        """Multiply-adds of a propagation through the encoder."""
        return Work(once=0, each=0) if self.encoder is None else _work(self.encoder, self.widest)

    def work_of_decoder(self) -> Work:
        """Multiply-adds of a propagation through the decoder."""
        return Work(once=0, each=0) if self.decoder is None else _work(self.decoder, self.widest, alone=True)

    def _onward(self, start: Spread) -> float:
        assert self.decoder is not None
        onward = Propagation(start=start, widest=self.widest, matrices=self.through_decoder.matrices)
        try:
            return onward.constant(self.decoder.mean)
        except NotCertifiedError:
            return math.inf

    def _over_all(self, heads: Heads) -> Propagation:
        start = Spread(size=math.prod(heads.network.input.event), multiple=1.0)
        return Propagation(start=start, widest=self.widest)


def prepare(
    ae: Autoencoder, examples: Tensor, *, widest: int = WIDEST, most: float = MOST_WORK,
    parts: Sequence[str] = ("encoder", "decoder"), decoder_alone: bool = True,
) -> Prepared:  # fmt: skip
    """Read a model, which must be at rest.

    What its bounds take is counted first: where that is more than `most`, matrices are carried through narrower layers
    only, which is looser and faster; where that does not help, a part is refused.

    Args:
        ae: the model.
        examples: a few inputs, `(rows, *event)`, which settle at which latents a decoder's sensitivity is taken.
        widest: widest layer for which a matrix is carried; time grows with its cube.
        most: multiply-adds that reading the model and bounds over all inputs may take.
        parts: which of "encoder" and "decoder" to read.
        decoder_alone: whether to read the decoder where the encoder is refused.
    """
    examples = examples[:_PROBED].detach()
    low, high = ae.bounds
    prepared = Prepared(
        deterministic=True, encoder=None, decoder=None, latents=torch.zeros(0), widest=widest,
        largest_damage=(high - low) * math.sqrt(examples[0].numel()),
    )  # fmt: skip
    posterior = ae.posteriors(examples.to(ae.device or "cpu", ae.figures_dtype))
    prepared.deterministic = posterior.log_variance is None
    prepared.latents = posterior.mean.detach().cpu().double()
    if ae.dtype not in (torch.float32, torch.float64):
        prepared.refusals["encoder"] = prepared.refusals["decoder"] = (
            f"not certified, because weights and rounding of a {ae.dtype} model are too coarse; use float32"
        )
    if "encoder" in parts:
        read = partial(encoder_heads, ae, examples.cpu().double(), most=most)
        prepared.encoder = prepared.attempted("encoder", lambda: _read(read))
    if "decoder" in parts and (prepared.encoder is not None or decoder_alone):
        onward = partial(decoder_heads, ae, prepared.latents, most=most)
        prepared.decoder = prepared.attempted("decoder", lambda: _read(onward))
    _narrow(prepared, most)
    return prepared


def _read(read: Callable[[], Heads]) -> Heads:
    """Read a part; the user's code, run on stand-ins and in another precision, may fail in any way.

    Raises:
        NotCertifiedError: it cannot be read.
    """
    try:
        return read()
    except NotCertifiedError:
        raise
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else ""
        raise NotCertifiedError(f"not certified, because reading it failed ({type(error).__name__}: {said})") from error


def _narrow(prepared: Prepared, most: float) -> None:
    """Carry matrices through layers as wide as the work allows."""
    for role in ("encoder", "decoder"):
        heads = prepared.encoder if role == "encoder" else prepared.decoder
        if heads is None:
            continue
        needed = math.inf
        while (needed := _total(heads, prepared.widest, role)) > most and prepared.widest > NARROWEST:
            prepared.widest //= 2
        if needed > most:
            prepared.refusals[role] = str(too_much(needed, most))
            if role == "encoder":
                prepared.encoder = None
            else:
                prepared.decoder = None


def _total(heads: Heads, widest: int, role: str) -> float:
    work = _work(heads, widest, alone=role == "decoder")
    return work.once + 2 * work.each


def _work(heads: Heads, widest: int, *, alone: bool = False) -> Work:
    return propagation_work(heads.steps, math.prod(heads.network.input.event), widest, alone=alone)


def part_of(spread: Spread, units: int) -> Spread:
    """The spread of the first units."""
    if spread.matrix is None:
        return Spread(size=units, multiple=spread.scale)
    return Spread(size=units, matrix=spread.matrix[:units, :units])

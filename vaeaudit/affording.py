"""What an audit affords on a model as costly as this one: counted in multiply-adds, and shortened where it is too much.

Work is counted and not timed, so that the same audit measures the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

from torch import Tensor

from vaeaudit.autoencoder import Autoencoder
from vaeaudit.errors import AuditError
from vaeaudit.operations import counted_operations
from vaeaudit.spec import Spec

WORK: Mapping[str, float] = {"quick": 1e15, "standard": 1e16, "thorough": 1e17}
"""Multiply-adds that a preset's audit may take, about: 1e15 is most of a day on two CPU cores at 2e10 a second."""
_BACKWARD = 3
"""A gradient takes about three forward passes, a product with a Jacobian no more."""
_TYPICAL = 100
"""Gradient evaluations that a problem of the targeted attack takes on ordinary models, whatever it is allowed."""
_PHASES = 3
"""In which a problem may spend its evaluations where there are few: a path from either end, and a polish."""
_ROUNDS = 4
"""Balls of the untargeted attack, the tiny first one included."""
_CHECKED = 290
"""Reconstructions that holding a pair's gradients against differences comes to."""
_HARDER = 8
"""Starts times rounds of the second look's harder untargeted attack."""
_NEARER = 24
"""Times its evaluations a phase that the second look's targeted attack may spend on a pair: twice as many, from four starts and in
eight polishes."""
_FAMILY = 14
"""Attacks of the family, targeted and not."""
_SHARES = {"probe": 0.05, "activity": 0.05, "attack": 0.3, "samples": 0.1, "damage": 0.15, "geometry": 0.1,
           "second look": 0.25, "family": 0.2}  # fmt: skip
"""Of the work, what each measurement may take. They come to more than 1, for hardly any audit takes all."""
_PROBES = ((32, 8), (8, 2), (2, 1))
"""Images and questions of a probe, from as many as there should be to as few as tell anything."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Multiply-adds of one input's way through the model, forward.

    Attributes:
        encoder: of an encoding.
        decoder: of a decoding.
    """

    encoder: int
    decoder: int

    @property
    def both(self) -> int:
        """Of a reconstruction."""
        return self.encoder + self.decoder


def cost_of(ae: Autoencoder, images: Tensor) -> Cost:
    """Count the multiply-adds of the first image's reconstruction; nothing where the model fails on it.

    Args:
        ae: the model, at rest.
        images: `(n, *event)`, on the model's device.
    """
    try:
        with counted_operations() as encoding:
            latents = ae.encode(images[:1]).mean
        with counted_operations() as decoding:
            ae.decode(latents)
    except AuditError:
        return Cost(encoder=0, decoder=0)  # the probe tells what is wrong
    return Cost(encoder=encoding.operations // 2, decoder=decoding.operations // 2)


@dataclass(frozen=True, kw_only=True)
class Extent:
    """What an audit is asked for beside its preset.

    Attributes:
        pairs: measured first; they settle what an extension does too.
        strengths: of the series of C, to begin with.
        images: there are.
        automatic: whether the series may grow.
    """

    pairs: int
    strengths: int
    images: int
    automatic: bool


def shortened(spec: Spec, cost: Cost, extent: Extent, work: float) -> Spec:
    """The preset, with every measurement that would take more than its share of the work cut down to it.

    Each keeps a least extent at which it still tells something, or is left out; what was cut is told in
    `Spec.shortened`. A model for which all of the preset fits gets the preset.

    Args:
        spec: the preset.
        cost: of the model.
        extent: what is asked for.
        work: multiply-adds that all may take, about.
    """
    if cost.both == 0:
        return spec
    fitted = spec
    for name, fit in _FITS.items():
        fitted = fit(fitted, cost, extent, _SHARES[name] * work)
    before, after = asdict(spec), asdict(fitted)
    changed = [f"{name} {before[name]} to {after[name]}" for name in before if before[name] != after[name]]
    if not changed:
        return spec
    note = (
        f"one reconstruction takes {cost.both:.2g} multiply-adds, and this audit affords {work:.2g}: "
        f"{', '.join(changed)}"
    )
    return replace(fitted, shortened=note)


def _probe(spec: Spec, cost: Cost, _: Extent, room: float) -> Spec:
    for probed, asked in _PROBES:
        if min(8, probed) * (8 + 1.5 * asked) + 2 * probed <= room / cost.both:
            break
    return replace(spec, probed=min(spec.probed, probed), asked=min(spec.asked, asked))


def _activity(spec: Spec, cost: Cost, extent: Extent, room: float) -> Spec:
    least = min(extent.images, 16)
    if extent.images * cost.encoder <= room:
        return spec
    return replace(spec, varied=max(least, int(room // cost.encoder)))


def _samples(spec: Spec, cost: Cost, extent: Extent, room: float) -> Spec:
    each = extent.pairs * (_strengths(spec, extent) + 2) * max(cost.decoder, 1)
    return replace(spec, samples=min(spec.samples, max(2, int(room // each))))


def _attack(spec: Spec, cost: Cost, extent: Extent, room: float) -> Spec:
    def evaluations(some: Spec) -> int:
        problems = extent.pairs * _strengths(some, extent) * (1 + some.restarts / 2)
        return int(room // (problems * _BACKWARD * max(cost.encoder, 1)))

    if evaluations(spec) >= _TYPICAL:
        return spec
    spec = replace(spec, restarts=0, between=0, extensions=0)
    affordable = evaluations(spec)
    if affordable >= _TYPICAL:
        return spec
    return replace(spec, evaluations=min(spec.evaluations, max(4, affordable // _PHASES)), rounds=1)


def _damage(spec: Spec, cost: Cost, extent: Extent, room: float) -> Spec:
    def climbs(some: Spec) -> float:
        return room / (2 * max(1, some.damage_restarts) * _ROUNDS * _BACKWARD * cost.both)

    images = min(spec.damaged, extent.images)
    if climbs(spec) >= images * (spec.damage_steps + 2):
        return spec
    spec = replace(spec, damage_restarts=0)
    images = min(images, max(1, int(climbs(spec) // (spec.damage_steps + 2))))
    steps = max(1, int(climbs(spec) // images) - 2)
    return replace(spec, damaged=images, damage_steps=min(spec.damage_steps, steps))


def _geometry(spec: Spec, cost: Cost, _: Extent, room: float) -> Spec:
    rows = int(room // (2 * _BACKWARD * cost.both))
    return replace(spec, jacobian_rows=min(spec.jacobian_rows, rows))


def _second_look(spec: Spec, cost: Cost, extent: Extent, room: float) -> Spec:
    looked_at = min(spec.second_looks, extent.pairs)
    harder = _HARDER * _BACKWARD * (2 * spec.damage_steps + 2) * cost.both
    nearer = _BACKWARD * (min(2 * _TYPICAL, _NEARER * spec.evaluations) + spec.damage_steps) * cost.encoder
    fixed = harder + nearer + _CHECKED * cost.both
    search = cost.both + cost.encoder
    if looked_at * (fixed + spec.queries * search) <= room:
        return spec
    queries = min(spec.queries, max(32, int((room - fixed) // search)))
    return replace(spec, queries=queries, second_looks=min(looked_at, int(room // (fixed + queries * search))))


def _family(spec: Spec, cost: Cost, extent: Extent, room: float) -> Spec:
    an_image = _FAMILY * 2 * (1 + spec.family_restarts) * _ROUNDS * (spec.family_steps + 2) * _BACKWARD * cost.both
    afforded = int(room // an_image) if an_image else spec.family
    return replace(spec, family=spec.family if min(spec.family, extent.pairs) <= afforded else afforded)


def _strengths(spec: Spec, extent: Extent) -> int:
    return extent.strengths + (spec.between if extent.automatic else 0)


_Fit = Callable[[Spec, Cost, Extent, float], Spec]
_FITS: dict[str, _Fit] = {
    "probe": _probe, "activity": _activity, "attack": _attack, "samples": _samples, "damage": _damage,
    "geometry": _geometry, "second look": _second_look, "family": _family,
}  # fmt: skip

"""Presets: how much an audit measures."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from vaeaudit.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Spec:
    """How much an audit measures.

    Attributes:
        pairs: original/target pairs, where the user does not say.
        strengths: values of C in the automatic series, to begin with.
        restarts: random starts of the targeted attack, beside original and target.
        evaluations: gradient evaluations that one problem of the targeted attack may spend in each phase: a path from
            either end, and each polish.
        between: further values at most, put where the curves bend until hinge and AUDDC are resolved.
        extensions: times that C may be lowered further for curves that do not saturate.
        samples: posterior samples behind every point of a trade-off curve.
        images: images read for the variance of the posterior means.
        spectra: most images at which the pullback spectra are computed.
        jacobian_rows: most rows of Jacobians computed for them, or products with Jacobians where these are too
            large; a latent unit takes three rows an image.
        probes: random vectors behind the scores of a spectrum that is too large to be decomposed.
        probe_steps: Lanczos steps of each; leading eigenpairs take up to twice as many.
        damaged: images under the untargeted attack.
        damage_steps: gradient evaluations for each start of the untargeted attack.
        damage_restarts: random starts of the untargeted attack, beside the leading eigenvector.
        second_looks: pairs that are attacked harder, and without gradients, to see whether the attacks were any good.
        queries: of each search without gradients.
        family: images and pairs at which every attack is tried; 0 for the headline's two alone.
        family_steps: gradient evaluations for each start of them.
        family_restarts: random starts of them.
        certified: most pairs whose bounds are certified.
        certified_balls: balls around each original in which these are sought; 0 for bounds over all inputs alone.
        certified_through: "encoder" for the distortion alone, "decoder" for damage and margin over all inputs too,
            "budgets" for all bounds in balls.
        certificate_work: multiply-adds that all this may take, about; a model that takes more is not certified.
        rounds: most polishes of a problem of the targeted attack.
        probed: images, and as many under noise, at which the model is probed.
        asked: times that a probe asks the model the same.
        varied: most images behind the variance of the posterior means.
        shortened: what was cut down for a model too costly for the preset, and why (`vaeaudit.affording`); empty if
            nothing was.
    """

    pairs: int
    strengths: int
    restarts: int
    evaluations: int
    between: int
    extensions: int
    samples: int
    images: int
    spectra: int
    jacobian_rows: int
    probes: int
    probe_steps: int
    damaged: int
    damage_steps: int
    damage_restarts: int
    second_looks: int
    queries: int
    family: int
    family_steps: int
    family_restarts: int
    certified: int
    certified_balls: int
    certified_through: str
    certificate_work: int
    rounds: int = 8
    probed: int = 32
    asked: int = 8
    varied: int = 10**6
    shortened: str = ""

    def settings(self) -> dict[str, Any]:
        """As builtin values, by name; what has a default is left out where it has it."""
        defaults = {field.name: field.default for field in fields(self)}
        return {name: value for name, value in asdict(self).items() if value != defaults[name]}

    def grown(self, pairs: int) -> Spec:
        """For more pairs than the preset's, images of the other measurements and their budget in proportion."""
        count = max(pairs, self.pairs)
        growing = ("spectra", "jacobian_rows", "damaged", "family", "certified")
        return replace(self, **{name: getattr(self, name) * count // self.pairs for name in growing})


PRESETS: dict[str, Spec] = {
    "quick": Spec(
        pairs=24, strengths=12, between=4, restarts=0, evaluations=500, extensions=1, samples=16, images=256,
        spectra=32, jacobian_rows=8192, probes=4, probe_steps=20, damaged=24, damage_steps=40, damage_restarts=0,
        second_looks=3, queries=128, family=0, family_steps=0, family_restarts=0,
        certified=24, certified_balls=0, certified_through="encoder", certificate_work=3 * 10**9,
    ),
    "standard": Spec(
        pairs=50, strengths=16, between=12, restarts=0, evaluations=1000, extensions=2, samples=64, images=512,
        spectra=100, jacobian_rows=32768, probes=8, probe_steps=30, damaged=50, damage_steps=40, damage_restarts=1,
        second_looks=8, queries=256, family=0, family_steps=0, family_restarts=0,
        certified=12, certified_balls=3, certified_through="decoder", certificate_work=2 * 10**10,
    ),
    "thorough": Spec(
        pairs=200, strengths=24, between=24, restarts=2, evaluations=3000, extensions=3, samples=100, images=2048,
        spectra=400, jacobian_rows=262144, probes=16, probe_steps=40, damaged=200, damage_steps=100, damage_restarts=4,
        second_looks=32, queries=1000, family=100, family_steps=40, family_restarts=1,
        certified=50, certified_balls=6, certified_through="budgets", certificate_work=8 * 10**12,
    ),
}  # fmt: skip


def preset_named(name: str) -> Spec:
    """Look a preset up.

    Raises:
        OptionError: there is no such preset.
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise OptionError(f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]

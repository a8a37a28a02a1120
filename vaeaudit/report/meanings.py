"""Every score by name: what it is called, what it says, and what it must not be read as."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a score is called, what it says, and what it must not be read as."""

    label: str
    says: str
    caution: str = ""


MEANINGS = {
    "hinge": Meaning(
        label="Hinge",
        says="The distortion at which the trade-off curve saturates, as a fraction of the distance between original "
        "and target: from there on the reconstruction is as close to the target's as the attack gets it.",
        caution="It is normalised by the model's own reach. A model that reconstructs everything as one blur has "
        "little reach and a small hinge, although it is hard to damage: read it beside the reach and the damage.",
    ),
    "auddc": Meaning(
        label="AUDDC",
        says="Area under the distortion-distortion curve, from no distortion to the whole distance between original "
        "and target. About half the hinge where the curve is an ideal broken stick.",
        caution="Like the hinge it is normalised by the reach.",
    ),
    "reach": Meaning(
        label="Reach",
        says="How far apart the model can place the reconstructions of an original and of its target.",
        caution="Not a robustness score: two models' hinges compare fairly only where their reaches are alike.",
    ),
    "reconstruction_error": Meaning(
        label="Reconstruction error",
        says="L2 distance between an unattacked image and its reconstruction.",
        caution="Quality rather than robustness, but robustness is cheap for a model that reconstructs badly.",
    ),
    "certified_distortion": Meaning(
        label="Certified distortion",
        says="No attack whatever brings the posterior as close to the target's as ours does with less distortion than "
        "this, as a fraction of the distance between original and target.",
        caution="A lower bound, often a loose one: a small figure does not say that the model is easy to fool.",
    ),
    "linearity": Meaning(
        label="Linearity",
        says="How well a straight line fits the trade-off left of the hinge (R²); 1 is a steady price per step "
        "towards the target.",
    ),
    "floor": Meaning(
        label="Floor",
        says="The gap that is left right of the hinge; near 0 the reconstruction is the target's own.",
        caution="A high floor means that the attack, or the model, never gets all the way there.",
    ),
    "damage": Meaning(
        label="Damage",
        says="How far an untargeted attack of a fixed L2 budget moves the reconstruction.",
        caution="Absolute, so it is not deceived by a small reach.",
    ),
    "damage_gain": Meaning(
        label="Damage gain",
        says="Damage per unit of distortion spent; above 1 the model amplifies what is done to its input.",
    ),
    "damage_latent": Meaning(
        label="Damage, latent",
        says="How far the same attacked images move the posterior mean, in each latent channel's standard deviations "
        "over the clean images: root mean square over a channel's places and over channels.",
        caution="The attack raises the displacement of the reconstruction; another may move the latent further. Channels "
        "that the decoder hardly uses count like any other.",
    ),
    "worst_damage": Meaning(
        label="Worst damage",
        says="How far the worst of all untargeted attacks inside the same L2 ball moves the reconstruction.",
        caution='Measured by the preset "thorough" only.',
    ),
    "worst_damage_linf": Meaning(
        label="Worst damage, L∞",
        says="The same inside an L∞ ball: no pixel changes by more than the budget.",
    ),
    "worst_gap": Meaning(
        label="Worst gap",
        says="What the worst of all targeted attacks inside the same L2 ball leaves of the gap to the target: 1 where "
        "nothing was gained, 0 where the reconstruction is the target's own.",
        caution="Like the hinge it is normalised by the reach.",
    ),
    "worst_gap_linf": Meaning(label="Worst gap, L∞", says="The same inside an L∞ ball."),
    "spectral_radius": Meaning(
        label="Spectral radius",
        says="The largest eigenvalue of the pullback metric: how strongly the worst direction is stretched.",
        caution="Local: it describes infinitely small distortions.",
    ),
    "condition_number": Meaning(
        label="Condition number",
        says="Root of the largest over the smallest eigenvalue among the active latent units: how uneven the "
        "stretching is.",
        caution="Meaningful only beside the number of active units: latent units that are switched off are left out.",
    ),
    "active_units": Meaning(
        label="Active units",
        says="Latent units whose posterior mean varies over the data by more than 0.01.",
    ),
    "von_neumann_entropy": Meaning(
        label="Von Neumann entropy",
        says="How evenly the stretching is spread over directions: -Σ p ln p of the normalised spectrum.",
    ),
    "effective_rank": Meaning(
        label="Effective rank",
        says="The exponential of the entropy: how many directions share the stretching.",
    ),
    "entropy_khan2022": Meaning(
        label="Entropy, Khan 2022",
        says="The same sum over the spectrum divided by its maximum, as Khan and Storkey's code computes it.",
        caution="Not an entropy; kept for comparison with published figures.",
    ),
    "trace": Meaning(
        label="Trace",
        says="The sum of the eigenvalues: the stretching of all directions together.",
    ),
    "log_pseudo_determinant": Meaning(
        label="Log pseudo-determinant",
        says="The sum of the logarithms of the eigenvalues that are not zero: the change of volume.",
    ),
}
GEOMETRY = tuple(MEANINGS)[list(MEANINGS).index("spectral_radius") :]
"""The scores of a pullback spectrum, in reading order."""
ROOMS = {"encoder": "Encoder", "decoder": "Decoder", "round_trip": "Round trip"}

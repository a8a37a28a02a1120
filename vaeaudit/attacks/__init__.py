"""Attacks: the smallest change of an input that moves its posterior or its reconstruction."""

from vaeaudit.attacks.aims import Aim
from vaeaudit.attacks.classifier import TargetedClass, targeted_class
from vaeaudit.attacks.damage import MaximumDamage, maximum_damage
from vaeaudit.attacks.directions import SPECTRAL_METRICS, leading_directions
from vaeaudit.attacks.family import (
    FOR_POSTERIORS,
    TARGETED_IN_BALL,
    UNTARGETED,
    Targeted,
    Untargeted,
    targeted_attacks,
    untargeted_attacks,
)
from vaeaudit.attacks.goals import Likelihood
from vaeaudit.attacks.latent_damage import LatentDamage, latent_damage
from vaeaudit.attacks.measuring import BallAttack, as_starts
from vaeaudit.attacks.paths import path_starts
from vaeaudit.attacks.penalised import Penalty
from vaeaudit.attacks.search import RandomSearch, random_search
from vaeaudit.attacks.smallest import SmallestDistortion, smallest_distortion
from vaeaudit.attacks.spectral import SpectralAttack, spectral, spectral_products
from vaeaudit.attacks.strengths import STRENGTH_SERIES, Strengths
from vaeaudit.attacks.targeted import TargetedAttack, strength_series, targeted
from vaeaudit.attacks.targeted_ball import TargetedInBall, targeted_ball

__all__ = [
    "FOR_POSTERIORS",
    "SPECTRAL_METRICS",
    "STRENGTH_SERIES",
    "TARGETED_IN_BALL",
    "UNTARGETED",
    "Aim",
    "BallAttack",
    "LatentDamage",
    "Likelihood",
    "MaximumDamage",
    "Penalty",
    "RandomSearch",
    "SmallestDistortion",
    "SpectralAttack",
    "Strengths",
    "Targeted",
    "TargetedAttack",
    "TargetedClass",
    "TargetedInBall",
    "Untargeted",
    "as_starts",
    "latent_damage",
    "leading_directions",
    "maximum_damage",
    "path_starts",
    "random_search",
    "smallest_distortion",
    "spectral",
    "spectral_products",
    "strength_series",
    "targeted",
    "targeted_attacks",
    "targeted_ball",
    "targeted_class",
    "untargeted_attacks",
]

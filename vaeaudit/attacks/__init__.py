"""Attacks: the smallest change of an input that moves its posterior or its reconstruction."""

from vaeaudit.attacks.damage import MaximumDamage, leading_directions, maximum_damage, spectral
from vaeaudit.attacks.objective import Penalty
from vaeaudit.attacks.targeted import STRENGTH_SERIES, Strengths, TargetedAttack, strength_series, targeted

__all__ = [
    "STRENGTH_SERIES",
    "MaximumDamage",
    "Penalty",
    "Strengths",
    "TargetedAttack",
    "leading_directions",
    "maximum_damage",
    "spectral",
    "strength_series",
    "targeted",
]

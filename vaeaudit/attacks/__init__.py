"""Attacks: the smallest change of an input that moves its posterior or its reconstruction."""

from vaeaudit.attacks.damage import MaximumDamage, maximum_damage
from vaeaudit.attacks.directions import SPECTRAL_METRICS, leading_directions
from vaeaudit.attacks.objective import Penalty
from vaeaudit.attacks.spectral import SpectralAttack, spectral, spectral_products
from vaeaudit.attacks.targeted import STRENGTH_SERIES, Strengths, TargetedAttack, strength_series, targeted

__all__ = [
    "SPECTRAL_METRICS",
    "STRENGTH_SERIES",
    "MaximumDamage",
    "Penalty",
    "SpectralAttack",
    "Strengths",
    "TargetedAttack",
    "leading_directions",
    "maximum_damage",
    "spectral",
    "spectral_products",
    "strength_series",
    "targeted",
]

"""Scores that one fault spoils together, by full name or room."""

from __future__ import annotations

CURVES = ("hinge", "auddc", "linearity", "floor")
"""Of the trade-off curves."""
ATTACKED = (*CURVES, "worst_gap", "worst_gap_linf")
"""Of targeted attacks."""
HEADLINE_DAMAGE = ("damage", "damage_gain", "damage_latent")
"""Of the untargeted attack that every preset makes."""
DAMAGED = (*HEADLINE_DAMAGE, "worst_damage", "worst_damage_linf")
"""Of untargeted attacks."""
ENCODED = ("encoder", "round_trip")
"""Of what the encoder gives."""
DECODED = ("decoder", "round_trip", "reconstruction_error", "reach")
"""Of what the decoder gives."""

"""Batched optimisation: mathematics alone, nothing about autoencoders."""

from vaeaudit.optimize.ascent import Maximum, ascend
from vaeaudit.optimize.flight import REASONS, Minimum, Renew, Steer
from vaeaudit.optimize.lbfgs import BoxLBFGS, follow, minimize, squared
from vaeaudit.optimize.projection import project_l2, project_linf, stretch_l2

__all__ = [
    "REASONS",
    "BoxLBFGS",
    "Maximum",
    "Minimum",
    "Renew",
    "Steer",
    "ascend",
    "follow",
    "minimize",
    "project_l2",
    "project_linf",
    "squared",
    "stretch_l2",
]

"""Probes: does the model do what an audit needs, and do its gradients tell what it does."""

from vaeaudit.probe.gradients import SCALES, GradientCheck, check_gradients, heads_of
from vaeaudit.probe.probing import Probe, answers, drift_since, probe

__all__ = ["SCALES", "GradientCheck", "Probe", "answers", "check_gradients", "drift_since", "heads_of", "probe"]

"""Health checks: what speaks against trusting a measurement, with cause, consequence and remedy."""

from vaeaudit.health.catalogue import CHECKS, Check
from vaeaudit.health.finding import Finding, Severity, checked_names, described
from vaeaudit.health.measured import (
    finding_condition_unresolved,
    finding_curves_not_resolved,
    finding_damage_not_converged,
    finding_few_active_units,
    finding_few_samples,
    finding_local_minima,
    finding_no_spectrum,
    finding_spectrum_estimated,
    finding_stateful,
    finding_stronger_attack,
    findings_of_certificates,
    findings_of_curves,
    findings_of_model,
)
from vaeaudit.health.second_look import (
    EIGHT_BITS,
    Faults,
    finding_hinge_below_quantisation,
    findings_of_effort,
    findings_of_gradients,
    findings_of_rounding,
    findings_of_search,
)

__all__ = [
    "CHECKS",
    "EIGHT_BITS",
    "Check",
    "Faults",
    "Finding",
    "Severity",
    "checked_names",
    "described",
    "finding_condition_unresolved",
    "finding_curves_not_resolved",
    "finding_damage_not_converged",
    "finding_few_active_units",
    "finding_few_samples",
    "finding_hinge_below_quantisation",
    "finding_local_minima",
    "finding_no_spectrum",
    "finding_spectrum_estimated",
    "finding_stateful",
    "finding_stronger_attack",
    "findings_of_certificates",
    "findings_of_curves",
    "findings_of_effort",
    "findings_of_gradients",
    "findings_of_model",
    "findings_of_rounding",
    "findings_of_search",
]

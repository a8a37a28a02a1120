"""What the measurements themselves say: findings on curves, damage and spectra."""

from __future__ import annotations

import math

from vaeaudit.health.finding import Finding, found
from vaeaudit.health.groups import ATTACKED, CURVES, DAMAGED, HEADLINE_DAMAGE

_FILLED, _HARDLY_FILLED = 0.5, 0.05


def findings_of_curves(
    *, pairs: int, excluded: int, non_finite: int, censored: int, unconverged: float, poor_targets: int, floor: float
) -> list[Finding]:
    """What the trade-off curves say about themselves.

    Args:
        pairs: pairs attacked.
        excluded: of them, without a clearly positive reach.
        non_finite: of the others, with NaN or infinite reconstructions under attack.
        censored: of the others, not saturating.
        unconverged: share of problems that ran out of evaluations.
        poor_targets: pairs whose target's own reconstruction is more than half as far from it as the original's.
        floor: median gap right of the hinge.
    """
    findings = []
    used = pairs - excluded
    if excluded:
        findings.append(found(
            name="excluded_pairs", severity="invalid" if 2 * excluded > pairs else "warning", affects=ATTACKED,
            message=f"{excluded} of {pairs} pairs were excluded: the model reconstructs original and target so alike "
            "that the gap between them cannot be measured.",
        ))  # fmt: skip
    if non_finite:
        findings.append(_non_finite("targeted", f"{non_finite} of {pairs} pairs", ATTACKED))
    if censored:
        findings.append(found(
            name="curves_not_saturating", severity="invalid" if 2 * censored >= used else "warning",
            affects=CURVES,
            message=f"{censored} of {used} curves do not saturate within their range of C: their hinge is only known "
            "to be at least the largest distortion reached.",
        ))  # fmt: skip
    if unconverged > 0.02:
        findings.append(found(
            name="attack_not_converged", severity="invalid" if unconverged > 0.25 else "warning", affects=CURVES,
            message=f"{unconverged:.0%} of the attacks ran out of gradient evaluations before they converged: "
            "a stronger attack may exist.",
        ))  # fmt: skip
    if 4 * poor_targets > pairs:
        findings.append(found(
            name="poor_targets", severity="warning",
            message=f"{poor_targets} of {pairs} targets are reconstructed badly even from themselves: reaching them means little.",
        ))  # fmt: skip
    if floor > 0.2:
        findings.append(found(
            name="target_not_reached", severity="warning",
            message=f"past the hinge a median gap of {floor:.2f} remains: the attack saturates before it reaches the target.",
        ))  # fmt: skip
    return findings


def _non_finite(attack: str, where: str, affects: tuple[str, ...]) -> Finding:
    return found(
        "non_finite_under_attack", "invalid",
        f"under the {attack} attack the model returned NaN or infinite values, or gradients, for {where}: the attack cannot "
        "be followed there, and NaN counts in no figure.", affects,
    )  # fmt: skip


def finding_few_active_units(active: int) -> Finding:
    """A condition number needs two active latent units (definitions D9)."""
    return found(
        name="few_active_units", severity="invalid",
        affects=("encoder.condition_number", "decoder.condition_number", "round_trip.condition_number"),
        message=f"{active} latent unit{'' if active == 1 else 's'} active: the condition number is undefined below two.",
    )  # fmt: skip


def finding_few_samples(pairs: int, smallest: int) -> Finding:
    """Too few pairs for an interval."""
    return found(
        name="too_few_pairs", severity="warning",
        message=f"{pairs} pair{'' if pairs == 1 else 's'} carry no 95 % interval; at least {smallest} are needed.",
    )  # fmt: skip


def findings_of_images(filled: float, bounds: tuple[float, float]) -> list[Finding]:
    """Images that take up little of the bounds, of whose width the budgets of untargeted attacks are shares.

    Args:
        filled: share of the bounds that lies between the smallest and the largest value of the images.
        bounds: of valid inputs.
    """
    if filled > _FILLED:
        return []
    return [
        found(
            "images_fill_little_of_bounds", "invalid" if filled < _HARDLY_FILLED else "warning",
            f"the images' values span {100 * filled:.2g}% of the bounds, {bounds[0]:g} to {bounds[1]:g}.", DAMAGED,
        )
    ]  # fmt: skip


def findings_of_originals(pairs: int, originals: int) -> list[Finding]:
    """Pairs that share an original are not independent of each other.

    Args:
        pairs: pairs attacked.
        originals: different originals among them.
    """
    if originals == pairs:
        return []
    return [
        found(
            "shared_originals", "invalid" if 2 * originals < pairs else "warning",
            f"the {pairs} pairs have only {originals} different original{'' if originals == 1 else 's'}: intervals and "
            "bounds hold for these images, and for images in general less often than they say.",
            (*ATTACKED, "reach", "certified_distortion"),
        )
    ]  # fmt: skip


def findings_of_spec(shortened: str, second_looks: int) -> list[Finding]:
    """What was cut down for a model too costly for its preset.

    Args:
        shortened: what, and why; empty if nothing was.
        second_looks: pairs that are left to be looked at again.
    """
    if not shortened:
        return []
    findings = [found(name="shortened", severity="warning", message=f"the audit was shortened: {shortened}.")]
    if second_looks == 0:
        findings.append(found(
            name="no_second_look", severity="invalid", affects=(*ATTACKED, *DAMAGED),
            message="the attacks were not held against harder ones, a search and finite differences: this audit affords "
            "it at no pair.",
        ))  # fmt: skip
    return findings


def finding_no_spectrum(reason: str) -> Finding:
    """The pullback spectra were not computed."""
    return found(
        name="spectrum_not_computed", severity="info",
        message=f"the pullback spectra were not computed: {reason}.",
    )  # fmt: skip


def finding_spectrum_estimated(images: int, radius: float, share: float, nats: float) -> Finding:
    """The Jacobians are too large to be decomposed.

    Args:
        images: at how many it was done without.
        radius: largest error of a largest eigenvalue, as a share of it.
        share: half the width of an interval of entropy or trace, as a share of them.
        nats: the same of the log pseudo-determinant.
    """
    return found(
        name="spectrum_estimated", severity="info",
        message=f"the Jacobians are too large to be decomposed: at {images} images the leading eigenvalues (the largest "
        f"within {radius:.1%}) come from products with them, and the other scores are stochastic estimates (at an image "
        f"entropy and trace within {share:.0%}, the log pseudo-determinant within {nats:.3g}).",
    )  # fmt: skip


def finding_local_minima(share: float, threshold: float) -> Finding:
    """The attack's paths from the original and from the target ended apart."""
    return found(
        name="local_minima", severity="info",
        message=f"at {share:.0%} of the points of the trade-off curves the attack's paths from the original and from the target "
        f"came to objectives more than {threshold:.0%} apart, before the better one was polished.",
    )  # fmt: skip


def finding_non_finite_damage(met: int, images: int) -> Finding:
    """The untargeted attack came to where the model breaks down; no figure of damage covers that.

    Args:
        met: images around which it did.
        images: images attacked.
    """
    return _non_finite("untargeted", f"{met} of {images} images", DAMAGED)


def finding_non_finite_gap(met: int, pairs: int) -> Finding:
    """A targeted attack inside a ball came to where the model breaks down; no gap covers that.

    Args:
        met: pairs at which it did.
        pairs: pairs attacked.
    """
    return _non_finite("targeted", f"{met} of {pairs} pairs", ("worst_gap", "worst_gap_linf"))


def finding_damage_not_converged(share: float) -> Finding:
    """The untargeted attack still gained when its steps ran out; how much there is to gain, the second look measures."""
    return found(
        "damage_not_converged", "info",
        f"{share:.0%} of the untargeted attacks still gained when their steps ran out: more damage is possible.",
    )  # fmt: skip


def finding_plugin_attack(plugin: str, attack: str, faults: str, rows: int, score: str) -> Finding:
    """An attack of a plugin returned what no attack inside the ball may.

    Args:
        plugin: whose.
        attack: its name.
        faults: what was wrong, and at how many rows.
        rows: how many were attacked.
        score: the family's, which is not to be relied upon.
    """
    return found(
        "plugin_attack_at_fault", "invalid",
        f"{attack} of the {plugin} returned, of {rows}: {faults}. Those count as not attacked.", (score,),
    )  # fmt: skip


def finding_plugin_figures(plugin: str, score: str, wrong: int, rows: int, per: str) -> Finding:
    """A score of a plugin came out NaN, infinite, or beyond the ends that it has by its own account.

    Args:
        plugin: whose.
        score: its name.
        wrong: at how many images or pairs.
        rows: at how many it was measured.
        per: "image" or "pair".
    """
    return found(
        "plugin_score_at_fault", "invalid",
        f"{score} of the {plugin} is no figure that it can be at {wrong} of {rows} {per}s, which are left out.", (score,),
    )  # fmt: skip


def finding_stronger_attack(gain: float, *, invalid: bool) -> Finding:
    """Another attack of the family does more damage than the one that the headline rests on.

    Args:
        gain: how much more, as a share: median over images, at the budget where it is largest.
        invalid: whether that is too much for the headline to stand.
    """
    more = f"{gain:.0%} more damage" if math.isfinite(gain) else "damage at more images"
    return found(
        "stronger_attack", "invalid" if invalid else "warning",
        f"the worst of all attacks inside the same balls does {more} than the maximum-damage attack alone.",
        HEADLINE_DAMAGE if invalid else (),
    )  # fmt: skip


def finding_curves_not_resolved(moved: float, resolution: float) -> Finding:
    """The series of C is too coarse for hinge and AUDDC."""
    return found(
        "curves_not_resolved", "info",
        f"leaving out every other strength still moves hinge or AUDDC by {moved:.2g}, more than the {resolution:g} that is "
        "aimed at.",
    )  # fmt: skip


def finding_condition_unresolved(part: str, share: float) -> Finding:
    """The bottom of a spectrum is rounding noise."""
    return found(
        name="condition_number_unresolved", severity="warning",
        message=f"at {share:.0%} of the images the {part}'s smallest eigenvalue is rounding noise, or beyond what products with "
        "the Jacobian resolve: the condition number is only a lower bound, and its interval is open above.",
    )  # fmt: skip


def findings_of_certificates(targeted: int, untargeted: int) -> list[Finding]:
    """Attacks that came to more than anything can: one of the two is wrong.

    Args:
        targeted: pairs whose targeted attack needed less distortion than is certified to be needed.
        untargeted: pairs whose untargeted attack did more damage than is certified to be possible.
    """
    if not targeted and not untargeted:
        return []
    return [
        found(
            "attack_beats_certificate", "invalid",
            f"attacks were better than what is certified of every attack: the targeted one at {targeted} pairs, the "
            f"untargeted one at {untargeted}.",
            (*ATTACKED, *DAMAGED, "certified_distortion"),
        )
    ]  # fmt: skip

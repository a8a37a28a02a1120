"""What a second look turned up: gradients held against responses, attacks against more effort and against none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from vaeaudit.health.finding import Finding, Severity, found
from vaeaudit.health.groups import ATTACKED, DAMAGED, ENCODED

EIGHT_BITS = 255
OFTEN = 0.5
"""A fault at this share of the points, or more, makes scores invalid."""
RARELY = 0.1
"""A fault at fewer points is not told: one point may lie on a bend."""

Attack = Literal["targeted", "untargeted"]
_SCORES = {"targeted": ATTACKED, "untargeted": DAMAGED}
_OF_PART = {
    "encoder": (*ATTACKED, *DAMAGED, *ENCODED),
    "decoder": (*DAMAGED, "decoder", "round_trip"),
}


@dataclass(frozen=True, kw_only=True)
class Faults:
    """At what share of the points, where it is largest, the gradients of one part fail.

    The places are the images, and the images under the untargeted and under the targeted attack.

    Attributes:
        zero: no gradient at all.
        non_finite: NaN or infinite.
        vanishing: too short to explain a hundredth of the response, see `vaeaudit.probe.GradientCheck.explained`.
        disagree: unlike central differences at every length of step.
        shattered: like them at the shortest steps only.
        constant: the response is exactly constant at the shortest steps, and the gradient says otherwise.
        blind: coordinates without gradient carry a part of the response.
    """

    zero: float
    non_finite: float
    vanishing: float
    disagree: float
    shattered: float
    constant: float
    blind: float


def findings_of_gradients(part: str, faults: Faults, points: int) -> list[Finding]:
    """What the gradients of the encoder, or those of the decoder behind it, came to.

    Args:
        part: "encoder" or "decoder".
        faults: of it.
        points: at how many points of each place.
    """
    at = f"of {points} points"
    said = {
        "zero_gradients": (faults.zero, f"the {part}'s gradient is exactly zero at {{}} {at}, of images or attacked images."),
        "non_finite_gradients": (faults.non_finite, f"the {part}'s gradient is NaN or infinite at {{}} {at}."),
        "vanishing_gradients": (
            faults.vanishing, f"at {{}} {at} the {part}'s gradient is far too small for how it responds to another image."
        ),
        "gradients_disagree": (
            faults.disagree, f"at {{}} {at} the {part}'s gradient differs from central finite differences at every step length."
        ),
        "shattered_gradients": (
            faults.shattered, f"at {{}} {at} the {part}'s gradient holds for the shortest steps only, and not at an eighth of "
            "the smallest budget."
        ),
        "quantised_response": (
            faults.constant, f"at {{}} {at} the {part}'s output does not change at all along short steps, though its "
            "gradient says that it does."
        ),
        "blind_inputs": (
            faults.blind, f"at {{}} {at} a good part of the {part}'s response comes from inputs along which it has no gradient."
        ),
    }  # fmt: skip
    findings = []
    for name, (share, message) in said.items():
        severity = _severity(share)
        if name == "quantised_response" and severity == "invalid" and max(faults.disagree, faults.shattered) < OFTEN:
            severity = "warning"
        if severity is not None:
            findings.append(found(name, severity, message.format(f"{share:.0%}"), _OF_PART[part]))
    return findings


def findings_of_effort(attack: Attack, gains: list[float], *, worth: float) -> list[Finding]:
    """What twice the steps and two more restarts gained.

    Args:
        attack: which.
        gains: of each repeated attack, as a share of what it had reached.
        worth: a gain above this share counts.
    """
    share = _share(gains, worth)
    severity = _severity(share)
    if severity is None:
        return []
    largest = max(gain for gain in gains if not math.isnan(gain))
    return [found(
        f"{attack}_attack_improvable", severity,
        f"twice the steps and two more restarts improved {share:.0%} of {len(gains)} {attack} attacks by more than "
        f"{worth:.0%}, one by {largest:.0%}.", _SCORES[attack],
    )]  # fmt: skip


def findings_of_search(attack: Attack, gains: list[float], *, worth: float, queries: int) -> list[Finding]:
    """What a search without gradients found that the attack with gradients did not.

    Args:
        attack: which.
        gains: of each search over the attack inside the same ball, as a share of what the attack reached.
        worth: a gain above this share counts.
        queries: of each search.
    """
    share = _share(gains, worth)
    if share <= 0:
        return []
    return [found(
        f"search_beats_{attack}_attack", "invalid" if share >= OFTEN / 2 else "warning",
        f"{queries} queries of a search without gradients did better than the {attack} attack in the same ball, by more "
        f"than {worth:.0%}, at {share:.0%} of {len(gains)}.", _SCORES[attack],
    )]  # fmt: skip


def findings_of_rounding(attack: Attack, kept: list[float]) -> list[Finding]:
    """What is left of attacked images once they are rounded to 8 bits.

    Args:
        attack: which.
        kept: share of its effect that each keeps.
    """
    lost = _share([1 - share for share in kept], 0.5)
    severity = _severity(lost)
    if severity is None:
        return []
    return [found(
        "lost_by_rounding", severity,
        f"{lost:.0%} of {len(kept)} images under the {attack} attack lose more than half of its effect when they are "
        "rounded to 8 bits.", _SCORES[attack],
    )]  # fmt: skip


def finding_hinge_below_quantisation(size: float) -> Finding:
    """The distortion at the hinge is smaller than what 8 bits can tell apart.

    Args:
        size: median root mean square of it, in steps of 8-bit values.
    """
    return found(
        "hinge_below_quantisation", "warning",
        f"the median distortion at the hinge is {size:.2g} of a step of the images' 8 bits a value (root mean square).",
    )  # fmt: skip


def _share(gains: list[float], worth: float) -> float:
    """Share of the known gains that are above what counts."""
    known = [gain for gain in gains if not math.isnan(gain)]
    return sum(gain > worth for gain in known) / len(known) if known else 0.0


def _severity(share: float) -> Severity | None:
    return "invalid" if share >= OFTEN else "warning" if share >= RARELY else None

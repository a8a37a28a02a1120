"""A paper's claims beside what a run makes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim, what came of it, and by which figures.

    Attributes:
        says: the claim in our words.
        verdict: what the figures make of it.
        shown: these figures.
        source: whose claim it is, where not all of a page are the paper's.
    """

    says: str
    verdict: str
    shown: str
    source: str = ""


def listed(claims: Sequence[Claim]) -> str:
    """Claims as a list of markdown, each with its verdict in bold."""
    return "\n".join(map(_listed, claims))


def _listed(claim: Claim) -> str:
    source = f" ({claim.source})" if claim.source else ""
    sentence = claim.shown[:1].upper() + claim.shown[1:].removesuffix(".")
    return f"- **{claim.verdict}**: {claim.says}{source}\n\n  {sentence}."


def counted(claims: Sequence[Claim], verdicts: Sequence[str]) -> str:
    """How often each of these verdicts was given."""
    found = Counter(claim.verdict for claim in claims)
    return ", ".join(f"{verdict}: {found[verdict]}" for verdict in verdicts)

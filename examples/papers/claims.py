"""A paper's claims beside what a run makes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vaeaudit.report.pages.markdown import Colour, bullets

COLOURS: dict[str, Colour] = {
    "holds": "third", "holds partly": "warn", "not settled": "warn", "cannot be told here": "warn",
    "does not hold": "bad", "does not hold here": "bad",
}  # fmt: skip
"""Of verdicts on a page."""


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

    def __str__(self) -> str:
        source = f" ({self.source})" if self.source else ""
        sentence = self.shown[:1].upper() + self.shown[1:].removesuffix(".")
        return f"**{self.verdict}**: {self.says}{source}\n\n  {sentence}."


def listed(claims: Sequence[Claim]) -> str:
    """Claims as a list of markdown, each with its verdict in bold."""
    return bullets([str(claim) for claim in claims])


def counted(claims: Sequence[Claim], verdicts: Sequence[str]) -> str:
    """How often each of these verdicts was given."""
    found = Counter(claim.verdict for claim in claims)
    return ", ".join(f"{verdict}: {found[verdict]}" for verdict in verdicts)

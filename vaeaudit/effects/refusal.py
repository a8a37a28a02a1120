"""Why a measure is not defined for these images."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NotMeasured:
    """In place of figures that would mean nothing here.

    Attributes:
        reason: what is missing, and what would help, in one sentence.
    """

    reason: str

"""The exit statuses of commands, and the one that several verdicts come to."""

from __future__ import annotations

from collections.abc import Sequence

from vaeaudit.verdict import Outcome, Verdict

PASS, FAIL, USAGE, INCONCLUSIVE, INVALID = 0, 1, 2, 3, 4
EXITS = "exit status: 0 pass, 1 fail, 2 usage or bad input, 3 inconclusive, 4 invalid, 130 interrupted"
"""What the help of a command that judges says of them."""
_WORST_FIRST: tuple[tuple[Outcome, int], ...] = (("FAIL", FAIL), ("INVALID", INVALID), ("INCONCLUSIVE", INCONCLUSIVE))


def exit_status(verdicts: Sequence[Verdict]) -> int:
    """The worst of several verdicts: FAIL before INVALID before INCONCLUSIVE before PASS."""
    outcomes = {verdict.outcome for verdict in verdicts}
    return next((status for outcome, status in _WORST_FIRST if outcome in outcomes), PASS)

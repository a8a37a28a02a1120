"""The exit statuses of commands, and the one that several verdicts come to."""

from __future__ import annotations

from collections.abc import Sequence

from vaeaudit.verdict import WORST_FIRST, Outcome, Verdict

PASS, FAIL, USAGE, INCONCLUSIVE, INVALID = 0, 1, 2, 3, 4
EXITS = "exit status: 0 pass, 1 fail, 2 usage or bad input, 3 inconclusive, 4 invalid, 130 interrupted"
"""What the help of a command that judges says of them."""
_STATUSES: dict[Outcome, int] = {"PASS": PASS, "FAIL": FAIL, "INCONCLUSIVE": INCONCLUSIVE, "INVALID": INVALID}


def exit_status(verdicts: Sequence[Verdict]) -> int:
    """The worst of several verdicts; that of PASS where there are none."""
    outcomes = {verdict.outcome for verdict in verdicts}
    return next((_STATUSES[outcome] for outcome in WORST_FIRST if outcome in outcomes), PASS)

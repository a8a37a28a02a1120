"""One audit of one test: measured once, extended while a bar stays open, and judged."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_vaeaudit.errors import OutOfTimeError
from pytest_vaeaudit.looks import GROWTH, budget_fault, looks_planned
from pytest_vaeaudit.marks import hopeless
from pytest_vaeaudit.measuring import Auditor, Plan
from pytest_vaeaudit.options import IN_TESTS, settled
from pytest_vaeaudit.records import WORST_FIRST
from pytest_vaeaudit.store import Kept, Store

if TYPE_CHECKING:
    from vaeaudit import AuditReport, Bar, Verdict

_MEASURED_WITH = ("preset", "pairs", "strengths", "divergence", "penalty")


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What the bars of one call came to.

    Attributes:
        verdicts: one a bar; each from the first look that decided it.
        kept: the last measurement.
        looks: numbers of pairs at which the measurement was judged.
        stopped: why an open bar was not measured further; empty if none is open.
    """

    verdicts: tuple[Verdict, ...]
    kept: Kept
    looks: tuple[int, ...]
    stopped: str = ""

    @property
    def outcome(self) -> str:
        """The worst outcome: FAIL, INVALID, INCONCLUSIVE or PASS."""
        outcomes = {verdict.outcome for verdict in self.verdicts}
        return next(outcome for outcome in WORST_FIRST if outcome in outcomes)


def settings_of(config: pytest.Config, *tests: Mapping[str, Any]) -> dict[str, Any]:
    """Every option that a test may say, settled; the stronger source first."""
    return {name: settled(config, name, *tests) for name in IN_TESTS}


class Trial:
    """Measures a model for a test and holds it against bars.

    Args:
        auditor: what measures.
        store: where measurements are kept.
        model: the user's.
        images: the user's.
        settings: every option, settled.
        scope: part of the node id that shares its draw of pairs: the test file.
        fingerprint: what a hook says that identifies the weights; None leaves it to the auditor.
        environment: further versions that the figures depend on.
    """

    def __init__(
        self, *, auditor: Auditor, store: Store, model: Any, images: Any, settings: Mapping[str, Any], scope: str,
        fingerprint: str | None, environment: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.settings = settings
        self.store = store
        self._kept: dict[int, Kept] = {}
        limit = settings["time_limit"]
        self.deadline = math.inf if limit is None else time.monotonic() + limit
        weights = auditor.weights(model) if fingerprint is None else str(fingerprint)
        self.seed = settings["seed"] if settings["seed"] is not None else seed_of(scope, settings, weights)
        self.plan: Plan = auditor.plan(
            model, images, preset=settings["preset"], pairs=settings["pairs"], device=settings["device"],
            seed=self.seed, most_pairs=self._most_wanted(), strengths=settings["strengths"],
            divergence=settings["divergence"], penalty=settings["penalty"], suppress=settings["suppress"],
            **{name: settings[name] for name in ("devices", "precision", "work") if settings[name] is not None},
        )  # fmt: skip
        self.identity = {**self.plan.identity, "fingerprint": weights, "environment of the session": dict(environment)}
        self._known = fingerprint is not None or bool(self.plan.identity.get("weights_known", True))
        self.looks = looks_planned(self.plan.pairs, min(self.plan.most_pairs, self._most_wanted() or self.plan.pairs))

    def _most_wanted(self) -> int | None:
        """Pairs up to which the budget allows to extend; None where the pairs themselves are given."""
        from vaeaudit import OptionError
        from vaeaudit.spec import preset_named

        pairs = self.settings["pairs"]
        if pairs is not None and not isinstance(pairs, int):
            return None
        first = pairs or preset_named(self.settings["preset"]).pairs
        most: int | None = self.settings["max_pairs"]
        if fault := budget_fault(first, most):
            raise OptionError(fault)
        return most or GROWTH * first

    def measured(self, pairs: int | None = None) -> Kept:
        """The measurement of so many pairs, kept or made now.

        Raises:
            OutOfTimeError: the wall-clock limit came first.
        """
        count = pairs or self.plan.pairs
        if count in self._kept:
            return self._kept[count]

        def measure(rows: Path | None) -> AuditReport:
            self._watch()
            return self.plan.report(count, checkpoint=rows, progress=self._watch)

        if self._known:
            self._kept[count] = self.store.measured(self.identity, count, measure, self.deadline)
        else:  # weights that cannot be seen may have changed since, so nothing measured earlier counts
            self._kept[count] = Kept(report=measure(None), cached=False, folder=None)
        return self._kept[count]

    def _watch(self, *_: object) -> None:
        if time.monotonic() > self.deadline:
            raise OutOfTimeError

    def check_possible(self, bars: Mapping[str, Bar], confidence: float) -> None:
        """Refuse bars that so few pairs can never pass.

        Raises:
            OptionError: with the smallest number that can.
        """
        from vaeaudit import OptionError

        if faults := list(hopeless(bars, confidence, self.looks)):
            raise OptionError("\n".join(faults))

    def decide(self, bars: Mapping[str, Bar], confidence: float) -> Decision:
        """Judge the bars, measuring more pairs while one is open and the budget allows.

        Raises:
            OutOfTimeError: the wall-clock limit came before the first measurement was finished.
        """
        self.check_possible(bars, confidence)
        verdicts: dict[str, Verdict] = {}
        kept, done, stopped = self.measured(), 0, ""
        for pairs in self.looks:
            if done:
                kept, stopped = self._further(kept, pairs)
            if stopped:
                break
            done += 1
            undecided = {s: b for s, b in bars.items() if s not in verdicts or verdicts[s].outcome == "INCONCLUSIVE"}
            judged = kept.report.check(confidence=confidence, looks=len(self.looks), **undecided)
            verdicts |= dict(zip(undecided, judged, strict=True))
            outcomes = {verdict.outcome for verdict in verdicts.values()}
            if "INCONCLUSIVE" not in outcomes or outcomes & {"FAIL", "INVALID"}:
                break
        else:
            stopped = self._exhausted()
        verdicts |= self._distrusted(kept, bars, confidence)
        return Decision(verdicts=tuple(verdicts.values()), kept=kept, looks=self.looks[:done], stopped=stopped)

    def _distrusted(self, kept: Kept, bars: Mapping[str, Bar], confidence: float) -> dict[str, Verdict]:
        """Bars that the last look finds invalid: what an earlier look decided must not outlive its trust."""
        judged = kept.report.check(confidence=confidence, looks=len(self.looks), **bars)
        return {score: v for score, v in zip(bars, judged, strict=True) if v.outcome == "INVALID"}

    def _further(self, kept: Kept, pairs: int) -> tuple[Kept, str]:
        """A measurement of more pairs; or the one there is, and why there is no other."""
        if reason := self._unaffordable(kept, pairs):
            return kept, reason
        try:
            more = self.measured(pairs)
        except OutOfTimeError:
            return kept, f"the time limit of {self.settings['time_limit']:g} s came first"
        return replace(more, cached=more.cached and kept.cached), ""

    def _unaffordable(self, kept: Kept, pairs: int) -> str:
        """Why the next look is beyond the budget of gradient evaluations; empty if it is not."""
        most = self.settings["max_evaluations"]
        spent = int(kept.report.curves.evaluations.sum())
        needed = spent * pairs // len(kept.report.curves.evaluations)
        if most is None or needed <= most:
            return ""
        return f"{pairs} pairs would take about {needed} gradient evaluations, and max_evaluations allows {most}"

    def _exhausted(self) -> str:
        asked = self._most_wanted()
        if asked is None:
            return "these are all the pairs that were given"
        if self.plan.most_pairs < asked:
            return f"the data allow no more than {self.plan.most_pairs} pairs"
        return f"that is the budget of {asked} pairs, which max_pairs can raise"


def seed_of(scope: str, settings: Mapping[str, Any], weights: str) -> int:
    """A seed from the content: a rerun repeats the figure, another checkpoint or setting draws its own pairs.

    Tests of one file share it, and so share one measurement.
    """
    content = [scope, {name: settings[name] for name in _MEASURED_WITH}, weights]
    text = json.dumps(content, sort_keys=True, default=repr)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")

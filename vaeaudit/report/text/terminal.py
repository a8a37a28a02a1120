"""The report in a terminal: one table of headline figures, one of pullback scores, the findings."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Iterator

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from vaeaudit.health import Finding
from vaeaudit.report import certificate_words, local_words, movement_words, words
from vaeaudit.report.certificates import Certified
from vaeaudit.report.comparing.comparison import Change, Comparison
from vaeaudit.report.comparing.differences import SIGNIFICANT
from vaeaudit.report.geometry import GeometryScores
from vaeaudit.report.local import LocalPrediction
from vaeaudit.report.meanings import GEOMETRY, MEANINGS, ROOMS
from vaeaudit.report.model import ARRAYS_NAME, HTML_NAME, JSON_NAME, AuditReport
from vaeaudit.report.text import cells
from vaeaudit.report.text.worst_tables import worst_case
from vaeaudit.statistics import Estimate
from vaeaudit.verdict import Verdict

NOT_COMPARABLE = "n/a"
PAIRED_MARK = "="
COLOURS = {
    "PASS": "green",
    "FAIL": "red",
    "INCONCLUSIVE": "yellow",
    "INVALID": "magenta",
    "better": "green",
    "worse": "red",
    "different": "yellow",
    "info": "cyan",
    "warning": "yellow",
    "invalid": "red",
}


def print_report(
    report: AuditReport, console: Console | None = None, *, saved: str | os.PathLike[str] | None = None
) -> None:
    """Print the report's figures and findings.

    Args:
        report: what to print.
        console: where to; standard output by default.
        saved: the folder it was saved to, if it was.
    """
    console = console or Console()
    cells.show(console, _report(report))
    if saved is not None:
        files = ", ".join((HTML_NAME, JSON_NAME, ARRAYS_NAME))
        cells.show(console, [Text(f"\nSaved ({files}):")])
        console.print(Text(words.clean(os.fspath(saved)), style="bold"), soft_wrap=True)


def print_page(page: str | os.PathLike[str], *, heading: str = "With pictures:") -> None:
    """Name the HTML page of what was printed, on a line of its own that can be copied."""
    console = Console()
    cells.show(console, [Text(f"\n{heading}")])
    console.print(Text(words.clean(os.fspath(page)), style="bold"), soft_wrap=True)


def table_text(report: AuditReport) -> str:
    """What `print_report` prints, as plain text 80 columns wide, without colours, wherever it is called."""
    file = io.StringIO()
    console = Console(
        file=file, width=cells.WIDTH, color_system=None, force_terminal=False, force_jupyter=False, legacy_windows=False
    )
    print_report(report, console)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def verdict_lines(verdicts: Iterable[Verdict]) -> list[Text]:
    """One line a verdict: the outcome, coloured, its headline, and its reason."""
    return [_verdict(verdict) for verdict in verdicts]


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print old against new, score by score, and what stands against comparing them."""
    console = console or Console()
    cells.show(console, _comparison(comparison))


def _report(report: AuditReport) -> Iterator[RenderableType]:
    yield Text.assemble((words.clean(report.name), "bold"), f"  preset {words.clean(report.provenance.preset)}")
    yield Text(words.summary(report))
    yield Text()
    yield _headline(report)
    for note in (*words.curve_notes(report.curves), *_legend(report)):
        yield Text(note, style="dim")
    if report.worst_case is not None:
        yield Text()
        yield from worst_case(report.worst_case)
    if report.certificates is not None:
        yield Text()
        yield from _certified(report.certificates)
    if any(getattr(report, room) is not None for room in ROOMS):
        yield Text()
        yield _geometry(report)
    if report.local is not None:
        yield Text()
        yield _local(report.local)
        for sentence in local_words.summary(report.local):
            yield Text(sentence, style="dim")
    yield Text()
    yield from _findings(report.health)


def _headline(report: AuditReport) -> Table:
    table = cells.table()
    cells.add_columns(table, ("Score", 17))
    table.add_column("Value", justify="right", no_wrap=True)
    cells.add_columns(table, ("95 % interval", 16))
    table.add_column("Unit", max_width=18, overflow="fold")
    table.add_column("n", min_width=9, no_wrap=True)
    table.add_column("Robust\nif", min_width=6, no_wrap=True)
    for label, score, estimate in _headline_scores(report):
        value, interval = cells.score(report, score, estimate, trusted=words.trusted(report, score))
        unit, sample = words.clean(estimate.unit) or words.NOTHING, words.sample(score, estimate)
        table.add_row(Text(label), value, interval, Text(unit), sample, words.direction(estimate))
    return table


def _headline_scores(report: AuditReport) -> Iterator[tuple[str, str, Estimate]]:
    for score in ("hinge", "auddc", "reach", "reconstruction_error"):
        yield words.label(score), score, getattr(report, score)
    if report.damage is not None:
        latent = report.damage.latent
        for place, radius in enumerate(report.damage.radii):
            yield f"Damage at {words.setting(radius)}", "damage", report.damage.estimates[place]
            yield "  its gain", "damage_gain", report.damage.gains[place]
            if latent is not None:
                yield "  in the latent", "damage_latent", latent.estimates[place]
    for score in ("linearity", "floor"):
        yield words.label(score), score, getattr(report, score)
    for one in report.extensions:
        yield words.label(one.name), one.name, one.estimate


def _legend(report: AuditReport) -> Iterator[str]:
    if report.damage is not None:
        yield "Damage at an L2 budget of the input; its gain is damage per unit of distortion."
        if report.damage.latent is not None:
            yield movement_words.LEGEND
        yield from movement_words.summary(report.damage)
    if not all(words.trusted(report, score) for score in report.scores()):
        yield f"{cells.MARK} not to be relied upon: see the findings."


def _geometry(report: AuditReport) -> Table:
    table = cells.table()
    table.add_column("Pullback score", width=22, overflow="fold")
    for room, title in ROOMS.items():
        scores: GeometryScores | None = getattr(report, room)
        metric = "not computed" if scores is None else f"{words.clean(scores.metric)} metric"
        table.add_column(Text(f"{title}\n{metric}"), min_width=17, overflow="fold")
    for score in GEOMETRY:
        if score != "active_units":
            row = [_geometry_cell(report, room, score) for room in ROOMS]
            table.add_row(_geometry_label(report, score), *row)
    return table


def _geometry_label(report: AuditReport, score: str) -> Text:
    estimates = [estimate for name, estimate in report.scores().items() if name.endswith(f".{score}")]
    known = sorted({words.direction(estimate) for estimate in estimates} - {words.NOTHING})
    note = f"robust if {known[0]}" if known else "no direction"
    return Text.assemble(MEANINGS[score].label, "\n", (note, "dim"))


def _geometry_cell(report: AuditReport, room: str, score: str) -> Text:
    scores: GeometryScores | None = getattr(report, room)
    if scores is None:
        return Text(words.NOTHING)
    estimate: Estimate = getattr(scores, score)
    value = cells.value(estimate, words.trusted(report, f"{room}.{score}"))
    if score == "condition_number":
        value.append(f" ({words.figure(scores.active_units)} active)", style="not bold")
    return Text.assemble(value, "\n", (words.interval(estimate, "images"), "dim"))


def _certified(found: Certified) -> Iterator[RenderableType]:
    if not math.isnan(found.certified_distortion.value):
        table = cells.table()
        cells.add_columns(
            table, ("Bound for every attack", 27), ("Certified", 16), ("Found", 8), ("Unit", 11), ("n", 8)
        )
        for label, unit, bound, reached, vacuous in certificate_words.rows(found):
            if bound is not None:
                value = cells.value(bound, bound.trusted).append(" vacuous" if vacuous else "", style="not bold")
                cell = Text.assemble(value, "\n", (words.interval(bound, "pairs"), "dim"))
                best = words.NOTHING if reached is None else words.figure(reached)
                table.add_row(Text(label), cell, Text(best), Text(unit), words.sample("certified_distortion", bound))
        yield table
    for sentence in certificate_words.summary(found):
        yield Text(sentence, style="dim")


def _local(local: LocalPrediction) -> Table:
    """Realised over predicted at the smallest budget, which shows what the bounds take, and at those of the damage."""
    table = cells.table()
    table.add_column("Eigenvector\nat budget", min_width=11, no_wrap=True)
    titles = "Latent,\nof predicted", "Reconstruction,\nof predicted", "Damage, of\nuntargeted", "Way, of\ntargeted"
    cells.add_columns(table, *((title, 14) for title in titles))
    places = {float(radius): place for place, radius in enumerate(local.compared)}
    for column, radius in enumerate(local.radii):
        place = places.get(float(radius))
        if column and place is None:
            continue
        shares = (None, None) if place is None else (local.untargeted[place], local.targeted[place])
        figures = (local.latent.attained[column], local.reconstruction.attained[column], *shares)
        counted = ("images", "images", "images", "pairs")
        table.add_row(Text(words.setting(radius)), *map(cells.cell, figures, counted))
    return table


def _findings(findings: tuple[Finding, ...]) -> Iterator[RenderableType]:
    if not findings:
        yield Text("Health: nothing was found that speaks against these figures.")
        return
    yield Text("Health findings", style="bold")
    for finding in words.worst_first(findings):
        head = Text.assemble((finding.severity.upper(), f"bold {COLOURS[finding.severity]}"))
        aside = " (suppressed: it invalidates nothing)" if finding.suppressed else ""
        yield Text.assemble(" ", head, " ", words.clean(finding.name), aside)
        yield Padding(Text(words.clean(finding.message)), (0, 0, 0, 3))
        for title, said in (("Cause", finding.cause), ("Consequence", finding.consequence)):
            if said:
                yield Padding(Text.assemble((f"{title}: ", "bold"), words.clean(said)), (0, 0, 0, 3))
        yield Padding(Text.assemble(("Remedy: ", "bold"), words.clean(finding.remedy)), (0, 0, 0, 3))


def _verdict(verdict: Verdict) -> Text:
    head = (f"{verdict.outcome:<12}", f"bold {COLOURS[verdict.outcome]}")
    reason = f": {words.clean(verdict.reason)}" if verdict.reason else ""
    return Text.assemble(head, f" {verdict.headline}", reason)


def _comparison(comparison: Comparison) -> Iterator[RenderableType]:
    old, new = words.clean(comparison.old), words.clean(comparison.new)
    yield Text.assemble((old, "bold"), " (old) against ", (new, "bold"), " (new)")
    yield Text()
    table = cells.table()
    cells.add_columns(table, ("Score", 18), ("Old", 14), ("New", 14), ("Difference", 13), ("Outcome", 10))
    # rich narrows columns without a width of their own below what they need at least, and cuts the last one off instead.
    for column in (table.columns[0], table.columns[-1]):
        column.width = column.min_width
    room = ""
    for change in comparison.changes:
        before, (room, _, score) = room, change.score.rpartition(".")
        if room != before:
            table.add_row(Text(ROOMS.get(room, room), style="bold"))
        table.add_row(words.label(score), *_comparison_cells(change, score))
    yield table
    yield Text()
    yield from _incomparable(comparison)
    yield Text(
        f"Under each figure its 95 % interval; {PAIRED_MARK} marks differences of the same pairs or images, compared one "
        f"by one. What one of the reports leaves out is left out of both, so that such a difference need not be that of the two "
        f"figures. p is corrected for the {comparison.tests} scores that were compared (Holm); a difference is clear where "
        f"it is at most {SIGNIFICANT:.2g}.",
        style="dim",
    )
    for caveat in comparison.caveats:
        yield Padding(Text.assemble(("Caveat: ", "bold yellow"), words.clean(caveat)), (1, 0, 0, 0))


def _comparison_cells(change: Change, score: str) -> Iterator[Text]:
    for estimate, bound in zip((change.old, change.new), change.bounds, strict=True):
        if estimate is None:
            yield Text(words.NOTHING)
        else:
            interval = words.interval(estimate, words.counted(score))
            yield Text.assemble(
                cells.value(estimate, estimate.trusted, ">= " if bound else ""), "\n", (interval, "dim")
            )
    difference = Text("+" if change.difference > 0 else "").append(words.number(change.difference))
    if change.paired:
        difference.append(f" {PAIRED_MARK}", style="dim")
    if math.isfinite(change.low) and math.isfinite(change.high):
        difference.append(f"\n{words.number(change.low)} to {words.number(change.high)}", style="dim")
    yield difference
    outcome = Text(NOT_COMPARABLE if change.reason else change.outcome, style=COLOURS.get(change.outcome, ""))
    yield outcome if change.reason else outcome.append(f"\n{words.p_value(change.corrected)}", style="dim")


def _incomparable(comparison: Comparison) -> Iterator[Text]:
    """Each reason once, with the scores it holds for."""
    scores: dict[str, list[str]] = {}
    for change in comparison.changes:
        if change.reason:
            scores.setdefault(change.reason, []).append(words.label(change.score))
    for reason, labels in scores.items():
        yield Text.assemble(
            f"{NOT_COMPARABLE} ", (f"not comparable, {words.clean(reason)}: ", "bold"), "; ".join(labels)
        )

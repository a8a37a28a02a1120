"""The table says every figure within 80 columns, whatever the names are."""

from __future__ import annotations

import dataclasses
import io
import math
import re

import numpy as np
import pytest
from rich.console import Console

from vaeaudit.report.comparing.comparison import compare
from vaeaudit.report.text.terminal import print_comparison, print_report, table_text, verdict_lines
from vaeaudit.statistics import Estimate
from vaeaudit.verdict import at_least

from ..conftest import INVALID, NO_FIGURE, WARNING, MakeReport


def _flat(text: str) -> str:
    return " ".join(text.split())


def _row(text: str, label: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(label))


def _console(**options: object) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=80, **options), file  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"censored": 13, "excluded": 2, "health": (INVALID, WARNING)},
        {"pairs": 3, "sections": False},
        {"name": "a" * 200},
        {"name": "many short words " * 20},
    ],
)
def test_no_line_is_wider_than_eighty_columns(make_report: MakeReport, variant: dict[str, object]) -> None:
    lines = table_text(make_report(**variant)).splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in "".join(lines)


def test_a_headline_row_holds_value_interval_unit_sample_and_direction(make_report: MakeReport) -> None:
    hinge = Estimate(value=0.5123, low=0.4789, high=0.5611, n=50, unit="distortion", higher_is_better=True)
    row = _row(table_text(make_report(hinge=hinge)), "Hinge")
    assert row.split() == ["Hinge", "0.512", "0.479", "to", "0.561", "distortion", "50", "pairs", "higher"]


def test_every_damage_budget_is_shown_with_its_gain_and_the_latents_movement(make_report: MakeReport) -> None:
    lines = table_text(make_report()).splitlines()
    budgets = [number for number, line in enumerate(lines) if line.startswith("Damage at ") and "images" in line]
    assert [lines[number].split()[2] for number in budgets] == ["0.5", "1", "2"]
    assert all(lines[number + 1].startswith("  its gain") for number in budgets)
    assert all(re.match(r"  in the latent +\d", lines[number + 2]) for number in budgets)


def test_markup_in_a_name_is_shown_literally(make_report: MakeReport) -> None:
    finding = dataclasses.replace(WARNING, message="pass [red]x[/] or :smile:")
    text = table_text(make_report(name="my [bold]x[/] model", health=(finding,)))
    assert "my [bold]x[/] model" in text
    assert "pass [red]x[/] or :smile:" in text


def test_an_unbalanced_markup_tag_in_a_name_is_no_error(make_report: MakeReport) -> None:
    assert "[/b]" in table_text(make_report(name="[/b]"))


def test_control_characters_of_a_name_never_reach_the_terminal(make_report: MakeReport) -> None:
    text = table_text(make_report(name="a\x1b[31mb\nc"))
    assert "\x1b" not in text
    assert "a�[31mb c" in text


def test_censored_curves_are_counted_and_make_the_median_a_lower_bound(make_report: MakeReport) -> None:
    text = _flat(table_text(make_report(censored=13, excluded=2)))
    assert "13 of 48 curves do not saturate" in text
    assert "2 of 50 pairs were excluded" in text
    assert re.search(r"Hinge >= 0\.\d+ ", text)


def test_censoring_above_the_median_leaves_it_exact(make_report: MakeReport) -> None:
    report = make_report()
    highest = report.curves.hinge >= sorted(report.curves.hinge)[-5]
    curves = dataclasses.replace(report.curves, censored=highest)
    text = _flat(table_text(dataclasses.replace(report, curves=curves)))
    assert "5 of 50 curves do not saturate" in text
    assert ">=" not in text


def test_too_few_pairs_are_said_instead_of_infinite_ends(make_report: MakeReport) -> None:
    text = _flat(table_text(make_report(pairs=3)))
    assert "95 % interval: too few pairs for an interval" in text
    assert "inf" not in text


def test_one_open_end_reads_as_or_more(make_report: MakeReport) -> None:
    hinge = Estimate(value=0.5, low=0.4, high=math.inf, n=50)
    text = table_text(make_report(hinge=hinge))
    assert "0.400 or more" in _row(text, "Hinge")
    assert "40.0 % or more" in _flat(text)


def test_a_missing_figure_is_a_dash(make_report: MakeReport) -> None:
    text = table_text(make_report(hinge=NO_FIGURE))
    assert _row(text, "Hinge").split()[:3] == ["Hinge", "–", "–"]
    assert not re.search(r"\bnan\b", text)
    assert "No hinge could be measured" in text


def test_untrusted_figures_are_marked_and_only_they(make_report: MakeReport) -> None:
    text = table_text(make_report(health=(INVALID,)))
    assert _row(text, "Hinge").split()[1].endswith("*")
    assert not _row(text, "AUDDC").split()[1].endswith("*")
    encoder, decoder, *_ = re.findall(r"\d[\d.]*\*?", _row(text, "Spectral radius"))
    assert encoder.endswith("*")
    assert not decoder.endswith("*")
    assert "* not to be relied upon" in text


def test_a_trusted_report_has_no_marks(make_report: MakeReport) -> None:
    assert "*" not in table_text(make_report())


def test_the_condition_number_has_the_active_units_beside_it(make_report: MakeReport) -> None:
    text = table_text(make_report())
    assert _row(text, "Condition number").count("(16 active)") == 3
    assert "Active units" not in text


def test_a_spectrum_that_was_not_computed_is_a_column_of_dashes(make_report: MakeReport) -> None:
    text = table_text(make_report(decoder=None))
    assert "not computed" in text
    assert "–" in _row(text, "Spectral radius")


def test_steps_along_eigenvectors_stand_in_a_table_with_two_sentences(make_report: MakeReport) -> None:
    report = make_report()
    text = table_text(report)
    table = text[text.index("Eigenvector") : text.index("Inside the bounds")]
    assert [line.split()[0] for line in table.splitlines()[3::2] if line.strip()] == ["0.05", "0.5", "1", "2"]
    flat = _flat(text)
    assert re.search(r"factor of 0\.8 to 1\.25 up to an L2 budget of 0\.\d+ \(0\.\d+ to 0\.\d+\) for the latent", flat)
    assert re.search(r"At 1 the round trip's eigenvector does \d+ % of the damage", flat)
    assert "Eigenvector" not in table_text(make_report(sections=False))


def test_a_breaking_budget_beyond_the_largest_is_a_bound(make_report: MakeReport) -> None:
    report = make_report()
    assert report.local is not None
    local = dataclasses.replace(
        report.local, latent=dataclasses.replace(report.local.latent, censored=np.full(50, True))
    )  # fmt: skip
    assert "budget of at least 0." in _flat(table_text(dataclasses.replace(report, local=local)))


def test_findings_come_worst_first_in_words_with_their_remedy(make_report: MakeReport) -> None:
    text = table_text(make_report(health=(WARNING, INVALID)))
    assert text.index("INVALID gradient_masked") < text.index("WARNING attack_not_converged")
    assert "Remedy: Allow more steps" in text


def test_a_clean_bill_of_health_is_said(make_report: MakeReport) -> None:
    assert "nothing was found that speaks against" in table_text(make_report(health=()))


def test_the_saved_folder_is_printed_on_one_line_at_the_end(make_report: MakeReport) -> None:
    console, file = _console()
    folder = "reports/" + "very-long-name/" * 10
    print_report(make_report(), console, saved=folder)
    assert file.getvalue().splitlines()[-1] == folder


def test_colours_are_used_on_a_terminal(make_report: MakeReport) -> None:
    console, file = _console(force_terminal=True, color_system="standard")
    print_report(make_report(health=(INVALID,)), console)
    assert "\x1b[1;31mINVALID" in file.getvalue()


def test_a_report_prints_as_its_table(make_report: MakeReport) -> None:
    report = make_report()
    assert str(report) == table_text(report)


def test_verdict_lines_start_with_the_outcome_and_end_with_the_reason(make_report: MakeReport) -> None:
    verdicts = make_report(hinges=np.linspace(0.3, 0.7, 50)).check(hinge=at_least(0.55), auddc=at_least(0.01))
    inconclusive, passed = (line.plain for line in verdict_lines(verdicts))
    assert inconclusive.startswith(f"INCONCLUSIVE {verdicts[0].headline}: about ")
    assert passed == f"PASS         {verdicts[1].headline}"


def test_a_comparison_fits_eighty_columns_and_names_outcomes_and_caveats(make_report: MakeReport) -> None:
    console, file = _console()
    print_comparison(compare(make_report(name="[b]old"), make_report(shift=0.1, reach=12.0, name="new")), console)
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "[b]old (old) against new (new)" in text
    assert _row(text, "Hinge").split()[-1] == "better"
    assert "Caveat: Reach differs clearly" in text


def test_a_comparison_of_long_intervals_cuts_no_word_off(make_report: MakeReport) -> None:
    comparison = compare(make_report(), make_report())
    changes = tuple(dataclasses.replace(one, low=-0.0123, high=12.3) for one in comparison.changes)
    console, file = _console()
    print_comparison(dataclasses.replace(comparison, changes=changes), console)
    words = file.getvalue().partition("Under each figure")[0].split()
    assert words.count("clear") == words.count("difference") == len(changes)


def test_a_comparison_marks_a_hinge_that_is_a_lower_bound(make_report: MakeReport) -> None:
    console, file = _console()
    print_comparison(compare(make_report(), make_report(censored=40)), console)
    assert re.match(r"Hinge +0\.\d+ +>= 0\.\d+ ", _row(file.getvalue(), "Hinge"))
    assert file.getvalue().count(">= ") == 1


def test_a_comparison_says_below_the_table_why_scores_are_not_comparable(make_report: MakeReport) -> None:
    old = make_report()
    assert old.encoder is not None
    new = dataclasses.replace(old, encoder=dataclasses.replace(old.encoder, metric="mean"), decoder=None)
    console, file = _console()
    print_comparison(compare(old, new), console)
    table, _, below = file.getvalue().partition("n/a not comparable, ")
    assert table.count("n/a") == 6 + 8
    assert "metric" not in table
    below = _flat(below)
    assert below.count("wasserstein metric against mean metric: Encoder spectral radius; Encoder effective rank") == 1
    assert below.count("n/a not comparable, the new report lacks it: Decoder spectral radius; ") == 1
    assert max(map(len, file.getvalue().splitlines())) <= 80

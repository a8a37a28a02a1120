"""SARIF: the log follows the standard's own schema, and what GitHub's code scanning asks for beyond it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaeaudit import AuditReport, Estimate, at_least, at_most, cli
from vaeaudit.health import Finding
from vaeaudit.report.exports.sarif import SPECIFICATION, Place, place_of, sarif
from vaeaudit.report.extension import ExtensionScore

jsonschema = pytest.importorskip("jsonschema")

MakeReport = Callable[..., AuditReport]
STANDARD = json.loads((Path(__file__).parents[2] / "data" / "sarif" / "sarif-schema-2.1.0.json").read_bytes())
NOTE = Finding(name="training_mode", severity="info", message="Noted.", remedy="None.", suppressed=True)
DOUBT = Finding(name="local_minima", severity="warning", message="Two ends.", remedy="More steps.")
BLIND = Finding(name="blind_inputs", severity="invalid", message="Blind.", remedy="See.", affects=("auddc",))
ODD = "\x1b[31m<script>\u202e\ud800\n"
URI = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
"""The characters of RFC 3986."""


@pytest.fixture(scope="module")
def report(make_report: MakeReport) -> AuditReport:
    """Hinges from 0.3 to 0.7, so that 0.5 is open, 0.3 passed and 0.9 failed; AUDDC invalid."""
    return make_report(hinges=np.linspace(0.3, 0.7, 50), gallery=False, health=(NOTE, DOUBT, BLIND))


@pytest.fixture(scope="module")
def saved(report: AuditReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It, saved."""
    return report.save(tmp_path_factory.mktemp("saved"), page=False)


def valid(log: Any) -> list[dict[str, Any]]:
    """The results of a log, once it is seen to be one that the standard and GitHub take."""
    jsonschema.Draft4Validator(STANDARD).validate(log)
    assert log["$schema"] == SPECIFICATION == STANDARD["id"]
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert {rule["id"] for rule in rules} == {result["ruleId"] for result in run["results"]}
    for rule in rules:
        assert all(rule[text]["text"] for text in ("shortDescription", "fullDescription", "help"))
        assert len(rule["id"]) <= 255
        assert len(rule["properties"]["tags"]) <= 20
    prints = [result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]]
    assert len(set(prints)) == len(prints)
    assert all(re.fullmatch("[0-9a-f]{16}:[1-9][0-9]*", one) for one in prints)
    for result in run["results"]:
        (location,) = result["locations"]
        assert URI.fullmatch(location["physicalLocation"]["artifactLocation"]["uri"])
        assert set(location["physicalLocation"]["region"]) == {"startLine", "startColumn", "endLine", "endColumn"}
        assert result["message"]["text"]
        # 3.27.23 of the standard, which no schema can ask for: of all results of a run, or of none
        assert isinstance(result["suppressions"], list)
    return list(run["results"])


def results_of(report: AuditReport, place: Place, *bars: Any) -> dict[str, dict[str, Any]]:
    """The results of a valid log, by rule."""
    verdicts = [verdict for bar in bars for verdict in report.check(**bar)]
    log = json.loads(json.dumps(sarif(report, verdicts, place), allow_nan=False))
    return {result["ruleId"]: result for result in valid(log)}


def test_the_standards_schema_refuses_what_it_must(report: AuditReport) -> None:
    log = sarif(report, report.check(hinge=at_least(0.9)), Place(uri="r.json"))
    log["runs"][0]["results"][0]["level"] = "fatal"
    with pytest.raises(jsonschema.ValidationError, match="'fatal' is not one of"):
        valid(log)


def shade(value: float) -> ExtensionScore:
    """A score of a plugin, the same for every image."""
    return ExtensionScore(
        name="sarif.shade", plugin="plugin 1.0", says=ODD, per="image", least=0.0, most=1.0,
        estimate=Estimate(value=value, low=value, high=value, n=20, higher_is_better=True, statistic="mean"),
        values=np.full(20, value), originals=np.arange(20), targets=np.zeros(0, dtype=np.int64),
    )  # fmt: skip


@pytest.mark.parametrize("health", [(), (NOTE,), (BLIND, DOUBT, DOUBT)], ids=["sound", "suppressed", "invalid"])
@pytest.mark.parametrize("uri", ["report.json", "file:///some%20where/audit.toml"])
def test_whatever_a_report_holds_the_log_follows_the_standard(
    make_report: MakeReport, health: tuple[Finding, ...], uri: str
) -> None:
    whole = make_report(gallery=False, health=health, extensions=(shade(0.25),))
    bars = [{"hinge": at_least(bar)} for bar in (0.1, 0.5, 0.9)]
    bars += [{"sarif.shade": at_least(0.5)}, {"damage_latent": at_most(1e-3)}, {"decoder.trace": at_most(1e-3)}]
    lines = Place(uri=uri, lines=("[thresholds]", "", "hinge = { at_least = 0.9 }"))
    assert {"bar/hinge", "bar/sarif.shade", "bar/damage_latent"} <= set(results_of(whole, lines, *bars))
    bare = make_report(gallery=False, sections=False, health=health)
    assert "bar/damage_latent" in results_of(bare, Place(uri=uri), {"damage_latent": at_most(1)})


def test_findings_of_one_check_are_told_apart(make_report: MakeReport) -> None:
    twice = make_report(gallery=False, health=(DOUBT, DOUBT))
    results = valid(json.loads(json.dumps(sarif(twice, (), Place(uri="r.json")))))
    prints = [result["partialFingerprints"]["primaryLocationLineHash"] for result in results]
    assert [one.partition(":")[2] for one in prints] == ["1", "2"]


def test_every_verdict_but_a_pass_and_every_finding_is_a_result(report: AuditReport) -> None:
    bars = (
        {"hinge": at_least(0.9)},
        {"auddc": at_least(0.1)},
        {"damage_gain": at_most(1e6)},
        {"encoder.trace": at_most(1)},
    )
    found = results_of(report, Place(uri="report.json"), *bars)
    assert {rule: result["level"] for rule, result in found.items()} == {
        "bar/hinge": "error", "bar/auddc": "error", "bar/encoder.trace": "error",
        "health/blind_inputs": "error", "health/local_minima": "warning", "health/training_mode": "note",
    }  # fmt: skip
    assert found["bar/hinge"]["message"]["text"].startswith("hinge 0.50 [0.45, 0.55] < 0.90 FAIL")
    assert [rule for rule, result in found.items() if result["suppressions"]] == ["health/training_mode"]


def test_an_open_bar_is_a_warning(report: AuditReport) -> None:
    assert results_of(report, Place(uri="r.json"), {"hinge": at_least(0.5)})["bar/hinge"]["level"] == "warning"


def test_a_result_keeps_its_fingerprint_when_its_figure_changes(report: AuditReport) -> None:
    prints = [
        results_of(report, Place(uri=uri), {"hinge": at_least(bar)})["bar/hinge"]["partialFingerprints"]
        for uri, bar in (("a", 0.9), ("a", 0.8), ("b", 0.9))
    ]
    assert prints[0] == prints[1] != prints[2]


def test_nothing_to_tell_is_a_log_without_results(make_report: MakeReport) -> None:
    sound = make_report(hinges=np.linspace(0.3, 0.7, 50), gallery=False, health=())
    assert results_of(sound, Place(uri="r.json"), {"hinge": at_least(0.3)}) == {}


@pytest.mark.parametrize(
    ("score", "line"),
    [("hinge", 4), ("decoder.trace", 6), ("encoder.trace", 5), ("encoder.condition_number", 7), ("auddc", 1), ("", 1)],
)
def test_a_bar_is_shown_at_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, score: str, line: int) -> None:
    lines = [
        "# audit", 'model = "m:f"', "[thresholds]", "hinge = { at_least = 0.3 }", "trace = { at_most = 2 }",
        '"decoder.trace" = { at_most = 3 }', "encoder.condition_number = { at_most = 9 }", "hinges = 3",
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some audits").mkdir()
    file = tmp_path / "some audits" / "audit.toml"
    file.write_text("\n".join(lines))
    place = place_of(Path("some audits/audit.toml"))
    assert place.uri == "some%20audits/audit.toml"
    region = place.region(score)
    assert (region["startLine"], region["endColumn"]) == (line, len(lines[line - 1]) + 1)


def test_a_file_elsewhere_is_named_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "r.json").write_text("{}")
    monkeypatch.chdir(tmp_path / "here")
    assert place_of(tmp_path / "r.json").uri == (tmp_path / "r.json").resolve().as_uri()


@pytest.mark.parametrize("name", [ODD, "", "x" * 300, "a/b", "100 %"], ids=["odd", "empty", "long", "slash", "percent"])
def test_text_from_outside_cannot_break_the_log(make_report: MakeReport, name: str) -> None:
    finding = Finding(name=name, severity="invalid", message=name, remedy="")
    (result,) = results_of(make_report(name=name, health=(finding,), gallery=False), Place(uri="r.json")).values()
    assert all(character.isprintable() for text in (result["ruleId"], result["message"]["text"]) for character in text)


def test_check_writes_the_log(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(saved)
    for asked in (".", "report.json"):
        assert (
            cli.main(["check", asked, "--at-least", "hinge=0.9", "--sarif", str(tmp_path / "new" / "out.sarif")]) == 1
        )
        log = json.loads((tmp_path / "new" / "out.sarif").read_text())
        where = valid(log)[0]["locations"][0]["physicalLocation"]
        assert where["artifactLocation"]["uri"] == "report.json"

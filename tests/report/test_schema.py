"""The JSON Schema of reports, and reports of older schemas. An old report is made by taking out what came later."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import math
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vaeaudit import AuditReport, ReportError, at_least, audit, cli, load, spec
from vaeaudit.health import Finding
from vaeaudit.report import codec
from vaeaudit.report.gallery import Gallery, save_gallery
from vaeaudit.report.migration import STEPS, migrated
from vaeaudit.report.model import SCHEMA
from vaeaudit.report.schema import FILE, _schema, attributes_of, json_schema, schema_text
from vaeaudit.statistics import Estimate

jsonschema = pytest.importorskip("jsonschema")

MakeReport = Callable[..., AuditReport]
SMALL: dict[str, Any] = {"pairs": 2, "strengths": 3, "sections": False, "gallery": False}
SHORT = {
    "evaluations": 20, "between": 1, "extensions": 1, "restarts": 0, "samples": 2, "spectra": 2, "damaged": 2,
    "damage_steps": 2, "damage_restarts": 1, "second_looks": 1, "queries": 20, "family": 2, "family_steps": 2,
    "family_restarts": 1, "certified": 1, "certified_balls": 1, "rounds": 1,
}  # fmt: skip
"""The least of every part of a preset, so that none of its sections is missing."""
DOUBTFUL = Finding(
    name="blind_inputs", severity="invalid", message="m", remedy="r", affects=("hinge",), suppressed=True
)


@pytest.fixture(scope="module")
def validator() -> Any:
    """Of the shipped file."""
    return jsonschema.Draft202012Validator(json.loads(FILE.read_text(encoding="utf-8")))


def spelled(report: AuditReport) -> Any:
    """What stands in report.json."""
    return json.loads(codec.write_json(report.to_dict()))


def test_the_shipped_file_is_the_schema_of_the_classes_as_they_are() -> None:
    said = f"run: vaeaudit schema > {FILE.name} (and raise SCHEMA, with a step in migration.py, if reports changed)"
    assert FILE.read_text(encoding="utf-8") == schema_text(), said


def test_the_schema_is_one_and_names_its_version() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]
    assert schema["properties"]["schema"]["const"] == SCHEMA


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["schema"]) == 0
    assert capsys.readouterr().out == FILE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sections": False, "gallery": False, "health": ()},
        {"pairs": 3, "excluded": 3, "censored": 0},
        {"pairs": 2, "strengths": 4, "censored": 2, "health": (DOUBTFUL,)},
    ],
    ids=["whole", "bare", "without figures", "open intervals"],
)
def test_reports_of_every_shape_are_valid(make_report: MakeReport, validator: Any, options: dict[str, Any]) -> None:
    validator.validate(spelled(make_report(**options)))


def test_each_number_that_json_has_not_is_spelled(make_report: MakeReport, validator: Any) -> None:
    floor = Estimate(value=math.nan, low=-math.inf, high=math.inf, n=0)
    data = spelled(make_report(floor=floor))
    assert [data["floor"][end] for end in ("value", "low", "high")] == ["NaN", "-Infinity", "Infinity"]
    validator.validate(data)
    data["floor"]["value"] = "nan"
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(data)


@pytest.mark.parametrize("preset", ["quick", "standard", "thorough"])
def test_a_real_report_of_every_preset_is_valid(
    preset: str, validator: Any, linear: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = spec.PRESETS[preset]
    short = {name: min(getattr(whole, name), most) for name, most in SHORT.items()}
    monkeypatch.setitem(spec.PRESETS, preset, dataclasses.replace(whole, **short))
    model, bounds = linear.linear_gaussian(n=6, k=3, bounds=(0.0, 1.0)), (0.0, 1.0)
    report = audit(model.autoencoder, linear.points(6, 16, bounds=bounds), preset=preset, pairs=2, strengths=5)
    assert (report.worst_case is not None) == (preset == "thorough")
    validator.validate(spelled(report))


def places(data: Any, path: tuple[Any, ...] = ()) -> Any:
    """Every place in nested objects and the first entry of every list."""
    yield path
    items = data.items() if isinstance(data, dict) else enumerate(data[:1]) if isinstance(data, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def test_what_the_schema_refuses_cannot_be_read_either(make_report: MakeReport, validator: Any) -> None:
    whole = spelled(make_report(**SMALL))
    refused = 0
    for path in list(places(whole))[1:]:
        if path[0] == "provenance":  # settings are anything
            continue
        data = copy.deepcopy(whole)
        parent = data
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = {"surprise": True}
        if not validator.is_valid(data):
            refused += 1
            with pytest.raises(ReportError):
                AuditReport.from_dict(data)
    assert refused > 80


def test_whatever_is_left_out_or_added_is_refused(make_report: MakeReport, validator: Any) -> None:
    data = spelled(make_report(**SMALL))
    for name in data:
        assert not validator.is_valid({key: value for key, value in data.items() if key != name})
    assert not validator.is_valid({**data, "surprise": 1})
    assert not validator.is_valid({**data, "hinge": {**data["hinge"], "surprise": 1}})


def test_every_field_says_what_it_is() -> None:
    schema = json_schema()
    for owner in (schema, *(part for part in schema["$defs"].values() if "properties" in part)):
        silent = [name for name, field in owner["properties"].items() if not field.get("description")]
        assert not silent, f"{owner.get('description')}: its docstring says nothing of {silent}"


def test_a_docstring_is_read_attribute_by_attribute() -> None:
    class Documented:
        """What it is.

        Attributes:
            one: the first,
                on two lines: with a colon.
            two, three: both.

        Raises:
            Nothing: ever.
        """

    assert attributes_of(Documented) == {
        "one": "the first, on two lines: with a colon.",
        "two": "both.",
        "three": "both.",
    }


def test_a_type_that_no_rule_covers_is_an_error() -> None:
    with pytest.raises(ReportError, match="a report's schema has no rule for <class 'complex'>"):
        _schema(complex, {})


def test_an_array_has_the_numbers_of_its_dtype() -> None:
    definitions: dict[str, Any] = {}
    for kind, good, bad in ((np.float64, [[1.5, "NaN"]], ["x"]), (np.int64, [[1]], [1.5]), (np.bool_, [True], [1])):
        schema = {**_schema(NDArray[kind], definitions), "$defs": {**definitions, **json_schema()["$defs"]}}  # type: ignore[valid-type]
        validator = jsonschema.Draft202012Validator(schema)
        assert validator.is_valid(good)
        assert not validator.is_valid(bad)


# older schemas


def without(data: Any, part: str, *names: str) -> None:
    for name in names:
        del data[part][name]


def to_6(data: Any) -> None:
    if data["damage"] is not None:
        without(data, "damage", "latent")


def to_5(data: Any) -> None:
    del data["extensions"]
    without(data, "curves", "spans", "labels")


def to_4(data: Any) -> None:
    del data["worst_case"], data["certificates"]
    without(data, "curves", "disagreement")
    for finding in data["health"]:
        del finding["cause"], finding["consequence"], finding["suppressed"]


def to_3(data: Any) -> None:
    without(data, "provenance", "work")


def to_2(data: Any) -> None:
    del data["local"]
    without(data, "provenance", "source")


UNDO = {6: to_6, 5: to_5, 4: to_4, 3: to_3, 2: to_2}
"""By the schema that each leads down to."""


def older(report: AuditReport, schema: int) -> Any:
    """What a report.json of an older schema held."""
    data = spelled(report)
    for step in range(SCHEMA - 1, schema - 1, -1):
        UNDO[step](data)
    return {**data, "schema": schema}


def test_there_is_a_step_from_every_older_schema_and_a_test_of_it() -> None:
    assert sorted(STEPS) == list(range(2, SCHEMA)) == sorted(UNDO)


@pytest.mark.parametrize("schema", sorted(STEPS))
def test_an_older_report_is_read_with_what_it_holds(make_report: MakeReport, tmp_path: Path, schema: int) -> None:
    report = make_report(**{**SMALL, "gallery": True, "event": (1, 4, 4)})
    content = codec.write_json(older(report, schema))
    (tmp_path / "report.json").write_bytes(content)
    save_gallery(report.gallery, tmp_path / "arrays.npz", hashlib.sha256(content).hexdigest())
    found = load(tmp_path)
    told = found.health[-1]
    assert (told.name, told.severity) == ("older_schema", "warning")
    assert f"saved in schema {schema} and is read as {SCHEMA}" in told.message
    assert found.hinge == report.hinge
    assert codec.equal(found.gallery, report.gallery)
    assert found.check(hinge=at_least(0.3)) == report.check(hinge=at_least(0.3))
    assert load(found.save(tmp_path / "again", page=False)) == found


def test_what_an_older_report_could_not_hold_is_not_measured(make_report: MakeReport) -> None:
    found = AuditReport.from_dict(older(make_report(), 2))
    assert (found.local, found.worst_case, found.certificates, found.provenance.source) == (None, None, None, "")
    assert found.provenance.work == {}
    assert found.damage is not None
    assert found.damage.latent is None
    assert found.curves.disagreement.shape == found.curves.gap.shape
    assert np.isnan(found.curves.disagreement).all()
    assert not any(finding.suppressed for finding in found.health)
    assert "how well local geometry predicts the attack; what the measurements asked" in found.health[-1].message


def test_what_an_older_report_holds_beyond_its_schema_is_kept(make_report: MakeReport) -> None:
    report = make_report()
    found = AuditReport.from_dict({**spelled(report), "schema": 4})
    assert dataclasses.replace(found, health=report.health, gallery=report.gallery) == report


def test_a_report_is_not_changed_by_being_brought_up(make_report: MakeReport) -> None:
    data = older(make_report(), 2)
    before = copy.deepcopy(data)
    migrated(data, SCHEMA)
    assert data == before


@pytest.mark.parametrize("schema", [0, 1, SCHEMA + 1, -1, 10**30, 2.0, True, "5", None, [5]])
def test_another_schema_says_who_wrote_it_and_what_to_do(make_report: MakeReport, schema: Any) -> None:
    data = {**spelled(make_report()), "schema": schema}
    data["provenance"]["environment"]["vaeaudit"] = "9.8.7"
    with pytest.raises(
        ReportError, match=rf"this version reads 2 to {SCHEMA}: .*version of vaeaudit \('9\.8\.7'\).*again"
    ):
        AuditReport.from_dict(data)


def test_a_report_without_samples_says_why_it_is_not_read(make_report: MakeReport) -> None:
    with pytest.raises(ReportError, match="which kept no samples for verdicts to rest on; audit the model again"):
        AuditReport.from_dict({"schema": 1, "provenance": None})


@pytest.mark.parametrize("part", ["health", "curves", "provenance"])
@pytest.mark.parametrize("junk", [None, 3, [3], {"gap": 3}, {"gap": [3, [1]]}], ids=str)
def test_an_older_report_of_another_shape_is_refused_like_a_new_one(
    make_report: MakeReport, part: str, junk: Any
) -> None:
    with pytest.raises(ReportError, match=rf"report\.{part}"):
        AuditReport.from_dict({**older(make_report(), 2), part: junk})


def test_pictures_have_no_place_in_the_schema() -> None:
    assert typing.get_type_hints(AuditReport)["gallery"] == Gallery | None
    assert json_schema()["$defs"]["Gallery"]["type"] == "null"

"""The JSON Schema of report.json, made from the types and docstrings of what a report is made of.

`vaeaudit schema` prints it; report.schema.json beside this module is that output, for those who do not run Python.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import types
import typing
from pathlib import Path
from typing import Any

from vaeaudit.errors import ReportError
from vaeaudit.report import codec
from vaeaudit.report.gallery import Gallery
from vaeaudit.report.model import SCHEMA, AuditReport

FILE = Path(__file__).with_name("report.schema.json")
DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]
_PLAIN: dict[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    float: {"$ref": "#/$defs/float"},
    Any: {},
}
_KINDS = {"f": float, "i": int, "b": bool}
_ENTRY = re.compile(r"^(\w+(?:, \w+)*): ")


def json_schema() -> Schema:
    """The JSON Schema (draft 2020-12) of a report's JSON: of `AuditReport.to_dict`, in the spelling of `save`."""
    no_pictures: Schema = {"type": "null", "description": "Pictures lie in arrays.npz beside the JSON."}
    definitions = {Gallery.__name__: no_pictures}
    _reference(AuditReport, definitions)
    report = definitions.pop(AuditReport.__name__)
    report["properties"] = {"schema": {"const": SCHEMA, "description": "Its version."}, **report["properties"]}
    report["required"] = list(report["properties"])
    definitions["float"] = {
        "description": "A number; what JSON has no number for is spelled.",
        "anyOf": [{"type": "number"}, {"enum": list(codec.NON_FINITE)}],
    }
    return {
        "$schema": DIALECT, "$id": f"urn:vaeaudit:report:{SCHEMA}", "title": f"vaeaudit report, schema {SCHEMA}",
        **report, "$defs": dict(sorted(definitions.items())),
    }  # fmt: skip


def schema_text() -> str:
    """The JSON Schema as a file's text."""
    return json.dumps(json_schema(), indent=1) + "\n"


def _reference(kind: Any, definitions: dict[str, Schema]) -> Schema:
    """A reference to the schema of a dataclass, which is added to the definitions if it is not there."""
    name = kind.__name__
    if name not in definitions:
        definitions[name] = {}  # holds the place, so that a type may hold itself
        definitions[name] = _object(kind, definitions)
    return {"$ref": f"#/$defs/{name}"}


def _object(kind: Any, definitions: dict[str, Schema]) -> Schema:
    hints, said = typing.get_type_hints(kind), attributes_of(kind)
    properties = {
        field.name: {**_schema(hints[field.name], definitions), **_description(said.get(field.name, ""))}
        for field in dataclasses.fields(kind)
    }
    return {
        "type": "object", **_description((inspect.getdoc(kind) or "").partition("\n")[0]), "properties": properties,
        "required": list(properties), "additionalProperties": False,
    }  # fmt: skip


def _description(text: str) -> Schema:
    return {"description": text} if text else {}


def _schema(kind: Any, definitions: dict[str, Schema]) -> Schema:
    """The schema of what `codec.to_builtin` makes of a value with this annotation.

    Raises:
        ReportError: there is no rule for it.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _reference(kind, definitions)
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [{"type": "null"} if a is type(None) else _schema(a, definitions) for a in arguments]}
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if dtype := codec.dtype_of(kind):
        return _array(_KINDS[dtype.kind], definitions)
    raise ReportError(f"a report's schema has no rule for {kind}; add one beside that of the codec")


def _array(kind: type[Any], definitions: dict[str, Schema]) -> Schema:
    """Lists in lists, as deep as the array has axes: its shape is told by the description."""
    name = f"{kind.__name__}_array"
    reference = {"$ref": f"#/$defs/{name}"}
    definitions[name] = {"type": "array", "items": {"anyOf": [dict(_PLAIN[kind]), reference]}}
    return reference


def attributes_of(kind: Any) -> dict[str, str]:
    """What a class's docstring says of each of its attributes, in its section `Attributes:`."""
    _, _, section = (inspect.getdoc(kind) or "").partition("\nAttributes:\n")
    said: dict[str, str] = {}
    names: list[str] = []
    for line in inspect.cleandoc(section.partition("\n\n")[0]).splitlines():
        if entry := _ENTRY.match(line):
            names = entry[1].split(", ")
            said |= dict.fromkeys(names, line[entry.end() :])
        else:
            said |= {name: f"{said[name]} {line.strip()}" for name in names}
    return said

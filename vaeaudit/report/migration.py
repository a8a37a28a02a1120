"""Reports of older schemas, brought up to this one: a function a step, each from one schema to the next.

A step adds what its schema added, as "not measured"; it never makes a figure up. What is wrong with the data beyond
that is left to the codec, which says where. A report that was brought up carries a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from vaeaudit.errors import ReportError, brief
from vaeaudit.health.finding import Finding, described, found

Data = dict[str, Any]
OLDER = "older_schema"
"""The finding of a report that was brought up."""
_NO_SAMPLES = 1
"""The last schema without the sample behind every score: no verdict could rest on such a report."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """From one schema to the next.

    Attributes:
        change: from a report's plain data to new data; what it does not change may be shared.
        added: what the older schema does not know.
    """

    change: Callable[[Data], Data]
    added: str


def migrated(data: Data, newest: int) -> Data:
    """A report's plain data in the newest schema; the same data if that is theirs.

    Args:
        data: an object with a "schema"; it is left as it is.
        newest: the schema to bring them to.

    Raises:
        ReportError: a schema that is no number, newer than the newest, or too old to be brought up.
    """
    schema = data["schema"]
    known = isinstance(schema, int) and not isinstance(schema, bool)
    if not known or not min(STEPS) <= schema <= newest:
        raise ReportError(_refusal(data, newest))
    if schema == newest:
        return data
    steps = [STEPS[older] for older in range(schema, newest)]
    for step in steps:
        data = step.change(data)
    message = (
        f"the report was saved in schema {schema} and is read as {newest}. Of what later versions measure it holds "
        f"nothing: {'; '.join(step.added for step in steps)}"
    )
    return _with_finding({**data, "schema": newest}, message)


def is_brought_up(health: Iterable[Finding]) -> bool:
    """Whether the findings of a report say that it was brought up from an older schema."""
    return any(finding.name == OLDER for finding in health)


def _refusal(data: Data, newest: int) -> str:
    """Which version wrote the report, and what to do."""
    schema = data["schema"]
    head = f"the report has schema {brief(schema)}, this version reads {min(STEPS)} to {newest}: it was written by"
    if schema == _NO_SAMPLES:
        return f"{head} {_writer(data)}, which kept no samples for verdicts to rest on; audit the model again"
    return f"{head} {_writer(data)}; read it with that version, or audit the model again with this one"


def _writer(data: Data) -> str:
    """The version that wrote a report, as far as the report says."""
    environment = _object(_object(data.get("provenance")).get("environment"))
    version = environment.get("vaeaudit")
    return f"another version of vaeaudit ({brief(version)})" if version else "another version of vaeaudit"


def _object(value: Any) -> Data:
    return value if isinstance(value, dict) else {}


def _with_finding(data: Data, message: str) -> Data:
    """The data with a finding that says where they come from, unless what should be findings is something else."""
    if not isinstance(data.get("health"), list):
        return data
    (finding,) = described([found(OLDER, "warning", message)])
    return {**data, "health": [*data["health"], {**asdict(finding), "affects": list(finding.affects)}]}


def _with(data: Data, part: str, **added: Any) -> Data:
    """The data with entries added to one part, where it has not got them; a part that is no object is left alone."""
    if not isinstance(data.get(part), dict):
        return data
    return {**data, part: {**added, **data[part]}}


def _to_3(data: Data) -> Data:
    return _with({"local": None, **data}, "provenance", source="")


def _to_4(data: Data) -> Data:
    return _with(data, "provenance", work={})


def _to_5(data: Data) -> Data:
    data = _with({"worst_case": None, "certificates": None, **data}, "curves", disagreement=_like_gap(data))
    if not isinstance(data.get("health"), list):
        return data
    words = {"cause": "", "consequence": "", "suppressed": False}
    return {**data, "health": [{**words, **one} if isinstance(one, dict) else one for one in data["health"]]}


def _to_6(data: Data) -> Data:
    return _with({"extensions": [], **data}, "curves", spans=None, labels=None)


def _to_7(data: Data) -> Data:
    return _with(data, "damage", latent=None)


def _like_gap(data: Data) -> Any:
    """NaN in the shape of the curves."""
    gap = _object(data.get("curves")).get("gap")
    return [["NaN"] * len(row) if isinstance(row, list) else row for row in gap] if isinstance(gap, list) else None


STEPS = {
    2: Step(change=_to_3, added="how well local geometry predicts the attack"),
    3: Step(change=_to_4, added="what the measurements asked of the model"),
    4: Step(
        change=_to_5, added="the worst case over many attacks, certificates, how far the attack's two paths lay apart"
    ),
    5: Step(change=_to_6, added="the distance and the labels of each pair's images, scores of plugins"),
    6: Step(change=_to_7, added="how far the untargeted attack moves the latent"),
}
"""By the schema that a step starts from; there is one for every schema but the newest and those that are not read."""

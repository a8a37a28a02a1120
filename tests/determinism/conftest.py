"""A small model to audit in several ways, and reports taken apart into figures."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import vaeaudit
from vaeaudit import spec

CIRCUMSTANCES = ("provenance.seconds", "provenance.work", "provenance.environment")
"""What may tell how and where it was measured."""
UNSORTED = ("strengths", "radii", "compared", "variances", "variance_errors", "gallery")
"""Fields whose rows are neither pairs nor images, or which show the first pairs as they came."""


@pytest.fixture(scope="module")
def curved() -> Iterator[ModuleType]:
    """`curved.py` beside this file, its short preset in force."""
    found = importlib.util.spec_from_file_location("vaeaudit_tests_curved", Path(__file__).parent / "curved.py")
    assert found is not None
    assert found.loader is not None
    module = sys.modules["vaeaudit_tests_curved"] = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(spec.PRESETS, "quick", module.SHORT)
        yield module


@pytest.fixture(scope="session")
def deviations() -> Callable[[vaeaudit.AuditReport, vaeaudit.AuditReport], dict[str, float]]:
    """Fields that differ between two reports, with the largest deviation as a share of the field's size."""
    return _deviations


def _figures(report: vaeaudit.AuditReport) -> dict[str, Any]:
    """Every figure of a report by its path, rows sorted by pair or image; without the circumstances of the run."""
    return {path: value for path, value in _leaves("", report) if not path.startswith(CIRCUMSTANCES)}


def _leaves(path: str, value: Any, order: Any = None) -> Iterator[tuple[str, Any]]:
    if dataclasses.is_dataclass(value):
        own = _order(value)
        order = order if own is None else own
        for field in dataclasses.fields(value):
            kept = None if field.name in UNSORTED else order
            yield from _leaves(f"{path}.{field.name}".lstrip("."), getattr(value, field.name), kept)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _leaves(f"{path}.{key}", one, order)
    elif isinstance(value, tuple):
        for place, one in enumerate(value):
            yield from _leaves(f"{path}.{place}", one)  # estimates, findings
    elif isinstance(value, np.ndarray) and order is not None and value.shape[:1] == order.shape:
        yield path, value[order]
    else:
        yield path, value


def _order(value: Any) -> Any:
    """What sorts the rows of a part of a report: by pair where it has pairs, by image where it has images."""
    if isinstance(getattr(value, "originals", None), np.ndarray) and hasattr(value, "targets"):
        return np.lexsort((value.targets, value.originals))
    images = getattr(value, "images", None)
    return np.argsort(images, kind="stable") if isinstance(images, np.ndarray) else None


def _deviations(one: vaeaudit.AuditReport, other: vaeaudit.AuditReport) -> dict[str, float]:
    """Fields that differ, with the largest deviation as a share of the field's size; infinite for other than numbers."""
    left, right = _figures(one), _figures(other)
    assert left.keys() == right.keys()
    found = {path: _deviation(left[path], right[path]) for path in left}
    return {path: size for path, size in found.items() if size}


def _deviation(a: Any, b: Any) -> float:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.shape != b.shape or a.dtype != b.dtype:
            return np.inf
        if np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            return 0.0
    elif a == b or (isinstance(a, float) and isinstance(b, float) and np.isnan(a) and np.isnan(b)):
        return 0.0
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.kind not in "fiu" or b.dtype.kind not in "fiu":
        return np.inf
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return np.inf
    finite = np.isfinite(a)
    return float(np.abs(a - b)[finite].max() / max(np.abs(a)[finite].max(), 1e-300))

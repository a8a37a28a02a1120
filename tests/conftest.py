"""Shared helpers, handed out as fixtures: pytest imports test files by path, so they cannot import each other."""

from __future__ import annotations

import importlib
import importlib.util
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from vaeaudit import AuditReport

LOADED = (
    "vaeaudit.report.pages.html", "vaeaudit.report.exports.github", "matplotlib.backends.backend_svg", "filelock",
    "vaeaudit.auditing", "vaeaudit.config", "vaeaudit.spec", "pytest_vaeaudit.audit_files", "pytest_vaeaudit.audited",
    "pytest_vaeaudit.fixture", "pytest_vaeaudit.measuring", "pytest_vaeaudit.summary",
)  # fmt: skip

# small matrices gain nothing from threads, and threads that compete for busy cores cost a hundredfold
torch.set_num_threads(1)

# who is started in the background (nohup) ignores interrupts and hands that on, and some tests interrupt what they start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _helper(path: str) -> ModuleType:
    """A module beside this file, by its path below tests/."""
    name = "vaeaudit_tests_" + path.replace("/", "_")
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{path}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def no_step_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Audits that are tried out here do not speak in the summary of the CI step that runs these tests."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@pytest.fixture
def plain_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports are saved with a page of one line: drawing its charts takes most of a second, and is tested where they are made."""
    monkeypatch.setattr("vaeaudit.report.pages.html.render", lambda report: f"<!DOCTYPE html> {report.name}")


@pytest.fixture(scope="session")
def loaded() -> None:
    """What a run of pytest inside a test would be the first to import: pytester unloads that, and the next imports it anew."""
    for module in LOADED:
        importlib.import_module(module)


@pytest.fixture(scope="session")
def linear() -> ModuleType:
    """`tests/linear.py`: autoencoders whose attacks and spectra are known in closed form."""
    return _helper("linear")


@pytest.fixture(scope="session")
def boxes() -> ModuleType:
    """`tests/reference/boxes.py`: slow minimisers and projections in a box."""
    return _helper("reference/boxes")


@pytest.fixture(scope="session")
def balls() -> ModuleType:
    """`tests/reference/balls.py`: least squares in a ball."""
    return _helper("reference/balls")


@pytest.fixture(scope="session")
def published() -> ModuleType:
    """`tests/reference/published.py`: attacks inside a ball with their published settings."""
    return _helper("reference/published")


@pytest.fixture(scope="session")
def metrics() -> ModuleType:
    """`tests/reference/metrics.py`: n x n pullback metrics by brute force."""
    return _helper("reference/metrics")


@pytest.fixture(scope="session")
def curves() -> ModuleType:
    """`tests/reference/curves.py`: trade-off curves of known hinge, and a grid search for it."""
    return _helper("reference/curves")


@pytest.fixture(scope="session")
def make_report() -> Callable[..., AuditReport]:
    """The maker of synthetic reports, `tests/report/conftest.py`, for tests outside that folder."""
    maker: Callable[..., AuditReport] = _helper("report/conftest").synthetic
    return maker

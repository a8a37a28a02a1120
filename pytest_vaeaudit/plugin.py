"""pytest's hooks. Loading this module imports neither torch nor vaeaudit, and an idle session hears nothing of it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_vaeaudit import hooks, options
from pytest_vaeaudit.ledger import Ledger
from pytest_vaeaudit.marks import DESCRIPTION, MARKER, read_marks

if TYPE_CHECKING:
    from pytest_vaeaudit.fixture import VaeAudit

FIXTURE = "vae_audit"
_AUDITS: pytest.StashKey[list[Any]] = pytest.StashKey()


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the plugin's own hooks."""
    pluginmanager.add_hookspecs(hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the table of options."""
    options.register(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and refuse mistyped options before anything runs."""
    config.addinivalue_line("markers", DESCRIPTION)
    options.check_session(config)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Ledger(config), "vaeaudit-ledger")


@pytest.fixture
def vae_audit(request: pytest.FixtureRequest) -> VaeAudit:
    """Audit a model in a test: `vae_audit(model, images, preset="quick").require(hinge=at_least(0.3))`."""
    from pytest_vaeaudit.fixture import Auditing

    if options.flag(request.config, "skip"):  # asked for by name while the test runs, so not seen before
        pytest.skip(options.OPTIONS["skip"].command_line)
    auditing = Auditing(request.node)
    request.node.stash.setdefault(_AUDITS, []).append(auditing)
    return auditing


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect `audit_*.toml`."""
    if not (file_path.suffix == ".toml" and file_path.name.startswith("audit_")):
        return None
    from pytest_vaeaudit.audit_files import AuditFile

    return AuditFile.from_parent(parent, path=file_path)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a marker that says something wrong into an error of its collection."""
    report = yield
    faults = [fault for node in report.result or [] if isinstance(node, pytest.Item) for fault in _faults(node)]
    if faults:
        report.outcome, report.longrepr, report.result = "failed", "\n".join(faults), []
    return report


def _faults(item: pytest.Item) -> Iterator[str]:
    try:
        read_marks(item)
    except ValueError as error:
        yield from (f"{item.nodeid}: @pytest.mark.{MARKER}: {line}" for line in str(error).splitlines())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what audits, or keep nothing else, if the command line says so."""
    if options.flag(config, "skip"):
        for item in filter(_audits, items):
            item.add_marker(pytest.mark.skip(reason=options.OPTIONS["skip"].command_line))
    if options.flag(config, "only"):
        config.hook.pytest_deselected(items=[item for item in items if not _audits(item)])
        items[:] = filter(_audits, items)


def _audits(item: pytest.Item) -> bool:
    return (
        FIXTURE in getattr(item, "fixturenames", ())
        or item.get_closest_marker(MARKER) is not None
        or getattr(item, "is_threshold", False)
        or _AUDITS in item.stash  # the fixture was asked for by name while the test ran
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Start afresh, and call out reruns of a test that would only repeat its figure."""
    if not _audits(item):
        return
    from pytest_vaeaudit.item_audit import RECORDS

    item.stash[RECORDS] = []
    item.stash[_AUDITS] = []
    item.user_properties[:] = [entry for entry in item.user_properties if not _is_ours(str(entry[0]))]
    if getattr(item, "execution_count", 1) == 1 and _set_to_be_rerun(item):
        from pytest_vaeaudit.errors import warn

        warn(
            item,
            f"{item.nodeid} is set to be rerun on failure, which cannot help: its seed comes from its content, so a rerun "
            "repeats the same figure. Leave it out of reruns; what chance leaves open is INCONCLUSIVE and is extended.",
        )


def _is_ours(name: str) -> bool:
    return name == MARKER or name.startswith(f"{MARKER}.")


def _set_to_be_rerun(item: pytest.Item) -> bool:
    """Whether pytest-rerunfailures would repeat the test, by marker, command line or ini file."""
    if item.get_closest_marker("flaky") is not None:
        return True
    if not item.config.pluginmanager.hasplugin("rerunfailures"):
        return False
    said = [getattr(item.config.option, name, None) for name in ("force_reruns", "reruns")]
    try:
        return any([*said, item.config.getini("reruns")])
    except ValueError:  # a version of it without that setting
        return any(said)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """A marked test that never audited, or that swallowed what its bars came to, asserts nothing: an error."""
    yield
    audits = item.stash.get(_AUDITS, [])
    if unmet := [line for audit in audits for line in audit.unmet]:
        pytest.fail(f"{unmet[0]}\nA bar of the marker was not passed, and the test went on.", pytrace=False)
    if item.get_closest_marker(MARKER) is not None and not any(audit.audits for audit in audits):
        pytest.fail(
            f"this test is marked {MARKER} but never audited, so it asserts nothing: call vae_audit(model, images) in it, "
            "or take the marker away",
            pytrace=False,
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the records of an item's verdicts travel with its report."""
    report = yield
    if _audits(item):
        from pytest_vaeaudit.item_audit import attach

        attach(report, item)
    return report

"""What all tests of a session share, made when the first of them audits."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import pytest

from pytest_vaeaudit.baseline import Baseline, read_baseline
from pytest_vaeaudit.errors import warn_not_kept
from pytest_vaeaudit.measuring import Auditor, Library
from pytest_vaeaudit.options import folder_of, settled
from pytest_vaeaudit.store import Store

CACHE = "vaeaudit"


class Session:
    """Auditor, kept measurements and baseline of one pytest process.

    Args:
        config: pytest's.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.auditor: Auditor = config.hook.pytest_vaeaudit_auditor(config=config) or Library()
        self.environment: Mapping[str, str] = _merged(config.hook.pytest_vaeaudit_environment(config=config))
        self.reports: Path | None = folder_of(config, "report")
        mode = settled(config, "cache")
        self.store = Store(None if mode == "off" else _cache(config), refresh=mode == "refresh")

    @functools.cached_property
    def baseline(self) -> Baseline:
        """The recorded figures.

        Raises:
            ReportError: the file or revision cannot be read.
        """
        path = folder_of(self.config, "baseline")
        assert path is not None
        return read_baseline(path, settled(self.config, "baseline_ref"))


_SESSION = pytest.StashKey[Session]()


def session_of(config: pytest.Config) -> Session:
    """The session's, made at its first use."""
    if _SESSION not in config.stash:
        config.stash[_SESSION] = Session(config)
        if not hasattr(config, "workerinput"):
            config.add_cleanup(config.stash[_SESSION].store.prune)
    return config.stash[_SESSION]


def _cache(config: pytest.Config) -> Path | None:
    """The folder in pytest's cache; None where there is none, or it cannot be written."""
    cache = getattr(config, "cache", None)
    try:
        return None if cache is None else Path(cache.mkdir(CACHE))
    except OSError as error:
        warn_not_kept(error)
        return None


def _merged(parts: list[Mapping[str, str] | None]) -> dict[str, str]:
    return {str(key): str(value) for part in reversed(parts) for key, value in (part or {}).items()}

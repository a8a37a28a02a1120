"""Every error that bad input can raise, one small tree under `AuditError`."""

from __future__ import annotations

import reprlib

_WORDS = 60


class AuditError(Exception):
    """Base of everything vaeaudit raises on purpose: what was expected, what came, what to do."""


class OptionError(AuditError, ValueError):
    """An option, preset, score, bar or file that vaeaudit does not know or cannot use."""


class DataError(AuditError, ValueError):
    """Images, labels or pairs that cannot be audited."""


class EncoderOutputError(AuditError, TypeError):
    """An encoder or decoder returned something that cannot be read without guessing."""


class ModelError(AuditError, ValueError):
    """The model does not do what an audit needs: shapes, finite outputs, a device, a mode."""


class GradientError(ModelError):
    """No usable gradient flows from the posterior back to the input."""


class PluginError(AuditError, RuntimeError):
    """A plugin that cannot be loaded or registered, or that failed; says which, and of what version."""


class ReportError(AuditError, ValueError):
    """A saved report that cannot be read."""


class StorageError(AuditError, OSError):
    """A file or folder that cannot be written: a full disk, no permission, gone, or another process's."""


class PackageError(AuditError, ImportError):
    """A package that only some calls need, and that is not installed."""


class RanksError(AuditError, RuntimeError):
    """The processes that share an audit do not measure the same, or one of them failed or is gone."""


class FallbackWarning(UserWarning):
    """A slower way was taken because the faster one is not open to it; figures are the same."""


def brief(value: object) -> str:
    """A value as a message shows it: in a few words, however large, deep or ill-behaved it is."""
    try:
        text = reprlib.repr(value)
    except ValueError:  # Python spells no number of thousands of digits
        text = f"a {type(value).__name__} of very many digits"
    return text if len(text) <= _WORDS else f"{text[: _WORDS - 3]}..."

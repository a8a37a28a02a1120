"""Every error that bad input can raise, one small tree under `AuditError`."""

from __future__ import annotations


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


class ReportError(AuditError, ValueError):
    """A saved report that cannot be read."""


class FallbackWarning(UserWarning):
    """A slower way was taken because the model does not allow the faster one; figures are the same."""

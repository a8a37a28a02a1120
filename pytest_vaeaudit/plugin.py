"""The `vae_audit` fixture. Loading this module imports neither torch nor vaeaudit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from vaeaudit import AuditReport


class VaeAudit(Protocol):
    """What the `vae_audit` fixture is: `vaeaudit.audit`, imported when it is first called."""

    def __call__(self, model: Any, images: Any, **options: Any) -> AuditReport:
        """Audit a model; arguments as `vaeaudit.audit`."""


@pytest.fixture
def vae_audit() -> VaeAudit:
    """Audit a model in a test: `vae_audit(model, images, preset="quick").require(hinge=at_least(0.3))`."""

    def audit(model: Any, images: Any, **options: Any) -> AuditReport:
        import vaeaudit

        return vaeaudit.audit(model, images, **options)

    return audit

"""What measures: the library, or a stand-in of the same shape."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from vaeaudit import AuditReport

Progress = Callable[[str, int, int], None]
"""Called with the name of a measurement, how much of it is finished, and how much there is."""


class Plan(Protocol):
    """One audit that can be measured, and extended, as `vaeaudit.plan` makes it."""

    @property
    def pairs(self) -> int:
        """Pairs first measured."""

    @property
    def most_pairs(self) -> int:
        """Pairs up to which it can be extended."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that determines the figures, as builtin types."""

    def report(
        self, pairs: int | None = None, *, checkpoint: Path | None = None, progress: Progress | None = None
    ) -> AuditReport:
        """Measure the first `pairs` pairs."""


class Auditor(Protocol):
    """What the plugin asks of whatever measures."""

    def weights(self, model: Any) -> str:
        """Fingerprint of a model's weights and buffers."""

    def plan(
        self, model: Any, images: Any, *, preset: str, pairs: Any, device: str | None, seed: int, most_pairs: int | None,
        strengths: Any, divergence: str, penalty: str, suppress: tuple[str, ...], **options: Any,
    ) -> Plan:  # fmt: skip
        """Plan an audit; arguments as `vaeaudit.plan`."""


class Library:
    """vaeaudit itself, imported when it is first asked."""

    def weights(self, model: Any) -> str:
        """Fingerprint of a model's weights and buffers."""
        import vaeaudit

        return vaeaudit.wrap(model).fingerprint()

    def plan(self, model: Any, images: Any, **options: Any) -> Plan:
        """Plan an audit."""
        import vaeaudit

        with _threads_shared():
            return _Shared(vaeaudit.plan(model, images, **options))


class _Shared:
    """A plan that measures with this worker's share of the machine's threads."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.pairs, self.most_pairs, self.identity = plan.pairs, plan.most_pairs, plan.identity

    def report(
        self, pairs: int | None = None, *, checkpoint: Path | None = None, progress: Progress | None = None
    ) -> AuditReport:
        with _threads_shared():
            return self.plan.report(pairs, checkpoint=checkpoint, progress=progress)


@contextmanager
def _threads_shared() -> Iterator[None]:
    """Under pytest-xdist, torch gets this worker's share of the cores: threads that compete cost manyfold."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers == 1 or "OMP_NUM_THREADS" in os.environ:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, (os.cpu_count() or 1) // workers)))
    try:
        yield
    finally:
        torch.set_num_threads(before)

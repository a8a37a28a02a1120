"""Processes that torch.distributed connects: `together`, and the line over gloo that it holds."""

from __future__ import annotations

import contextlib
import datetime
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

from vaeaudit.errors import OptionError, RanksError
from vaeaudit.processes.handshake import agreed_word
from vaeaudit.processes.ranks import Line, Ranks

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_PATIENCE = datetime.timedelta(days=1)
"""How long one process may measure while the others wait; one that dies closes its connections and is missed at once."""
_TO_COME = datetime.timedelta(minutes=10)
"""How long the others may take to come to `together`."""
_SHORTEST, _LONGEST = 0.0005, 0.05
"""Pauses between two looks at whether all have come, in seconds."""


@contextlib.contextmanager
def together(group: ProcessGroup | None = None) -> Iterator[Ranks]:
    """The processes of a torch.distributed job, for `audit(..., ranks=...)`; an error in the block ends it on all.

    Where the process group is initialised, with whichever backend, its processes take part. Otherwise it is, from what
    torchrun says in the environment, and is destroyed afterwards. A process that was started by itself
    is alone, and nothing is exchanged.

    What is exchanged are rows of finished measurements, numpy arrays in the host's memory. They go over gloo
    connections of their own, also between GPUs; a process group with NCCL stays as it is.

    Args:
        group: whose processes take part; None is all of them.

    Yields:
        The processes, for `ranks=`.

    Raises:
        RanksError: another process has failed, or is gone; the error of this one is raised as it is.
        OptionError: the environment speaks of a job that cannot be joined, or the group is one of others.
    """
    with _initialised():
        ranks = Ranks(_line_of(group))
        try:
            yield ranks
            ranks.meet()  # nobody leaves while another may still fail
        except RanksError:
            raise
        except BaseException as error:
            ranks.fail(error)
            raise


@contextlib.contextmanager
def _initialised() -> Iterator[None]:
    """The default process group: the caller's, or one that the environment describes, for as long as this lasts."""
    ready = distributed.is_available() and distributed.is_initialized()
    if ready or not _several(os.environ):
        yield
        return
    if not distributed.is_available():
        raise OptionError("WORLD_SIZE asks for several processes, and this build of torch has no torch.distributed")
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(rendezvous("env://"))
    word = agreed_word(_c10d().PrefixStore("vaeaudit", store), rank, size)
    fresh = _c10d().PrefixStore(f"vaeaudit/{word}", store)
    distributed.init_process_group("gloo", store=fresh, rank=rank, world_size=size)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _several(environment: Mapping[str, str]) -> bool:
    """Whether torchrun, or who else sets its variables, has started several processes.

    Raises:
        OptionError: they hold what is no number.
    """
    if any(not environment.get(name) for name in _NEEDED):
        return False
    for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"):
        if not environment[name].isdecimal():
            raise OptionError(f"{name} expects a whole number, as torchrun sets it, got {environment[name]!r}")
    return int(environment["WORLD_SIZE"]) > 1


def _line_of(group: ProcessGroup | None) -> Line | None:
    if not (distributed.is_available() and distributed.is_initialized()):
        return None
    own = distributed.get_rank()
    if distributed.get_rank(group) < 0:
        raise OptionError(f"rank {own} is not in the group; only the processes of a group share its audit")
    members = distributed.get_process_group_ranks(group or distributed.group.WORLD)
    return _Gloo(members, own) if len(members) > 1 else None


def _c10d() -> Any:
    """Where torch and its own packages take the store and gloo from; there is no public name for the store."""
    from torch.distributed import distributed_c10d

    return distributed_c10d


class _Gloo:
    """A line over gloo, and counters in the store by which the job's processes found each other.

    Attributes:
        rank: of this process among the members.
        size: how many there are.
    """

    def __init__(self, members: Sequence[int], own: int) -> None:
        self.rank, self.size = members.index(own), len(members)
        store = _c10d().PrefixStore(f"vaeaudit/{'-'.join(map(str, members))}", _c10d()._get_default_store())
        try:
            self._store = _c10d().PrefixStore(agreed_word(store, self.rank, self.size), store)
            # not `new_group`, which all the job's processes would have to call, or would name after its members alone
            self._gloo = _c10d().ProcessGroupGloo(self._store, self.rank, self.size, _TO_COME)
        except RuntimeError as error:
            raise self._lost(error) from error

    def gathered(self, said: bytes, *, failed: bool) -> list[tuple[bytes, bool]]:
        """Headers of all, then the words of those who have any, each as bytes of a tensor: nothing is unpickled."""
        own = torch.tensor([len(said), failed], dtype=torch.int64)
        headers = [torch.empty_like(own) for _ in range(self.size)]
        options = _c10d().AllgatherOptions()
        options.timeout = _PATIENCE
        self._finish(self._gloo.allgather([headers], [own], options))
        return [(self._words(rank, said, int(length)), bool(lost)) for rank, (length, lost) in enumerate(headers)]

    def _words(self, rank: int, said: bytes, length: int) -> bytes:
        if not length:
            return b""
        own = rank == self.rank
        words = torch.frombuffer(bytearray(said), dtype=torch.uint8) if own else torch.empty(length, dtype=torch.uint8)
        options = _c10d().BroadcastOptions()
        options.timeout, options.rootRank = _PATIENCE, rank
        self._finish(self._gloo.broadcast([words], options))
        return said if own else words.numpy().tobytes()

    def _finish(self, work: Any) -> None:
        """Wait for an exchange, open to signals, which a wait inside torch would hold back."""
        pause = _SHORTEST
        while not work.is_completed():
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST)
        try:
            work.wait()
        except RuntimeError as error:
            raise self._lost(error) from error

    def add(self, counter: str, amount: int) -> int:
        """A counter in the store."""
        try:
            return int(self._store.add(counter, amount))
        except RuntimeError as error:
            raise self._lost(error) from error

    def _lost(self, error: RuntimeError) -> RanksError:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return RanksError(
            f"a process of this audit is gone ({reason}); rows that were finished are kept, and the same command goes on "
            "from there, as torchrun does by itself with --max-restarts"
        )

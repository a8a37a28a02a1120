"""The processes that share an audit: what they tell each other, which of them takes what, and how an error ends all."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from vaeaudit.errors import RanksError

C = TypeVar("C")
_SHOWN = 8
"""Differences that a message names."""
_FAILED = "failed"


class Line(Protocol):
    """What connects the processes.

    Attributes:
        rank: of this one, from 0.
        size: how many there are.
    """

    rank: int
    size: int

    def gathered(self, said: bytes, *, failed: bool) -> list[tuple[bytes, bool]]:
        """What each process says and whether it has failed, by rank; waits for all of them.

        Raises:
            RanksError: one of them is gone.
        """

    def add(self, counter: str, amount: int) -> int:
        """Add to a counter that all share, from 0, and return what it then is."""


class Alone:
    """The line of a process that shares its audit with no other."""

    rank, size = 0, 1

    def __init__(self) -> None:
        self._counters: Counter[str] = Counter()

    def gathered(self, said: bytes, *, failed: bool) -> list[tuple[bytes, bool]]:
        """Its own words."""
        return [(said, failed)]

    def add(self, counter: str, amount: int) -> int:
        """A counter of its own."""
        self._counters[counter] += amount
        return self._counters[counter]


class Ranks:
    """The processes of an audit, which go through it in step: each plans all of it, and measures its share.

    They meet at the same places in the same order. One that has failed comes to the next meeting too, and there
    ends the audit for all of them, so that none waits for an answer that never comes.

    Args:
        line: between them; None is that of a process by itself.
    """

    def __init__(self, line: Line | None = None) -> None:
        self._line = Alone() if line is None else line
        self._meetings = 0
        self._between_meetings = True

    @property
    def rank(self) -> int:
        """Of this process, from 0."""
        return self._line.rank

    @property
    def size(self) -> int:
        """How many processes there are."""
        return self._line.size

    @property
    def first(self) -> bool:
        """Whether this is the process that shows progress and writes the report."""
        return self.rank == 0

    def meet(self, said: bytes = b"") -> list[bytes]:
        """What each process says here, by rank.

        Raises:
            RanksError: another one has failed, or is gone.
        """
        self._meetings += 1
        heard = self._gathered(said, failed=False)
        reasons = [f"rank {rank}: {text.decode()}" for rank, (text, failed) in enumerate(heard) if failed]
        if reasons:
            raise RanksError(f"the audit was ended by another process, {'; '.join(reasons)}")
        return [text for text, _ in heard]

    def told_by_first(self, said: str) -> str:
        """What the first process says here; what the others say is not heard.

        Raises:
            RanksError: another one has failed, or is gone.
        """
        return self.meet(said.encode())[0].decode()

    def fail(self, error: BaseException) -> None:
        """Tell the others, at their next meeting, that this process leaves with an error.

        One that was interrupted in the middle of a meeting cannot: the others miss it when it is gone.
        """
        if self._between_meetings:
            with contextlib.suppress(RanksError):  # they are gone already
                self._line.add(_FAILED, 1)
                self._gathered(f"{type(error).__name__}: {error}".encode(), failed=True)

    def _gathered(self, said: bytes, *, failed: bool) -> list[tuple[bytes, bool]]:
        self._between_meetings = False
        heard = self._line.gathered(said, failed=failed)
        self._between_meetings = True
        return heard

    def agree(self, facts: Mapping[str, object], remedy: str) -> None:
        """See that all processes hold the same facts.

        Args:
            facts: JSON values by name.
            remedy: what to do where they differ.

        Raises:
            RanksError: they do not; it names what differs.
        """
        digests = {name: digest(value) for name, value in facts.items()}
        heard: list[dict[str, str]] = [json.loads(text) for text in self.meet(json.dumps(digests).encode())]
        names = sorted({name for others in heard for name in others})
        apart = {name: _unlike_the_first([others.get(name) for others in heard]) for name in names}
        differing = [f"{name} (rank 0 and {_listed(ranks)})" for name, ranks in apart.items() if ranks]
        if differing:
            raise RanksError(f"the processes do not measure the same: they differ in {', '.join(differing)}; {remedy}")

    def claimed(self, chunks: Sequence[C]) -> Iterator[C]:
        """Chunks that this process takes: the next one that nobody has taken, as soon as it asks for it.

        A slow machine takes fewer. All ask with the same chunks, after the same meeting; once one has failed, no
        further chunk is handed out.
        """
        counter = f"{self._meetings}/taken"
        while not self._line.add(_FAILED, 0):
            taken = self._line.add(counter, 1)
            if taken > len(chunks):
                return
            yield chunks[taken - 1]

    def finished(self, amount: int) -> int:
        """Count rows that this process has finished since the last meeting, and return how many all have."""
        return self._line.add(f"{self._meetings}/finished", amount)


def digest(value: object) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _unlike_the_first(values: Sequence[str | None]) -> list[int]:
    return [rank for rank, value in enumerate(values) if value != values[0]]


def _listed(ranks: Sequence[int]) -> str:
    more = f" and {len(ranks) - _SHOWN} more" if len(ranks) > _SHOWN else ""
    return ", ".join(map(str, ranks[:_SHOWN])) + more

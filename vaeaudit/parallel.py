"""Chunks of work spread over workers, one thread each."""

from __future__ import annotations

import contextvars
import itertools
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TypeVar

C = TypeVar("C")
R = TypeVar("R")


def spread(chunks: Iterable[C], workers: Sequence[Callable[[C], R]]) -> Generator[tuple[C, R], None, None]:
    """Each chunk and what a worker made of it, as they are finished.

    A worker takes the next chunk as soon as it is free, in a thread of its own; a single one works in the calling
    thread, and begins a chunk only when it is asked for. Threads see the caller's context variables.

    Args:
        chunks: of work; the next is asked for when a worker is free.
        workers: each is called with one chunk at a time.

    Raises:
        BaseException: the first one that a worker raises, or who gives out the chunks. No chunk is begun after it, nor once the caller
            stops asking, and those under way are waited for.
    """
    if len(workers) == 1:
        yield from ((chunk, workers[0](chunk)) for chunk in chunks)
        return
    waiting, finished = iter(chunks), queue.SimpleQueue[tuple[C, R] | BaseException | None]()
    lock, stop = threading.Lock(), threading.Event()

    def taken() -> list[C]:
        with lock:
            return [] if stop.is_set() else list(itertools.islice(waiting, 1))

    def work(worker: Callable[[C], R]) -> None:
        try:
            for chunk in itertools.chain.from_iterable(iter(taken, [])):
                finished.put((chunk, worker(chunk)))
            finished.put(None)
        except BaseException as error:  # handed over to the caller
            stop.set()
            finished.put(error)

    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(work, worker), name=f"vaeaudit-{i}", daemon=True)
        for i, worker in enumerate(workers)
    ]
    try:
        for thread in threads:
            thread.start()
        at_work = len(threads)
        while at_work:
            result = finished.get()
            if isinstance(result, BaseException):
                raise result
            if result is None:
                at_work -= 1
            else:
                yield result
    finally:
        stop.set()
        _wait_for([thread for thread in threads if thread.ident is not None])


def _wait_for(threads: Sequence[threading.Thread]) -> None:
    """Join all, whatever comes meanwhile: threads that outlive the caller would go on with what is the caller's."""
    pending: KeyboardInterrupt | None = None
    for thread in threads:
        while thread.is_alive():
            try:
                thread.join()
            except KeyboardInterrupt as interrupt:
                pending = interrupt
    if pending is not None:
        raise pending

"""Data-parallel work on CPU threads, each with BLAS on one thread of its own.

NumPy lets go of the interpreter lock inside matrix products and ufuncs, so threads that each take a part of the batch
keep all cores busy with everything, not with the matrix products alone. The threads stay: handing work over takes tens
of microseconds.
"""

from __future__ import annotations

import contextvars
import os
import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from types import TracebackType
from typing import Any, Self, TypeVar

from threadpoolctl import ThreadpoolController

Result = TypeVar("Result")


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def blas_threads(count: int) -> AbstractContextManager[Any]:
    """Run BLAS on `count` threads, in every thread of the process, until the context is left."""
    limit: AbstractContextManager[Any] = _controller().limit(limits=count, user_api="blas")
    return limit


class Workers:
    """A fixed number of workers: the calling thread, and threads that wait for work.

    While it is open, BLAS runs on one thread a worker (with a single worker, BLAS is left as it is).

    Parameters
    ----------
    count : int, optional
        All cores that this process may use by default.

    Examples
    --------
    >>> with Workers(2) as workers:
    ...     workers.run(lambda worker: worker * 10)
    [0, 10]
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = available_cores() if count is None else count
        if self.count < 1:
            raise ValueError(f"Workers: expected at least one worker, got {count}")
        self._blas = blas_threads(1) if self.count > 1 else None
        if self._blas is not None:
            self._blas.__enter__()
        self._inboxes: list[queue.SimpleQueue[Any]] = [queue.SimpleQueue() for _ in range(self.count - 1)]
        self._busy = threading.Lock()
        self._threads = [
            threading.Thread(target=_serve, args=(inbox,), name=f"minivit-worker-{i}", daemon=True)
            for i, inbox in enumerate(self._inboxes, 1)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, function: Callable[[int], Result]) -> list[Result]:
        """`function(worker)` for every worker at the same time; the calling thread is worker 0.

        Returns
        -------
        list
            The results, in the order of the workers.

        Raises
        ------
        BaseException
            What a worker raised (the first of them, in the order of the workers), once all have ended. A
            `threading.BrokenBarrierError` comes last: it says only that another worker failed.
        RuntimeError
            If the workers are closed, or busy: a worker cannot hand work to its own colleagues.
        """
        if self._threads and not self._threads[0].is_alive():
            raise RuntimeError("Workers.run: these workers are closed; make new ones")
        if not self._busy.acquire(blocking=False):
            raise RuntimeError("Workers.run: the workers are busy; a worker cannot start work on its own colleagues")
        # Of this run alone: one that Ctrl-C cuts short leaves outcomes behind, which are none of the next one.
        outbox: queue.SimpleQueue[tuple[int, Any, BaseException | None]] = queue.SimpleQueue()
        try:
            for worker, inbox in enumerate(self._inboxes, 1):
                inbox.put((worker, contextvars.copy_context(), function, outbox))
            outcomes = [_attempt(0, function)]
            outcomes += [outbox.get() for _ in self._inboxes]
        finally:
            self._busy.release()
        outcomes.sort(key=lambda outcome: outcome[0])
        errors = [error for _, _, error in outcomes if error is not None]
        if errors:
            raise min(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError))
        return [result for _, result, _ in outcomes]

    def close(self) -> None:
        """End the threads and give BLAS its threads back."""
        for inbox in self._inboxes:
            inbox.put(None)
        for thread in self._threads:
            thread.join()
        if self._blas is not None:
            self._blas.__exit__(None, None, None)
            self._blas = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _serve(inbox: queue.SimpleQueue[Any]) -> None:
    while (work := inbox.get()) is not None:
        worker, context, function, outbox = work
        outcomes = [context.run(_attempt, worker, function)]
        # Before the caller hears of the end: it may then rely on nothing but its own references to its arrays.
        del work, context, function
        outbox.put(outcomes.pop())


def _attempt(worker: int, function: Callable[[int], Any]) -> tuple[int, Any, BaseException | None]:
    try:
        return worker, function(worker), None
    except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
        return worker, None, error

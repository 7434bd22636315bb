"""Memory of a process and of all that it started, while it works.

Proportional set size counts a page that several processes share in parts, so that the sum over the processes is the
memory that they take together: https://www.kernel.org/doc/html/latest/filesystems/proc.html
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

PROC = Path("/proc")


def process_tree(pid: int) -> list[int]:
    """The process and all that descend from it and are alive."""
    found, waiting = [], [pid]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        for children in PROC.glob(f"{pid}/task/*/children"):
            try:
                waiting += [int(child) for child in children.read_text(encoding="ascii").split()]
            except OSError:  # the thread or the process has ended
                continue
    return found


def proportional_set_size(pid: int) -> int:
    """Bytes of a process alone; 0 where it has ended, or the system does not tell."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


class PeakMemory:
    """Looks again and again, from a thread, at the memory of a process and its descendants.

    A look takes the kernel some milliseconds a gigabyte, in which the process cannot get memory: do not time it then.

    Parameters
    ----------
    pid : int
    interval : float
        Seconds between two looks.

    Attributes
    ----------
    bytes : int
        The largest sum that was seen so far.
    """

    def __init__(self, pid: int, interval: float = 0.01) -> None:
        self.pid, self.interval, self.bytes = pid, interval, 0
        self._compare = threading.Lock()  # a slow look of one thread must not overwrite a higher one of another
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def look(self) -> None:
        """Look once."""
        seen = sum(proportional_set_size(pid) for pid in process_tree(self.pid))
        with self._compare:
            self.bytes = max(self.bytes, seen)

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(self.interval)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.look()

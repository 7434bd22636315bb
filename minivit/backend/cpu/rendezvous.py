"""Where threads that each compute a part of one batch hand each other their sums.

A layer that looks at the whole batch, such as batch normalisation, needs sums over all of it, while every thread has
its own part alone. All threads run the same layers in the same order, so they meet: each leaves its value, waits for
the others, and reads all values in the order of the parts. Every thread then adds the same numbers in the same order,
and has the same bits.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _State(threading.local):
    part: BatchPart | None = None


_STATE = _State()


class Rendezvous:
    """A meeting place for the threads of one forward and backward.

    Parameters
    ----------
    parts : int
        How many threads meet, each with one part of the batch.
    """

    def __init__(self, parts: int) -> None:
        self.parts = parts
        self._barrier = threading.Barrier(parts)
        # Two sets in turn: who writes for the next meeting cannot overtake who still reads the last one.
        self._slots: tuple[list[Any], list[Any]] = ([None] * parts, [None] * parts)

    @contextmanager
    def part(self, index: int) -> Iterator[BatchPart]:
        """Compute part `index` in this thread inside the block.

        The parts leave the block together. An exception that leaves it ends the waiting of the others: each gets a
        `threading.BrokenBarrierError`, which `Workers.run` takes for the consequence that it is.
        """
        before = _STATE.part
        _STATE.part = part = BatchPart(self, index)
        try:
            yield part
            part.gather(None, "the end")  # or a part with one meeting more would wait for ever
        except BaseException:
            self._barrier.abort()
            raise
        finally:
            _STATE.part = before


class BatchPart:
    """One part of a split batch, as its thread sees it.

    Attributes
    ----------
    index : int
        From 0, in the order of the batch.
    """

    def __init__(self, rendezvous: Rendezvous, index: int) -> None:
        self.index = index
        self._rendezvous, self._meetings = rendezvous, 0

    def gather(self, value: Any, what: str) -> list[Any]:
        """The values of all parts, in their order; waits for all of them.

        Parameters
        ----------
        value
            Not to be written into afterwards.
        what : str
            What is exchanged: it has to be the same for all.

        Raises
        ------
        RuntimeError
            If the parts meet at different points of their work.
        threading.BrokenBarrierError
            If another part failed.
        """
        slots = self._rendezvous._slots[self._meetings % 2]
        self._meetings += 1
        slots[self.index] = (what, value)
        self._rendezvous._barrier.wait()
        met = list(slots)
        if any(other != what for other, _ in met):
            raise RuntimeError(
                f"the parts of a split batch have to run the same layers in the same order; part {self.index} is at "
                f"{what}, and all are at: {', '.join(other for other, _ in met)}"
            )
        return [value for _, value in met]

    def __repr__(self) -> str:
        return f"<part {self.index} of {self._rendezvous.parts}>"


def current_part() -> BatchPart | None:
    """The part of a split batch that this thread computes; None where the batch is in one piece."""
    return _STATE.part

"""Where the time of a step goes: every op, forward and backward, with the layer that it ran in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from minivit.autograd import Hook, Node, Op, Tensor, hooked
from minivit.autograd.state import STATE
from minivit.backend import backend_of
from minivit.inspect.multiply_adds import backward_multiply_adds, multiply_adds
from minivit.inspect.sizes import memory_of

OUTSIDE = ("forward", "backward", "rest")


@dataclass
class OpTime:
    """Some calls together: of an op in one direction, or of all ops of a layer.

    Attributes
    ----------
    calls : int
    seconds : float
        Without the time of ops that ran inside.
    bytes : int
        Of the outputs (forward) or of the gradients (backward) that were made: a view of an input makes none.
    multiply_adds : int
        Of the matrix products.
    product_seconds : float
        Part of the seconds, in ops that are matrix products or contain some.
    """

    calls: int = 0
    seconds: float = 0.0
    bytes: int = 0
    multiply_adds: int = 0
    product_seconds: float = 0.0

    def __iadd__(self, other: OpTime) -> Self:
        self.calls += other.calls
        self.seconds += other.seconds
        self.bytes += other.bytes
        self.multiply_adds += other.multiply_adds
        self.product_seconds += other.product_seconds
        return self


class Profiler(Hook):
    """Times every op of this thread. On a GPU it waits for the device around every op, so that each gets its own time.

    An op inside another, such as one that a checkpointed block runs again during the backward, is counted as itself.

    Attributes
    ----------
    records : dict of (str, str, Module or None) to OpTime
        By name of the op, direction (``"forward"`` or ``"backward"``), and the innermost module that the op ran in.
    outside : dict of str to float
        Seconds outside all ops. ``"forward"``: the layers' Python code between two ops. ``"backward"``: between the
        ops of a backward the walk over the graph, sums where gradients meet, their delivery to the parameters.
        ``"rest"``: before the first op and after the last, where a training step clips and updates.
    seconds : float
        Of the whole block, once it has ended: the seconds of all records, `outside`, and `own`.
    own : float
        What the profiler itself took.
    """

    def __init__(self) -> None:
        self.records: dict[tuple[str, str, Any], OpTime] = {}
        self.outside: dict[str, float] = dict.fromkeys(OUTSIDE, 0.0)
        self.seconds = self.own = 0.0
        self._running: list[_Running] = []
        self._begun = self._mark = time.perf_counter()  # _mark: the end of the last op, noted down
        self._direction: str | None = None  # of the last op
        self._wait: Callable[[], None] = lambda: None  # for the device of the last op

    @property
    def times(self) -> dict[tuple[str, str], OpTime]:
        """By name of the op and direction."""
        found: dict[tuple[str, str], OpTime] = {}
        for (name, direction, _), entry in self.records.items():
            found.setdefault((name, direction), OpTime())
            found[name, direction] += entry
        return found

    @property
    def total(self) -> OpTime:
        """All ops together."""
        found = OpTime()
        for entry in self.records.values():
            found += entry
        return found

    def before_forward(self, op: type[Op], inputs: tuple[Tensor | None, ...], attributes: dict[str, Any]) -> None:
        """Start the clock."""
        self._start("forward", tuple(x.data for x in inputs if x is not None))

    def after_forward(
        self, op: type[Op], inputs: tuple[Tensor | None, ...], output: Tensor, attributes: dict[str, Any]
    ) -> None:
        """Stop the clock."""
        running, seconds, now = self._stop()
        count = multiply_adds(op.name, [None if x is None else x.shape for x in inputs], output.shape)
        self._note((op.name, "forward", STATE.module), running, seconds, (output.data,), count, now)

    def before_backward(self, node: Node, output_gradient: Any) -> None:
        """Start the clock."""
        self._start("backward", (output_gradient,))

    def after_backward(self, node: Node, input_gradients: tuple[Any, ...]) -> None:
        """Stop the clock."""
        running, seconds, now = self._stop()
        shapes = [None if kept is None else kept.shape for kept in node.kept]
        made = [gradient is not None for gradient in input_gradients]
        count = backward_multiply_adds(node.op.name, shapes, node.shape, made)
        self._note((node.op.name, "backward", node.module), running, seconds, input_gradients, count, now)

    def begin(self) -> None:
        """Start the clock of the whole."""
        self._begun = self._mark = time.perf_counter()

    def end(self) -> None:
        """Stop the clock of the whole."""
        self._wait()
        now = time.perf_counter()
        self.outside["rest"] += now - self._mark
        self.seconds += now - self._begun

    def _start(self, direction: str, given: tuple[Any, ...]) -> None:
        arrays = [_array(value) for value in given]
        if arrays:
            self._wait = backend_of(arrays[0]).wait
        self._wait()
        now = time.perf_counter()
        if not self._running:
            self.outside[self._between(direction)] += now - self._mark
        self._direction = direction
        entry = _Running({memory_of(array)[0] for array in arrays})
        after = time.perf_counter()
        self.own += after - now
        if self._running:
            self._running[-1].inside += after - now
        entry.start = after
        self._running.append(entry)

    def _stop(self) -> tuple[_Running, float, float]:
        """What has ended, its own seconds, and when."""
        self._wait()
        now = time.perf_counter()
        running = self._running.pop()
        return running, now - running.start - running.inside, now

    def _note(
        self,
        key: tuple[str, str, Any],
        running: _Running,
        seconds: float,
        results: tuple[Any, ...],
        multiply_adds: int,
        now: float,
    ) -> None:
        made = {id(a): a for a in map(_array, results) if a is not None and memory_of(a)[0] not in running.given}
        size = sum(int(array.nbytes) for array in made.values())
        entry = self.records.setdefault(key, OpTime())
        entry += OpTime(1, seconds, size, multiply_adds, seconds if multiply_adds else 0.0)
        self._direction = key[1]
        self._mark = time.perf_counter()
        self.own += self._mark - now
        if self._running:
            self._running[-1].inside += self._mark - running.start

    def _between(self, direction: str) -> str:
        """Which time has just passed, from the last op to one of a direction."""
        if self._direction is None:
            return "rest"
        return "forward" if self._direction == direction == "forward" else "backward"

    def __str__(self) -> str:
        from minivit.inspect.profile_table import op_table

        return op_table(self)


class _Running:
    """An op that is running.

    Attributes
    ----------
    given : set of int
        Identities of the memory behind what it was given.
    start : float
    inside : float
        Seconds inside other ops.
    """

    __slots__ = ("given", "inside", "start")

    def __init__(self, given: set[int]) -> None:
        self.given, self.start, self.inside = given, 0.0, 0.0


@contextmanager
def profile() -> Iterator[Profiler]:
    """Time the ops of a block; print the profiler afterwards.

    Examples
    --------
    >>> import minivit as mv
    >>> with mv.inspect.profile() as profiler:
    ...     _ = mv.ops.exp(mv.tensor([1.0, 2.0]))
    >>> [(key, entry.calls) for key, entry in profiler.times.items()]
    [(('exp', 'forward'), 1)]
    """
    profiler = Profiler()
    with hooked(profiler):
        profiler.begin()
        try:
            yield profiler
        finally:
            profiler.end()


def _array(value: Any) -> Any:
    return value.data if isinstance(value, Tensor) else value

"""Where the time of a step goes, op by op."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from minivit.autograd import Hook, Node, Op, Tensor, hooked
from minivit.backend import backend_of


@dataclass
class OpTime:
    """All calls of one op in one direction.

    Attributes
    ----------
    calls : int
    seconds : float
        Without the time of ops that ran inside.
    bytes : int
        Of the outputs (forward) or of the gradients (backward).
    """

    calls: int = 0
    seconds: float = 0.0
    bytes: int = 0


class Profiler(Hook):
    """Times every op. On a GPU it waits for the device around every op, so that each gets its own time.

    What Python does between the ops (the layers' code, the walk) is in no op: compare with the step as a whole.

    Attributes
    ----------
    times : dict of (str, str) to OpTime
        By name of the op and direction, ``"forward"`` or ``"backward"``.
    """

    def __init__(self) -> None:
        self.times: dict[tuple[str, str], OpTime] = {}
        self._running: list[list[float]] = []  # [start, seconds inside other ops] of each op that is running

    def before_forward(self, op: type[Op], inputs: tuple[Tensor | None, ...], attributes: dict[str, Any]) -> None:
        """Start the clock."""
        self._start(next((x.data for x in inputs if x is not None), None))

    def after_forward(
        self, op: type[Op], inputs: tuple[Tensor | None, ...], output: Tensor, attributes: dict[str, Any]
    ) -> None:
        """Stop the clock."""
        self._stop(op.name, "forward", (output.data,))

    def before_backward(self, node: Node, output_gradient: Any) -> None:
        """Start the clock."""
        self._start(output_gradient)

    def after_backward(self, node: Node, input_gradients: tuple[Any, ...]) -> None:
        """Stop the clock."""
        self._stop(node.op.name, "backward", input_gradients)

    def _start(self, array: Any) -> None:
        _wait(array)
        self._running.append([time.perf_counter(), 0.0])

    def _stop(self, name: str, direction: str, results: tuple[Any, ...]) -> None:
        arrays = [r.data if isinstance(r, Tensor) else r for r in results if r is not None]
        for array in arrays[:1]:
            _wait(array)
        start, inside = self._running.pop()
        elapsed = time.perf_counter() - start
        if self._running:
            self._running[-1][1] += elapsed
        entry = self.times.setdefault((name, direction), OpTime())
        entry.calls += 1
        entry.seconds += elapsed - inside
        entry.bytes += sum(int(array.nbytes) for array in arrays)

    def __str__(self) -> str:
        total = sum(entry.seconds for entry in self.times.values())
        rows = sorted(self.times.items(), key=lambda item: -item[1].seconds)
        width = max([len(name) for name, _ in self.times] + [5])
        lines = [f"{'op':{width}s}  direction  calls   milliseconds   share    MB made"]
        lines += [
            f"{name:{width}s}  {direction:9s}  {entry.calls:5d}  {1e3 * entry.seconds:13.3f}  "
            f"{entry.seconds / total if total else 0:5.1%}  {entry.bytes / 1e6:9.2f}"
            for (name, direction), entry in rows
        ]
        return "\n".join([*lines, f"{'total':{width}s}  {'':9s}  {'':5s}  {1e3 * total:13.3f}"])


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
        yield profiler


def _wait(array: Any) -> None:
    """Let a GPU finish what it was given; nothing to wait for on the CPU."""
    array = array.data if isinstance(array, Tensor) else array
    if array is not None and (module := backend_of(array).module).__name__ == "cupy":
        module.cuda.get_current_stream().synchronize()

"""Norms of the gradients that come back along the edges of a drawn graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from minivit.autograd import Hook, Node
from minivit.backend import backend_of, to_host
from minivit.inspect.graph_parts import Carried


class GradientNorms(Hook):
    """Measures gradients as they pass, and keeps numbers only.

    Where one edge of the picture stands for several uses of a tensor, the norm is that of the sum: those gradients are
    held until the last of them has come.

    Parameters
    ----------
    nodes : mapping of Node to int
        The value that each node made.
    value_of : mapping of (int, int) to int
        The value that each (step, position) used.
    wanted : iterable of Carried
        The sets of uses whose norm is wanted.
    """

    def __init__(
        self, nodes: Mapping[Node, int], value_of: Mapping[tuple[int, int], int], wanted: Iterable[Carried]
    ) -> None:
        self._nodes, self._value_of = nodes, value_of
        self._squares: dict[Carried, float] = {}
        self._of_use: dict[tuple[int, int], list[Carried]] = {}
        self._open: dict[tuple[Carried, int], tuple[int, Any]] = {}  # uses of a value to come, sum of those that came
        for carried in dict.fromkeys(wanted):
            for use in carried:
                self._of_use.setdefault(use, []).append(carried)
                remaining, _ = self._open.get((carried, value_of[use]), (0, None))
                self._open[carried, value_of[use]] = remaining + 1, None
        self._outputs: dict[int, float] = {}

    def before_backward(self, node: Node, output_gradient: Any) -> None:
        """Measure the gradient of an op's output."""
        if node in self._nodes:
            self._outputs[self._nodes[node]] = _square(output_gradient) ** 0.5

    def after_backward(self, node: Node, input_gradients: tuple[Any, ...]) -> None:
        """Measure what an op hands back to each input."""
        step = self._nodes.get(node)
        if step is None:
            return  # run by the backward of an op that recomputes its inside
        for position, gradient in enumerate(input_gradients):
            use = step, position
            if gradient is not None and use in self._of_use:
                for carried in self._of_use[use]:
                    self._arrive(carried, self._value_of[use], gradient)

    def finish(self) -> None:
        """Count what came where not all came: some uses may not be on the way back."""
        for key, (_, total) in list(self._open.items()):
            if total is not None:
                self._close(key, total)

    def norm(self, carried: Carried) -> float | None:
        """The norm of all that came back along these uses; None if nothing did."""
        return self._squares[carried] ** 0.5 if carried in self._squares else None

    def of_output(self, value: int) -> float | None:
        """The norm of the gradient of what an op made."""
        return self._outputs.get(value)

    def _arrive(self, carried: Carried, value: int, gradient: Any) -> None:
        remaining, total = self._open[carried, value]
        total = gradient if total is None else backend_of(gradient).module.asarray(total + gradient)
        if remaining > 1:
            self._open[carried, value] = remaining - 1, total
        else:
            self._close((carried, value), total)

    def _close(self, key: tuple[Carried, int], total: Any) -> None:
        del self._open[key]
        self._squares[key[0]] = self._squares.get(key[0], 0.0) + _square(total)


def _square(gradient: Any) -> float:
    """Sum of squares in float64, whatever the dtype: the squares of float32 could leave its range."""
    xp = backend_of(gradient).module
    values = xp.abs(gradient).astype(xp.float64)
    return float(to_host(xp.asarray((values * values).sum())).item())

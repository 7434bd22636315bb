"""One hook protocol for the profiler, the NaN finder and the graph trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from minivit.autograd.state import STATE

if TYPE_CHECKING:
    from minivit.autograd.node import Node
    from minivit.autograd.op import Op
    from minivit.autograd.tensor import Tensor


class Hook:
    """Called around every op of the thread that set it; override what you need.

    In a forward the hook sees Tensors, in a backward the node and plain arrays (Tensors under ``create_graph=True``).
    Around what ops are part of, a module's forward or an op that is composed of primitives, the two calls come in
    pairs, also when an exception leaves it.
    """

    def before_forward(self, op: type[Op], inputs: tuple[Tensor | None, ...], attributes: dict[str, Any]) -> None:
        """Before an op's forward runs."""

    def after_forward(
        self, op: type[Op], inputs: tuple[Tensor | None, ...], output: Tensor, attributes: dict[str, Any]
    ) -> None:
        """After an op's forward has run; `output.node` is its node if the op was recorded."""

    def before_backward(self, node: Node, output_gradient: Any) -> None:
        """Before a node's backward runs."""

    def after_backward(self, node: Node, input_gradients: tuple[Any, ...]) -> None:
        """After a node's backward has run; one gradient an input, None where none is wanted."""

    def before_module(self, module: Any, inputs: tuple[Any, ...]) -> None:
        """Before a module's forward runs."""

    def after_module(self, module: Any) -> None:
        """After a module's forward has run."""

    def before_composed(self, op: type[Op], inputs: tuple[Tensor | None, ...], attributes: dict[str, Any]) -> None:
        """Before an op is built from primitives, under `unrolled`: what follows is its inside."""

    def after_composed(self, op: type[Op]) -> None:
        """After an op was built from primitives."""


@contextmanager
def hooked(*hooks: Hook) -> Iterator[None]:
    """Run a block with hooks set in this thread, inside those already set."""
    before = STATE.hooks
    STATE.hooks = (*before, *hooks)
    try:
        yield
    finally:
        STATE.hooks = before

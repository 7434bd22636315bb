"""A node of the tape: one recorded op.

Arrows run Tensor -> Node -> parent Nodes and leaves. A node never refers to its output, so no reference cycle can form
and a dropped graph disappears at once, without a garbage collector.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minivit.autograd.op import Op
    from minivit.autograd.tensor import Tensor
    from minivit.backend import Array, Kernel

_COUNTER = itertools.count()


class Node:
    """One recorded op.

    Attributes
    ----------
    op, attributes
        What ran, and with which keywords.
    edges : tuple of (Node, Tensor or None)
        For each input, where its gradient goes: the node that made it, the leaf itself, or None for a constant.
    constants : tuple of (array or None)
        The arrays of constant inputs: with them and the leaves, ``create_graph`` can recompute every value.
    kept : tuple
        For each input the array its backward needs, or a `Placeholder`.
    saved
        What the forward handed to its backward.
    kernel
        The kernel that ran, or None where the text did.
    sequence : int
        Creation counter. An op can only consume what exists, so creation order is a topological order.
    where : (str, int)
        The user's file and line.
    module
        The innermost `nn.Module` whose forward was running.
    versions : tuple
        For each input with an edge, its version when the op ran.
    """

    __slots__ = (
        "__weakref__",
        "attributes",
        "constants",
        "dtype",
        "edges",
        "freed",
        "kept",
        "kernel",
        "module",
        "op",
        "saved",
        "sequence",
        "shape",
        "versions",
        "where",
    )

    def __init__(
        self,
        op: type[Op],
        attributes: dict[str, Any],
        edges: tuple[Node | Tensor | None, ...],
        constants: tuple[Array | None, ...],
        kept: tuple[Any, ...],
        versions: tuple[int | None, ...],
        saved: Any,
        kernel: Kernel | None,
        output: Array,
        where: tuple[str, int],
        module: Any,
    ) -> None:
        self.op = op
        self.attributes = attributes
        self.edges = edges
        self.constants = constants
        self.kept = kept
        self.versions = versions
        self.saved = saved
        self.kernel = kernel
        self.shape = output.shape
        self.dtype = output.dtype
        self.sequence = next(_COUNTER)
        self.where = where
        self.module = module
        self.freed = False

    def free(self) -> None:
        """Drop every array and every arrow; a later backward through this node raises."""
        self.saved = None
        self.kept = ()
        self.constants = ()
        self.edges = ()
        self.freed = True

    def saved_arrays(self) -> list[Array]:
        """The distinct arrays that this node keeps alive for its backward (inputs kept and values saved)."""
        found: dict[int, Array] = {}
        stack = [*self.kept, self.saved]
        while stack:
            value = stack.pop()
            if isinstance(value, tuple | list) and not hasattr(value, "dtype"):
                stack.extend(value)
            elif hasattr(value, "nbytes"):
                found[id(value)] = value
        return list(found.values())

    def describe(self) -> str:
        """Name of the op and the user's line, for messages."""
        return f"{self.op.name} (called at {self.where[0]}:{self.where[1]})"

    def __repr__(self) -> str:
        return f"<Node {self.op.name} -> {self.shape} {self.dtype}>"

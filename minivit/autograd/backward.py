"""The backward walk: from one output to the gradients of what it was made from.

Reverse-mode differentiation carries, for each node, dL/d(output of the node). Nodes are visited in the reverse of the
order in which they were made; when a node's turn comes, all its consumers have been visited and its gradient is
complete. Its backward turns that gradient into one for each input, and those are added to what the inputs have so far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from operator import attrgetter
from typing import Any, overload

from minivit.autograd.apply import check_devices, output_of
from minivit.autograd.errors import GradientError, GraphFreedError
from minivit.autograd.node import Node
from minivit.autograd.node_backward import node_backward
from minivit.autograd.state import enable_grad, no_grad
from minivit.autograd.tensor import Tensor, as_tensor, is_scalar
from minivit.backend import Array, backend_of

Deliver = Callable[[Any, Any], None]


def backward(
    output: Tensor, grad_output: Any = None, *, retain_graph: bool = False, deliver: Deliver | None = None
) -> None:
    """Add the gradient of `output` to the `.grad` of every leaf: see `Tensor.backward`.

    Parameters
    ----------
    deliver : callable, optional
        Called with (leaf, gradient array) in place of adding to ``leaf.grad``. The array may be shared: copy or add,
        never write into it.
    """
    _require_gradient(output, "backward()")
    _walk(
        output,
        _cotangent(output, grad_output, create_graph=False),
        None,
        deliver or add_to_grad,
        create_graph=False,
        retain_graph=retain_graph,
    )


@overload
def grad(
    output: Tensor,
    inputs: Tensor,
    grad_output: Any = None,
    create_graph: bool = False,
    *,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> Tensor: ...


@overload
def grad(
    output: Tensor,
    inputs: Sequence[Tensor],
    grad_output: Any = None,
    create_graph: bool = False,
    *,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> tuple[Tensor, ...]: ...


def grad(
    output: Tensor,
    inputs: Tensor | Sequence[Tensor],
    grad_output: Any = None,
    create_graph: bool = False,
    *,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> Any:
    """Gradient of `output` with respect to `inputs`, leaving every `.grad` alone.

    Parameters
    ----------
    output : Tensor
    inputs : Tensor or sequence of Tensors
        Leaves, or tensors in the middle of the graph.
    grad_output : array or Tensor, optional
        Cotangent of the output's shape; 1 for an output of one element.
    create_graph : bool
        Make the gradients differentiable in turn: the backward texts run on Tensors, after recomputing every value
        from the leaves (so that a first-order graph need not keep more than its backward uses).
    retain_graph : bool, optional
        Keep the graph for another backward; by default as `create_graph`.
    allow_unused : bool
        Return None for an input that the output does not depend on, in place of raising.

    Returns
    -------
    Tensor or tuple of Tensors
        One for each input, of its shape and dtype; a single Tensor if `inputs` is one.

    Raises
    ------
    GradientError
        If an input does not require gradient or no gradient reaches it.
    """
    _require_gradient(output, "grad()")
    single = isinstance(inputs, Tensor)
    wanted: tuple[Tensor, ...] = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    for position, x in enumerate(wanted):
        if not x.requires_grad and not allow_unused:
            raise GradientError(
                f"grad(): input {position} {x.name or ''} does not require gradient; make it with requires_grad=True, "
                "or pass allow_unused=True to get None for it"
            )
    found: dict[Any, Any] = {}

    def collect(target: Any, gradient: Any) -> None:
        found[target] = gradient if target not in found else _sum(found[target], gradient)

    with enable_grad() if create_graph else nullcontext():  # sums of gradients are recorded too
        _walk(
            output,
            _cotangent(output, grad_output, create_graph),
            {x.source for x in wanted if x.requires_grad},
            collect,
            create_graph=create_graph,
            retain_graph=create_graph if retain_graph is None else retain_graph,
        )
    gradients = tuple(found.get(x.source) for x in wanted)
    for position, gradient in enumerate(gradients):
        if gradient is None and not allow_unused:
            raise GradientError(
                f"grad(): no gradient reaches input {position} {wanted[position].name or ''}: the output does not "
                "depend on it, or only through stop_gradient; pass allow_unused=True to get None for it"
            )
    results = tuple(None if g is None else as_tensor(g) for g in gradients)
    return results[0] if single else results


def add_to_grad(leaf: Tensor, gradient: Array) -> None:
    """Add to `leaf.grad`, never sharing memory with the array that came."""
    if leaf.grad is not None:
        if leaf.grad is leaf.gradient_buffer:
            leaf.grad += gradient
        else:
            leaf.grad = _sum(leaf.grad, gradient)
    elif leaf.gradient_buffer is not None:
        leaf.gradient_buffer[...] = gradient
        leaf.grad = leaf.gradient_buffer
    else:
        leaf.grad = gradient.copy()


def _require_gradient(output: Tensor, caller: str) -> None:
    if not output.requires_grad:
        raise GradientError(
            f"{caller} on a tensor that carries no gradient: none of its inputs has requires_grad=True, or it was made "
            "under no_grad() or behind stop_gradient()"
        )


def _cotangent(output: Tensor, grad_output: Any, create_graph: bool) -> Any:
    if grad_output is None:
        if output.size != 1:
            raise GradientError(
                f"the output has shape {output.shape}; a gradient is of one number: reduce it first (.sum(), .mean()) "
                "or pass grad_output of that shape"
            )
        grad_output = 1.0
    if is_scalar(grad_output) and output.size == 1:
        number = backend_of(output.data).module.full_like(output.data, grad_output)
        return Tensor(number) if create_graph else number
    cotangent = as_tensor(grad_output)
    check_devices("backward", output, cotangent)
    if cotangent.shape != output.shape or cotangent.dtype != output.dtype:
        raise GradientError(
            f"grad_output must have the output's shape and dtype, {output.shape} {output.dtype}; "
            f"got {cotangent.shape} {cotangent.dtype}"
        )
    return cotangent if create_graph else cotangent.data


def _walk(
    output: Tensor,
    cotangent: Any,
    targets: set[Any] | None,
    deliver: Deliver,
    *,
    create_graph: bool,
    retain_graph: bool,
) -> None:
    """Visit the nodes behind `output` in reverse creation order and deliver the gradients of leaves (or of `targets`).

    Iterative, so depth is no limit; it goes only where a wanted gradient lies.
    """
    root = output.source
    if isinstance(root, Tensor):  # a leaf: its gradient is the cotangent
        if targets is None or output in targets:
            deliver(output, cotangent)
        return
    nodes = _behind(root)  # ascending
    leading = set() if targets is None else _leading_to(nodes, targets)

    values = _recompute(nodes) if create_graph else {}
    # For each node its gradient so far, and whether that array is ours to add to. The first contribution is taken as it
    # is (it may be shared), the second makes a new array, later ones are added in place.
    pending: dict[Node, tuple[Any, bool]] = {root: (cotangent, False)}
    while nodes:
        node = nodes.pop()
        dy, _ = pending.pop(node, (None, False))
        if dy is not None:
            if targets is not None and node in targets:
                deliver(node, dy)
            if targets is None or node in leading:
                edges = node.edges
                if targets is None:
                    wanted = tuple([edge is not None for edge in edges])
                else:
                    wanted = tuple([edge in targets or edge in leading for edge in edges])
                gradients = node_backward(node, dy, wanted, values if create_graph else None)
                if not retain_graph:
                    node.free()
                for edge, want, gradient in zip(edges, wanted, gradients, strict=True):
                    if not want or gradient is None:
                        continue
                    if type(edge) is Node:
                        _accumulate(pending, edge, gradient)
                    else:
                        deliver(edge, gradient)
                continue
        if not retain_graph:
            node.free()


def _behind(root: Node) -> list[Node]:
    """Every node that `root` was made from, itself included, in creation order."""
    seen = {root}
    stack = [root]
    while stack:
        node = stack.pop()
        if node.freed:
            raise GraphFreedError(
                f"backward through {node.describe()} a second time: what its forward saved was freed by the first "
                "backward. Pass retain_graph=True to the first one, or run the forward again"
            )
        for edge in node.edges:
            if type(edge) is Node and edge not in seen:
                seen.add(edge)
                stack.append(edge)
    return sorted(seen, key=attrgetter("sequence"))


def _leading_to(nodes: list[Node], targets: set[Any]) -> set[Any]:
    """Those of the nodes (ascending) from which a path reaches a target."""
    leading: set[Any] = set()
    for node in nodes:
        if any(edge in targets or edge in leading for edge in node.edges):
            leading.add(node)
    return leading


def _recompute(nodes: list[Node]) -> dict[Node, Array]:
    """The output of every node, computed again from the leaves and the constants."""
    values: dict[Node, Array] = {}
    with no_grad():
        for node in nodes:
            arrays = _input_arrays(node, values)
            backend = backend_of(next(a for a in arrays if a is not None))
            value = output_of(node.op.forward(backend.F, *arrays, **node.attributes))
            values[node] = value if node.op.changes_device else backend.module.asarray(value)
    return values


def _input_arrays(node: Node, values: dict[Node, Array]) -> list[Array | None]:
    return [
        constant if edge is None else values[edge] if isinstance(edge, Node) else edge.data
        for edge, constant in zip(node.edges, node.constants, strict=True)
    ]


def _accumulate(pending: dict[Node, tuple[Any, bool]], node: Node, gradient: Any) -> None:
    if node not in pending:
        pending[node] = (gradient, False)
        return
    total, owned = pending[node]
    if owned and not isinstance(total, Tensor):
        total += gradient
    else:
        total = _sum(total, gradient)
    pending[node] = (total, True)


def _sum(total: Any, gradient: Any) -> Any:
    """Their sum in memory of its own; a 0-d array stays one."""
    result = total + gradient
    return result if isinstance(result, Tensor) else backend_of(result).module.asarray(result)

"""The backward of one node: by its kernel, its text on arrays or its text on Tensors; and what may be wrong with it."""

from __future__ import annotations

from typing import Any

from minivit.autograd.apply import tensor_namespace
from minivit.autograd.errors import GradientError, ModifiedInPlaceError
from minivit.autograd.node import Node
from minivit.autograd.op import Op, Placeholder
from minivit.autograd.state import STATE, enable_grad
from minivit.autograd.tensor import Tensor
from minivit.backend import Array, backend_of


def node_backward(node: Node, dy: Any, wanted: tuple[bool, ...], values: dict[Node, Array] | None) -> tuple[Any, ...]:
    """The gradients of a node's inputs.

    Parameters
    ----------
    node : Node
    dy : array, or Tensor where `values` are given
        Its output's gradient, complete.
    wanted : tuple of bool
        Which inputs need theirs.
    values : dict of Node to array, or None
        Every node's output, for a backward that is itself recorded: it then runs on Tensors.
    """
    op, kernel, hooks = node.op, node.kernel, STATE.hooks
    for hook in hooks:
        hook.before_backward(node, dy)
    if op.backward is Op.backward:
        raise GradientError(f"{node.describe()} has no backward; give {op.__name__} one, or stop the gradient")
    options = node.attributes
    if op.takes_wanted or (kernel is not None and values is None):
        options = {**options, "wanted": wanted}
    try:
        if values is not None:
            gradients = _backward_on_tensors(node, dy, values, options)
        else:
            _check_versions(node)
            if kernel is not None:
                gradients = kernel.backward(dy, node.saved, *node.kept, **options)
            else:
                gradients = op.backward(backend_of(dy).F, dy, node.saved, *node.kept, **options)
            if not node.shape:  # arithmetic on 0-d arrays gives NumPy scalars
                xp = backend_of(dy).module
                gradients = tuple(None if g is None else xp.asarray(g) for g in gradients)
        _check_gradients_fit(node, gradients, wanted)
    except Exception as error:
        error.add_note(f"in the backward of {node.describe()}")
        raise
    for hook in hooks:
        hook.after_backward(node, gradients)
    return gradients


def _backward_on_tensors(node: Node, dy: Tensor, values: dict[Node, Array], options: dict[str, Any]) -> tuple[Any, ...]:
    """The backward text on Tensors: its result is itself recorded, which is the second-order gradient."""
    F = tensor_namespace()
    inputs: list[Tensor | None] = []
    for edge, constant in zip(node.edges, node.constants, strict=True):
        if edge is None:
            inputs.append(None if constant is None else Tensor(constant))
        elif isinstance(edge, Node):
            inputs.append(Tensor(values[edge], requires_grad=True, node=edge))
        else:
            inputs.append(edge)
    with enable_grad():
        result = node.op.forward(F, *inputs, **node.attributes)
        saved = result[1] if isinstance(result, tuple) else None
        gradients: tuple[Any, ...] = node.op.backward(F, dy, saved, *inputs, **options)
    return gradients


def _check_versions(node: Node) -> None:
    """Raise if a leaf whose values this node needs (or has handed on as a view) was written to since."""
    for edge, kept, version in zip(node.edges, node.kept, node.versions, strict=True):
        if not isinstance(edge, Tensor) or edge.version == version:
            continue
        if node.op.shares_memory or not isinstance(kept, Placeholder):
            raise ModifiedInPlaceError(
                f"{edge.name or 'a leaf'} was changed after {node.describe()} used it, so its gradient would be wrong; "
                "run backward before the optimiser's step, or the forward again"
            )


def _check_gradients_fit(node: Node, gradients: Any, wanted: tuple[bool, ...]) -> None:
    if not isinstance(gradients, tuple) or len(gradients) != len(node.edges):
        raise GradientError(
            f"the backward of {node.op.name} must return a tuple with one gradient for each of its {len(node.edges)} "
            f"inputs, got {type(gradients).__name__}"
            + (f" of {len(gradients)}" if isinstance(gradients, tuple) else "")
        )
    for position, (edge, want, gradient) in enumerate(zip(node.edges, wanted, gradients, strict=True)):
        if not want or gradient is None or edge is None:
            continue
        if gradient.shape != edge.shape or (gradient.dtype is not edge.dtype and gradient.dtype != edge.dtype):
            raise GradientError(
                f"the backward of {node.op.name} returned for input {position} a gradient of {gradient.dtype} "
                f"{gradient.shape}; the input is {edge.dtype} {edge.shape} (a missing F.sum_to, or a promotion)"
            )

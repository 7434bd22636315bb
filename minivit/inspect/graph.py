"""The graph of a function, drawn: what ran, what it keeps for the backward, which gradients come back and where not."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minivit.autograd import Tensor, backward, enable_grad, hooked, unrolled
from minivit.files import write_text
from minivit.inspect.graph_norms import GradientNorms
from minivit.inspect.graph_parts import Parts, parts_of
from minivit.inspect.graph_picture import picture_of
from minivit.inspect.graph_routes import Route, routes_of
from minivit.inspect.graph_svg import svg_of
from minivit.inspect.graph_text import Norm
from minivit.inspect.graph_trace import Trace
from minivit.inspect.sizes import bytes_text
from minivit.nn import Module
from minivit.nn.randomness import current_keys, restored_keys


@dataclass(frozen=True)
class Graph:
    """A drawn graph. Notebooks show it by themselves.

    Attributes
    ----------
    nodes : list of dict
        What is drawn, as plain data: ``id``; ``kind``, one of input, parameter, weights (parameters that several calls
        of a module share), constant, op, module, group (a module or op that is opened), stop, cut (a gradient ends
        without a stop-gradient; ``name`` says how), output; ``name``; ``shapes`` and ``dtype`` of what it puts out;
        ``state``, one of living, behind (every way to the output crosses a stop or a cut), constant (nothing asked a
        gradient of it); ``kept_bytes``; ``gradient_norm``, of the gradient of what it puts out; ``ops`` that it stands
        for; ``parameters``, the number of their values; ``attributes``; ``group``, the node around it; ``where``, the
        user's file and line.
    edges : list of dict
        ``source`` and ``target``, by id; ``state``; ``gradient_norm``, of what comes back along it.
    kept_bytes : int
        What the whole graph keeps for its backward, besides parameters and inputs.
    svg : str
    """

    nodes: list[dict[str, Any]]
    edges: list[dict[str, Any]]
    kept_bytes: int
    svg: str

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the SVG to a file, under a temporary name first: a reader sees a whole picture or none."""
        write_text(path, self.svg)
        return Path(path)

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<Graph of {len(self.nodes)} nodes and {len(self.edges)} edges>"


def draw_graph(
    fn: Callable[..., Tensor],
    *inputs: Any,
    open: str | Iterable[str] = (),
    depth: int | None = 0,
    names: Sequence[str] | None = None,
    gradients: bool = True,
    grad_output: Any = None,
    title: str | None = None,
    max_nodes: int = 300,
) -> Graph:
    """Run a function and draw the graph that it really built.

    Ops, shapes, the bytes that each keeps for the backward, and on every edge the norm of the gradient that comes back
    along it. A stop-gradient is a red bar, and everything that reaches the output only across it is grey; so is what
    ran under `minivit.no_grad`, with a bar where it enters what was recorded. Nothing is left behind: no `.grad` is
    written to, no random mask used up, and no array outlives the function because it was watched.

    Parameters
    ----------
    fn : callable
        Takes the inputs, returns a Tensor. A module does as well.
    *inputs : Tensor, array or anything
        What `fn` is called with. A Tensor counts as a leaf: what made it is not drawn.
    open : str or iterable of str
        Names of ops to open into the primitives that their forward is written in, such as ``"kl_divergence"``, or
        ``"all"``.
    depth : int or None
        How many levels of modules to open: 0 draws each call of a model as one box. None draws no modules, only ops.
    names : sequence of str, optional
        Of the inputs; by default as `fn` calls them.
    gradients : bool
        Run the backward too.
    grad_output : array or Tensor, optional
        Cotangent of the output; 1 for an output of one element. Without it an output of several has no gradients drawn.
    title : str, optional
        By default the call, such as ``uda(labelled, original, augmented)``.
    max_nodes : int
        More are refused: nobody could read them.

    Returns
    -------
    Graph

    Raises
    ------
    TypeError
        If `fn` does not return a Tensor.
    ValueError
        For a name in `open` that `fn` does not run, `names` that are too few or too many, a negative depth, or a graph
        of more than `max_nodes`.

    Examples
    --------
    >>> import minivit as mv
    >>> x = mv.tensor([1.0, 2.0], requires_grad=True)
    >>> graph = mv.inspect.draw_graph(lambda x: (x * mv.stop_gradient(x)).sum(), x)
    >>> [node["name"] for node in graph.nodes if node["kind"] in ("op", "stop")]
    ['stop_gradient', 'multiply', 'sum', 'reshape']
    """
    if depth is not None and depth < 0:
        raise ValueError(f"draw_graph: depth is a number of levels, 0 or more, or None for ops only; got {depth}")
    called = _names_of(fn, inputs, names)
    opened = (open,) if isinstance(open, str) else tuple(open)
    trace = Trace()
    arguments = [_as_leaf(x) for x in inputs]
    trace.add_inputs(arguments, called)
    opening: AbstractContextManager[None] = nullcontext()
    if opened:
        opening = unrolled() if "all" in opened else unrolled(*opened)
    with enable_grad(), hooked(trace), restored_keys(current_keys()), opening:
        output = fn(*arguments)
    if not isinstance(output, Tensor):
        raise TypeError(
            f"draw_graph: {_name_of(fn)} must return the Tensor whose graph is drawn, got {type(output).__name__}; "
            "of several results return one"
        )
    _check_opened(trace, opened)
    trace.measure()
    ends_in = output.size == 1 and f"{output.item():.4g}"
    parts = parts_of(trace, trace.index_of(output), depth, f"output {ends_in}" if ends_in else "output")
    if len(parts.boxes) > max_nodes:
        raise ValueError(
            f"draw_graph: {len(parts.boxes):,} nodes are more than a picture can show (max_nodes={max_nodes}); draw "
            "each call of a module as one (depth=0), open fewer ops, draw a part of the function, or raise max_nodes"
        )
    routes = routes_of(parts)
    norms: GradientNorms | None = None
    if gradients and output.requires_grad and (output.size == 1 or grad_output is not None):
        norms = _norms_of(trace, parts, routes)
        with hooked(norms):
            backward(output, grad_output, retain_graph=trace.has_past, deliver=lambda _leaf, _gradient: None)
        norms.finish()
    norm: Norm = norms.norm if norms is not None else lambda _carried: None
    kept = sum(box.kept_bytes for box in parts.boxes if box.kind in ("op", "module"))
    heading = title if title is not None else f"{_name_of(fn)}({', '.join(called)})"
    summary = f"{parts.ops} ops, {bytes_text(kept)} kept for the backward"
    svg = svg_of(picture_of(parts, routes, norm), parts, norm, heading, summary)
    nodes, edges = _data(parts, norms)
    return Graph(nodes, edges, kept, svg)


def _as_leaf(x: Any) -> Any:
    return Tensor(x.data, x.requires_grad, name=x.name) if isinstance(x, Tensor) and x.node is not None else x


def _name_of(fn: Callable[..., Any]) -> str:
    name = getattr(fn, "__name__", type(fn).__name__)
    return "fn" if name == "<lambda>" else name


def _names_of(fn: Callable[..., Any], inputs: Sequence[Any], names: Sequence[str] | None) -> list[str]:
    if names is not None:
        if len(names) != len(inputs):
            raise ValueError(f"draw_graph: {len(inputs)} inputs need as many names, got {list(names)}")
        return list(names)
    try:
        parameters = inspect.signature(fn.forward if isinstance(fn, Module) else fn).parameters.values()
    except (TypeError, ValueError):  # a function written in C may not say
        parameters = {}.values()
    known = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [known[i] if i < len(known) else f"input {i}" for i in range(len(inputs))]


def _check_opened(trace: Trace, opened: tuple[str, ...]) -> None:
    composed = {frame.name for frame in trace.frames if frame.kind == "op"}
    ops = [value for value in trace.values if value.kind == "op"]
    for name in opened:
        if name == "all" or name in composed:
            continue
        if any(op.name == name for op in ops):
            raise ValueError(f"draw_graph: {name} is a primitive, there is nothing in it to open")
        outside = {op.name for op in ops if all(trace.frames[index].kind == "module" for index in op.frames)}
        raise ValueError(f"draw_graph: no op {name!r} ran; there were {', '.join(sorted(composed | outside))}")


def _norms_of(trace: Trace, parts: Parts, routes: list[Route]) -> GradientNorms:
    wanted = [route.carried for route in routes] + [edge.carried for edge in parts.edges]
    wanted += [parts.all_carried_from(values) for box in parts.boxes for values in (box.values, box.folded)]
    value_of = {(use.step, use.position): use.value for value in trace.values for use in value.uses}
    return GradientNorms(trace.nodes, value_of, wanted)


def _data(parts: Parts, norms: GradientNorms | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The boxes and the edges as plain data."""

    def norm(values: Sequence[int]) -> float | None:
        if norms is None:
            return None
        made = norms.of_output(values[0]) if len(values) == 1 else None
        return made if made is not None else norms.norm(parts.all_carried_from(values))

    nodes = []
    for box in parts.boxes:
        values = [parts.values[index] for index in box.values]
        last = values[-1] if values else None
        learned = values if box.kind in ("parameter", "weights") else [parts.values[index] for index in box.folded]
        nodes.append(
            {
                "id": box.key,
                "kind": box.kind,
                "name": box.title,
                "shapes": [list(shape) for shape in box.output_shapes] or [list(value.shape) for value in values[-1:]],
                "dtype": last.dtype if last is not None else None,
                "state": box.state,
                "kept_bytes": box.kept_bytes,
                "gradient_norm": None if box.kind in ("module", "group", "cut") else norm(box.values),
                "ops": [value.name for value in values if value.kind == "op" and box.kind in ("op", "stop", "module")],
                "parameters": sum(math.prod(value.shape) for value in learned),
                "attributes": box.attributes,
                "group": box.group,
                "where": list(last.where) if last is not None else None,
            }
        )
    edges = [
        {
            "source": edge.source,
            "target": edge.target,
            "state": edge.state,
            "gradient_norm": None if norms is None else norms.norm(edge.carried),
        }
        for edge in parts.edges
    ]
    return nodes, edges

"""A model as a tree: shapes, parameters, multiply-adds, bytes kept for the backward, all measured in one forward.

A multiply-add is one multiplication with one addition inside a matrix product or convolution, which is what papers call
a MAC (and some, a FLOP). The pointwise work of norms, GELU and softmax is not counted, as is the custom.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minivit.autograd import Hook, Node, Op, Tensor, enable_grad, hooked
from minivit.autograd.state import STATE
from minivit.backend import backend_for_device
from minivit.inspect.multiply_adds import multiply_adds
from minivit.inspect.sizes import Shape, bytes_text, memory_of, shape_text
from minivit.nn import Module, frozen_running_statistics
from minivit.nn.randomness import current_keys, restored_keys


@dataclass
class Layer:
    """A module of the tree, or a parameter that stands directly in a module with others below it.

    Attributes
    ----------
    name : str
        Its own part of the full name.
    kind : str
        Class name.
    shape : tuple of int or None
        Of what it returned; None if nothing ran in it by itself (its parameters are used by a fused op outside).
    parameters, multiply_adds, kept_bytes : int
        Of everything in it.
    children : list of Layer
    """

    name: str
    kind: str
    shape: Shape | None
    parameters: int
    multiply_adds: int
    kept_bytes: int
    children: list[Layer] = field(default_factory=list)


@dataclass
class Summary:
    """What `summarize` measured; `str` draws the tree.

    Attributes
    ----------
    input_shape : tuple of int
    layer : Layer
        The model.
    parameter_bytes : int
    """

    input_shape: Shape
    layer: Layer
    parameter_bytes: int

    @property
    def parameters(self) -> int:
        """Values in all parameters."""
        return self.layer.parameters

    @property
    def multiply_adds(self) -> int:
        """Of one forward."""
        return self.layer.multiply_adds

    @property
    def kept_bytes(self) -> int:
        """What the graph of one forward keeps alive for its backward, besides parameters and input."""
        return self.layer.kept_bytes

    def text(self, expand: bool = False) -> str:
        """The tree as a table.

        Parameters
        ----------
        expand : bool
            Show each of several equal neighbours, such as the blocks, in place of the first with their number.
        """
        header = ("module", "layer", "output", "parameters", "multiply-adds", "kept for backward")
        rows = [header, *_rows(self.layer, "", "", expand)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
        lines = []
        for row in rows:
            left = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
            right = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
            lines.append("  ".join([*left, *right]).rstrip())
        rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
        total = (
            f"input {shape_text(self.input_shape)}: {self.parameters:,} parameters "
            f"({bytes_text(self.parameter_bytes)}), {self.multiply_adds:,} multiply-adds, "
            f"{bytes_text(self.kept_bytes)} kept for the backward"
        )
        return "\n".join([lines[0], rule, *lines[1:], rule, total])

    def __str__(self) -> str:
        return self.text()


class _Recorder(Hook):
    """Notes for every module what ran in it."""

    def __init__(self) -> None:
        self.shapes: dict[int, tuple[int, Shape]] = {}  # by id of the innermost module: (moment, shape)
        self.multiply_adds: dict[int, int] = {}
        self.moment = 0

    def after_forward(
        self, op: type[Op], inputs: tuple[Tensor | None, ...], output: Tensor, attributes: dict[str, Any]
    ) -> None:
        key = id(STATE.module)
        self.moment += 1
        self.shapes[key] = (self.moment, output.shape)
        count = multiply_adds(op.name, [None if x is None else x.shape for x in inputs], output.shape)
        self.multiply_adds[key] = self.multiply_adds.get(key, 0) + count


def summarize(model: Module, input_shape: Shape | None = None, title: str | None = None) -> Summary:
    """Run one forward of zeros under a hook and note what every module did.

    Parameters
    ----------
    model : Module
        Runs in training mode, so that what is kept is what training keeps; it is left as it was.
    input_shape : tuple of int, optional
        One image, (1, C, H, W), of the model's `input_size` by default.
    title : str, optional
        Name of the model in the first line.

    Returns
    -------
    Summary
    """
    if input_shape is None:
        input_size = getattr(model, "input_size", None)  # (C, H, W)
        if input_size is None:
            raise ValueError(f"summarize: give the input_shape of {type(model).__name__}, which has no input_size")
        input_shape = (1, *input_size)
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    images = Tensor(backend_for_device(model.device).from_host(np.zeros(input_shape, dtype), model.device))
    recorder = _Recorder()
    training = model.training
    model.train()
    try:
        # No mask of a run is used up, no running mean moved.
        with enable_grad(), hooked(recorder), restored_keys(current_keys()), frozen_running_statistics():
            output = model(images)
    finally:
        model.train(training)
    excluded = {memory_of(p.data)[0] for p in model.parameters()} | {memory_of(images.data)[0]}
    kept = _kept_bytes(output, excluded)
    layer, _ = _layer(model, title or "model", recorder, kept, set())
    size = sum(p.size * p.dtype.itemsize for p in model.parameters())
    return Summary(tuple(input_shape), layer, size)


def _kept_bytes(output: Tensor, excluded: set[int]) -> dict[int, int]:
    """For each module (by id), the bytes of the arrays that its nodes are the first to keep."""
    found: dict[int, int] = {}
    seen = set(excluded)
    nodes = [output.node] if output.node is not None else []
    visited: set[Node] = set(nodes)
    while nodes:
        node = nodes.pop()
        nodes += (new := {edge for edge in node.edges if isinstance(edge, Node)} - visited)
        visited |= new
    for node in sorted(visited, key=lambda node: node.sequence):
        for array in (*node.saved_arrays(), *(constant for constant in node.constants if constant is not None)):
            key, size = memory_of(array)
            if key not in seen:
                seen.add(key)
                found[id(node.module)] = found.get(id(node.module), 0) + size
    return found


def _layer(
    module: Module, name: str, recorder: _Recorder, kept: dict[int, int], counted: set[int]
) -> tuple[Layer, tuple[int, Shape] | None]:
    """The tree below a module, and when and with which shape something last ran in it."""
    key = id(module)
    last = recorder.shapes.get(key)
    layer = Layer(name, type(module).__name__, None, 0, recorder.multiply_adds.get(key, 0), kept.get(key, 0))
    children = list(module.named_children())
    inside = {id(parameter) for _, child in children for parameter in child.parameters()}
    for own_name, parameter in module.named_parameters():
        if id(parameter) in inside | counted:
            continue
        counted.add(id(parameter))  # a parameter that two modules share counts once
        layer.parameters += parameter.size
        if children:
            layer.children.append(Layer(own_name, "Parameter", parameter.shape, parameter.size, 0, 0))
    for child_name, child in children:
        below, moment = _layer(child, child_name, recorder, kept, counted)
        if moment is None and not below.parameters:
            continue  # nothing in it and nothing done: a dropout of rate 0
        layer.children.append(below)
        layer.parameters += below.parameters
        layer.multiply_adds += below.multiply_adds
        layer.kept_bytes += below.kept_bytes
        if moment is not None and (last is None or moment > last):
            last = moment
    layer.shape = None if last is None else last[1]
    return layer, last


def _rows(layer: Layer, lead: str, below: str, expand: bool) -> Iterator[tuple[str, ...]]:
    yield (
        lead + layer.name,
        layer.kind,
        shape_text(layer.shape) if layer.shape is not None else "",
        f"{layer.parameters:,}" if layer.parameters else "",
        f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
        bytes_text(layer.kept_bytes) if layer.kept_bytes else "",
    )
    groups = _groups(layer.children, expand)
    for index, group in enumerate(groups):
        last = index == len(groups) - 1
        rows = list(_rows(group[0], below + ("└ " if last else "├ "), below + ("  " if last else "│ "), expand))
        if len(group) > 1:
            first = rows[0]
            label = f"{below}{'└ ' if last else '├ '}{group[0].name} … {group[-1].name}"
            rows[0] = (label, f"{len(group)} × {first[1]}, each:", *first[2:])
        yield from rows


def _groups(layers: list[Layer], expand: bool) -> list[list[Layer]]:
    """Neighbours that differ in nothing but their number, together."""
    groups: list[list[Layer]] = []
    for layer in layers:
        if groups and not expand and layer.name.split(".")[-1].isdigit() and _same(groups[-1][-1], layer):
            groups[-1].append(layer)
        else:
            groups.append([layer])
    return groups


def _same(a: Layer, b: Layer, nested: bool = False) -> bool:
    return (
        (a.kind, a.shape, a.parameters, a.multiply_adds, a.kept_bytes)
        == (b.kind, b.shape, b.parameters, b.multiply_adds, b.kept_bytes)
        and (not nested or a.name == b.name)
        and len(a.children) == len(b.children)
        and all(_same(x, y, True) for x, y in zip(a.children, b.children, strict=True))
    )

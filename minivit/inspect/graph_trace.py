"""What ran, and how it hangs together: the structure of a function's graph, without a single array.

A node of the tape knows what is before it, but a stop-gradient has no arrow to what it cut off, and what ran under
`no_grad` has no node at all. So structure is written down while the function runs. Tensors and arrays are known here
only by weak references: everything dies when it would have died unseen.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minivit.autograd import Hook, Node, Op, Tensor
from minivit.autograd.state import user_line
from minivit.backend import to_host
from minivit.inspect.sizes import Shape, memory_of
from minivit.nn import Module, Parameter


class Use(NamedTuple):
    """A value that went into an op.

    Attributes
    ----------
    value : int
        Which one.
    step, position : int
        The op's value, and which of its inputs this is.
    name : str
        What the op calls that input.
    flows : bool
        Whether the op hands a gradient back to it.
    as_array : bool
        True if it came as the bare array of a tensor, which leaves that tensor's history behind.
    """

    value: int
    step: int
    position: int
    name: str
    flows: bool
    as_array: bool


@dataclass
class Value:
    """A tensor, without its numbers.

    Attributes
    ----------
    index : int
        Position in `Trace.values`: the order in which the values were met, in which an op's inputs come before it.
    kind : {"input", "parameter", "constant", "op"}
        An argument of the function, another leaf with gradient, a leaf without, or what an op made.
    name : str
        Of the op, or of the tensor.
    carries : bool
        Whether it carries gradient.
    stops : bool
        True for a stop-gradient's output.
    uses : tuple of Use
        What the op took.
    attributes : dict
        The op's keywords, as far as they are plain.
    frames : tuple of int
        What was running, outermost first: positions in `Trace.frames`.
    where : (str, int)
        The user's file and line.
    kept_bytes : int
        What the op's node keeps for the backward and nobody before it.
    number : float or None
        The one number of a constant without axes.
    passed : bool
        Whether it was given to a module as an argument.
    """

    index: int
    kind: str
    name: str
    shape: Shape
    dtype: str
    carries: bool
    stops: bool = False
    uses: tuple[Use, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    frames: tuple[int, ...] = ()
    where: tuple[str, int] = ("", 0)
    kept_bytes: int = 0
    number: float | None = None
    passed: bool = False


@dataclass
class Frame:
    """A call that ops ran in: of a module, or of an op that was composed of primitives.

    Attributes
    ----------
    kind : {"module", "op"}
    name : str
        The module's name within the module around it; empty without one. The op's name.
    title : str
        The module's class. The op's name.
    level : int
        Number of modules around it.
    inputs : dict of int to str
        Values that were passed in, and the names of the arguments.
    module : weak reference or None
    attributes : dict
        An op's keywords.
    """

    kind: str
    name: str
    title: str
    level: int
    inputs: dict[int, str]
    module: Any = None
    attributes: dict[str, Any] = field(default_factory=dict)


class Trace(Hook):
    """Writes down the structure of what runs under it.

    Attributes
    ----------
    values : list of Value
    frames : list of Frame
    nodes : WeakKeyDictionary of Node to int
        The value that each living node of the tape made.
    has_past : bool
        Whether something came in that carried a graph of its own.
    """

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.frames: list[Frame] = []
        self.nodes: weakref.WeakKeyDictionary[Node, int] = weakref.WeakKeyDictionary()
        self.has_past = False
        self._running: list[int] = []
        # By id: a Tensor's == compares its elements, so it cannot be looked up by itself. An entry holds while its
        # reference is alive; afterwards the id may be another object's.
        self._tensors: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._arrays: dict[int, tuple[weakref.ref[Any], int]] = {}

    def add_inputs(self, inputs: Sequence[Any], names: Sequence[str]) -> None:
        """Make the arguments of the function known, tensors and arrays alike; anything else is none of the graph's."""
        for x, name in zip(inputs, names, strict=True):
            if isinstance(x, Tensor) and self._find(x) is None:
                self._source(x, "input", name)
            elif not isinstance(x, Tensor) and hasattr(x, "dtype") and hasattr(x, "shape"):
                self._source(Tensor(x), "input", name)

    def index_of(self, x: Tensor) -> int:
        """The value that a tensor is."""
        found = self._find(x)
        return self._source(x, "constant", x.name or "") if found is None else found[0]

    # What the engine tells

    def after_forward(
        self, op: type[Op], inputs: tuple[Tensor | None, ...], output: Tensor, attributes: dict[str, Any]
    ) -> None:
        """Write an op down."""
        edges = () if output.node is None else output.node.edges
        found = [
            (position, self._find_or_add(x, _argument(op, position)))
            for position, x in enumerate(inputs)
            if x is not None
        ]
        step = len(self.values)
        uses = tuple(
            Use(
                value=index,
                step=step,
                position=position,
                name=_argument(op, position),
                flows=bool(edges) and edges[position] is not None,
                as_array=as_array,
            )
            for position, (index, as_array) in found
        )
        value = self._add(output, "op", op.name)
        value.stops, value.uses, value.attributes = op.stops, uses, _plain(attributes)
        if output.node is not None:
            self.nodes[output.node] = step

    def before_module(self, module: Module, inputs: tuple[Any, ...]) -> None:
        """Enter a module."""
        around = [self.frames[index] for index in self._running]
        outer = next((frame.module() for frame in reversed(around) if frame.kind == "module"), None)
        names = list(inspect.signature(module.forward).parameters)
        passed: dict[int, str] = {}
        for position, x in enumerate(inputs):
            if isinstance(x, Tensor):
                name = names[position] if position < len(names) else str(position)
                index, _ = self._find_or_add(x, name)
                self.values[index].passed = True
                passed[index] = name
        self._enter(
            Frame(
                "module",
                outer.path_of(module) if outer is not None else "",
                type(module).__name__,
                sum(frame.kind == "module" for frame in around),
                passed,
                weakref.ref(module),
            )
        )

    def after_module(self, module: Module) -> None:
        """Leave it."""
        self._running.pop()

    def before_composed(self, op: type[Op], inputs: tuple[Tensor | None, ...], attributes: dict[str, Any]) -> None:
        """Enter an op that is being composed of primitives."""
        passed: dict[int, str] = {}
        for position, x in enumerate(inputs):
            if x is not None:
                name = _argument(op, position)
                passed.setdefault(self._find_or_add(x, name)[0], name)
        level = sum(self.frames[index].kind == "module" for index in self._running)
        self._enter(Frame("op", op.name, op.name, level, passed, attributes=_plain(attributes)))

    def after_composed(self, op: type[Op]) -> None:
        """Leave it."""
        self._running.pop()

    # After the forward

    def measure(self) -> None:
        """Note what every node that is still alive keeps for its backward, as `summarize` counts it.

        Memory that several nodes keep counts for the first; parameters and inputs, which live anyway, for none.
        """
        nodes = sorted(self.nodes.items(), key=lambda item: item[1])
        seen = {memory_of(edge.data)[0] for node, _ in nodes for edge in node.edges if isinstance(edge, Tensor)}
        for reference, index in self._arrays.values():
            if self.values[index].kind in ("input", "parameter") and (array := reference()) is not None:
                seen.add(memory_of(array)[0])
        for node, index in nodes:
            for array in (*node.saved_arrays(), *(constant for constant in node.constants if constant is not None)):
                key, size = memory_of(array)
                if key not in seen:
                    seen.add(key)
                    self.values[index].kept_bytes += size

    # How tensors are told apart

    def _enter(self, frame: Frame) -> None:
        self._running.append(len(self.frames))
        self.frames.append(frame)

    def _find_or_add(self, x: Tensor, name: str) -> tuple[int, bool]:
        found = self._find(x)
        if found is not None:
            return found
        if x.requires_grad:
            self.has_past = self.has_past or x.node is not None
            return self._source(x, "parameter", x.name or name), False
        return self._source(x, "parameter" if isinstance(x, Parameter) else "constant", x.name or name), False

    def _find(self, x: Tensor) -> tuple[int, bool] | None:
        """Which value a tensor is, and whether only its array says so."""
        index = _alive(self._tensors, x)
        if index is None and x.node is not None:
            index = self.nodes.get(x.node)  # another Tensor for the same node, as second-order gradients make them
        if index is not None:
            return index, False
        array = x.data
        while index is None and array is not None and not x.requires_grad:
            index = _alive(self._arrays, array)
            array = getattr(array, "base", None)
        return None if index is None else (index, True)

    def _source(self, x: Tensor, kind: str, name: str) -> int:
        value = self._add(x, kind, name)
        if kind == "constant" and x.size == 1:
            value.number = float(to_host(x.data).real.item())
        return value.index

    def _add(self, x: Tensor, kind: str, name: str) -> Value:
        value = Value(
            index=len(self.values),
            kind=kind,
            name=name,
            shape=x.shape,
            dtype=str(x.dtype),
            carries=x.requires_grad,
            frames=tuple(self._running),
            where=user_line(),
        )
        self.values.append(value)
        self._tensors[id(x)] = weakref.ref(x), value.index
        self._arrays[id(x.data)] = weakref.ref(x.data), value.index
        return value


def _alive(entries: dict[int, tuple[weakref.ref[Any], int]], key: Any) -> int | None:
    reference, index = entries.get(id(key), (None, None))
    return index if reference is not None and reference() is key else None


def _argument(op: type[Op], position: int) -> str:
    return op.input_names[position] if position < len(op.input_names) else str(position)


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    """Those attributes that are numbers, words, or tuples and slices of them, so that JSON can hold them."""
    plain = {name: _readable(value) for name, value in attributes.items()}
    return {name: value for name, value in plain.items() if value is not NotImplemented}


def _readable(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.dtype) or value is Ellipsis:
        return "..." if value is Ellipsis else str(value)
    if isinstance(value, slice):
        return ":".join("" if part is None else str(part) for part in (value.start, value.stop)) + (
            "" if value.step is None else f":{value.step}"
        )
    if isinstance(value, tuple | list):
        parts = [_readable(part) for part in value]
        return NotImplemented if any(part is NotImplemented for part in parts) else parts
    return NotImplemented

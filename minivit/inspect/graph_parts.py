"""From what ran to what is drawn: boxes, the edges between them, and what is behind a cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from minivit.inspect.graph_states import BEHIND, CONSTANT, LIVING, leading_to, lost, states
from minivit.inspect.graph_trace import Frame, Trace, Use, Value
from minivit.inspect.sizes import Shape

Carried = frozenset[tuple[int, int]]
"""Uses of values that hand a gradient back: (step, position) each."""


@dataclass
class Box:
    """One thing that is drawn.

    Attributes
    ----------
    key : int
        Position in `Parts.boxes`.
    kind : {"input", "parameter", "weights", "constant", "op", "module", "stop", "cut", "group", "output"}
        "weights" are the parameters that several calls of a module share; a "module" stands for all ops of one call; a
        "group" is drawn around the boxes of an opened module or op; a "cut" is where a gradient ends without a
        stop-gradient.
    title : str
    subtitle : str
        Of a module: its name in the module around it.
    group : int or None
        The box around it.
    values : list of int
        What it stands for.
    state : {"living", "behind", "constant"}
    kept_bytes : int
        What its nodes keep for the backward.
    input_shapes, output_shapes : list of tuple of int
        Of a module.
    folded : list of int
        Parameters that only this module uses: they are part of its box.
    numbers : list of (str, float)
        Constants of one element that went into the op.
    names : dict of int to str
        Of a group: what the opened op or module calls its inputs, by value.
    attributes : dict
        The op's keywords.
    """

    key: int
    kind: str
    title: str
    group: int | None = None
    values: list[int] = field(default_factory=list)
    subtitle: str = ""
    state: str = CONSTANT
    kept_bytes: int = 0
    input_shapes: list[Shape] = field(default_factory=list)
    output_shapes: list[Shape] = field(default_factory=list)
    folded: list[int] = field(default_factory=list)
    numbers: list[tuple[str, float]] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Edge:
    """What one box gets from another: every use of a value of the one by an op of the other."""

    source: int
    target: int
    uses: list[Use]
    state: str = CONSTANT

    @property
    def carried(self) -> Carried:
        """The uses that hand a gradient back."""
        return frozenset((use.step, use.position) for use in self.uses if use.flows)


@dataclass
class Parts:
    """Everything that a picture is drawn from.

    Attributes
    ----------
    boxes : list of Box
    edges : list of Edge
    values : list of Value
    ops : int
        Number of ops that lead to the output.
    carried_from : dict of int to Carried
        For each value, the uses that hand a gradient back to it.
    """

    boxes: list[Box]
    edges: list[Edge]
    values: list[Value]
    ops: int
    carried_from: dict[int, Carried]

    def around(self, group: int | None) -> Iterator[int | None]:
        """A group and all that it stands in, inside out; None is the whole picture."""
        while group is not None:
            yield group
            group = self.boxes[group].group
        yield None

    def all_carried_from(self, values: Iterable[int]) -> Carried:
        """The uses that hand a gradient back to any of some values."""
        return frozenset[tuple[int, int]]().union(*(self.carried_from.get(index, ()) for index in values))


def parts_of(trace: Trace, output: int, depth: int | None, title: str) -> Parts:
    """The boxes and edges of everything that leads to a value.

    Parameters
    ----------
    trace : Trace
    output : int
        The value at the end.
    depth : int or None
        How many levels of modules are opened: 0 draws each call of a model as one box. None draws ops only.
    title : str
        Of the box of the output.
    """
    return _Builder(trace, output, depth, title).build()


class _Builder:
    def __init__(self, trace: Trace, output: int, depth: int | None, title: str) -> None:
        self.trace, self.values, self.output, self.depth, self.title = trace, trace.values, output, depth, title
        self.boxes: list[Box] = []
        self.parts = Parts(self.boxes, [], self.values, 0, {})
        self.edges: dict[tuple[int, int], Edge] = {}
        self.frame_boxes: dict[int, int] = {}
        self.cuts: dict[tuple[int, int | None], int] = {}

    def build(self) -> Parts:
        self.leads = leading_to(self.values, self.output)
        self.lost = lost(self.values, self.leads)
        self.state = states(self.values, self.leads, self.output, self.lost)
        self.box_of: dict[int, int] = {}
        for index in self.leads:
            if self.values[index].kind == "op":
                self._place_op(self.values[index])
        self._place_sources()
        for index in self.leads:
            for use in self.values[index].uses:
                self._connect(use)
                if use.flows:
                    carried = self.parts.carried_from.get(use.value, frozenset())
                    self.parts.carried_from[use.value] = carried | {(use.step, use.position)}
        self._add_output()
        self._set_states()
        self._sign_modules()
        self.parts.edges = list(self.edges.values())
        self.parts.ops = sum(self.values[index].kind == "op" for index in self.leads)
        return self.parts

    # Boxes

    def _new(self, kind: str, title: str, group: int | None = None, values: Iterable[int] = ()) -> Box:
        box = Box(len(self.boxes), kind, title, group, list(values))
        self.boxes.append(box)
        return box

    def _place_op(self, value: Value) -> None:
        """Give an op a box of its own, or add it to the box of the module call that it is part of."""
        group: int | None = None
        for frame in value.frames:
            key, closed = self._box_of_frame(frame, group)
            if closed and key is not None:
                self.boxes[key].values.append(value.index)
                self.box_of[value.index] = key
                return
            group = key
        box = self._new("stop" if value.stops else "op", value.name, group, [value.index])
        box.attributes = value.attributes
        self.box_of[value.index] = box.key

    def _box_of_frame(self, index: int, group: int | None) -> tuple[int | None, bool]:
        """The box of a call, and whether it hides what is in it; calls that are not drawn leave the group as it is."""
        frame = self.trace.frames[index]
        is_module = frame.kind == "module"
        if is_module and self.depth is None:
            return group, False
        closed = is_module and self.depth is not None and frame.level >= self.depth
        if index not in self.frame_boxes:
            box = self._new("module" if closed else "group", frame.title, group)
            box.subtitle, box.names = frame.name if is_module else "", dict(frame.inputs)
            box.attributes = frame.attributes
            self.frame_boxes[index] = box.key
        return self.frame_boxes[index], closed

    def _place_sources(self) -> None:
        """Boxes for what no op made.

        What a module keeps to itself is part of its box; weights that several calls share stand before all of them.
        """
        uses: dict[int, list[Use]] = {index: [] for index in self.leads}
        for index in self.leads:
            for use in self.values[index].uses:
                uses[use.value].append(use)
        shared: dict[tuple[int, ...], int] = {}
        for index in self.leads:
            value = self.values[index]
            if value.kind == "op":
                continue
            users = sorted({self.box_of[use.step] for use in uses[index]})
            hidden = bool(users) and not value.passed and all(self.boxes[user].kind == "module" for user in users)
            if value.kind == "constant" and hidden:
                continue  # a mask or a table that the module made itself
            if value.kind == "constant" and value.number is not None and users and not hidden:
                for use in uses[index]:
                    self.boxes[self.box_of[use.step]].numbers.append((use.name, value.number))
                continue
            if value.kind == "parameter" and hidden and len(users) == 1:
                self.boxes[users[0]].folded.append(index)
                continue
            group = None if value.kind == "input" else self._common_group([self.boxes[user].group for user in users])
            calls = self._calls(users, group) if value.kind == "parameter" and not value.passed else ()
            if calls in shared:
                self.boxes[shared[calls]].values.append(index)
                self.box_of[index] = shared[calls]
                continue
            box = self._new(value.kind, value.name, group, [index])
            self.box_of[index] = box.key
            if calls:
                shared[calls] = box.key
                box.kind, box.title = "weights", self._owner(calls)

    def _calls(self, users: list[int], group: int | None) -> tuple[int, ...]:
        """The calls of modules in a group that some boxes are or stand in; none if there is one only, or others."""
        calls = set()
        for user in users:
            outermost = user
            for around in self.parts.around(self.boxes[user].group):
                if around == group:
                    break
                outermost = around if around is not None else outermost
            calls.add(outermost)
        frames = self._frame_of()
        modules = all(key in frames and frames[key].kind == "module" for key in calls)
        return tuple(sorted(calls)) if modules and len(calls) > 1 else ()

    def _owner(self, calls: tuple[int, ...]) -> str:
        frames = self._frame_of()
        return frames[calls[0]].title if len({id(frames[key].module()) for key in calls}) == 1 else "several modules"

    def _frame_of(self) -> dict[int, Frame]:
        return {key: self.trace.frames[index] for index, key in self.frame_boxes.items()}

    def _common_group(self, groups: list[int | None]) -> int | None:
        if not groups:
            return None
        common = list(self.parts.around(groups[0]))
        for group in groups[1:]:
            around = set(self.parts.around(group))
            common = [key for key in common if key in around]
        return common[0]

    # Edges

    def _connect(self, use: Use) -> None:
        if use.value not in self.box_of:
            return  # drawn as a part of the op or module that uses it
        source, target = self.box_of[use.value], self.box_of[use.step]
        if source == target:
            return
        reason = self._cut(use)
        if reason:
            group = self._common_group([self.boxes[source].group, self.boxes[target].group])
            key = use.value, group
            if key not in self.cuts:
                self.cuts[key] = self._new("cut", reason, group, [use.value]).key
            self._edge(source, self.cuts[key], use._replace(flows=False))
            self._edge(self.cuts[key], target, use)
        else:
            self._edge(source, target, use)

    def _cut(self, use: Use) -> str:
        """Why a gradient ends at a use although no stop-gradient says so; empty if it does not."""
        if self.values[use.step].stops or not self.values[use.step].carries:
            return ""
        if use.as_array and self.values[use.value].carries:
            return "data"
        return self.lost[use.value]

    def _edge(self, source: int, target: int, use: Use) -> None:
        self.edges.setdefault((source, target), Edge(source, target, [])).uses.append(use)

    def _add_output(self) -> None:
        last = self.box_of[self.output]
        box = self._new("output", self.title, None, [self.output])
        self.edges[last, box.key] = Edge(last, box.key, [])

    # What they say

    def _sign_modules(self) -> None:
        """Shapes in and out of the calls that are one box."""
        for edge in self.edges.values():
            for use in edge.uses:
                shape = self.values[use.value].shape
                kind = self.values[use.value].kind
                target, source = self.boxes[edge.target], self.boxes[edge.source]
                if target.kind == "module" and kind != "parameter" and shape not in target.input_shapes:
                    target.input_shapes.append(shape)
                if source.kind == "module" and shape not in source.output_shapes:
                    source.output_shapes.append(shape)
        last = self.boxes[self.box_of[self.output]]
        if last.kind == "module" and not last.output_shapes:
            last.output_shapes.append(self.values[self.output].shape)

    def _set_states(self) -> None:
        """Which boxes and edges a gradient reaches, which are behind a cut, and what they keep."""
        standing_for = {box.key: {self.state[index] for index in box.values} for box in self.boxes}
        for box in self.boxes:
            if box.kind in ("op", "module"):
                box.kept_bytes = sum(self.values[index].kept_bytes for index in box.values)
                for group in self.parts.around(box.group):
                    if group is not None:
                        standing_for[group] |= standing_for[box.key]
                        self.boxes[group].kept_bytes += box.kept_bytes
        for box in self.boxes:
            found = standing_for[box.key]
            if box.kind != "cut":
                box.state = LIVING if LIVING in found else BEHIND if found == {BEHIND} else CONSTANT
        for edge in self.edges.values():
            target = self.boxes[edge.target]
            if target.kind == "output":
                edge.state = LIVING if self.values[self.output].carries else CONSTANT
            elif target.kind in ("cut", "stop") or all(self.state[use.step] == BEHIND for use in edge.uses):
                edge.state = BEHIND
            elif any(use.flows and self.state[use.step] == LIVING for use in edge.uses):
                edge.state = LIVING

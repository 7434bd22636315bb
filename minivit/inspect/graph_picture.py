"""From boxes and routes to places on a page.

A group, such as an op that is opened into its primitives, is laid out by itself and stands as one box in what is around
it; what enters or leaves it goes through a port in its border.
"""

from __future__ import annotations

from dataclasses import dataclass

from minivit.inspect.graph_cells import Item, Wire
from minivit.inspect.graph_layout import place
from minivit.inspect.graph_parts import Box, Parts
from minivit.inspect.graph_routes import End, Route
from minivit.inspect.graph_states import BEHIND, CONSTANT, LIVING
from minivit.inspect.graph_text import LABEL, Line, Norm, lines_of, number_text, text_width

PADDING = 9.0
BAR, BAR_HEIGHT = 58.0, 7.0  # the bar across a cut edge


@dataclass
class Shape:
    """A box in its place; its text is centred, or begins at `text_at`."""

    box: Box
    lines: list[Line]
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0
    text_at: tuple[float, float] | None = None


@dataclass
class Strand:
    """A wire in its place: vertical stretches, between which it bends. An arrow ends at a box."""

    route: Route
    norm: float | None
    label: str
    label_at: tuple[float, float]
    stretches: list[tuple[float, float, float]]
    has_arrow: bool


@dataclass
class Port:
    """The name of an input of an opened group, in its place."""

    text: str
    x: float
    y: float


@dataclass
class Picture:
    """Everything in its place; groups come before what is in them."""

    shapes: list[Shape]
    lines: list[Strand]
    ports: list[Port]
    width: float
    height: float


@dataclass
class _Inside:
    """What was laid out in a group: items, where to find them, wires."""

    items: list[Item]
    index: dict[End, int]
    wires: list[tuple[Route, str, Wire]]
    width: float
    height: float


def picture_of(parts: Parts, routes: list[Route], norm: Norm) -> Picture:
    """Give everything its text and its place.

    Parameters
    ----------
    parts : Parts
    routes : list of Route
    norm : callable
        The norm of what came back along some uses, or None.
    """
    return _Placing(parts, routes, norm).picture()


class _Placing:
    def __init__(self, parts: Parts, routes: list[Route], norm: Norm) -> None:
        self.parts, self.norm = parts, norm
        self.shapes = [Shape(box, lines_of(box, parts, norm)) for box in parts.boxes]
        self.lines: list[Strand] = []
        self.ports: list[Port] = []
        self.inside: dict[int | None, _Inside] = {}
        self.boxes_in: dict[int | None, list[Box]] = {}
        self.routes_in: dict[int | None, list[Route]] = {}
        for box in parts.boxes:
            self.boxes_in.setdefault(box.group, []).append(box)
        for route in routes:
            self.routes_in.setdefault(route.course.group, []).append(route)

    def picture(self) -> Picture:
        groups = [box.key for box in self.parts.boxes if box.kind == "group"]
        groups.sort(key=lambda key: len(list(self.parts.around(key))))
        for group in [*reversed(groups), None]:  # from the inside out: what is in a group decides its size
            self.inside[group] = self._lay_out(group)
        for group in [None, *groups]:  # and back: where it stands decides where its inside stands
            self._settle(group)
        order = [*groups, *(box.key for box in self.parts.boxes if box.kind != "group")]
        page = self.inside[None]
        return Picture([self.shapes[key] for key in order], self.lines, self.ports, page.width, page.height)

    def _lay_out(self, group: int | None) -> _Inside:
        boxes, routes = self.boxes_in.get(group, []), self.routes_in.get(group, [])
        items: list[Item] = []
        index: dict[End, int] = {}
        if group is not None:
            lines = self.shapes[group].lines  # the title has a place among the ports
            items.append(Item(max(line.width for line in lines), sum(line.height for line in lines), pinned="top"))
            for end in dict.fromkeys(route.course.source for route in routes if route.course.source.kind == "in"):
                index[end] = len(items)
                items.append(Item(text_width(self._port_name(group, end), LABEL) + 6, 14.0, pinned="top"))
        for box in boxes:
            index[End("box", box.key)] = len(items)
            items.append(self._item(self.shapes[box.key]))
        for end in dict.fromkeys(route.course.target for route in routes if route.course.target.kind == "out"):
            index[end] = len(items)
            items.append(Item(8.0, 0.0, pinned="bottom"))
        wires = []
        for route in routes:
            course, label = route.course, self._label(route)
            wire = Wire(
                index[course.source],
                index[course.target],
                (text_width(label, LABEL) + 6, 13.0) if label else None,
                self._weight(route),
                2 if course.source.kind == "box" and self.parts.boxes[course.source.key].kind == "weights" else 1,
                self._port_place(course.source, "out", course.source_port),
                self._port_place(course.target, "in", course.target_port),
            )
            wires.append((route, label, wire))
        return _Inside(items, index, wires, *place(items, [wire for _, _, wire in wires]))

    def _item(self, shape: Shape) -> Item:
        kind = shape.box.kind
        widest, high = max(line.width for line in shape.lines), sum(line.height for line in shape.lines)
        if kind == "group":
            inside = self.inside[shape.box.key]
            shape.width, shape.height = inside.width + 2 * PADDING, inside.height + 2 * PADDING
        elif kind in ("stop", "cut"):
            shape.width, shape.height = BAR + 6 + widest, 16.0
            return Item(shape.width, shape.height, anchor=BAR / 2)
        else:
            round_ends = 10.0 if kind in ("input", "output", "parameter", "weights") else 0.0
            shape.width, shape.height = max(widest + 2 * PADDING + round_ends, 44.0), high + 9
        return Item(shape.width, shape.height)

    def _weight(self, route: Route) -> float:
        """The main lines are those of the data; weights and constants join from the side."""
        if self.parts.boxes[route.course.origin].kind in ("constant", "parameter", "weights"):
            return 0.5
        return {LIVING: 2.0, BEHIND: 1.5, CONSTANT: 1.0}[route.state]

    def _port_place(self, end: End, side: str, port: int | None) -> float | None:
        """Where a port is in the border of a group, from its left side."""
        if port is None:
            return None
        inside = self.inside[end.key]
        item = inside.items[inside.index[End(side, port)]]
        return PADDING + item.x + item.left

    def _settle(self, group: int | None) -> None:
        """Move what was laid out in a group to where the group came to stand."""
        inside, x, y = self.inside[group], 0.0, 0.0
        if group is not None:
            frame = self.shapes[group]
            x, y = frame.x + PADDING, frame.y + PADDING
            frame.text_at = x, inside.items[0].y + y
        for end, index in inside.index.items():
            item = inside.items[index]
            if end.kind == "box":
                self.shapes[end.key].x, self.shapes[end.key].y = item.x + x, item.y + y
            elif end.kind == "in" and group is not None:
                name = self._port_name(group, end)
                self.ports.append(Port(name, item.x + item.left + x, item.y + item.height / 2 + y))
        for route, label, wire in inside.wires:
            stretches = [(at + x, top + y, bottom + y) for at, top, bottom in wire.stretches]
            if group is not None and route.course.target.kind == "out":  # on to the border
                stretches[-1] = (*stretches[-1][:2], self.shapes[group].y + self.shapes[group].height)
            label_at = wire.label_at[0] + x, wire.label_at[1] + y
            course = route.course
            to_the_bar = (16.0 - BAR_HEIGHT) / 2
            if self._is_bar(course.source):
                stretches[0] = stretches[0][0], stretches[0][1] - to_the_bar, stretches[0][2]
            if self._is_bar(course.target):
                stretches[-1] = (*stretches[-1][:2], stretches[-1][2] + to_the_bar)
            arrow = course.target.kind == "box" and not self._is_bar(course.target)
            self.lines.append(Strand(route, self.norm(route.carried), label, label_at, stretches, arrow))

    def _is_bar(self, end: End) -> bool:
        return end.kind == "box" and self.parts.boxes[end.key].kind in ("stop", "cut")

    def _port_name(self, group: int, end: End) -> str:
        origin, names = self.parts.boxes[end.key], self.parts.boxes[group].names
        return next((names[value] for value in origin.values if value in names), origin.kind)

    def _label(self, route: Route) -> str:
        """The norm, where it says something new."""
        course = route.course
        if course.target.kind == "out":
            return ""  # it stands outside
        if course.source.kind == "in":
            beside = sum(other.course.source == course.source for other in self.routes_in[course.group])
            if beside == 1:
                return ""
        norm = self.norm(route.carried)
        if norm is not None:
            return number_text(norm)
        origin = self.parts.boxes[course.origin]
        learns = origin.kind in ("input", "parameter", "weights") and origin.state == LIVING
        return "none" if learns and self.norm(self.parts.all_carried_from(origin.values)) is not None else ""

"""Edges as wires within groups: one that crosses the border of a group is a wire on either side of a port in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from minivit.inspect.graph_parts import Carried, Parts
from minivit.inspect.graph_states import BEHIND, CONSTANT, LIVING


class End(NamedTuple):
    """Where a wire ends within its group.

    Attributes
    ----------
    kind : {"box", "in", "out"}
        At a box, or at the inner side of a port of the group.
    key : int
        The box; for a port, the box that the values come from.
    """

    kind: str
    key: int


class Course(NamedTuple):
    """What tells one wire from another.

    Attributes
    ----------
    group : int or None
        Where it runs.
    source, target : End
    source_port, target_port : int or None
        Where an end is itself a group, the port in its border, by the box that the values come from.
    origin : int
        The box that the values come from.
    """

    group: int | None
    source: End
    target: End
    source_port: int | None
    target_port: int | None
    origin: int


@dataclass
class Route:
    """A wire, and the uses it stands for that hand a gradient back."""

    course: Course
    carried: Carried = frozenset()
    state: str = BEHIND


def routes_of(parts: Parts) -> list[Route]:
    """All wires of all groups."""
    found: dict[Course, Route] = {}
    for edge in parts.edges:
        for course in _courses(parts, edge.source, edge.target):
            route = found.setdefault(course, Route(course))
            route.carried |= edge.carried
            route.state = min(route.state, edge.state, key=[LIVING, CONSTANT, BEHIND].index)
    return list(found.values())


def _courses(parts: Parts, source: int, target: int) -> list[Course]:
    """Out of every group that only the source stands in, then into those that only the target stands in."""
    source_groups = list(parts.around(parts.boxes[source].group))
    target_groups = list(parts.around(parts.boxes[target].group))
    common = next(group for group in source_groups if group in target_groups)
    courses = []
    end, port = End("box", source), None
    for group in source_groups[: source_groups.index(common)]:
        assert group is not None  # only the whole picture is None, and it is common to all
        courses.append(Course(group, end, End("out", source), port, None, source))
        end, port = End("box", group), source
    around = common
    for group in reversed(target_groups[: target_groups.index(common)]):
        assert group is not None
        courses.append(Course(around, end, End("box", group), port, source, source))
        end, port, around = End("in", source), None, group
    courses.append(Course(around, end, End("box", target), port, None, source))
    return courses

"""What a layered drawing is made of: items and the wires between them, and the cells and links that these become."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Item:
    """A rectangle to be placed.

    Attributes
    ----------
    width, height : float
    anchor : float or None
        Where, from its left side, wires begin and end; None is the middle.
    pinned : {"", "top", "bottom"}
        Stands alone with its kind in the first or last rank.
    x, y : float
        Result: the upper left corner.
    """

    width: float
    height: float
    anchor: float | None = None
    pinned: str = ""
    x: float = 0.0
    y: float = 0.0

    @property
    def left(self) -> float:
        """From the left side to where wires end."""
        return self.width / 2 if self.anchor is None else self.anchor


@dataclass
class Wire:
    """A line from the lower side of one item to the upper side of another.

    Attributes
    ----------
    source, target : int
        Positions in the list of items.
    label : (float, float) or None
        Width and height of a label on it.
    weight : float
        How much it matters that it is short and straight; less than 1 for what joins from the side.
    span : int
        How many ranks lower the target stands, at least.
    source_port, target_port : float or None
        Where it has to begin and end, from the item's left side; None leaves it open.
    stretches : list of (x, top, bottom)
        Result: the vertical parts, downwards; between two of them the wire bends.
    label_at : (float, float)
        Result: the middle of the label.
    """

    source: int
    target: int
    label: tuple[float, float] | None = None
    weight: float = 1.0
    span: int = 1
    source_port: float | None = None
    target_port: float | None = None
    stretches: list[tuple[float, float, float]] = field(default_factory=list)
    label_at: tuple[float, float] = (0.0, 0.0)


@dataclass(eq=False)
class Block:
    """Cells of neighbouring ranks that stand in a line: the wire through them is straight."""

    cells: list[Cell] = field(default_factory=list)
    x: float = 0.0

    def move(self, distance: float) -> None:
        """To the right."""
        self.x += distance
        for cell in self.cells:
            cell.x += distance


@dataclass(eq=False)
class Cell:
    """A place in a rank: of an item, or of a wire that passes through."""

    rank: int
    left: float
    right: float
    height: float
    item: int | None = None
    x: float = 0.0
    order: int = 0
    block: Block = field(default_factory=Block)
    up: list[Link] = field(default_factory=list)
    down: list[Link] = field(default_factory=list)


@dataclass(eq=False)
class Link:
    """A piece of a wire between neighbouring ranks; the offsets say where it meets its cells, from their x.

    `begin` and `end` are the cells of the wire's items.
    """

    wire: Wire
    begin: Cell
    end: Cell
    above: Cell
    below: Cell
    above_offset: float | None = None
    below_offset: float | None = None
    weight: float = 1.0
    straight: bool = False


def position_in_rank(link: Link, upper: bool) -> float:
    """Position of a link's end in its rank; ends with a place of their own count by it."""
    cell, offset = (link.above, link.above_offset) if upper else (link.below, link.below_offset)
    return cell.order + (0.0 if offset is None else offset / (cell.left + cell.right))


def upright(link: Link, upper: bool) -> float:
    """Where the cell at one end of a link would have to be for the link to be vertical: seen from the other end."""
    above, below = link.above_offset or 0.0, link.below_offset or 0.0
    return link.above.x + above - below if upper else link.below.x + below - above

"""Where the boxes of a layered drawing go: ranks, order within a rank, coordinates (Sugiyama et al. 1981).

Every wire leads downwards. A box stands one rank below the lowest box that it gets something from; between two ranks of
boxes is a rank for the labels on the wires. A wire that crosses a rank takes a place in it, as a box does, so that
nothing runs through a box and labels never collide.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

SWEEPS = 24  # of ordering
PULLS = 40  # of moving sideways
SIDE_GAP = 18.0  # between neighbours in a rank
WIRE_GAP = 10.0  # between a wire and what is beside it
PORT_GAP = 26.0  # between the ends of wires at one side of a box


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
class _Block:
    """Cells of neighbouring ranks that stand in a line: the wire through them is straight."""

    cells: list[_Cell] = field(default_factory=list)
    x: float = 0.0

    def move(self, distance: float) -> None:
        self.x += distance
        for cell in self.cells:
            cell.x += distance


@dataclass(eq=False)
class _Cell:
    """A place in a rank: of an item, or of a wire that passes through."""

    rank: int
    left: float
    right: float
    height: float
    item: int | None = None
    x: float = 0.0
    order: int = 0
    block: _Block = field(default_factory=_Block)
    up: list[_Link] = field(default_factory=list)
    down: list[_Link] = field(default_factory=list)


@dataclass(eq=False)
class _Link:
    """A piece of a wire between neighbouring ranks; the offsets say where it meets its cells, from their x.

    `begin` and `end` are the cells of the wire's items.
    """

    wire: Wire
    begin: _Cell
    end: _Cell
    above: _Cell
    below: _Cell
    above_offset: float | None = None
    below_offset: float | None = None
    weight: float = 1.0
    straight: bool = False


def place(items: Sequence[Item], wires: Sequence[Wire]) -> tuple[float, float]:
    """Place the items and lead the wires.

    Parameters
    ----------
    items : sequence of Item
    wires : sequence of Wire
        Without a cycle, sources before targets in the list of items.

    Returns
    -------
    width, height : float
        Of the whole.
    """
    ranks = _ranks(items, wires)
    layers, chains = _layers(items, wires, ranks)
    _order(layers)
    _move_sideways(layers, items)
    tops, bottoms = _heights(layers)
    for layer in layers:
        for cell in layer:
            if cell.item is not None:
                item = items[cell.item]
                item.x = cell.x - item.left
                item.y = (tops[cell.rank] + bottoms[cell.rank] - item.height) / 2
    for wire, chain in zip(wires, chains, strict=True):
        _lead(wire, chain, items, tops, bottoms)
    right = [item.x + item.width for item in items]
    right += [cell.x + cell.right for layer in layers for cell in layer if cell.item is None]
    return max(right, default=0.0), max(bottoms, default=0.0)


# Ranks


def _ranks(items: Sequence[Item], wires: Sequence[Wire]) -> list[int]:
    """Even numbers: the odd ranks between are for labels."""
    into: list[list[Wire]] = [[] for _ in items]
    out: list[list[Wire]] = [[] for _ in items]
    for wire in wires:
        into[wire.target].append(wire)
        out[wire.source].append(wire)
    order = _topological(into, out)
    first = 1 if any(item.pinned == "top" for item in items) else 0
    rank = [0] * len(items)
    for index in order:
        if items[index].pinned != "top":
            rank[index] = max([first, *(rank[wire.source] + wire.span for wire in into[index])])
    last = 1 + max((r for item, r in zip(items, rank, strict=True) if item.pinned != "bottom"), default=0)
    rank = [last if item.pinned == "bottom" else r for item, r in zip(items, rank, strict=True)]
    for index in reversed(order):  # what has more wires below than above moves down to them: shorter wires
        if not items[index].pinned and len(out[index]) > len(into[index]):
            rank[index] = max(rank[index], min(rank[wire.target] - wire.span for wire in out[index]))
    return [2 * r for r in rank]


def _topological(into: list[list[Wire]], out: list[list[Wire]]) -> list[int]:
    waiting = [len(wires) for wires in into]
    ready = [index for index, count in enumerate(waiting) if not count]
    order = []
    while ready:
        index = ready.pop()
        order.append(index)
        for wire in out[index]:
            waiting[wire.target] -= 1
            if not waiting[wire.target]:
                ready.append(wire.target)
    return order


def _layers(
    items: Sequence[Item], wires: Sequence[Wire], ranks: list[int]
) -> tuple[list[list[_Cell]], list[list[_Link]]]:
    """The cells of every rank, and for each wire the links that it is made of."""
    layers: list[list[_Cell]] = [[] for _ in range(max(ranks, default=-1) + 1)]
    cells = []
    for index, (item, rank) in enumerate(zip(items, ranks, strict=True)):
        gap = SIDE_GAP / 2
        cell = _Cell(rank, item.left + gap, item.width - item.left + gap, item.height, index)
        cells.append(cell)
        layers[rank].append(cell)
    chains: list[list[_Link]] = []
    for wire in wires:
        begin, end, chain = cells[wire.source], cells[wire.target], []
        above = begin
        for rank in range(above.rank + 1, end.rank):
            width, height = wire.label if wire.label is not None and rank == end.rank - 1 else (0.0, 0.0)
            half = (width + WIRE_GAP) / 2
            below = _Cell(rank, half, half, height)
            layers[rank].append(below)
            chain.append(_Link(wire, begin, end, above, below))
            above = below
        chain.append(_Link(wire, begin, end, above, end))
        for link in chain:
            bends = (link.above.item is None) + (link.below.item is None)
            link.weight = (1.0, 3.0, 8.0)[bends] * wire.weight  # long wires are to be straight
            link.above.down.append(link)
            link.below.up.append(link)
        if wire.source_port is not None:
            chain[0].above_offset = wire.source_port - items[wire.source].left
        if wire.target_port is not None:
            chain[-1].below_offset = wire.target_port - items[wire.target].left
        chains.append(chain)
    return layers, chains


# Order within a rank


def _order(layers: list[list[_Cell]]) -> None:
    """Few crossings: each cell goes to the mean position of its neighbours, rank by rank, down and up again."""
    for layer in layers:
        _number(layer)
    best, order = _crossings(layers), [list(layer) for layer in layers]
    for sweep in range(SWEEPS):
        downwards = sweep % 2 == 0
        for layer in layers if downwards else reversed(layers):
            means = {}
            for cell in layer:
                links = cell.up if downwards else cell.down
                ends = [_position(link, downwards) for link in links]
                means[id(cell)] = sum(ends) / len(ends) if ends else float(cell.order)
            layer.sort(key=lambda cell: (means[id(cell)], cell.order))
            _number(layer)
        _exchange(layers)
        crossings = _crossings(layers)
        if crossings < best:
            best, order = crossings, [list(layer) for layer in layers]
        if not best:
            break
    for layer, cells in zip(layers, order, strict=True):
        layer[:] = cells
        _number(layer)


def _number(layer: list[_Cell]) -> None:
    for order, cell in enumerate(layer):
        cell.order = order


def _position(link: _Link, upper: bool) -> float:
    """Position of a link's end in its rank; ends with a place of their own count by it."""
    cell, offset = (link.above, link.above_offset) if upper else (link.below, link.below_offset)
    return cell.order + (0.0 if offset is None else offset / (cell.left + cell.right))


def _crossings(layers: list[list[_Cell]]) -> int:
    return sum(_crossings_below(layer) for layer in layers)


def _crossings_below(layer: list[_Cell]) -> int:
    """Crossings between a rank and the next: pairs of links whose ends are in opposite order."""
    ends = sorted((_position(link, True), _position(link, False)) for cell in layer for link in cell.down)
    seen: list[float] = []
    count = 0
    for _, below in ends:
        count += len(seen) - bisect_left(seen, below + 1e-9)
        insort(seen, below)
    return count


def _exchange(layers: list[list[_Cell]]) -> None:
    """Exchange neighbours wherever their own links then cross less."""
    for layer in layers:
        for i in range(len(layer) - 1):
            a, b = layer[i], layer[i + 1]
            before = _crossings_of_pair(a, b)
            if before and _crossings_of_pair(b, a) < before:
                layer[i], layer[i + 1] = b, a
                a.order, b.order = b.order, a.order


def _crossings_of_pair(left: _Cell, right: _Cell) -> int:
    count = 0
    for links_left, links_right, upper in ((left.up, right.up, True), (left.down, right.down, False)):
        ends = sorted(_position(link, upper) for link in links_right)
        count += sum(bisect_left(ends, _position(link, upper)) for link in links_left)
    return count


# Sideways


def _move_sideways(layers: list[list[_Cell]], items: Sequence[Item]) -> None:
    """Straight wires where no two of them compete, short ones elsewhere; the order within ranks stays."""
    _align(layers)
    _spread_ports(layers, items)
    blocks = _blocks(layers)
    _pack(layers)
    for _ in range(PULLS):
        moved = [_pull(layers, block, 1) for block in sorted(blocks, key=lambda block: -block.x)]
        moved += [_pull(layers, block, -1) for block in sorted(blocks, key=lambda block: block.x)]
        if max(moved, default=0.0) < 0.05:
            break
    edges = [cell.x - (cell.left if cell.item is None else items[cell.item].left) for layer in layers for cell in layer]
    left = min(edges, default=0.0)
    for block in blocks:
        block.move(-left)


def _align(layers: list[list[_Cell]]) -> None:
    """Choose the links that are to be vertical: of each cell at most one upwards and one downwards, none crossing."""
    main_down = {
        id(cell): _main([(link, len(link.end.up)) for link in cell.down]) for layer in layers for cell in layer
    }
    main_up = {
        id(cell): _main([(link, len(link.begin.down)) for link in cell.up]) for layer in layers for cell in layer
    }
    for layer in layers:
        chosen: list[_Link] = []
        links = [link for cell in layer for link in cell.down]
        links.sort(key=lambda link: (-link.weight, link.above.order, link.below.order))
        for link in links:
            if link is main_down[id(link.above)] and link is main_up[id(link.below)]:
                crossed = any(
                    (link.above.order - other.above.order) * (link.below.order - other.below.order) < 0
                    for other in chosen
                )
                link.straight = not crossed
                chosen += [] if crossed else [link]


def _main(links: list[tuple[_Link, int]]) -> _Link | None:
    """Of the links at one side of a cell, each with the number of wires at its wire's other end, the main one.

    That is the one that matters, and then the one that is less shared; of several alike the middle one, if there is
    one: between two the cell stands in the middle.
    """
    if not links:
        return None
    ranked = [(-link.wire.weight, shared) for link, shared in links]
    alike = [link for (link, _), rank in zip(links, ranked, strict=True) if rank == min(ranked)]
    alike.sort(key=lambda link: (link.above.order, link.below.order))
    return alike[len(alike) // 2] if len(alike) % 2 else None


def _spread_ports(layers: list[list[_Cell]], items: Sequence[Item]) -> None:
    """Wires that meet at one side of a box end beside each other, the straight one in the middle of the box."""
    for layer in layers:
        for cell in layer:
            if cell.item is None:
                continue
            item = items[cell.item]
            room = min(item.left, item.width - item.left) - 8
            for links, upper in ((cell.up, True), (cell.down, False)):
                links = sorted(links, key=lambda link: _position(link, upper))
                middle = next((n for n, link in enumerate(links) if link.straight), (len(links) - 1) / 2)
                step = min(PORT_GAP, max(room, 0.0) / max(middle, len(links) - 1 - middle, 1))
                for number, link in enumerate(links):
                    if upper and link.below_offset is None:
                        link.below_offset = (number - middle) * step
                    elif not upper and link.above_offset is None:
                        link.above_offset = (number - middle) * step


def _blocks(layers: list[list[_Cell]]) -> list[_Block]:
    blocks = []
    for layer in layers:
        for cell in layer:
            link = next((link for link in cell.up if link.straight), None)
            if link is None:
                cell.block = _Block()
                blocks.append(cell.block)
            else:
                cell.block = link.above.block
                cell.x = _end(link, True)
            cell.block.cells.append(cell)
    return blocks


def _pack(layers: list[list[_Cell]]) -> None:
    """Push blocks to the right until no two overlap."""
    pushed = True
    while pushed:
        pushed = False
        for layer in layers:
            for cell, right in pairwise(layer):
                overlap = cell.x + cell.right - (right.x - right.left)
                if overlap > 1e-9:
                    right.block.move(overlap)
                    pushed = True


def _pull(layers: list[list[_Cell]], block: _Block, direction: int) -> float:
    """Move a block, and what it would push before it, as far as their wires become shorter in sum; the distance."""
    if _force({block: None})[0] * direction <= 1e-9:
        return 0.0
    together, gap = _in_the_way(layers, block, direction)
    force, weight = _force(together)
    if force * direction <= 1e-9:
        return 0.0
    distance = min(abs(force) / weight, gap)
    for member in together:
        member.move(direction * distance)
    return distance


def _force(together: dict[_Block, None]) -> tuple[float, float]:
    """How strongly the wires to all others pull to the right, and the sum of their weights."""
    force = weight = 0.0
    for block in together:
        for cell in block.cells:
            for link in cell.up:
                if link.above.block not in together:
                    force += link.weight * (_end(link, True) - cell.x)
                    weight += link.weight
            for link in cell.down:
                if link.below.block not in together:
                    force += link.weight * (_end(link, False) - cell.x)
                    weight += link.weight
    return force, weight


def _in_the_way(layers: list[list[_Cell]], block: _Block, direction: int) -> tuple[dict[_Block, None], float]:
    """The blocks that stand against a block on one side, itself included, and how far they all can move."""
    together, stack, gap = {block: None}, [block], math.inf
    while stack:
        for cell in stack.pop().cells:
            number = cell.order + direction
            if not 0 <= number < len(layers[cell.rank]):
                continue
            beside = layers[cell.rank][number]
            if beside.block in together:
                continue
            left, right = (cell, beside) if direction > 0 else (beside, cell)
            room = right.x - right.left - (left.x + left.right)
            if room > 1e-6:
                gap = min(gap, room)
            else:
                together[beside.block] = None
                stack.append(beside.block)
    return together, gap


def _end(link: _Link, upper: bool) -> float:
    """Where the cell at one end of a link would have to be for the link to be vertical: seen from the other end."""
    above, below = link.above_offset or 0.0, link.below_offset or 0.0
    return link.above.x + above - below if upper else link.below.x + below - above


# Downwards


def _heights(layers: list[list[_Cell]]) -> tuple[list[float], list[float]]:
    """Upper and lower edge of every rank; the more a wire goes sideways between two, the further they are apart."""
    tops, bottoms = [], []
    y = 0.0
    for number, layer in enumerate(layers):
        if number:
            links = [link for cell in layer for link in cell.up]
            sideways = max((abs(_end(link, True) - link.below.x) for link in links), default=0.0)
            y += min(9.0 + 0.07 * sideways, 32.0)
        tops.append(y)
        y += max((cell.height for cell in layer), default=0.0)
        bottoms.append(y)
    return tops, bottoms


def _lead(wire: Wire, chain: list[_Link], items: Sequence[Item], tops: list[float], bottoms: list[float]) -> None:
    first, last = chain[0], chain[-1]
    source, target = items[wire.source], items[wire.target]
    begin = first.above.x + (first.above_offset or 0.0)
    end = last.below.x + (last.below_offset or 0.0)
    wire.stretches = [(begin, source.y + source.height, bottoms[first.above.rank])]
    wire.stretches += [(link.below.x, tops[link.below.rank], bottoms[link.below.rank]) for link in chain[:-1]]
    wire.stretches.append((end, tops[last.below.rank], target.y))
    if len(chain) > 1:
        label = last.above
        wire.label_at = label.x, (tops[label.rank] + bottoms[label.rank]) / 2

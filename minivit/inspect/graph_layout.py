"""Where the boxes of a layered drawing go: ranks, order within a rank, coordinates (Sugiyama et al. 1981).

Every wire leads downwards. A box stands one rank below the lowest box that it gets something from; between two ranks of
boxes is a rank for the labels on the wires. A wire that crosses a rank takes a place in it, as a box does, so that
nothing runs through a box and labels never collide.
"""

from __future__ import annotations

from collections.abc import Sequence

from minivit.inspect.graph_cells import Cell, Item, Link, Wire, upright
from minivit.inspect.graph_order import order_cells
from minivit.inspect.graph_sideways import move_sideways

SIDE_GAP = 18.0  # between neighbours in a rank
WIRE_GAP = 10.0  # between a wire and what is beside it


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
    order_cells(layers)
    move_sideways(layers, items)
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
) -> tuple[list[list[Cell]], list[list[Link]]]:
    """The cells of every rank, and for each wire the links that it is made of."""
    layers: list[list[Cell]] = [[] for _ in range(max(ranks, default=-1) + 1)]
    cells = []
    for index, (item, rank) in enumerate(zip(items, ranks, strict=True)):
        gap = SIDE_GAP / 2
        cell = Cell(rank, item.left + gap, item.width - item.left + gap, item.height, index)
        cells.append(cell)
        layers[rank].append(cell)
    chains: list[list[Link]] = []
    for wire in wires:
        begin, end, chain = cells[wire.source], cells[wire.target], []
        above = begin
        for rank in range(above.rank + 1, end.rank):
            width, height = wire.label if wire.label is not None and rank == end.rank - 1 else (0.0, 0.0)
            half = (width + WIRE_GAP) / 2
            below = Cell(rank, half, half, height)
            layers[rank].append(below)
            chain.append(Link(wire, begin, end, above, below))
            above = below
        chain.append(Link(wire, begin, end, above, end))
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


def _heights(layers: list[list[Cell]]) -> tuple[list[float], list[float]]:
    """Upper and lower edge of every rank; the more a wire goes sideways between two, the further they are apart."""
    tops, bottoms = [], []
    y = 0.0
    for number, layer in enumerate(layers):
        if number:
            links = [link for cell in layer for link in cell.up]
            sideways = max((abs(upright(link, True) - link.below.x) for link in links), default=0.0)
            y += min(9.0 + 0.07 * sideways, 32.0)
        tops.append(y)
        y += max((cell.height for cell in layer), default=0.0)
        bottoms.append(y)
    return tops, bottoms


def _lead(wire: Wire, chain: list[Link], items: Sequence[Item], tops: list[float], bottoms: list[float]) -> None:
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

"""The order of the cells within each rank of a layered drawing: so that few wires cross."""

from __future__ import annotations

from bisect import bisect_left, insort

from minivit.inspect.graph_cells import Cell, position_in_rank

SWEEPS = 24


def order_cells(layers: list[list[Cell]]) -> None:
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
                ends = [position_in_rank(link, downwards) for link in links]
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


def _number(layer: list[Cell]) -> None:
    for order, cell in enumerate(layer):
        cell.order = order


def _crossings(layers: list[list[Cell]]) -> int:
    return sum(_crossings_below(layer) for layer in layers)


def _crossings_below(layer: list[Cell]) -> int:
    """Crossings between a rank and the next: pairs of links whose ends are in opposite order."""
    ends = sorted((position_in_rank(link, True), position_in_rank(link, False)) for cell in layer for link in cell.down)
    seen: list[float] = []
    count = 0
    for _, below in ends:
        count += len(seen) - bisect_left(seen, below + 1e-9)
        insort(seen, below)
    return count


def _exchange(layers: list[list[Cell]]) -> None:
    """Exchange neighbours wherever their own links then cross less."""
    for layer in layers:
        for i in range(len(layer) - 1):
            a, b = layer[i], layer[i + 1]
            before = _crossings_of_pair(a, b)
            if before and _crossings_of_pair(b, a) < before:
                layer[i], layer[i + 1] = b, a
                a.order, b.order = b.order, a.order


def _crossings_of_pair(left: Cell, right: Cell) -> int:
    count = 0
    for links_left, links_right, upper in ((left.up, right.up, True), (left.down, right.down, False)):
        ends = sorted(position_in_rank(link, upper) for link in links_right)
        count += sum(bisect_left(ends, position_in_rank(link, upper)) for link in links_left)
    return count

"""How far to the right each cell of a layered drawing stands: so that wires are straight, and short elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from minivit.inspect.graph_cells import Block, Cell, Item, Link, position_in_rank, upright

PULLS = 40
PORT_GAP = 26.0  # between the ends of wires at one side of a box


def move_sideways(layers: list[list[Cell]], items: Sequence[Item]) -> None:
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


def _align(layers: list[list[Cell]]) -> None:
    """Choose the links that are to be vertical: of each cell at most one upwards and one downwards, none crossing."""
    main_down = {
        id(cell): _main([(link, len(link.end.up)) for link in cell.down]) for layer in layers for cell in layer
    }
    main_up = {
        id(cell): _main([(link, len(link.begin.down)) for link in cell.up]) for layer in layers for cell in layer
    }
    for layer in layers:
        chosen: list[Link] = []
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


def _main(links: list[tuple[Link, int]]) -> Link | None:
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


def _spread_ports(layers: list[list[Cell]], items: Sequence[Item]) -> None:
    """Wires that meet at one side of a box end beside each other, the straight one in the middle of the box."""
    for layer in layers:
        for cell in layer:
            if cell.item is None:
                continue
            item = items[cell.item]
            room = min(item.left, item.width - item.left) - 8
            for links, upper in ((cell.up, True), (cell.down, False)):
                links = sorted(links, key=lambda link: position_in_rank(link, upper))
                middle = next((n for n, link in enumerate(links) if link.straight), (len(links) - 1) / 2)
                step = min(PORT_GAP, max(room, 0.0) / max(middle, len(links) - 1 - middle, 1))
                for number, link in enumerate(links):
                    if upper and link.below_offset is None:
                        link.below_offset = (number - middle) * step
                    elif not upper and link.above_offset is None:
                        link.above_offset = (number - middle) * step


def _blocks(layers: list[list[Cell]]) -> list[Block]:
    blocks = []
    for layer in layers:
        for cell in layer:
            link = next((link for link in cell.up if link.straight), None)
            if link is None:
                cell.block = Block()
                blocks.append(cell.block)
            else:
                cell.block = link.above.block
                cell.x = upright(link, True)
            cell.block.cells.append(cell)
    return blocks


def _pack(layers: list[list[Cell]]) -> None:
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


def _pull(layers: list[list[Cell]], block: Block, direction: int) -> float:
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


def _force(together: dict[Block, None]) -> tuple[float, float]:
    """How strongly the wires to all others pull to the right, and the sum of their weights."""
    force = weight = 0.0
    for block in together:
        for cell in block.cells:
            for link in cell.up:
                if link.above.block not in together:
                    force += link.weight * (upright(link, True) - cell.x)
                    weight += link.weight
            for link in cell.down:
                if link.below.block not in together:
                    force += link.weight * (upright(link, False) - cell.x)
                    weight += link.weight
    return force, weight


def _in_the_way(layers: list[list[Cell]], block: Block, direction: int) -> tuple[dict[Block, None], float]:
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

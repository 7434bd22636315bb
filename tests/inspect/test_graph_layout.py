"""Nothing overlaps, nothing runs through a box, and what can be straight is."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minivit.inspect.graph_cells import Item, Wire
from minivit.inspect.graph_layout import place


def points_of(wire, steps=12):
    """Points along a wire: down its stretches, and through the bends between them."""
    points = []
    for number, (x, top, bottom) in enumerate(wire.stretches):
        if number:
            x0, _, y0 = wire.stretches[number - 1]
            middle = (y0 + top) / 2
            for step in range(1, steps):
                t = step / steps
                weights = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
                points.append(
                    tuple(
                        sum(w * v for w, v in zip(weights, values, strict=True))
                        for values in ((x0, x0, x, x), (y0, middle, middle, top))
                    )
                )
        points += [(x, top + (bottom - top) * step / steps) for step in range(steps + 1)]
    return points


def rectangle(item):
    return item.x, item.y, item.x + item.width, item.y + item.height


def label(wire):
    (x, y), (width, height) = wire.label_at, wire.label
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def overlap(a, b):
    return min(a[2], b[2]) - max(a[0], b[0]) > 0.01 and min(a[3], b[3]) - max(a[1], b[1]) > 0.01


def inside(point, r):
    return r[0] + 0.01 < point[0] < r[2] - 0.01 and r[1] + 0.01 < point[1] < r[3] - 0.01


def check(items, wires, width, height):
    rectangles = [rectangle(item) for item in items]
    labels = [label(wire) for wire in wires if wire.label]
    for a, b in itertools.combinations(rectangles + labels, 2):
        assert not overlap(a, b)
    for r in rectangles + labels:
        assert r[0] >= -0.01
        assert r[1] >= -0.01
        assert r[2] <= width + 0.01
        assert r[3] <= height + 0.01
    for wire in wires:
        source, target = items[wire.source], items[wire.target]
        points = points_of(wire)
        assert points[0][1] == pytest.approx(source.y + source.height)
        assert points[-1][1] == pytest.approx(target.y)
        assert source.x <= points[0][0] <= source.x + source.width
        assert target.x <= points[-1][0] <= target.x + target.width
        assert all(after[1] >= before[1] - 1e-9 for before, after in itertools.pairwise(points))  # downwards
        assert not any(inside(point, r) for point in points for r in rectangles)
        if wire.label:
            assert any(inside((x + 0.02, y), label(wire)) for x, y in points)  # its label stands on it


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 14))
    items = [
        Item(draw(st.integers(20, 200)), draw(st.integers(10, 60)), draw(st.sampled_from([None, None, 10.0])))
        for _ in range(count)
    ]
    wires = []
    for target in range(1, count):
        for source in draw(st.lists(st.integers(0, target - 1), max_size=4, unique=True)):
            wire = Wire(source, target, draw(st.sampled_from([None, (30.0, 13.0)])))
            wire.weight = draw(st.sampled_from([0.5, 1.0, 2.0]))
            wire.span = draw(st.sampled_from([1, 1, 1, 2]))
            wires.append(wire)
    return items, wires


@given(graphs())
def test_nothing_overlaps_and_no_wire_runs_through_a_box(graph):
    items, wires = graph
    check(items, wires, *place(items, wires))


@settings(max_examples=30)
@given(graphs())
def test_the_same_graph_is_placed_the_same_way(graph):
    items, wires = graph
    place(items, wires)
    first = [rectangle(item) for item in items], [wire.stretches for wire in wires]
    place(items, wires)
    assert ([rectangle(item) for item in items], [wire.stretches for wire in wires]) == first


def chain(*sizes, label=(30.0, 13.0)):
    items = [Item(width, 20.0) for width in sizes]
    return items, [Wire(i, i + 1, label, weight=2.0) for i in range(len(sizes) - 1)]


def test_a_chain_is_straight():
    items, wires = chain(50.0, 120.0, 70.0, 200.0)
    place(items, wires)
    (x,) = {x for wire in wires for x, _, _ in wire.stretches}
    assert [item.x + item.width / 2 for item in items] == [x] * 4
    assert [item.y for item in items] == sorted(item.y for item in items)


def test_a_source_stands_just_above_what_uses_it_first():
    items, wires = chain(50.0, 50.0, 50.0, 50.0)
    items.append(Item(40.0, 20.0))
    wires.append(Wire(4, 3, weight=0.5))
    place(items, wires)
    assert items[4].y == items[2].y
    assert len({x for wire in wires[:3] for x, _, _ in wire.stretches}) == 1  # which does not bend the chain


def test_branches_that_can_be_drawn_without_crossing_are():
    # Two inputs, two rows of two boxes; the wires of the second row are given in the other order.
    items = [Item(40.0, 20.0) for _ in range(7)]
    pairs = [(0, 3), (1, 2), (2, 5), (3, 4), (4, 6), (5, 6)]
    wires = [Wire(a, b) for a, b in pairs]
    place(items, wires)
    left, right = (
        sorted(branch) for branch in (([items[0].x, items[3].x, items[4].x]), [items[i].x for i in (1, 2, 5)])
    )
    assert left[-1] < right[0] or right[-1] < left[0]


def test_a_box_between_two_equal_branches_stands_in_the_middle():
    items = [Item(40.0, 20.0) for _ in range(3)]
    wires = [Wire(0, 2, weight=2.0), Wire(1, 2, weight=2.0)]
    place(items, wires)
    assert items[2].x == pytest.approx((items[0].x + items[1].x) / 2)


def test_ports_that_are_fixed_are_met():
    items = [Item(40.0, 20.0), Item(40.0, 20.0), Item(300.0, 50.0)]
    wires = [Wire(0, 2, target_port=250.0), Wire(1, 2, target_port=30.0)]
    place(items, wires)
    for wire in wires:
        assert wire.stretches[-1][0] == pytest.approx(items[2].x + wire.target_port)
    assert items[1].x < items[0].x  # in the order of the ports: no crossing


def test_pinned_items_stand_in_the_first_and_last_rank():
    items, wires = chain(50.0, 50.0, 50.0)
    items += [Item(30.0, 10.0, pinned="top"), Item(8.0, 0.0, pinned="bottom"), Item(60.0, 30.0)]
    wires += [Wire(3, 2), Wire(0, 4), Wire(5, 1)]
    place(items, wires)
    assert all(items[3].y + items[3].height <= item.y for item in items[:3] + items[5:])
    assert all(item.y + item.height <= items[4].y for item in items[:3] + items[5:])


def test_a_span_lifts_a_source_above_its_neighbours():
    items = [Item(40.0, 20.0) for _ in range(3)]
    wires = [Wire(0, 2), Wire(1, 2, span=2)]
    place(items, wires)
    assert items[1].y + items[1].height <= items[0].y


def test_nothing_is_placed_nowhere():
    assert place([], []) == (0.0, 0.0)
    item = Item(40.0, 20.0)
    place([item], [])
    assert item.y == 0.0

"""The SVG of a drawn graph: well-formed, the same every time, nothing hidden behind anything else."""

import itertools
import os
import re
import stat
import xml.etree.ElementTree as ElementTree
from html import unescape

import numpy as np
import pytest

import minivit as mv
from minivit import nn, ops
from minivit.inspect import draw_graph
from minivit.inspect.graph_text import number_text, text_width
from minivit.inspect.sizes import bytes_text, shape_text

SVG = "{http://www.w3.org/2000/svg}"


def leaf(shape, seed=0, name=None):
    return mv.tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True, name=name)


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", text)]


def rectangle_of(group):
    """x, y, right and lower side of what a node is drawn as."""
    shape = next(child for child in group if child.tag in (SVG + "rect", SVG + "polygon"))
    if shape.tag == SVG + "rect":
        x, y, width, height = (float(shape.get(key)) for key in ("x", "y", "width", "height"))
        return x, y, x + width, y + height
    xs, ys = numbers(shape.get("points"))[::2], numbers(shape.get("points"))[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def nodes_of(root):
    return {
        int(group.get("data-node")): (group, rectangle_of(group))
        for group in root.iter(SVG + "g")
        if group.get("data-node") is not None
    }


def points_on(path, steps=16):
    """Points along the path of an edge: M, V and C are all there is."""
    x = y = 0.0
    points = []
    for command, arguments in re.findall(r"([MVC])([^MVC]*)", path):
        values = numbers(arguments)
        if command == "M":
            x, y = values
            continue
        last = (x, values[0]) if command == "V" else tuple(values[4:])
        ends = [(x, y), (x, y), last, last] if command == "V" else [(x, y), tuple(values[:2]), tuple(values[2:4]), last]
        for step in range(steps + 1):
            t = step / steps
            weights = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
            points.append(tuple(sum(w * end[axis] for w, end in zip(weights, ends, strict=True)) for axis in (0, 1)))
        x, y = last
    return points


def overlap(a, b):
    return min(a[2], b[2]) - max(a[0], b[0]) > 0.2 and min(a[3], b[3]) - max(a[1], b[1]) > 0.2


def check_picture(svg, nodes):
    """No box on another, no edge through a box, no number on a box or on another number."""
    root = ElementTree.fromstring(svg)
    placed = nodes_of(root)
    assert set(placed) == {node["id"] for node in nodes}
    groups = {node["id"]: node["group"] for node in nodes}

    def around(key):
        while (key := groups[key]) is not None:
            yield key

    for (a, (_, first)), (b, (_, second)) in itertools.combinations(placed.items(), 2):
        if b in around(a):
            first, second = second, first
        if b in around(a) or a in around(b):  # one stands whole in the other
            assert first[0] <= second[0] <= second[2] <= first[2]
            assert first[1] <= second[1] <= second[3] <= first[3]
        else:
            assert not overlap(first, second)
    boxes = [rectangle for key, (_, rectangle) in placed.items() if key not in groups.values()]
    bars = {key for key, (group, _) in placed.items() if group.get("class").split()[0] in ("stop", "cut")}
    solid = [rectangle for key, (_, rectangle) in placed.items() if key not in groups.values() and key not in bars]
    edges = [path for path in root.iter(SVG + "path") if (path.get("class") or "").startswith("edge")]
    assert edges
    for path in edges:
        for x, y in points_on(path.get("d")):
            assert not any(r[0] + 0.2 < x < r[2] - 0.2 and r[1] + 0.2 < y < r[3] - 0.2 for r in solid)
    labels = [rectangle_of(group) for group in root.iter(SVG + "g") if group.get("class") == "norm"]
    for label in labels:
        assert not any(overlap(label, box) for box in boxes)
    for a, b in itertools.combinations(labels, 2):
        assert not overlap(a, b)


class Residual(nn.Module):
    def __init__(self, size):
        self.norm, self.inner = nn.LayerNorm(size), nn.Linear(size, size)

    def forward(self, x):
        return x + self.inner(ops.gelu(self.norm(x)))


def network(x, y):
    first, second = Residual(6), Residual(6)
    a = first(x)
    with mv.no_grad():
        target = second(a)
    b = second(first(y))
    return ops.kl_divergence(target_logits=target, pred_logits=b).mean() + (a * b).sum()


@pytest.mark.parametrize("depth", [0, 1, None])
@pytest.mark.parametrize("opened", [(), ("kl_divergence",), "all"])
def test_nothing_stands_on_anything_else(depth, opened):
    inputs = [mv.tensor(np.random.default_rng(s).normal(size=(3, 6)).astype(np.float32)) for s in (1, 2)]
    graph = draw_graph(network, *inputs, depth=depth, open=opened)
    check_picture(graph.svg, graph.nodes)


def test_random_graphs_are_drawn_without_collisions():
    for seed in range(8):
        rng = np.random.default_rng(seed)

        def fn(a, b, rng=rng):
            pool = [a, b]
            for _ in range(9):
                x, y = (pool[rng.integers(max(0, len(pool) - 4), len(pool))] for _ in range(2))
                choices = (
                    lambda x, y: x + y,
                    lambda x, y: x @ y,
                    lambda x, y: ops.softmax(x),
                    lambda x, y: x - mv.stop_gradient(y),
                    lambda x, y: ops.linear(x, y),
                )
                pool.append(choices[rng.integers(len(choices))](x, y))
            return pool[-1].sum() + pool[-2].mean()

        graph = draw_graph(fn, leaf((3, 3), 1), leaf((3, 3), 2))
        check_picture(graph.svg, graph.nodes)


def stopped(x, y):
    return (mv.stop_gradient(x.exp()) * y).sum()


def test_it_is_the_same_every_time():
    first = draw_graph(stopped, leaf((3,)), leaf((3,), 1))
    assert draw_graph(stopped, leaf((3,)), leaf((3,), 1)).svg == first.svg


def test_names_are_escaped_and_shown():
    name = 'a<b & "c">'
    graph = draw_graph(lambda x: x.sum(), leaf((3,)), names=[name], title="<script>alert(1)</script> & more")
    root = ElementTree.fromstring(graph.svg)
    words = [element.text for element in root.iter() if element.text]
    assert name in words
    assert "<script>alert(1)</script> & more" in words
    assert "<script" not in graph.svg
    assert "alert" in unescape(graph.svg)


def test_a_screen_reader_is_told_and_two_pictures_share_no_id():
    first = draw_graph(stopped, leaf((3,)), leaf((3,), 1), title="one").svg
    second = draw_graph(lambda x: x.exp().sum(), leaf((3,)), title="two").svg
    ids = []
    for svg, title in ((first, "one"), (second, "two")):
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img"
        assert root.find(SVG + "title").text == title
        own = [element.get("id") for element in root.iter() if element.get("id")]
        assert root.get("aria-labelledby").split() == own
        ids += own
    assert len(set(ids)) == len(ids) == 4
    assert "Red bars where a gradient stops: 1; behind: exp" in first
    assert "Red bars" not in second


def test_the_bar_lies_across_the_edge():
    root = ElementTree.fromstring(draw_graph(stopped, leaf((3,)), leaf((3,), 1)).svg)
    (bar,) = [rectangle for rectangle in root.iter(SVG + "rect") if rectangle.get("class") == "stop"]
    left, top = float(bar.get("x")), float(bar.get("y"))
    right, bottom = left + float(bar.get("width")), top + float(bar.get("height"))
    (key,) = [key for key, (group, _) in nodes_of(root).items() if group.get("class").startswith("stop")]
    paths = [path for path in root.iter(SVG + "path") if (path.get("class") or "").startswith("edge")]
    (into,) = [path for path in paths if path.get("data-target") == str(key)]
    (out,) = [path for path in paths if path.get("data-source") == str(key)]
    assert into.get("class") == "edge behind"
    assert into.get("stroke-dasharray")
    end, start = points_on(into.get("d"))[-1], points_on(out.get("d"))[0]
    assert left < end[0] < right
    assert end[1] == pytest.approx(top, abs=0.2)
    assert start[1] == pytest.approx(bottom, abs=0.2)


def test_a_stronger_gradient_is_a_thicker_line():
    graph = draw_graph(lambda x, y: (x * 100.0 + y * 0.01).sum(), leaf((3,)), leaf((3,), 1))
    root = ElementTree.fromstring(graph.svg)
    names = {node["id"]: node["name"] for node in graph.nodes}
    width = {
        names[int(path.get("data-source"))]: float(path.get("stroke-width"))
        for path in root.iter(SVG + "path")
        if (path.get("class") or "").startswith("edge")
    }
    assert width["x"] > width["multiply_number"] > width["y"]


def test_a_gradient_that_is_not_finite_is_drawn_too():
    with np.errstate(all="ignore"):
        graph = draw_graph(lambda x: (x.log() * 2.0).sum(), mv.tensor(np.array([0.0, 1.0]), requires_grad=True))
    assert ">inf</text>" in graph.svg
    ElementTree.fromstring(graph.svg)


def test_it_is_saved_whole_and_shown_by_notebooks(tmp_path):
    graph = draw_graph(stopped, leaf((3,)), leaf((3,), 1))
    path = graph.save(tmp_path / "new" / "graph.svg")
    assert path.read_text(encoding="utf-8") == graph.svg == graph._repr_svg_()
    assert [p.name for p in path.parent.iterdir()] == ["graph.svg"]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        graph.save(tmp_path / "taken")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "taken"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (0.4249, "0.42"),
        (12.34, "12"),
        (1234.0, "1,200"),
        (0.00123, "0.0012"),
        (1.23e-5, "1.2e-5"),
        (98765.0, "99,000"),
        (1.23e8, "1.2e8"),
    ],
)
def test_norms_are_written_with_two_digits(value, text):
    assert number_text(value) == text


def test_shapes_and_bytes_are_written_as_everywhere():
    assert [shape_text(shape) for shape in ((), (2,), (2, 3))] == ["()", "(2,)", "(2, 3)"]
    assert [bytes_text(size) for size in (0, 999, 1000, 2_500_000, 3_000_000_000)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "2.5 MB",
        "3.0 GB",
    ]


def test_a_longer_text_is_wider():
    assert text_width("mm", 12) > text_width("ii", 12)
    assert text_width("abc", 12, bold=True) > text_width("abc", 12) > text_width("ab", 12)

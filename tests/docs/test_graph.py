"""The picture of the UDA loss is what its command draws, and shows what the page says about it."""

import importlib.util
import itertools
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "_static" / "uda_graph.svg"
_specification = importlib.util.spec_from_file_location("make_graph", ROOT / "docs" / "make_graph.py")
make_graph = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(make_graph)


def elements_of(path: Path) -> list[ElementTree.Element]:
    return list(ElementTree.parse(path).getroot().iter())


def structure_of(path: Path) -> tuple[list[tuple[str | None, ...]], list[str]]:
    """Boxes, edges and words, without what depends on the weights: norms, and the loss itself."""
    elements = elements_of(path)
    drawn = [
        tuple(element.get(key) for key in ("class", "data-node", "data-source", "data-target"))
        for element in elements
        if element.get("class")
    ]
    words = ["".join(element.itertext()) for element in elements if element.tag.endswith("text")]
    vary = re.compile(r"(?<=^gradient ).*|(?<=^output ).*|^-?[\d.,]+(e-?\d+)?$")
    return drawn, [vary.sub("...", line) for line in words]


def test_the_picture_is_what_the_command_draws(tmp_path: Path) -> None:
    assert make_graph.main(["--steps", "3", "--out", str(tmp_path / "graph.svg")]) == 0
    assert structure_of(tmp_path / "graph.svg") == structure_of(PICTURE), "run python docs/make_graph.py"


def test_the_picture_shows_three_calls_a_bar_and_a_teacher_that_keeps_and_learns_nothing() -> None:
    groups = [e for e in elements_of(PICTURE) if e.tag.endswith("}g") and e.get("data-node") is not None]
    words = {e.get("data-node"): " ".join(t.text for t in e.iter() if t.tag.endswith("tspan")) for e in groups}
    classes = {e.get("data-node"): e.get("class") for e in groups}
    calls = {key: kind for key, kind in classes.items() if kind.startswith("module")}
    assert sorted(calls.values()) == ["module behind", "module living", "module living"]
    (teacher,) = [key for key, kind in calls.items() if kind == "module behind"]
    assert "keeps 0 bytes" in words[teacher]
    (weights,) = [key for key, kind in classes.items() if kind == "weights living"]
    edges = [e for e in elements_of(PICTURE) if (e.get("class") or "").startswith("edge")]
    from_weights = {e.get("data-target"): e.get("class") for e in edges if e.get("data-source") == weights}
    assert from_weights == {key: "edge behind" if key == teacher else "edge living" for key in calls}
    assert sum(e.get("class") == "stop" for e in elements_of(PICTURE)) == 1
    norms = [e for e in elements_of(PICTURE) if e.get("class") == "norm"]
    assert sum("none" in "".join(e.itertext()) for e in norms) == 1


def test_the_picture_is_legible_in_a_column_and_nothing_in_it_collides() -> None:
    root = ElementTree.parse(PICTURE).getroot()
    assert float(root.get("width")) <= 900
    boxes, labels = [], []
    for group in root.iter("{http://www.w3.org/2000/svg}g"):
        if group.get("data-node") is None and group.get("class") != "norm":
            continue
        shape = next(child for child in group if child.tag.endswith(("rect", "polygon")))
        if shape.tag.endswith("rect"):
            x, y, width, height = (float(shape.get(key)) for key in ("x", "y", "width", "height"))
        else:
            numbers = [float(n) for n in re.split(r"[ ,]", shape.get("points"))]
            x, y = min(numbers[::2]), min(numbers[1::2])
            width, height = max(numbers[::2]) - x, max(numbers[1::2]) - y
        (boxes if group.get("data-node") is not None else labels).append((x, y, x + width, y + height))
    for a, b in itertools.combinations(boxes + labels, 2):
        assert min(a[2], b[2]) - max(a[0], b[0]) < 0.2 or min(a[3], b[3]) - max(a[1], b[1]) < 0.2


@pytest.mark.parametrize("path", ["README.md", "docs/uda.md"])
def test_the_picture_stands_where_the_stop_is_explained(path: str) -> None:
    assert "_static/uda_graph.svg)" in (ROOT / path).read_text(encoding="utf-8")
